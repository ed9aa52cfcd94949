//! Whether an ID token proves what it must (OIDC Core §3.1.3.7).
//!
//! Only the claims that this proof needs have to be of the right type. A provider may write all others as it likes: they are
//! read where they are used, and what cannot be read there counts as absent.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Map, Value};

use super::Ready;
use super::error::clean;
use super::flaw::{Flaw, Remedy};
use super::jws::{Jws, Kind};
use super::logout_token::date;
use super::tokens::Tokens;
use super::{IdentityProvider, SigningAlgorithm};
use crate::world::UnixTime;

/// Clocks differ; a token is judged with this much patience.
pub(super) const LEEWAY_SECONDS: i64 = 60;

/// What a verified ID token says.
pub(super) struct Verified {
    /// All of its claims that are not `null`.
    pub(super) claims: Map<String, Value>,
    /// As received.
    pub(super) id_token: String,
    /// How it is signed.
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

/// Why a token was not accepted.
pub(super) enum Failure {
    /// What is known of the provider does not fit it; the provider may have changed: its keys, how it signs, where they are.
    Stale(Flaw),
    /// Nothing that the provider publishes could help.
    Final(Flaw),
}

impl From<Failure> for Flaw {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Stale(flaw) | Failure::Final(flaw) => flaw,
        }
    }
}

impl Ready {
    /// The claims of an ID token, those verified that prove who signed in (OIDC Core §3.1.3.7).
    pub(super) fn verify(
        &self,
        settings: &IdentityProvider,
        nonce: ExpectedNonce<'_>,
        tokens: &Tokens,
        now: UnixTime,
    ) -> Result<Verified, Failure> {
        let missing = || Failure::Final(Flaw::new("there is none", Remedy::Format));
        let id_token = tokens.id_token().ok_or_else(missing)?;
        let jws = Jws::parse(id_token).map_err(Failure::Final)?;
        verify_kind(&jws).map_err(Failure::Final)?;
        verify_issuer(&jws.claims, &settings.issuer).map_err(|flaw| {
            if is_nearly_the_issuer(&jws.claims, &settings.issuer) {
                Failure::Stale(flaw)
            } else {
                Failure::Final(flaw)
            }
        })?;
        verify_audience(&jws.claims, &settings.client_id).map_err(Failure::Final)?;
        verify_party(&jws.claims, &settings.client_id).map_err(Failure::Final)?;
        let algorithm = self.verify_signature(settings, &jws, Kind::IdToken)?;
        verify_login(&jws, nonce, tokens, now).map_err(Failure::Final)?;
        Ok(Verified { claims: said(jws.claims), id_token: id_token.to_owned(), algorithm })
    }

    /// Whether an ID token is the provider's, as far as issuer and signature tell.
    pub(super) fn made(&self, settings: &IdentityProvider, id_token: &str) -> bool {
        Jws::parse(id_token).is_ok_and(|jws| {
            verify_issuer(&jws.claims, &settings.issuer).is_ok()
                && self.verify_signature(settings, &jws, Kind::IdToken).is_ok()
        })
    }
}

/// What claims say: `null` is nothing (OIDC Core §5.3.2), and the name of a session may be a number.
pub(super) fn said(mut claims: Map<String, Value>) -> Map<String, Value> {
    claims.retain(|_, value| !value.is_null());
    if let Some(sid) = claims.get_mut("sid").filter(|sid| sid.is_number()) {
        *sid = Value::String(sid.to_string());
    }
    claims
}

/// An access token or a logout token is not an ID token, whoever signed it (RFC 8725 §3.11).
fn verify_kind(jws: &Jws<'_>) -> Result<(), Flaw> {
    match jws.kind()?.as_deref() {
        None | Some("jwt" | "jose") => Ok(()),
        Some(_) => Err(Flaw::new("its `typ` is not JWT", Remedy::Format)),
    }
}

/// Whether the issuer that a token names differs in case or by a slash at the end only: so it looks where the provider has
/// changed how it spells itself.
fn is_nearly_the_issuer(claims: &Map<String, Value>, issuer: &str) -> bool {
    let bare = |issuer: &str| issuer.trim_end_matches('/').to_ascii_lowercase();
    claims.get("iss").and_then(Value::as_str).is_some_and(|named| bare(named) == bare(issuer))
}

/// Whether it is of this login, and of now.
fn verify_login(jws: &Jws<'_>, nonce: ExpectedNonce<'_>, tokens: &Tokens, now: UnixTime) -> Result<(), Flaw> {
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

/// The earliest and the latest time that it may be now, clocks being what they are.
pub(super) fn tolerated(now: UnixTime) -> Result<(DateTime<Utc>, DateTime<Utc>), Flaw> {
    let now = i64::try_from(now.as_secs())
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .ok_or_else(|| Flaw::new("the clock here is beyond the calendar", Remedy::Clock))?;
    let leeway = Duration::seconds(LEEWAY_SECONDS);
    Ok((now - leeway, now + leeway))
}

/// The issuer is the configured one, to the last character.
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

/// The client is an audience, alone or among texts; others are judged with `azp`.
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

/// With more than one audience, or with `azp`, the token must have been made for us.
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

/// It has begun and has not ended, with patience for clocks; both times are needed (OIDC Core §2).
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

/// OIDC Core §3.1.3.8; the claim may be missing here.
fn verify_access_token_hash(jws: &Jws<'_>, access_token: &str) -> Result<(), Flaw> {
    match jws.claims.get("at_hash") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(hash)) if jws.half_hash(access_token).as_deref() == Some(hash) => Ok(()),
        Some(_) => Err(Flaw::new("`at_hash` does not fit the access token", Remedy::AccessTokenHash)),
    }
}
