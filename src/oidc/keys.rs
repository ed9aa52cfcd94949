use std::time::Duration;

use http::{HeaderMap, header};
use openidconnect::JsonWebKey;
use openidconnect::core::{CoreJsonWebKey, CoreJwsSigningAlgorithm};
use serde_json::Value;

use super::{Malformed, OidcError, SigningAlgorithm};

/// Why keys are fetched again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyRefresh {
    /// They were about to expire.
    Scheduled,
    /// They did not verify a token.
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

/// A provider's public keys. Each of them can verify signatures of a supported algorithm.
#[derive(Clone, Debug)]
pub struct Keys {
    keys: Vec<Key>,
    /// The time until they have to be fetched again.
    pub fresh_for: Duration,
}

const LEAST_FRESH: Duration = Duration::from_mins(5);
const USUALLY_FRESH: Duration = Duration::from_hours(1);
const MOST_FRESH: Duration = Duration::from_hours(24);

impl Keys {
    /// Reads a JWK Set (RFC 7517 §5).
    ///
    /// Keys that are incomplete, for encryption, or of a kind or for an algorithm that is not supported are ignored, as the RFC
    /// asks. A set without `keys` is empty, because authentik answers `{}` when it signs with the client secret.
    ///
    /// # Errors
    ///
    /// When it is not a JSON object.
    pub fn parse(document: &[u8], headers: &HeaderMap) -> Result<Self, OidcError> {
        let malformed = |why: &str| OidcError::Malformed(format!("the key set: {why}").into());
        let document: Value = serde_json::from_slice(document)
            .map_err(|error| OidcError::Malformed(Malformed::caused("the key set", error)))?;
        let members = document.as_object().ok_or_else(|| malformed("not an object"))?;
        let keys = match members.get("keys") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(keys)) => keys.iter().filter_map(Key::read).collect(),
            Some(_) => return Err(malformed("`keys` is not a list")),
        };
        Ok(Self { keys, fresh_for: fresh_for(headers) })
    }

    /// How many keys there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The number of keys that can verify signatures of one of these algorithms.
    #[must_use]
    pub fn usable_with(&self, algorithms: &[SigningAlgorithm]) -> usize {
        self.keys.iter().filter(|key| key.algorithms.iter().any(|it| algorithms.contains(it))).count()
    }

    /// The keys for `algorithm`, with this id when there is one.
    pub(super) fn fit(&self, algorithm: SigningAlgorithm, name: Option<&str>) -> impl Iterator<Item = &Key> {
        let has_name = move |key: &&Key| name.is_none() || key.jwk.key_id().map(|id| id.as_str()) == name;
        self.keys.iter().filter(move |key| key.algorithms.contains(&algorithm)).filter(has_name)
    }
}

/// A public key for signatures.
#[derive(Clone, Debug)]
pub(super) struct Key {
    jwk: CoreJsonWebKey,
    /// The algorithms that it is for; never empty.
    algorithms: Vec<SigningAlgorithm>,
}

impl Key {
    /// Parses a key for signatures, with the parts that its kind needs (RFC 7518 §6, RFC 8037 §2).
    fn read(key: &Value) -> Option<Self> {
        use SigningAlgorithm::{EdDsa, Es256, Es384, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let said = |name: &str| key.get(name).filter(|value| !value.is_null());
        let (parts, algorithms): (&[&str], &[SigningAlgorithm]) = match (text("kty")?, text("crv")) {
            ("RSA", _) => (&["n", "e"], &[Rs256, Rs384, Rs512, Ps256, Ps384, Ps512]),
            ("EC", Some("P-256")) => (&["x", "y"], &[Es256]),
            ("EC", Some("P-384")) => (&["x", "y"], &[Es384]),
            ("OKP", Some("Ed25519")) => (&["x"], &[EdDsa]),
            _ => return None,
        };
        let is_for_signatures = said("use").is_none_or(|usage| usage == "sig")
            && said("key_ops").and_then(Value::as_array).is_none_or(|uses| uses.iter().any(|it| it == "verify"));
        if !is_for_signatures || !parts.iter().all(|part| key.get(part).is_some()) {
            return None;
        }
        // A key that names an algorithm is for that one alone (RFC 7517 §4.4).
        let algorithms = match said("alg") {
            None => algorithms.to_vec(),
            Some(named) => {
                let named = SigningAlgorithm::named(named.as_str()?)?;
                algorithms.contains(&named).then(|| vec![named])?
            }
        };
        Some(Self { jwk: serde_json::from_value(key.clone()).ok()?, algorithms })
    }

    /// Whether this key made the signature, with one of its algorithms.
    pub(super) fn verifies(&self, algorithm: SigningAlgorithm, input: &[u8], signature: &[u8]) -> bool {
        self.algorithms.contains(&algorithm)
            && library(algorithm).is_some_and(|it| self.jwk.verify_signature(&it, input, signature).is_ok())
    }

    #[cfg(any(test, fuzzing))]
    pub(super) const fn jwk(&self) -> &CoreJsonWebKey {
        &self.jwk
    }
}

/// The library's type of an algorithm for public keys.
const fn library(algorithm: SigningAlgorithm) -> Option<CoreJwsSigningAlgorithm> {
    use CoreJwsSigningAlgorithm as Core;
    Some(match algorithm {
        SigningAlgorithm::Rs256 => Core::RsaSsaPkcs1V15Sha256,
        SigningAlgorithm::Rs384 => Core::RsaSsaPkcs1V15Sha384,
        SigningAlgorithm::Rs512 => Core::RsaSsaPkcs1V15Sha512,
        SigningAlgorithm::Ps256 => Core::RsaSsaPssSha256,
        SigningAlgorithm::Ps384 => Core::RsaSsaPssSha384,
        SigningAlgorithm::Ps512 => Core::RsaSsaPssSha512,
        SigningAlgorithm::Es256 => Core::EcdsaP256Sha256,
        SigningAlgorithm::Es384 => Core::EcdsaP384Sha384,
        SigningAlgorithm::EdDsa => Core::EdDsa,
        SigningAlgorithm::Hs256 | SigningAlgorithm::Hs384 | SigningAlgorithm::Hs512 => return None,
    })
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
