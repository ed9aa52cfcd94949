//! Verification of ID tokens (OIDC Core §3.1.3.7).
//!
//! Only the claims that verification needs have to be of the right type. All others are read where they are used; one of the wrong
//! type counts as absent there.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Map, Value};

use super::Ready;
use super::error::clean;
use super::flaw::{Flaw, Remedy};
use super::jws::{Jws, Kind};
use super::logout_token::date;
use super::token_response::TokenResponse;
use super::{IdentityProvider, SigningAlgorithm};
use crate::world::UnixTime;

/// The tolerance for clocks that differ.
pub(super) const LEEWAY_SECONDS: i64 = 60;

/// A verified ID token.
pub(super) struct Verified {
    /// All of its claims that are not `null`.
    pub(super) claims: Map<String, Value>,
    /// As received.
    pub(super) id_token: String,
    /// The algorithm of its signature.
    pub(super) algorithm: SigningAlgorithm,
}

/// Which `nonce` an ID token must have.
#[derive(Clone, Copy)]
pub(super) enum ExpectedNonce<'n> {
    /// That of the authorisation request (OIDC Core §3.1.3.7).
    This(&'n str),
    /// None, or that of the token that is refreshed (OIDC Core §12.2).
    NoneOr(Option<&'n str>),
}

impl ExpectedNonce<'_> {
    fn verify(self, claims: &Map<String, Value>) -> Result<(), Flaw> {
        let found = claims.get("nonce").filter(|nonce| !nonce.is_null());
        match (self, found) {
            (Self::NoneOr(_), None) => Ok(()),
            (Self::This(expected) | Self::NoneOr(Some(expected)), Some(Value::String(nonce))) if nonce == expected => {
                Ok(())
            }
            (Self::This(_), None) => Err(Flaw::new("`nonce` is missing", Remedy::Nonce)),
            (_, Some(_)) => Err(Flaw::new("`nonce` is not that of this login", Remedy::Nonce)),
        }
    }
}

/// Why a token does not verify.
pub(super) enum VerificationError {
    /// Metadata and keys do not fit it, and newer ones may: the provider may have changed its keys or its algorithm.
    Stale(Flaw),
    /// Newer metadata and keys could not help.
    Final(Flaw),
}

impl From<VerificationError> for Flaw {
    fn from(failure: VerificationError) -> Self {
        match failure {
            VerificationError::Stale(flaw) | VerificationError::Final(flaw) => flaw,
        }
    }
}

impl Ready {
    /// Verifies an ID token (OIDC Core §3.1.3.7).
    pub(super) fn verify(
        &self,
        settings: &IdentityProvider,
        nonce: ExpectedNonce<'_>,
        tokens: &TokenResponse,
        now: UnixTime,
    ) -> Result<Verified, VerificationError> {
        let missing = || VerificationError::Final(Flaw::new("there is none", Remedy::Format));
        let id_token = tokens.id_token().ok_or_else(missing)?;
        let jws = Jws::parse(id_token).map_err(VerificationError::Final)?;
        verify_kind(&jws).map_err(VerificationError::Final)?;
        verify_issuer(&jws.claims, &settings.issuer).map_err(|flaw| {
            if is_nearly_the_issuer(&jws.claims, &settings.issuer) {
                VerificationError::Stale(flaw)
            } else {
                VerificationError::Final(flaw)
            }
        })?;
        verify_audience(&jws.claims, &settings.client_id).map_err(VerificationError::Final)?;
        verify_party(&jws.claims, &settings.client_id).map_err(VerificationError::Final)?;
        let algorithm = self.verify_signature(settings, &jws, Kind::IdToken)?;
        verify_login(&jws, nonce, tokens, now).map_err(VerificationError::Final)?;
        Ok(Verified { claims: normalised(jws.claims), id_token: id_token.to_owned(), algorithm })
    }

    /// Whether the provider issued an ID token, by issuer and signature.
    pub(super) fn issued(&self, settings: &IdentityProvider, id_token: &str) -> bool {
        Jws::parse(id_token).is_ok_and(|jws| {
            verify_issuer(&jws.claims, &settings.issuer).is_ok()
                && self.verify_signature(settings, &jws, Kind::IdToken).is_ok()
        })
    }
}

/// Removes claims that are `null` (OIDC Core §5.3.2), and makes a text of a `sid` that is a number.
pub(super) fn normalised(mut claims: Map<String, Value>) -> Map<String, Value> {
    claims.retain(|_, value| !value.is_null());
    if let Some(sid) = claims.get_mut("sid").filter(|sid| sid.is_number()) {
        *sid = Value::String(sid.to_string());
    }
    claims
}

/// An access token or a logout token is not an ID token, even if the provider signed it (RFC 8725 §3.11).
fn verify_kind(jws: &Jws<'_>) -> Result<(), Flaw> {
    match jws.kind()?.as_deref() {
        None | Some("jwt" | "jose") => Ok(()),
        Some(_) => Err(Flaw::new("its `typ` is not JWT", Remedy::Format)),
    }
}

/// Whether the issuer that a token names differs from `issuer` in case or by a slash at the end only: then the provider may have
/// changed its spelling.
fn is_nearly_the_issuer(claims: &Map<String, Value>, issuer: &str) -> bool {
    let bare = |issuer: &str| issuer.trim_end_matches('/').to_ascii_lowercase();
    claims.get("iss").and_then(Value::as_str).is_some_and(|named| bare(named) == bare(issuer))
}

