//! Identity providers: discovery, keys, the code exchange, verification of tokens.
//!
//! No other module uses the OpenID Connect library, or sees its types.

mod access_token;
mod algorithm;
mod client_authentication;
mod client_status;
mod endpoint_client;
mod endpoints;
mod error;
mod exchange;
mod flaw;
mod granted_scopes;
mod http_client;
pub mod inspect;
mod introspect;
#[cfg(any(test, fuzzing))]
pub(crate) mod invariants;
mod jws;
mod keys;
mod logout_token;
mod members;
mod metadata;
mod mismatch;
mod missing_claims;
mod provider;
mod refresh;
mod refresh_error;
mod registration;
mod revoke;
#[cfg(test)]
mod samples;
mod source;
mod token_response;
mod userinfo;
mod verify;

pub use access_token::{AccessToken, AccessTokenError, Recipient, claimed_issuer, own_client, scopes};
pub use algorithm::SigningAlgorithm;
pub use client_authentication::ClientAuthentication;
pub use endpoints::{AuthorizationRequest, EndSessionRequest, Prompt};
pub use error::{Malformed, OidcError, Unreachable, clean, clean_without_secrets};
pub use exchange::{CodeExchange, Login};
pub use flaw::{Flaw, Remedy};
pub use http_client::{HttpClient, NoAnswer, TransportError};
pub use keys::{KeyRefresh, Keys};
pub use logout_token::{LogoutToken, LogoutTokenError};
pub use metadata::Metadata;
pub use provider::{Provider, Ready};
pub use refresh::{PreviousLogin, Refreshed};
pub use refresh_error::{Consequence, RefreshError, RefreshFailure, ends_grant};
pub use registration::{IdentityProvider, OfflineAccess, TokenEndpointAuthMethod};
pub use revoke::Revocation;

use std::time::Duration;

/// What forepost asks a provider for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// The metadata document.
    Discovery,
    /// The keys.
    Jwks,
    /// The code exchange.
    Token,
    /// A refresh.
    Refresh,
    /// Claims about the user.
    Userinfo,
    /// The revocation of a refresh token.
    Revocation,
    /// Whether a token is active.
    Introspection,
    /// Whether an app password is right.
    AppPassword,
}

impl Operation {
    /// The name in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::Jwks => "jwks",
            Self::Token => "token",
            Self::Refresh => "refresh",
            Self::Userinfo => "userinfo",
            Self::Revocation => "revocation",
            Self::Introspection => "introspection",
            Self::AppPassword => "app_password",
        }
    }
}

/// Observes the requests to providers, for metrics.
pub trait Observer: Send + Sync {
    /// A request to `provider` ended after `elapsed`; `answered` when there was an answer below 500.
    fn request(&self, provider: &str, operation: Operation, answered: bool, elapsed: Duration);
    /// The keys were fetched again, or could not be.
    fn keys_refreshed(&self, provider: &str, reason: KeyRefresh, succeeded: bool);
    /// Whether logins through the provider are possible now.
    fn ready(&self, provider: &str, ready: bool);
}

#[cfg(test)]
mod tests;
