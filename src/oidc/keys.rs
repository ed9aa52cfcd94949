use std::time::Duration;

use http::{HeaderMap, header};
use openidconnect::JsonWebKeySet;
use openidconnect::core::{CoreJsonWebKey, CoreJsonWebKeySet};
use serde_json::Value;

use super::OidcError;

/// Why keys are fetched again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyRefresh {
    /// Their time was nearly over.
    Scheduled,
    /// A token named a key that is not among them.
    UnknownKey,
}

impl KeyRefresh {
    /// The name in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::UnknownKey => "unknown_key",
        }
    }
}

/// A provider's public keys, and how long they may be used without looking again.
#[derive(Clone, Debug)]
pub struct Keys {
    pub(super) set: CoreJsonWebKeySet,
    /// Until the next scheduled look.
    pub fresh_for: Duration,
}

const LEAST_FRESH: Duration = Duration::from_mins(5);
const USUALLY_FRESH: Duration = Duration::from_hours(1);
const MOST_FRESH: Duration = Duration::from_hours(24);

impl Keys {
    /// Reads a JWK Set (RFC 7517 §5).
    ///
    /// Keys that are incomplete, for encryption, or of a kind we do not know are passed over, as the RFC asks; a set
    /// without `keys` is an empty one, because authentik answers `{}` where it signs with the client secret.
    ///
    /// # Errors
    ///
    /// When it is no JSON object.
    pub fn parse(document: &[u8], headers: &HeaderMap) -> Result<Self, OidcError> {
        let malformed = |why: &str| OidcError::Malformed(format!("the key set: {why}"));
        let document: Value = serde_json::from_slice(document).map_err(|error| malformed(&error.to_string()))?;
        let members = document.as_object().ok_or_else(|| malformed("not an object"))?;
        let keys = match members.get("keys") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(keys)) => keys
                .iter()
                .filter(|key| can_verify(key))
                .filter_map(|key| serde_json::from_value::<CoreJsonWebKey>(key.clone()).ok())
                .collect(),
            Some(_) => return Err(malformed("`keys` is not a list")),
        };
        Ok(Self { set: JsonWebKeySet::new(keys), fresh_for: fresh_for(headers) })
    }

    /// How many usable keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.set.keys().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.keys().is_empty()
    }
}

/// Whether the key is meant for signatures and has the parts that its kind needs (RFC 7518 §6, RFC 8037 §2).
fn can_verify(key: &Value) -> bool {
    let parts: &[&str] = match key.get("kty").and_then(Value::as_str) {
        Some("RSA") => &["n", "e"],
        Some("EC") => &["crv", "x", "y"],
        Some("OKP") => &["crv", "x"],
        Some(_) | None => return false,
    };
    key.get("use").is_none_or(|usage| usage == "sig") && parts.iter().all(|part| key.get(part).is_some())
}

/// `max-age` of `Cache-Control` (RFC 9111 §5.2.2.1) within sensible bounds.
fn fresh_for(headers: &HeaderMap) -> Duration {
    headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .find_map(|directive| {
            let seconds = directive.trim().strip_prefix("max-age=")?;
            seconds.trim_matches('"').parse().ok().map(Duration::from_secs)
        })
        .map_or(USUALLY_FRESH, |age| age.clamp(LEAST_FRESH, MOST_FRESH))
}
