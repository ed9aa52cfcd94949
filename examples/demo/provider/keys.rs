//! Signing keys and JSON Web Tokens (RFC 7515, 7517, 7518, 8037).

use aws_lc_rs::digest::{self, SHA256, SHA384, SHA512};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::PublicForm;

/// How a token is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// ECDSA on P-256: the default, because its keys are made in no time.
    #[default]
    Es256,
    /// RSA PKCS#1 with SHA-256; the key is made at first use, because that is slow.
    Rs256,
    /// RSA PSS with SHA-256, with a key of its own.
    Ps256,
    /// ECDSA on P-384.
    Es384,
    /// Ed25519.
    EdDsa,
    /// HMAC with the client secret.
    Hs256,
    /// No signature at all.
    None,
}

impl Algorithm {
    /// The name on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
            Self::None => "none",
        }
    }

    /// The left half of the hash of an access token (OIDC Core §3.1.3.6).
    pub(crate) fn at_hash(self, access_token: &str) -> String {
        let hash = match self {
            Self::EdDsa => &SHA512,
            Self::Es384 => &SHA384,
            Self::Es256 | Self::Rs256 | Self::Ps256 | Self::Hs256 | Self::None => &SHA256,
        };
        let hash = digest::digest(hash, access_token.as_bytes());
        let bytes = hash.as_ref();
        base64url(&bytes[..bytes.len() / 2])
    }
}

/// What a token is signed with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signer<'a> {
    /// A key pair.
    Key(&'a Key),
    /// A shared secret, for HS256.
    Secret(&'a [u8]),
    /// Nothing.
    None,
}

impl Signer<'_> {
    /// A compact token of exactly this header and these claims, both of them JSON.
    ///
    /// # Errors
    ///
    /// When the key refuses.
    pub(crate) fn sign(self, header: &str, claims: &str) -> Result<String, Unspecified> {
        let header = base64url(header.as_bytes());
        let claims = base64url(claims.as_bytes());
        let input = format!("{header}.{claims}");
        let signature = match self {
            Self::Key(key) => key.sign(input.as_bytes())?,
            Self::Secret(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::sign(&key, input.as_bytes()).as_ref().to_vec()
            }
            Self::None => Vec::new(),
        };
        Ok(format!("{input}.{}", base64url(&signature)))
    }
}

enum Pair {
    Es256(EcdsaKeyPair),
    Es384(EcdsaKeyPair),
    Rs256(RsaKeyPair),
    Ps256(RsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

/// A key pair with its name.
pub(crate) struct Key {
    /// The `kid`.
    pub(crate) id: String,
    pair: Pair,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Key {
    /// Makes a new key; HS256 and `none` have none and get one for ES256.
    ///
    /// # Errors
    ///
    /// When the generator fails.
    pub(crate) fn generate(algorithm: Algorithm) -> Result<Self, Unspecified> {
        let (name, pair) = match algorithm {
            Algorithm::Rs256 => ("rs", Pair::Rs256(RsaKeyPair::generate(KeySize::Rsa2048)?)),
            Algorithm::Ps256 => ("ps", Pair::Ps256(RsaKeyPair::generate(KeySize::Rsa2048)?)),
            Algorithm::Es384 => ("es", Pair::Es384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING)?)),
            Algorithm::EdDsa => ("ed", Pair::EdDsa(Ed25519KeyPair::generate()?)),
            Algorithm::Es256 | Algorithm::Hs256 | Algorithm::None => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
                ("es", Pair::Es256(pair))
            }
        };
        Ok(Self { id: format!("{name}-{}", token::<6>()?), pair })
    }

    fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Es256(_) => Algorithm::Es256,
            Pair::Es384(_) => Algorithm::Es384,
            Pair::Rs256(_) => Algorithm::Rs256,
            Pair::Ps256(_) => Algorithm::Ps256,
            Pair::EdDsa(_) => Algorithm::EdDsa,
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Es256(pair) | Pair::Es384(pair) => Ok(pair.sign(&random, message)?.as_ref().to_vec()),
            Pair::EdDsa(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rs256(pair) | Pair::Ps256(pair) => {
                let padding: &dyn RsaEncoding =
                    if self.algorithm() == Algorithm::Ps256 { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature)?;
                Ok(signature)
            }
        }
    }

    /// The public half as JSON Web Key.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Es256(pair) | Pair::Es384(pair) => {
                // 0x04, then both coordinates (SEC 1 §2.3.3).
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if self.algorithm() == Algorithm::Es384 { "P-384" } else { "P-256" };
                json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)})
            }
            Pair::EdDsa(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref())})
            }
            Pair::Rs256(pair) | Pair::Ps256(pair) => {
                let (modulus, exponent) = rsa_numbers(pair.public_key().as_ref());
                json!({"kty": "RSA", "n": base64url(modulus), "e": base64url(exponent)})
            }
        };
        jwk["kid"] = json!(self.id);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.algorithm().name());
        jwk
    }

    /// The public half as bytes that a careless verifier may take for a shared secret.
    ///
    /// # Errors
    ///
    /// When the key cannot be written.
    pub(crate) fn public_bytes(&self, form: PublicForm) -> Result<Vec<u8>, Unspecified> {
        let der: PublicKeyX509Der<'_> = match &self.pair {
            Pair::Es256(pair) | Pair::Es384(pair) => pair.public_key().as_der()?,
            Pair::EdDsa(pair) => pair.public_key().as_der()?,
            Pair::Rs256(pair) | Pair::Ps256(pair) => pair.public_key().as_der()?,
        };
        Ok(match form {
            PublicForm::Jwk => self.jwk().to_string().into_bytes(),
            PublicForm::Der => der.as_ref().to_vec(),
            PublicForm::Pem => {
                let base64 = STANDARD.encode(der.as_ref());
                let lines = base64.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + "\n");
                let lines: String = lines.collect();
                format!("-----BEGIN PUBLIC KEY-----\n{lines}-----END PUBLIC KEY-----\n").into_bytes()
            }
        })
    }
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017 §A.1.1), which is a sequence of two integers.
fn rsa_numbers(der: &[u8]) -> (&[u8], &[u8]) {
    let (sequence, _) = der_value(der);
    let (modulus, rest) = der_value(sequence);
    let (exponent, _) = der_value(rest);
    (strip_sign(modulus), strip_sign(exponent))
}

/// The contents of the first DER value, and what stands behind it.
fn der_value(der: &[u8]) -> (&[u8], &[u8]) {
    let (start, length) = match der[1] {
        short @ 0..0x80 => (2, usize::from(short)),
        long => {
            let end = 2 + usize::from(long & 0x7f);
            let length = der[2..end].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (end, length)
        }
    };
    der[start..].split_at(length)
}

fn strip_sign(integer: &[u8]) -> &[u8] {
    integer.strip_prefix(&[0]).unwrap_or(integer)
}

/// The keys of the provider: those it signs with, and those it still publishes.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    current: Vec<Key>,
    retired: Vec<Key>,
    stray: Option<Key>,
}

impl Keyring {
    /// The key that signs with `algorithm` now, made when there is none yet.
    ///
    /// # Errors
    ///
    /// When the generator fails.
    pub(crate) fn key(&mut self, algorithm: Algorithm) -> Result<&Key, Unspecified> {
        let at = self.current.iter().position(|key| key.algorithm() == algorithm);
        let at = at.unwrap_or(self.current.len());
        if at == self.current.len() {
            self.current.push(Key::generate(algorithm)?);
        }
        Ok(&self.current[at])
    }

    /// A key that is never published; one and the same as long as the algorithm stays.
    ///
    /// # Errors
    ///
    /// When the generator fails.
    pub(crate) fn stray(&mut self, algorithm: Algorithm) -> Result<&Key, Unspecified> {
        let kept = self.stray.take().filter(|key| key.algorithm() == algorithm);
        let key = match kept {
            Some(key) => key,
            None => Key::generate(algorithm)?,
        };
        Ok(self.stray.insert(key))
    }

    /// New keys for the same algorithms; the old ones stay published when `keep_old`.
    ///
    /// # Errors
    ///
    /// When the generator fails.
    pub(crate) fn rotate(&mut self, keep_old: bool) -> Result<(), Unspecified> {
        let fresh = self.current.iter().map(|key| Key::generate(key.algorithm()));
        let fresh = fresh.collect::<Result<Vec<_>, _>>()?;
        let old = std::mem::replace(&mut self.current, fresh);
        if keep_old {
            self.retired.extend(old);
        } else {
            self.retired.clear();
        }
        Ok(())
    }

    /// The key set (RFC 7517 §5), newest first.
    pub(crate) fn jwks(&self) -> Value {
        let keys = self.current.iter().chain(&self.retired).map(Key::jwk);
        json!({"keys": keys.collect::<Vec<_>>()})
    }

    /// The names of the algorithms that the keys are for.
    pub(crate) fn algorithms(&self) -> Vec<&'static str> {
        self.current.iter().map(|key| key.algorithm().name()).collect()
    }
}

/// `N` random bytes as text for codes, tokens and names.
///
/// # Errors
///
/// When the system gives none.
pub(crate) fn token<const N: usize>() -> Result<String, Unspecified> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes)?;
    Ok(base64url(&bytes))
}

/// The S256 transformation of a PKCE verifier (RFC 7636 §4.2).
pub(crate) fn s256(verifier: &str) -> String {
    base64url(digest::digest(&SHA256, verifier.as_bytes()).as_ref())
}

/// Base64url without padding (RFC 7515 §2).
pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
