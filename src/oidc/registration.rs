//! The registration of our client at a provider.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::SigningAlgorithm;
use crate::identity::ClaimNames;
use crate::tls::CaFile;

/// An OpenID provider and the registration of our client there.
#[derive(Clone, Debug)]
pub struct IdentityProvider {
    /// The issuer identifier, compared to the last character (OIDC Discovery §4.3).
    pub issuer: String,
    /// Our client identifier.
    pub client_id: String,
    /// Our secret; `None` for a public client.
    pub client_secret: Option<SecretString>,
    /// The scopes of logins; always with `openid`.
    pub scopes: Vec<String>,
    /// Whether `offline_access` is asked for, too; never [`OfflineAccess::Never`] where it is among the scopes.
    pub offline_access: OfflineAccess,
    /// How the client authenticates at the token endpoint.
    pub token_endpoint_auth_method: TokenEndpointAuthMethod,
    /// The registered algorithm for ID tokens and logout tokens; `None` for those that the metadata announce.
    pub id_token_signed_response_alg: Option<SigningAlgorithm>,
    /// A PEM file with certificates that are trusted in addition to the system's authorities.
    pub ca_file: Option<CaFile>,
    /// The time-out of a request to the provider, connection included.
    pub timeout: Duration,
    /// The least time between two discoveries because of tokens that do not verify.
    pub jwks_cooldown: Duration,
    /// The claims that have the parts of an identity.
    pub claims: ClaimNames,
    /// Further parameters of the authorisation request, except those of the protocol.
    pub authorization_parameters: BTreeMap<String, String>,
    /// Whether a request that names a session of the provider (`sid`) ends our sessions of it (Front-Channel Logout 1.0).
    pub frontchannel_logout: bool,
    /// Whether the redirect URI carries `?X-authentik-auth-callback=true`, as authentik registers it.
    pub callback_marker: bool,
    /// The client with which command-line programs get tokens; published for each application that accepts some.
    pub cli_client_id: Option<String>,
    /// Allows an issuer in cleartext that is not on this machine.
    pub danger_http_issuer: bool,
}

/// Secrets are compared, too: a provider whose secret was replaced is another one.
impl PartialEq for IdentityProvider {
    fn eq(&self, other: &Self) -> bool {
        fn secret(provider: &IdentityProvider) -> Option<&str> {
            provider.client_secret.as_ref().map(ExposeSecret::expose_secret)
        }
        // Named one by one, so that the compiler asks about each new field.
        let Self {
            issuer,
            client_id,
            client_secret: _,
            scopes,
            offline_access,
            token_endpoint_auth_method,
            id_token_signed_response_alg,
            ca_file,
            timeout,
            jwks_cooldown,
            claims,
            authorization_parameters,
            frontchannel_logout,
            callback_marker,
            cli_client_id,
            danger_http_issuer,
        } = self;
        secret(self) == secret(other)
            && *issuer == other.issuer
            && *client_id == other.client_id
            && *scopes == other.scopes
            && *offline_access == other.offline_access
            && *token_endpoint_auth_method == other.token_endpoint_auth_method
            && *id_token_signed_response_alg == other.id_token_signed_response_alg
            && *ca_file == other.ca_file
            && *timeout == other.timeout
            && *jwks_cooldown == other.jwks_cooldown
            && *claims == other.claims
            && *authorization_parameters == other.authorization_parameters
            && *frontchannel_logout == other.frontchannel_logout
            && *callback_marker == other.callback_marker
            && *cli_client_id == other.cli_client_id
            && *danger_http_issuer == other.danger_http_issuer
    }
}

/// Whether logins ask for the scope `offline_access`, which brings refresh tokens (OIDC Core §11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfflineAccess {
    /// When the provider announces it and is not known to give refresh tokens without it.
    Auto,
    /// At each provider.
    Always,
    /// At no provider; it may give refresh tokens all the same.
    Never,
}

/// How the client authenticates at the token endpoint (OIDC Core §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenEndpointAuthMethod {
    /// As the provider's metadata allow, with Basic before the body.
    Auto,
    /// HTTP Basic with form-encoded id and secret (RFC 6749 §2.3.1).
    ClientSecretBasic,
    /// Id and secret in the body.
    ClientSecretPost,
    /// A public client: id only.
    None,
}