/// Verifies that the token belongs to this login, and to the present.
fn verify_login(jws: &Jws<'_>, nonce: ExpectedNonce<'_>, tokens: &TokenResponse, now: UnixTime) -> Result<(), Flaw> {
    let claims = &jws.claims;
    verify_times(claims, now)?;
    nonce.verify(claims)?;
    verify_access_token_hash(jws, tokens.access_token_text())?;
    match claims.get("sub") {
        Some(Value::String(_)) => Ok(()),
        None | Some(Value::Null) => Err(Flaw::new("`sub` is missing", Remedy::Subject)),
        Some(_) => Err(Flaw::new("`sub` is not a text", Remedy::Subject)),
    }
}

/// The earliest and the latest time that it may be now, as clocks differ.
pub(super) fn tolerated(now: UnixTime) -> Result<(DateTime<Utc>, DateTime<Utc>), Flaw> {
    let now = i64::try_from(now.as_secs())
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .ok_or_else(|| Flaw::new("the clock here is beyond the calendar", Remedy::Clock))?;
    let leeway = Duration::seconds(LEEWAY_SECONDS);
    Ok((now - leeway, now + leeway))
}

/// Verifies that the issuer is the configured one, to the last character.
pub(super) fn verify_issuer(claims: &Map<String, Value>, issuer: &str) -> Result<(), Flaw> {
    let invalid = |what: String| Flaw::new(what, Remedy::Issuer);
    match claims.get("iss") {
        Some(Value::String(named)) if named == issuer => Ok(()),
        Some(Value::String(named)) => {
            let named = clean(named);
            Err(invalid(format!("`iss` is another issuer: {named:?}, and {issuer:?} is configured")))
        }
        None | Some(Value::Null) => Err(invalid("`iss` is missing".to_owned())),
        Some(_) => Err(invalid("`iss` is not a text".to_owned())),
    }
}

/// Verifies that the client is an audience; others may be, too.
pub(super) fn verify_audience(claims: &Map<String, Value>, client_id: &str) -> Result<(), Flaw> {
    let invalid = |what: &'static str| Flaw::new(what, Remedy::Audience);
    let found = match claims.get("aud") {
        Some(Value::String(audience)) => audience == client_id,
        Some(Value::Array(audiences)) if audiences.iter().all(Value::is_string) => {
            audiences.iter().any(|audience| audience == client_id)
        }
        None | Some(Value::Null) => return Err(invalid("`aud` is missing")),
        Some(_) => return Err(invalid("`aud` is neither a text nor a list of texts")),
    };
    if found { Ok(()) } else { Err(invalid("`aud` does not name this client: it is for another audience")) }
}

/// Verifies that the token was made for our client, when it has more than one audience, or `azp`.
fn verify_party(claims: &Map<String, Value>, client_id: &str) -> Result<(), Flaw> {
    let invalid = |what: &'static str| Flaw::new(what, Remedy::Party);
    let several = claims.get("aud").and_then(Value::as_array).is_some_and(|aud| aud.len() > 1);
    match claims.get("azp") {
        None | Some(Value::Null) if several => Err(invalid("several audiences and no `azp`")),
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(party)) if party == client_id => Ok(()),
        Some(_) => Err(invalid("`azp` is another client")),
    }
}

/// Verifies that the token has begun and has not ended, with the tolerance for clocks; both times are required (OIDC Core §2).
fn verify_times(claims: &Map<String, Value>, now: UnixTime) -> Result<(), Flaw> {
    let (earlier, later) = tolerated(now)?;
    let time = |moment: DateTime<Utc>| UnixTime::from_secs(u64::try_from(moment.timestamp()).unwrap_or_default());
    let end = date(claims, "exp")?.ok_or_else(|| Flaw::new("`exp` is missing", Remedy::Expiry))?;
    if end <= time(earlier) {
        return Err(Flaw::new("expired (`exp`)", Remedy::Clock));
    }
    let issued_at = date(claims, "iat")?.ok_or_else(|| Flaw::new("`iat` is missing", Remedy::IssuedAt))?;
    if issued_at > time(later) {
        return Err(Flaw::new("issued in the future (`iat`)", Remedy::Clock));
    }
    verify_not_before(claims, later)
}

pub(super) fn verify_not_before(claims: &Map<String, Value>, later: DateTime<Utc>) -> Result<(), Flaw> {
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are exact in a double")]
    let latest = later.timestamp() as f64;
    match claims.get("nbf") {
        None | Some(Value::Null) => Ok(()),
        Some(not_before) if not_before.as_f64().is_some_and(|it| it <= latest) => Ok(()),
        Some(_) => Err(Flaw::new("not valid yet (`nbf`)", Remedy::Clock)),
    }
}

/// Verifies `at_hash` where it is there (OIDC Core §3.1.3.8).
fn verify_access_token_hash(jws: &Jws<'_>, access_token: &str) -> Result<(), Flaw> {
    match jws.claims.get("at_hash") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(hash)) if jws.half_hash(access_token).as_deref() == Some(hash) => Ok(()),
        Some(_) => Err(Flaw::new("`at_hash` does not fit the access token", Remedy::AccessTokenHash)),
    }
}
