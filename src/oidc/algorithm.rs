use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// How a token may be signed: the algorithms that forepost verifies (RFC 7518 §3.1, RFC 8037 §3.1).
///
/// What is not among them, `none` before all others, does not exist here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SigningAlgorithm {
    /// RSA PKCS#1 with SHA-256, what a client gets that asks for nothing (OpenID Connect Registration §2).
    Rs256,
    /// RSA PKCS#1 with SHA-384.
    Rs384,
    /// RSA PKCS#1 with SHA-512.
    Rs512,
    /// RSA PSS with SHA-256.
    Ps256,
    /// RSA PSS with SHA-384.
    Ps384,
    /// RSA PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256.
    Es256,
    /// ECDSA on P-384.
    Es384,
    /// Ed25519.
    EdDsa,
    /// HMAC with SHA-256 and the client secret.
    Hs256,
    /// HMAC with SHA-384 and the client secret.
    Hs384,
    /// HMAC with SHA-512 and the client secret.
    Hs512,
}

impl SigningAlgorithm {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }

    /// The one of this name, every letter compared.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    /// Whether the client secret is the key.
    #[must_use]
    pub const fn uses_client_secret(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }

    /// What the header of a token says, unverified.
    #[must_use]
    pub fn claimed(token: &str) -> Option<Self> {
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok()?;
        let header: Value = serde_json::from_slice(&header).ok()?;
        Self::named(header.get("alg")?.as_str()?)
    }

    /// Their names, one after the other.
    #[must_use]
    pub fn list(algorithms: &[Self]) -> String {
        algorithms.iter().map(|algorithm| algorithm.as_str()).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_to_the_letter() {
        for algorithm in SigningAlgorithm::ALL {
            assert_eq!(SigningAlgorithm::named(algorithm.as_str()), Some(algorithm));
            assert_eq!(SigningAlgorithm::named(&algorithm.as_str().to_lowercase()), None);
        }
        for other in ["none", "None", "ES256K", "ES512", "RSA1_5", "", "HS256 "] {
            assert_eq!(SigningAlgorithm::named(other), None, "{other}");
        }
    }

    #[test]
    fn a_token_says_how_it_is_signed() {
        let token = |header: &str| format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header));
        assert_eq!(SigningAlgorithm::claimed(&token(r#"{"alg":"ES256"}"#)), Some(SigningAlgorithm::Es256));
        for other in [r#"{"alg":"none"}"#, r#"{"alg":7}"#, "{}", "[]", ""] {
            assert_eq!(SigningAlgorithm::claimed(&token(other)), None, "{other}");
        }
        assert_eq!(SigningAlgorithm::claimed(""), None);
    }
}
