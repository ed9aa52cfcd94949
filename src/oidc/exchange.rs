//! The code exchange at the token endpoint (OIDC Core §3.1.3).

use std::time::Duration;

use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreRevocableToken, CoreRevocationErrorResponse, CoreTokenIntrospectionResponse,
};
use openidconnect::{
    AsyncHttpClient, AuthorizationCode, Client, ClientId, ClientSecret, EmptyAdditionalClaims, EndpointMaybeSet,
    EndpointNotSet, EndpointSet, PkceCodeVerifier, RedirectUrl, RequestTokenError, StandardErrorResponse,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::error::{clean, clean_without_secrets};
use super::logout_token::date;
use super::token_response::{Extras, TokenResponse};
use super::verify::Verified;
use super::{ClientAuthentication, IdentityProvider, OidcError, Ready};
use crate::world::UnixTime;

/// What the code exchange needs.
#[derive(Clone, Copy)]
pub struct CodeExchange<'a> {
    /// The authorisation code.
    pub code: &'a str,
    /// As sent in the authorisation request.
    pub redirect_uri: &'a str,
    /// As sent in the authorisation request.
    pub nonce: &'a str,
    /// The PKCE verifier of the challenge in the authorisation request.
    pub pkce_verifier: &'a str,
}

/// A completed login.
pub struct Login {
    /// The claims of the verified ID token, with wanted ones of userinfo and of the access token that it lacks.
    pub claims: Map<String, Value>,
    /// The ID token as received.
    pub id_token: String,
    /// Names of claims that userinfo had, for [`PreviousLogin::userinfo_claims`](super::PreviousLogin::userinfo_claims).
    pub userinfo_claims: Vec<String>,
    /// The refresh token, when the provider gave one.
    pub refresh_token: Option<SecretString>,
    /// The lifetime of the access token; `None` when the provider does not tell, or nothing that makes sense.
    pub access_token_lifetime: Option<Duration>,
}

impl Login {
    pub(super) fn new(verified: Verified, extras: Extras) -> Self {
        Self {
            claims: verified.claims,
            id_token: verified.id_token,
            userinfo_claims: Vec::new(),
            refresh_token: extras.refresh_token,
            access_token_lifetime: extras.lifetime,
        }
    }

    /// The id of the provider's own session (the claim `sid`), which logout tokens may have; never empty.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        session_id(&self.claims)
    }

    /// When the user authenticated at the provider (`auth_time`), in whole seconds; `None` when the provider does not tell.
    #[must_use]
    pub fn auth_time(&self) -> Option<u64> {
        let seconds = match self.claims.get("auth_time")? {
            Value::String(text) => text.parse().ok()?,
            claim => claim.as_f64()?,
        };
        Duration::try_from_secs_f64(seconds).ok().map(|time| time.as_secs())
    }

    /// The expiry of the ID token; `None` when it has no valid date.
    #[must_use]
    pub fn id_token_expires_at(&self) -> Option<UnixTime> {
        expires_at(&self.claims)
    }
}

pub(super) fn expires_at(claims: &Map<String, Value>) -> Option<UnixTime> {
    date(claims, "exp").ok().flatten()
}

/// The claim `sid`; an empty one counts as absent.
pub(super) fn session_id(claims: &Map<String, Value>) -> Option<&str> {
    claims.get("sid").and_then(Value::as_str).filter(|sid| !sid.is_empty())
}

pub(super) type OidcClient = Client<
    EmptyAdditionalClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    TokenResponse,
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
    pub(super) fn client(&self, settings: &IdentityProvider) -> OidcClient {
        let secret = settings.client_secret.as_ref().map(|secret| ClientSecret::new(secret.expose_secret().to_owned()));
        Client::from_provider_metadata(
            self.metadata.document.clone(),
            ClientId::new(settings.client_id.clone()),
            secret,
        )
        .set_auth_type(ClientAuthentication::of(settings, &self.metadata).auth_type())
    }

    /// The same with a redirect URI.
    pub(super) fn client_for(&self, settings: &IdentityProvider, redirect_uri: &str) -> Result<OidcClient, OidcError> {
        let redirect_uri = RedirectUrl::new(redirect_uri.to_owned())
            .map_err(|_| OidcError::Configuration("the redirect URI is not a URL".into()))?;
        Ok(self.client(settings).set_redirect_uri(redirect_uri))
    }

    /// Redeems a code. The tokens are not verified yet.
    pub(super) async fn redeem<H>(
        &self,
        settings: &IdentityProvider,
        exchange: &CodeExchange<'_>,
        token_endpoint: &H,
    ) -> Result<TokenResponse, OidcError>
    where
        H: for<'c> AsyncHttpClient<'c, Error = OidcError, Future: Send> + Sync,
    {
        let tokens = self
            .client_for(settings, exchange.redirect_uri)?
            .exchange_code(AuthorizationCode::new(exchange.code.to_owned()))
            .map_err(|error| OidcError::Configuration(error.to_string()))?
            .set_pkce_verifier(PkceCodeVerifier::new(exchange.pkce_verifier.to_owned()))
            .request_async(token_endpoint)
            .await
            .map_err(|error| token_error(error, &told(settings, [exchange.code, exchange.pkce_verifier])))?;
        if tokens.id_token().is_none() {
            let missing = "the token response has no id_token (is `openid` among the scopes?)";
            return Err(OidcError::Malformed(missing.into()));
        }
        Ok(tokens)
    }
}

/// The error of a recorded answer.
#[cfg(test)]
pub(super) fn refusal(body: &[u8]) -> Result<OidcError, serde_json::Error> {
    serde_json::from_slice(body).map(|response| token_error(RequestTokenError::ServerResponse(response), &[]))
}

/// What a request has that must not come back in a message.
pub(super) fn told<'t>(settings: &'t IdentityProvider, [one, other]: [&'t str; 2]) -> [&'t str; 3] {
    [one, other, settings.client_secret.as_ref().map_or("", |it| it.expose_secret())]
}

pub(super) fn token_error(
    error: RequestTokenError<OidcError, StandardErrorResponse<CoreErrorResponseType>>,
    told: &[&str],
) -> OidcError {
    let words = |text: &str| clean_without_secrets(text, told);
    match error {
        RequestTokenError::ServerResponse(response) => OidcError::Refused {
            code: words(response.error().as_ref()),
            description: response.error_description().map(|text| words(text)),
        },
        RequestTokenError::Request(error) => error,
        // The body may hold tokens, so the message has only the place of the mistake.
        RequestTokenError::Parse(error, _) => {
            let (place, why) = (clean(&error.path().to_string()), category(error.inner()));
            OidcError::Malformed(format!("the token response: at `{place}`: {why}").into())
        }
        RequestTokenError::Other(text) => OidcError::Malformed(format!("the token response: {}", clean(&text)).into()),
    }
}

/// The kind of a mistake, without the text around it.
fn category(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Io | serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Syntax => "it is not JSON",
        serde_json::error::Category::Data => "a value has the wrong type",
    }
}
