//! Whether an ID token proves what it must (OIDC Core §3.1.3.7).

use chrono::{DateTime, Duration, Utc};
use openidconnect::core::{CoreHmacKey, CoreJsonWebKey, CoreJsonWebKeySet};
use openidconnect::{
    AccessTokenHash, ClaimsVerificationError, IdTokenVerifier, JwsSigningAlgorithm, Nonce, NonceVerifier,
    OAuth2TokenResponse, PrivateSigningKey, SignatureVerificationError, TokenResponse,
};
use serde_json::{Map, Value};

use super::error::clean;
use super::tokens::Tokens;
use super::{Keys, OidcError, Ready, jws};
use crate::settings::IdentityProvider;
use crate::world::UnixTime;

/// Clocks differ; a token is judged with this much patience.
pub(super) const LEEWAY_SECONDS: i64 = 60;

/// What a verified ID token says.
pub(super) struct Verified {
    pub(super) claims: Map<String, Value>,
    /// As received.
    pub(super) id_token: String,
}

/// Which `nonce` an ID token must have.
#[derive(Clone, Copy)]
pub(super) enum ExpectedNonce<'n> {
    /// That of the authorisation request (OIDC Core §3.1.3.7).
    This(&'n str),
    /// None, or that of the token that is refreshed (OIDC Core §12.2).
    NoneOr(Option<&'n str>),
}

impl NonceVerifier for ExpectedNonce<'_> {
    fn verify(self, nonce: Option<&Nonce>) -> Result<(), String> {
        match self {
            Self::NoneOr(_) if nonce.is_none() => Ok(()),
            Self::NoneOr(None) => Err("unexpected nonce claim".to_owned()),
            Self::This(expected) | Self::NoneOr(Some(expected)) => {
                NonceVerifier::verify(&Nonce::new(expected.to_owned()), nonce)
            }
        }
    }
}

/// Why a token was not accepted.
pub(super) enum Failure {
    /// No known key made its signature; the provider may have newer ones.
    Keys(OidcError),
    /// Nothing helps.
    Final(OidcError),
}

/// How a look at the token with one set of keys ended.
enum Unverified {
    /// Several keys fit what its header says.
    Ambiguous,
    Failed(Failure),
}

impl From<Failure> for Unverified {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Ready {
    /// The claims of an ID token, all of them verified (OIDC Core §3.1.3.7).
    ///
    /// A token that names no key, or a name that several keys have, is tried with each key of its algorithm: they are all the
    /// provider's, so it does not matter which of them fits.
    pub(super) fn verify(
        &self,
        settings: &IdentityProvider,
        nonce: ExpectedNonce<'_>,
        tokens: &Tokens,
        now: UnixTime,
    ) -> Result<Verified, Failure> {
        match self.verify_with_these_keys(settings, nonce, tokens, now) {
            Ok(verified) => return Ok(verified),
            Err(Unverified::Failed(failure)) => return Err(failure),
            Err(Unverified::Ambiguous) => {}
        }
        let what = "several keys fit its header, and none of them its signature";
        let mut failure = Failure::Keys(OidcError::InvalidToken(what.into()));
        for key in self.keys.set.keys() {
            match self.with_only(key).verify_with_these_keys(settings, nonce, tokens, now) {
                Ok(verified) => return Ok(verified),
                Err(Unverified::Failed(worse @ Failure::Final(_))) => failure = worse,
                Err(Unverified::Failed(Failure::Keys(_)) | Unverified::Ambiguous) => {}
            }
        }
        Err(failure)
    }

    fn with_only(&self, key: &CoreJsonWebKey) -> Self {
        let keys = Keys { set: CoreJsonWebKeySet::new(vec![key.clone()]), fresh_for: self.keys.fresh_for };
        Self { metadata: self.metadata.clone(), keys, jwks_header: self.jwks_header.clone() }
    }

    fn verify_with_these_keys(
        &self,
        settings: &IdentityProvider,
        nonce: ExpectedNonce<'_>,
        tokens: &Tokens,
        now: UnixTime,
    ) -> Result<Verified, Unverified> {
        let final_failure = |error| Failure::Final(error);
        let client = self.client(settings);
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
        let Some(id_token) = tokens.id_token() else {
            return Err(Failure::Final(OidcError::NotReady).into());
        };
        jws::verify_mac_length(&id_token.to_string()).map_err(final_failure)?;
        let claims = id_token.claims(&verifier, nonce).map_err(verification_error)?;
        verify_access_token_hash(tokens, &verifier, claims.access_token_hash()).map_err(final_failure)?;
        let Ok(Value::Object(claims)) = serde_json::to_value(claims) else {
            let what = "the ID token's claims are no object".into();
            return Err(Failure::Final(OidcError::Malformed(what)).into());
        };
        verify_party(&claims, &settings.client_id).map_err(final_failure)?;
        verify_not_before(&claims, later).map_err(final_failure)?;
        Ok(Verified { claims, id_token: id_token.to_string() })
    }
}

/// The earliest and the latest time that it may be now, clocks being what they are.
pub(super) fn tolerated(now: UnixTime) -> Result<(DateTime<Utc>, DateTime<Utc>), OidcError> {
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

pub(super) fn verify_not_before(claims: &Map<String, Value>, later: DateTime<Utc>) -> Result<(), OidcError> {
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

fn verification_error(error: ClaimsVerificationError) -> Unverified {
    use SignatureVerificationError::{AmbiguousKeyId, CryptoError, NoMatchingKey};
    let ClaimsVerificationError::SignatureVerification(cause) = &error else {
        return Failure::Final(OidcError::InvalidToken(clean(&error.to_string()))).into();
    };
    let invalid = OidcError::InvalidToken(clean(&format!("{error}: {cause}")));
    match cause {
        AmbiguousKeyId(_) => Unverified::Ambiguous,
        NoMatchingKey | CryptoError(_) => Failure::Keys(invalid).into(),
        _ => Failure::Final(invalid).into(),
    }
}
