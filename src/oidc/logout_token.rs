//! Logout tokens (OpenID Connect Back-Channel Logout 1.0 §2.4 to §2.6).

use std::time::Duration;

use serde_json::{Map, Value};

use super::flaw::{Flaw, Remedy};
use super::jws::{Jws, Kind};
use super::verify::{LEEWAY_SECONDS, tolerated, verify_not_before};
use super::{IdentityProvider, OidcError, Provider, Ready, SigningAlgorithm};
use crate::world::UnixTime;

/// The member of `events` that makes a token a logout token (§2.4).
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Far more than any real one, and cheap to refuse.
const LARGEST: usize = 16 << 10;

/// The lifetime of tokens without `exp`, which some providers send; §2.4 advises it.
const USUAL_LIFETIME: Duration = Duration::from_mins(2);

/// The longest lifetime, however late `exp` is, so that replays are remembered no longer.
const LONGEST_LIFETIME: Duration = Duration::from_hours(24);

const LEEWAY: Duration = Duration::from_secs(LEEWAY_SECONDS.unsigned_abs());

/// The last second of the year 9999; later times are not valid.
const LAST_DATE: f64 = 253_402_300_799.0;

/// A verified logout token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutToken {
    /// The user (`sub`); never empty. Without a session id the token ends all sessions of the user.
    pub subject: Option<String>,
    /// The provider's session (`sid`); never empty. With both, the token ends this session, which must be the user's.
    pub session_id: Option<String>,
    /// The token's id, by which a second delivery is recognised.
    pub jti: String,
    /// When it was issued.
    pub issued_at: UnixTime,
    /// The algorithm of its signature.
    pub algorithm: SigningAlgorithm,
    /// From then on it is not accepted, with the tolerance for clocks; its `jti` must be remembered until then.
    pub expires_at: UnixTime,
}

