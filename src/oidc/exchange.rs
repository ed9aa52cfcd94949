use chrono::{DateTime, Duration, Utc};
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreErrorResponseType, CoreGenderClaim, CoreHmacKey, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreRevocableToken, CoreRevocationErrorResponse,
    CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AccessTokenHash, AdditionalClaims, AuthType, AuthorizationCode, ClaimsVerificationError, Client, ClientId,
    ClientSecret, EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, IdTokenFields, IdTokenVerifier,
    JwsSigningAlgorithm, Nonce, OAuth2TokenResponse, PkceCodeVerifier, PrivateSigningKey, RedirectUrl,
    RequestTokenError, SignatureVerificationError, StandardErrorResponse, StandardTokenResponse, TokenResponse,
    UserInfoClaims, UserInfoError,
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::clean;
use super::provider::Asker;
use super::{OidcError, Ready};
use crate::settings::{IdentityProvider, TokenEndpointAuthMethod};
use crate::world::UnixTime;

/// Clocks differ; a token is judged with this much patience.
const LEEWAY_SECONDS: i64 = 60;

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

type Tokens = StandardTokenResponse<
    IdTokenFields<
        AllClaims,
        EmptyExtraTokenFields,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;

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

    /// Redeems a code and verifies what comes back.
    ///
    /// # Errors
    ///
    /// [`Failure::Keys`] when the token's key is unknown, so that newer keys may help; any other failure is final.
    pub(super) async fn redeem(
        &self,
        settings: &IdentityProvider,
        exchange: &CodeExchange<'_>,
        token_endpoint: &Asker<'_>,
    ) -> Result<Redeemed, OidcError> {
        let tokens = self
            .client(settings, exchange.redirect_uri)?
            .exchange_code(AuthorizationCode::new(exchange.code.to_owned()))
            .map_err(|error| OidcError::Configuration(error.to_string()))?
            .set_pkce_verifier(PkceCodeVerifier::new(exchange.pkce_verifier.to_owned()))
            .request_async(token_endpoint)
            .await
            .map_err(token_error)?;
        if tokens.id_token().is_none() {
            let missing = "the token response has no id_token (is `openid` among the scopes?)";
            return Err(OidcError::Malformed(missing.into()));
        }
        Ok(Redeemed { tokens })
    }

    /// The claims of a redeemed ID token, all of them verified (OIDC Core §3.1.3.7).
    pub(super) fn verify(
        &self,
        settings: &IdentityProvider,
        exchange: &CodeExchange<'_>,
        redeemed: &Redeemed,
        now: UnixTime,
    ) -> Result<Login, Failure> {
        let final_failure = |error| Failure::Final(error);
        let client = self.client(settings, exchange.redirect_uri).map_err(final_failure)?;
        let (earlier, later) = tolerated(now).map_err(final_failure)?;
        let verifier = client
            .id_token_verifier()
            .set_allowed_algs(self.metadata.allowed_algorithms())
            .set_time_fn(move || earlier)
            .set_issue_time_verifier_fn(
                move |issued| {
                    if issued <= later { Ok(()) } else { Err("issued in the future".into()) }
                },
            )
            // Other audiences are judged with `azp` below.
            .set_other_audience_verifier_fn(|_| true);
        let Some(id_token) = redeemed.tokens.id_token() else {
            return Err(Failure::Final(OidcError::NotReady));
        };
        let claims = id_token.claims(&verifier, &Nonce::new(exchange.nonce.to_owned())).map_err(verification_error)?;
        verify_access_token_hash(&redeemed.tokens, &verifier, claims.access_token_hash()).map_err(final_failure)?;
        let Ok(Value::Object(claims)) = serde_json::to_value(claims) else {
            let what = "the ID token's claims are no object".into();
            return Err(Failure::Final(OidcError::Malformed(what)));
        };
        verify_party(&claims, &settings.client_id).map_err(final_failure)?;
        verify_not_before(&claims, later).map_err(final_failure)?;
        Ok(Login { claims, id_token: id_token.to_string() })
    }

    /// Adds what userinfo says and the ID token did not; its `sub` must be the same (OIDC Core §5.3.2).
    pub(super) async fn add_userinfo(
        &self,
        settings: &IdentityProvider,
        exchange: &CodeExchange<'_>,
        redeemed: &Redeemed,
        login: &mut Login,
        userinfo_endpoint: &Asker<'_>,
    ) -> Result<(), OidcError> {
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
    tokens: Tokens,
}

