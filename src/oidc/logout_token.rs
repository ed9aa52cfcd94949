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

/// For tokens without `exp`, which some providers send: what §2.4 advises.
const USUAL_LIFETIME: Duration = Duration::from_mins(2);

/// However late `exp` is, so that a replay need not be remembered for longer.
const LONGEST_LIFETIME: Duration = Duration::from_hours(24);

const LEEWAY: Duration = Duration::from_secs(LEEWAY_SECONDS.unsigned_abs());

/// The last second of the year 9999; what is later is no date.
const LAST_DATE: f64 = 253_402_300_799.0;

/// Who is to be logged out, by the provider's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutToken {
    /// The user (`sub`); never empty. Without a session, all sessions of the user are meant.
    pub subject: Option<String>,
    /// The provider's session (`sid`); never empty. With both, the session is meant, and it must be the user's.
    pub session_id: Option<String>,
    /// The token's own name, by which a second delivery is told from a first one.
    pub jti: String,
    /// When it was made.
    pub issued_at: UnixTime,
    /// How it is signed.
    pub algorithm: SigningAlgorithm,
    /// From then on it is not accepted, with patience for clocks: so long a `jti` must be remembered.
    pub expires_at: UnixTime,
}

/// Why a logout token was not accepted.
///
/// The texts are for the operator's log; they hold nothing of the token.
#[derive(Debug, thiserror::Error)]
pub enum LogoutTokenError {
    /// Discovery has not succeeded yet: nothing can be verified, and a later delivery may be.
    #[error("the provider's metadata is not known yet")]
    NotReady,
    /// Another issuer made it, or for another client; one of another registration of ours, perhaps.
    #[error("the logout token is of another issuer, or for another client")]
    Foreign,
    /// Nothing in it can be read, so nobody can tell whose it would be.
    #[error("the logout token is not valid")]
    Malformed(#[source] Flaw),
    /// What is known of the provider does not fit it, and nothing newer could be had: a later delivery may be accepted.
    #[error("the logout token does not fit what is known of the provider, and nothing newer can be had")]
    UnknownKey(#[source] OidcError),
    /// It is no logout token, or one that proves nothing.
    #[error("the logout token is not valid")]
    Invalid(#[source] Flaw),
}

impl Provider {
    /// Whether `token` is this provider's order to log somebody out.
    ///
    /// Keys are asked for again when no known one fits, as seldom as for logins. Where several providers may have sent it, each
    /// is asked in turn: [`LogoutTokenError::Foreign`] comes before all costly work. That it is not a replay is for the caller
    /// to find out, by issuer and `jti`.
    ///
    /// # Errors
    ///
    /// When it is not; nobody is logged out then.
    pub async fn verify_logout_token(&self, token: &str) -> Result<LogoutToken, LogoutTokenError> {
        let jws = take_apart(token)?;
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

/// The same with these keys only.
#[cfg(test)]
pub(super) fn verify(
    ready: &Ready,
    settings: &IdentityProvider,
    token: &str,
    now: UnixTime,
) -> Result<LogoutToken, String> {
    let told = |error: LogoutTokenError| crate::telemetry::WithCauses(&error).to_string();
    let jws = take_apart(token).map_err(told)?;
    verify_recipient(&jws.claims, settings).map_err(told)?;
    let logout = read(&jws, now).map_err(|flaw| flaw.to_string())?;
    match ready.verify_signature(settings, &jws, Kind::Logout) {
        Ok(_) => Ok(logout),
        Err(failure) => Err(Flaw::from(failure).to_string()),
    }
}

fn take_apart(token: &str) -> Result<Jws<'_>, LogoutTokenError> {
    if token.len() > LARGEST {
        return Err(LogoutTokenError::Malformed("it is too long".into()));
    }
    Jws::parse(token).map_err(LogoutTokenError::Malformed)
}

/// Everything but the recipient and the signature.
pub(super) fn read(jws: &Jws<'_>, now: UnixTime) -> Result<LogoutToken, Flaw> {
    if !matches!(jws.kind()?.as_deref(), None | Some("jwt" | "logout+jwt")) {
        return Err(invalid("its `typ` is neither JWT nor logout+jwt"));
    }
    let claims = &jws.claims;
    if !claims.get("events").and_then(|events| events.get(EVENT)).is_some_and(Value::is_object) {
        return Err(invalid("`events` does not say logout"));
    }
    // So that no ID token passes for one (§2.4).
    if claims.contains_key("nonce") {
        return Err(invalid("it has a `nonce`"));
    }
    let algorithm = jws.algorithm()?;
    let subject = text(claims, "sub")?;
    let session_id = match claims.get("sid") {
        // As the ID token's is read.
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

/// For this client, from this issuer; further audiences are no matter of ours.
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

/// A text; an empty one says nothing, and anything else is a mistake.
fn text(claims: &Map<String, Value>, name: &str) -> Result<Option<String>, Flaw> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => Err(format!("`{name}` is no text").into()),
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
        Flaw::new(format!("`{name}` is no date"), remedy)
    })
}

fn invalid(why: &'static str) -> Flaw {
    why.into()
}
