//! Our registration at a provider.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::SigningAlgorithm;
use crate::identity::ClaimNames;

/// An OpenID provider and our registration there.
#[derive(Clone, Debug)]
pub struct IdentityProvider {
    /// The issuer identifier, compared to the last character (OIDC Discovery §4.3).
    pub issuer: String,
    /// Our client identifier.
    pub client_id: String,
    /// Our secret; `None` for a public client.
    pub client_secret: Option<SecretString>,
    /// Scopes to ask for; always with `openid`.
    pub scopes: Vec<String>,
    /// Whether `offline_access` is asked for, too; never [`OfflineAccess::Never`] where it is among the scopes.
    pub offline_access: OfflineAccess,
    /// How the client proves itself at the token endpoint.
    pub token_endpoint_auth_method: TokenEndpointAuthMethod,
    /// The one algorithm that the registration has for ID tokens and logout tokens; `None`: what the metadata announce.
    pub id_token_signed_response_alg: Option<SigningAlgorithm>,
    /// PEM file with certificates trusted beside the system's authorities.
    pub ca_file: Option<PathBuf>,
    /// For one request to the provider, connection included.
    pub timeout: Duration,
    /// Least time between two key refreshes that unknown key ids ask for.
    pub jwks_cooldown: Duration,
    /// Where in the claims the parts of an identity are.
    pub claims: ClaimNames,
    /// Further parameters of the authorisation request; none that the protocol owns.
    pub authorization_parameters: BTreeMap<String, String>,
    /// Whether whoever names a session of the provider (`sid`) ends ours of it (Front-Channel Logout 1.0).
    pub frontchannel_logout: bool,
    /// Whether the redirect URI carries `?X-authentik-auth-callback=true`, as authentik registers it.
    pub callback_marker: bool,
    /// The client by which command-line programs get tokens; published with each application that accepts some.
    pub cli_client_id: Option<String>,
    /// Speak to an issuer in cleartext although it is not on this machine.
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

/// Whether the scope that brings refresh tokens is asked for (OIDC Core §11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfflineAccess {
    /// Where the provider announces it and, as far as is known, gives no refresh token without it.
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere; a provider may give refresh tokens all the same.
    Never,
}

/// How the client proves itself at the token endpoint (OIDC Core §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenEndpointAuthMethod {
    /// What the provider's metadata allows, basic before post.
    Auto,
    /// HTTP Basic with form-encoded id and secret (RFC 6749 §2.3.1).
    ClientSecretBasic,
    /// Id and secret in the body.
    ClientSecretPost,
    /// A public client: id only.
    None,
}