#[cfg(test)]
impl Redeemed {
    /// The tokens of a recorded answer.
    pub(super) fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body).map(|tokens| Self { tokens })
    }

    /// The error of a recorded answer.
    pub(super) fn refusal(body: &[u8]) -> Result<OidcError, serde_json::Error> {
        serde_json::from_slice(body).map(|response| token_error(RequestTokenError::ServerResponse(response)))
    }
}

/// Why an ID token was not accepted.
pub(super) enum Failure {
    /// No known key made its signature; the provider may have newer ones.
    Keys(OidcError),
    /// Nothing helps.
    Final(OidcError),
}

const fn survives_form_encoding(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// The earliest and the latest time that it may be now, clocks being what they are.
fn tolerated(now: UnixTime) -> Result<(DateTime<Utc>, DateTime<Utc>), OidcError> {
    let now = i64::try_from(now.as_secs())
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .ok_or_else(|| OidcError::Configuration("the system clock is beyond the calendar".into()))?;
    let leeway = Duration::seconds(LEEWAY_SECONDS);
    Ok((now - leeway, now + leeway))
}

/// With more than one audience, or with `azp`, the token must have been made for us.
fn verify_party(claims: &Map<String, Value>, client_id: &str) -> Result<(), OidcError> {
    let several = claims.get("aud").and_then(Value::as_array).is_some_and(|aud| aud.len() > 1);
    match claims.get("azp") {
        None | Some(Value::Null) if several => Err(OidcError::InvalidToken("several audiences and no `azp`".into())),
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(party)) if party == client_id => Ok(()),
        Some(_) => Err(OidcError::InvalidToken("`azp` is another client".into())),
    }
}

fn verify_not_before(claims: &Map<String, Value>, later: DateTime<Utc>) -> Result<(), OidcError> {
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are exact in a double")]
    let latest = later.timestamp() as f64;
    match claims.get("nbf") {
        None | Some(Value::Null) => Ok(()),
        Some(not_before) if not_before.as_f64().is_some_and(|it| it <= latest) => Ok(()),
        Some(_) => Err(OidcError::InvalidToken("not valid yet (`nbf`)".into())),
    }
}

fn verify_access_token_hash(
    tokens: &Tokens,
    verifier: &IdTokenVerifier<'_, CoreJsonWebKey>,
    expected: Option<&AccessTokenHash>,
) -> Result<(), OidcError> {
    let (Some(expected), Some(id_token)) = (expected, tokens.id_token()) else {
        return Ok(());
    };
    let invalid = |what: String| OidcError::InvalidToken(what);
    let algorithm = id_token.signing_alg().map_err(|error| invalid(error.to_string()))?;
    let actual = if algorithm.uses_shared_secret() {
        // Only the algorithm matters for the hash; the library asks for a key of the same kind.
        let key = CoreHmacKey::new(Vec::new()).as_verification_key();
        AccessTokenHash::from_token(tokens.access_token(), algorithm, &key)
    } else {
        let key = id_token.signing_key(verifier).map_err(|error| invalid(error.to_string()))?;
        AccessTokenHash::from_token(tokens.access_token(), algorithm, key)
    };
    let actual = actual.map_err(|error| invalid(error.to_string()))?;
    if actual == *expected { Ok(()) } else { Err(invalid("`at_hash` does not fit the access token".into())) }
}

fn verification_error(error: ClaimsVerificationError) -> Failure {
    use SignatureVerificationError::{CryptoError, NoMatchingKey};
    let invalid = OidcError::InvalidToken(clean(&error.to_string()));
    match error {
        ClaimsVerificationError::SignatureVerification(NoMatchingKey | CryptoError(_)) => Failure::Keys(invalid),
        _ => Failure::Final(invalid),
    }
}

fn token_error(error: RequestTokenError<OidcError, StandardErrorResponse<CoreErrorResponseType>>) -> OidcError {
    match error {
        RequestTokenError::ServerResponse(response) => OidcError::Refused {
            code: clean(response.error().as_ref()),
            description: response.error_description().map(|text| clean(text)),
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
