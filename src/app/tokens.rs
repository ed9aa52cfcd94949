//! What programs may show in place of a session.

use std::time::Duration;

use crate::identity::ClaimNames;
use crate::oidc::{IdentityProvider, OfflineAccess, TokenEndpointAuthMethod};
use crate::tls::CaFile;
use std::collections::BTreeMap;

/// What programs may show in place of a session, in `Authorization`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedTokens {
    /// The scheme `Bearer` (RFC 6750).
    pub bearer: Bearer,
    /// The scheme `Basic` (RFC 7617).
    pub basic: Basic,
    /// Audiences that mean this application, beside our client id and the application's own address.
    pub audiences: Vec<String>,
    /// Other clients of the provider whose tokens are accepted although they were not made for us.
    pub accept_clients: Vec<String>,
    /// Scopes that every bearer token needs.
    pub scopes: Vec<String>,
    /// Accept tokens that name no user; the application then gets an empty user name.
    pub allow_unnamed: bool,
    /// Whether a valid session counts before `Authorization`, which is then the application's own.
    pub prefer_session: bool,
    /// Further issuers of JWTs.
    pub issuers: Vec<TokenIssuer>,
}

/// Which bearer tokens are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearer {
    /// None.
    Off,
    /// JWTs, verified here (RFC 9068, and plain ones).
    Jwt,
    /// Any that the provider says are good, each time anew (RFC 7662).
    Introspection,
    /// JWTs verified here, others by introspection.
    Both,
}

/// What user name and password are accepted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basic {
    /// Nothing.
    Off,
    /// App passwords of authentik, redeemed at its token endpoint.
    Authentik,
}

/// An issuer of JWTs where forepost has no client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenIssuer {
    /// Stands before the names of its users and groups, so that they are not those of the identity provider.
    pub name: String,
    /// The issuer identifier, compared to the last character.
    pub issuer: String,
    /// Audiences that mean this application, beside its own address.
    pub audiences: Vec<String>,
    /// PEM file with certificate authorities trusted beside the system's.
    pub ca_file: Option<CaFile>,
    /// For one request to the issuer, connection included.
    pub timeout: Duration,
    /// Least time between two key refreshes that unknown key ids ask for.
    pub jwks_cooldown: Duration,
    /// Where in the claims the parts of an identity are.
    pub claims: ClaimNames,
    /// Speak to an issuer in cleartext although it is not on this machine.
    pub danger_http_issuer: bool,
}

impl AcceptedTokens {
    /// Whether the provider is asked about tokens (RFC 7662), so that it needs an introspection endpoint.
    #[must_use]
    pub fn needs_introspection(&self) -> bool {
        matches!(self.bearer, Bearer::Introspection | Bearer::Both)
    }
}

impl TokenIssuer {
    /// The same as a provider where we have no client, as its keys are looked after in the same way.
    #[must_use]
    pub fn as_provider(&self) -> IdentityProvider {
        IdentityProvider {
            issuer: self.issuer.clone(),
            client_id: String::new(),
            client_secret: None,
            scopes: Vec::new(),
            offline_access: OfflineAccess::Never,
            token_endpoint_auth_method: TokenEndpointAuthMethod::None,
            id_token_signed_response_alg: None,
            ca_file: self.ca_file.clone(),
            timeout: self.timeout,
            jwks_cooldown: self.jwks_cooldown,
            claims: self.claims.clone(),
            authorization_parameters: BTreeMap::new(),
            frontchannel_logout: false,
            callback_marker: false,
            cli_client_id: None,
            danger_http_issuer: self.danger_http_issuer,
        }
    }
}
