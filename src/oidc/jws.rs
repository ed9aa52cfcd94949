//! Compact JSON Web Signatures (RFC 7515 §7.1), and the one function that verifies them.

use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::CoreJwsSigningAlgorithm;
use openidconnect::{JsonWebKey, JwsSigningAlgorithm};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

use super::verify::Failure;
use super::{OidcError, Ready, members};
use crate::settings::IdentityProvider;

/// A token that was taken apart; nothing in it is believed yet.
pub(super) struct Jws<'t> {
    header: Map<String, Value>,
    pub(super) claims: Map<String, Value>,
    /// What was signed.
    input: &'t str,
    signature: Vec<u8>,
}

impl<'t> Jws<'t> {
    /// Takes a token apart.
    ///
    /// # Errors
    ///
    /// [`OidcError::Malformed`] when it is none, or one that asks for what is not understood here (`crit`, `cty`).
    pub(super) fn parse(token: &'t str) -> Result<Self, OidcError> {
        let parts: Vec<_> = token.split('.').take(6).collect();
        let [header, claims, signature] = parts[..] else {
            // RFC 7516 §3.1.
            let encrypted = parts.len() == 5;
            return Err(malformed(if encrypted {
                "it is encrypted, which is not supported"
            } else {
                "it has not three parts"
            }));
        };
        let input = &token[..header.len() + 1 + claims.len()];
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed("its signature is not base64url"))?;
        let header = object(header).map_err(|why| malformed(&format!("its header: {why}")))?;
        let claims = object(claims).map_err(|why| malformed(&format!("its claims: {why}")))?;
        // RFC 7515 §4.1.11 and §4.1.10: extensions that must be understood, and a token within the token.
        if let Some(name) = ["crit", "cty", "enc"].into_iter().find(|name| header.contains_key(*name)) {
            return Err(malformed(&format!("its header has `{name}`")));
        }
        Ok(Self { header, claims, input, signature })
    }

    /// What kind of token it says it is, without the `application/` that may be left out (RFC 7515 §4.1.9), in lower case.
    ///
    /// # Errors
    ///
    /// When that is no text.
    pub(super) fn kind(&self) -> Result<Option<String>, OidcError> {
        match self.header.get("typ") {
            None => Ok(None),
            Some(Value::String(kind)) => {
                let kind = kind.to_ascii_lowercase();
                Ok(Some(kind.strip_prefix("application/").map(ToOwned::to_owned).unwrap_or(kind)))
            }
            Some(_) => Err(malformed("its `typ` is no text")),
        }
    }

    fn algorithm(&self) -> Option<CoreJwsSigningAlgorithm> {
        serde_json::from_value(self.header.get("alg")?.clone()).ok()
    }

    /// What `at_hash` must be for `token` (OIDC Core §3.1.3.6); `None` where the algorithm has no hash.
    pub(super) fn half_hash(&self, token: &str) -> Option<String> {
        use CoreJwsSigningAlgorithm as Algorithm;
        let hash = match self.algorithm()? {
            Algorithm::HmacSha256
            | Algorithm::RsaSsaPkcs1V15Sha256
            | Algorithm::RsaSsaPssSha256
            | Algorithm::EcdsaP256Sha256 => &digest::SHA256,
            Algorithm::HmacSha384
            | Algorithm::RsaSsaPkcs1V15Sha384
            | Algorithm::RsaSsaPssSha384
            | Algorithm::EcdsaP384Sha384 => &digest::SHA384,
            // Of the curves of EdDSA only Ed25519 is supported, whose hash this is (RFC 8032 §5.1).
            Algorithm::HmacSha512
            | Algorithm::RsaSsaPkcs1V15Sha512
            | Algorithm::RsaSsaPssSha512
            | Algorithm::EcdsaP521Sha512
            | Algorithm::EdDsa => &digest::SHA512,
            _ => return None,
        };
        let whole = digest::digest(hash, token.as_bytes());
        let (half, _) = whole.as_ref().split_at(whole.as_ref().len() / 2);
        Some(URL_SAFE_NO_PAD.encode(half))
    }
}

impl Ready {
    /// Whether the provider made the signature, with an algorithm that its metadata names.
    ///
    /// A shared secret is only used with the algorithms that are for it, and a public key only with those of its kind; so
    /// what the token says of itself chooses among what the provider does, and no more.
    pub(super) fn verify_signature(&self, settings: &IdentityProvider, jws: &Jws<'_>) -> Result<(), Failure> {
        let refuse = |why: &str| Failure::Final(OidcError::InvalidToken(why.to_owned()));
        let algorithm = jws
            .algorithm()
            .filter(|algorithm| self.metadata.allowed_algorithms().contains(algorithm))
            .ok_or_else(|| refuse("its algorithm is none that the provider's metadata names"))?;
        let input = jws.input.as_bytes();
        if algorithm.uses_shared_secret() {
            let secret = settings.client_secret.as_ref().map(ExposeSecret::expose_secret);
            let secret = secret.filter(|secret| !secret.is_empty());
            let secret = secret.ok_or_else(|| refuse("it is signed with a client secret, and there is none"))?;
            let hash = match algorithm {
                CoreJwsSigningAlgorithm::HmacSha256 => hmac::HMAC_SHA256,
                CoreJwsSigningAlgorithm::HmacSha384 => hmac::HMAC_SHA384,
                CoreJwsSigningAlgorithm::HmacSha512 => hmac::HMAC_SHA512,
                _ => return Err(refuse("its algorithm is not known here")),
            };
            let key = hmac::Key::new(hash, secret.as_bytes());
            return hmac::verify(&key, input, &jws.signature)
                .map_err(|_| refuse("its signature is not made with the client secret"));
        }
        let named = match jws.header.get("kid") {
            None => None,
            Some(Value::String(name)) => Some(name.as_str()),
            Some(_) => return Err(refuse("its `kid` is no text")),
        };
        let keys = self.keys.set.keys().iter();
        let mut keys = keys.filter(|key| named.is_none() || key.key_id().is_some_and(|id| Some(id.as_str()) == named));
        if keys.any(|key| key.verify_signature(&algorithm, input, &jws.signature).is_ok()) {
            Ok(())
        } else {
            Err(Failure::Keys(OidcError::InvalidToken("no known key made its signature".into())))
        }
    }
}

fn object(part: &str) -> Result<Map<String, Value>, &'static str> {
    members::parse(&URL_SAFE_NO_PAD.decode(part).map_err(|_| "it is not base64url")?)
}

fn malformed(why: &str) -> OidcError {
    OidcError::Malformed(format!("the token: {why}"))
}
