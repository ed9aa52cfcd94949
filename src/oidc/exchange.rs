//! The code exchange: our side of the token and userinfo endpoints (OIDC Core §3.1.3, §5.3).

use std::time::Duration;

use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreRevocableToken, CoreRevocationErrorResponse,
    CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AccessToken, AdditionalClaims, AsyncHttpClient, AuthType, AuthorizationCode, Client, ClientId, ClientSecret,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, OAuth2TokenResponse, PkceCodeVerifier, RedirectUrl, RefreshToken,
    RequestTokenError, Scope, StandardErrorResponse, TokenResponse, UserInfoClaims, UserInfoError,
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::clean;
use super::{OidcError, Ready};
use crate::settings::{IdentityProvider, TokenEndpointAuthMethod};

/// What came back to the callback, and what only the browser and we know about it.
#[derive(Clone, Copy)]
pub struct CodeExchange<'a> {
    /// The authorisation code.
    pub code: &'a str,
    /// As sent in the authorisation request.
    pub redirect_uri: &'a str,
    /// As sent in the authorisation request.
    pub nonce: &'a str,
    /// Belongs to the challenge that was sent.
    pub pkce_verifier: &'a str,
}

/// What a completed login proved.
pub struct Login {
    /// The ID token's verified claims, with those of userinfo where it lacked some.
    pub claims: Map<String, Value>,
    /// The ID token as received.
    pub id_token: String,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct AllClaims(Map<String, Value>);

impl AdditionalClaims for AllClaims {}

type IdToken =
    openidconnect::IdToken<AllClaims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;

/// What we need of a token response (RFC 6749 §5.1, OIDC Core §3.1.3.3).
///
/// Its other members are not looked at: several providers send a lifetime as a text, and nothing here depends on it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Tokens {
    access_token: AccessToken,
    token_type: CoreTokenType,
    id_token: Option<IdToken>,
}

impl OAuth2TokenResponse for Tokens {
    type TokenType = CoreTokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &CoreTokenType {
        &self.token_type
    }

    fn expires_in(&self) -> Option<Duration> {
        None
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        None
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

impl TokenResponse<AllClaims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm> for Tokens {
    fn id_token(&self) -> Option<&IdToken> {
        self.id_token.as_ref()
    }
}

pub(super) type OidcClient = Client<
    AllClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

impl Ready {
    pub(super) fn client(&self, settings: &IdentityProvider, redirect_uri: &str) -> Result<OidcClient, OidcError> {
        let secret = settings.client_secret.as_ref().map(|secret| ClientSecret::new(secret.expose_secret().to_owned()));
        let redirect_uri = RedirectUrl::new(redirect_uri.to_owned())
            .map_err(|_| OidcError::Configuration("the redirect URI is no URL".into()))?;
        let metadata = self.metadata.document.clone().set_jwks(self.keys.set.clone());
        let client = Client::from_provider_metadata(metadata, ClientId::new(settings.client_id.clone()), secret)
            .set_redirect_uri(redirect_uri)
            .set_auth_type(self.auth_type(settings));
        Ok(client)
    }

    /// Basic before post, as RFC 6749 §2.3.1 prefers; but several servers do not decode Basic's form encoding, so an id or
    /// secret that would change under it goes into the body where that is supported.
    fn auth_type(&self, settings: &IdentityProvider) -> AuthType {
        match settings.token_endpoint_auth_method {
            TokenEndpointAuthMethod::ClientSecretBasic => AuthType::BasicAuth,
            TokenEndpointAuthMethod::ClientSecretPost | TokenEndpointAuthMethod::None => AuthType::RequestBody,
            TokenEndpointAuthMethod::Auto => {
                let methods = self.metadata.token_endpoint_auth_methods();
                let offers = |name: &str| methods.iter().any(|method| method == name);
                let secret = settings.client_secret.as_ref().map_or("", |it| it.expose_secret());
                let plain =
                    [settings.client_id.as_str(), secret].iter().all(|text| text.bytes().all(survives_form_encoding));
                match (offers("client_secret_basic"), offers("client_secret_post")) {
                    (false, true) => AuthType::RequestBody,
                    (true, true) if !plain => AuthType::RequestBody,
                    _ => AuthType::BasicAuth,
                }
            }
        }
    }

    /// Redeems a code; what comes back is not verified yet.
    pub(super) async fn redeem<H>(
        &self,
        settings: &IdentityProvider,
        exchange: &CodeExchange<'_>,
        token_endpoint: &H,
    ) -> Result<Redeemed, OidcError>
    where
        H: for<'c> AsyncHttpClient<'c, Error = OidcError, Future: Send> + Sync,
    {
        let tokens = self
            .client(settings, exchange.redirect_uri)?
            .exchange_code(AuthorizationCode::new(exchange.code.to_owned()))
            .map_err(|error| OidcError::Configuration(error.to_string()))?
            .set_pkce_verifier(PkceCodeVerifier::new(exchange.pkce_verifier.to_owned()))
            .request_async(token_endpoint)
            .await
            .map_err(|error| token_error(error, &told(settings, exchange)))?;
        if tokens.id_token().is_none() {
            let missing = "the token response has no id_token (is `openid` among the scopes?)";
            return Err(OidcError::Malformed(missing.into()));
        }
        Ok(Redeemed { tokens })
    }

    /// Adds what userinfo says and the ID token did not; its `sub` must be the same (OIDC Core §5.3.2).
    pub(super) async fn add_userinfo<H>(
        &self,
        settings: &IdentityProvider,
        exchange: &CodeExchange<'_>,
        redeemed: &Redeemed,
        login: &mut Login,
        userinfo_endpoint: &H,
    ) -> Result<(), OidcError>
    where
        H: for<'c> AsyncHttpClient<'c, Error = OidcError, Future: Send> + Sync,
    {
        let subject = match login.claims.get("sub") {
            Some(Value::String(subject)) => subject.clone(),
            _ => return Err(OidcError::InvalidToken("`sub` is missing".into())),
        };
        let client = self.client(settings, exchange.redirect_uri)?;
        let Ok(request) = client
            .user_info(redeemed.tokens.access_token().clone(), Some(openidconnect::SubjectIdentifier::new(subject)))
        else {
            return Ok(());
        };
        let claims: UserInfoClaims<AllClaims, CoreGenderClaim> =
            request.request_async(userinfo_endpoint).await.map_err(userinfo_error)?;
        if let Ok(Value::Object(more)) = serde_json::to_value(&claims) {
            for (name, value) in more {
                let slot = login.claims.entry(name).or_insert(Value::Null);
                if slot.is_null() {
                    *slot = value;
                }
            }
        }
        Ok(())
    }
}

/// A code's worth: tokens, not yet verified.
pub(super) struct Redeemed {
    pub(super) tokens: Tokens,
}

#[cfg(test)]
impl Redeemed {
    /// The tokens of a recorded answer.
    pub(super) fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body).map(|tokens| Self { tokens })
    }