/// Why a logout token was not accepted.
///
/// The texts are for the operator's log, and hold nothing of the token.
#[derive(Debug, thiserror::Error)]
pub enum LogoutTokenError {
    /// Discovery has not succeeded yet; a later delivery may be accepted.
    #[error("the provider's metadata is not known yet")]
    NotReady,
    /// It is from another issuer, or for another client, which may be another registration of ours.
    #[error("the logout token is of another issuer, or for another client")]
    Foreign,
    /// It cannot be parsed, so it is not known whose it would be.
    #[error("the logout token is not valid")]
    Malformed(#[source] Flaw),
    /// Metadata and keys do not fit it, and newer ones could not be fetched; a later delivery may be accepted.
    #[error("the logout token does not fit what is known of the provider, and nothing newer can be had")]
    UnknownKey(#[source] OidcError),
    /// It is not a logout token, or not a valid one.
    #[error("the logout token is not valid")]
    Invalid(#[source] Flaw),
}

impl Provider {
    /// Verifies that `token` is a logout token of this provider.
    ///
    /// Fetches keys again when none fits, as rarely as for logins. When several providers may have sent the token, the caller tries
    /// each: [`LogoutTokenError::Foreign`] comes before all costly work. The caller recognises replays, by issuer and `jti`.
    ///
    /// # Errors
    ///
    /// When it is not; the user must not be logged out then.
    pub async fn verify_logout_token(&self, token: &str) -> Result<LogoutToken, LogoutTokenError> {
        let jws = parse(token)?;
        verify_recipient(&jws.claims, self.settings())?;
        let ready = self.ready().ok_or(LogoutTokenError::NotReady)?;
        let logout = read(&jws, self.now()).map_err(LogoutTokenError::Invalid)?;
        let verify = |ready: &Ready| ready.verify_signature(self.settings(), &jws, Kind::Logout);
        match self.with_newest(&ready, verify).await {
            Ok(_) => Ok(logout),
            Err(unfit) => Err(match unfit.outdated {
                Some(error) => LogoutTokenError::UnknownKey(error),
                None => LogoutTokenError::Invalid(unfit.token),
            }),
        }
    }
}

/// The same with these keys alone.
#[cfg(test)]
pub(super) fn verify(
    ready: &Ready,
    settings: &IdentityProvider,
    token: &str,
    now: UnixTime,
) -> Result<LogoutToken, String> {
    let told = |error: LogoutTokenError| crate::telemetry::WithCauses(&error).to_string();
    let jws = parse(token).map_err(told)?;
    verify_recipient(&jws.claims, settings).map_err(told)?;
    let logout = read(&jws, now).map_err(|flaw| flaw.to_string())?;
    match ready.verify_signature(settings, &jws, Kind::Logout) {
        Ok(_) => Ok(logout),
        Err(failure) => Err(Flaw::from(failure).to_string()),
    }
}

fn parse(token: &str) -> Result<Jws<'_>, LogoutTokenError> {
    if token.len() > LARGEST {
        return Err(LogoutTokenError::Malformed("it is too long".into()));
    }
    Jws::parse(token).map_err(LogoutTokenError::Malformed)
}

/// Verifies all but the recipient and the signature.
pub(super) fn read(jws: &Jws<'_>, now: UnixTime) -> Result<LogoutToken, Flaw> {
    if !matches!(jws.kind()?.as_deref(), None | Some("jwt" | "logout+jwt")) {
        return Err(invalid("its `typ` is neither JWT nor logout+jwt"));
    }
    let claims = &jws.claims;
    if !claims.get("events").and_then(|events| events.get(EVENT)).is_some_and(Value::is_object) {
        return Err(invalid("`events` does not say logout"));
    }
    // So that an ID token does not pass for a logout token (§2.4).
    if claims.contains_key("nonce") {
        return Err(invalid("it has a `nonce`"));
    }
    let algorithm = jws.algorithm()?;
    let subject = text(claims, "sub")?;
    let session_id = match claims.get("sid") {
        // As in ID tokens.
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => text(claims, "sid")?,
    };
    if subject.is_none() && session_id.is_none() {
        return Err(invalid("it names neither a user nor a session"));
    }
    let jti = text(claims, "jti")?.ok_or_else(|| invalid("`jti` is missing"))?;
    let issued_at = date(claims, "iat")?.ok_or_else(|| invalid("`iat` is missing"))?;
    let (_, later) = tolerated(now)?;
    verify_not_before(claims, later)?;
    if issued_at > now + LEEWAY {
        return Err(invalid("issued in the future"));
    }
    let end = date(claims, "exp")?.unwrap_or(issued_at + USUAL_LIFETIME);
    let expires_at = end.min(issued_at + LONGEST_LIFETIME) + LEEWAY;
    if now >= expires_at {
        return Err(invalid("expired"));
    }
    Ok(LogoutToken { subject, session_id, jti, issued_at, algorithm, expires_at })
}

/// Verifies that it is for this client, and from this issuer; further audiences do not matter.
fn verify_recipient(claims: &Map<String, Value>, settings: &IdentityProvider) -> Result<(), LogoutTokenError> {
    let ours = |audience: &Value| audience.as_str() == Some(&settings.client_id);
    let for_us = match claims.get("aud") {
        Some(Value::Array(audiences)) => audiences.iter().any(ours),
        Some(audience) => ours(audience),
        None => false,
    };
    let from_here = claims.get("iss").and_then(Value::as_str) == Some(&settings.issuer);
    if for_us && from_here { Ok(()) } else { Err(LogoutTokenError::Foreign) }
}

/// A claim that is a text; an empty one counts as absent.
fn text(claims: &Map<String, Value>, name: &str) -> Result<Option<String>, Flaw> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => Err(format!("`{name}` is not a string").into()),
    }
}

/// A `NumericDate` (RFC 7519 §2).
pub(super) fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<UnixTime>, Flaw> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let seconds = value.as_f64().filter(|seconds| (0.0..=LAST_DATE).contains(seconds));
    let seconds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.map(|seconds| Some(UnixTime::default() + seconds)).ok_or_else(|| {
        let remedy = match name {
            "exp" => Remedy::Expiry,
            "iat" => Remedy::IssuedAt,
            _ => Remedy::Compare,
        };
        Flaw::new(format!("`{name}` is not a date"), remedy)
    })
}

fn invalid(why: &'static str) -> Flaw {
    why.into()
}