    /// The error of a recorded answer.
    pub(super) fn refusal(body: &[u8]) -> Result<OidcError, serde_json::Error> {
        serde_json::from_slice(body).map(|response| token_error(RequestTokenError::ServerResponse(response), &[]))
    }
}

const fn survives_form_encoding(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// What the token endpoint is told in confidence.
fn told<'t>(settings: &'t IdentityProvider, exchange: &CodeExchange<'t>) -> [&'t str; 3] {
    let secret = settings.client_secret.as_ref().map_or("", |it| it.expose_secret());
    [exchange.code, exchange.pkce_verifier, secret]
}

fn token_error(
    error: RequestTokenError<OidcError, StandardErrorResponse<CoreErrorResponseType>>,
    told: &[&str],
) -> OidcError {
    // Some providers repeat in their words what they were told.
    let discreet = |text: &str| !told.iter().any(|secret| !secret.is_empty() && text.contains(secret));
    let words = |text: &str| if discreet(text) { clean(text) } else { "(words that hold a secret)".to_owned() };
    match error {
        RequestTokenError::ServerResponse(response) => OidcError::Refused {
            code: words(response.error().as_ref()),
            description: response.error_description().map(|text| words(text)),
        },
        RequestTokenError::Request(error) => error,
        // The body may hold tokens, so only the place of the mistake is told.
        RequestTokenError::Parse(error, _) => OidcError::Malformed(format!(
            "the token response: at `{}`: {}",
            clean(&error.path().to_string()),
            category(error.inner())
        )),
        RequestTokenError::Other(text) => OidcError::Malformed(format!("the token response: {}", clean(&text))),
    }
}

/// What kind of mistake it is, without the text that it is in.
fn category(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Io | serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Syntax => "it is not JSON",
        serde_json::error::Category::Data => "a value has the wrong type",
    }
}

fn userinfo_error(error: UserInfoError<OidcError>) -> OidcError {
    match error {
        UserInfoError::Request(error) => error,
        UserInfoError::ClaimsVerification(error) => {
            OidcError::InvalidToken(format!("userinfo: {}", clean(&error.to_string())))
        }
        UserInfoError::Parse(error) => OidcError::Malformed(format!("userinfo: {}", category(error.inner()))),
        UserInfoError::Response(status, ..) => {
            OidcError::Refused { code: format!("userinfo answered {status}"), description: None }
        }
        other => OidcError::Malformed(format!("userinfo: {}", clean(&other.to_string()))),
    }
}
