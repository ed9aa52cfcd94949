//! Compact JSON Web Signatures (RFC 7515 §7.1), and the one function that verifies them.

use std::borrow::Cow;

use aws_lc_rs::{digest, hmac};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use base64::{Engine, alphabet};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

use super::error::clean;
use super::flaw::{Flaw, Remedy};
use super::verify::VerificationError;
use super::{IdentityProvider, SigningAlgorithm};
use super::{Ready, members};

/// The kind of a token, which decides with which algorithms the provider may sign it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// With the algorithm of our client's registration (`id_token_signed_response_alg`).
    IdToken,
    /// With that of ID tokens (OpenID Connect Back-Channel Logout 1.0 §2.6).
    Logout,
    /// With that of its recipient's registration, which need not be our client.
    Access,
    /// A signed answer of userinfo (`userinfo_signed_response_alg`).
    Userinfo,
}

/// A parsed token, not verified.
pub(super) struct Jws<'t> {
    header: Map<String, Value>,
    pub(super) claims: Map<String, Value>,
    /// The signed text.
    input: &'t str,
    signature: Vec<u8>,
}

impl<'t> Jws<'t> {
    /// Parses a token.
    ///
    /// # Errors
    ///
    /// When the text is not a token, or when it requires an extension that forepost does not support (`crit`, `cty`).
    pub(super) fn parse(token: &'t str) -> Result<Self, Flaw> {
        let parts: Vec<_> = token.split('.').take(6).collect();
        let [header, claims, signature] = parts[..] else {
            // RFC 7516 §3.1.
            return Err(if parts.len() == 5 {
                Flaw::new("it is encrypted (JWE), which is not supported", Remedy::Encryption)
            } else {
                malformed("it has not three parts")
            });
        };
        let input = &token[..header.len() + 1 + claims.len()];
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed("its signature is not base64url"))?;
        let header = object(header).map_err(|why| malformed(format!("its header: {why}")))?;
        let claims = object(claims).map_err(|why| malformed(format!("its claims: {why}")))?;
        // RFC 7515 §4.1.11 and §4.1.10: extensions that must be understood, and a token within the token.
        if let Some(name) = ["crit", "cty", "enc"].into_iter().find(|name| header.contains_key(*name)) {
            return Err(malformed(format!("its header has `{name}`")));
        }
        Ok(Self { header, claims, input, signature })
    }

    /// Whether `token` has a JOSE header (RFC 7515 §4, RFC 7516 §4) by some reading, and is neither a JWS by the strict one nor a JWE.
    ///
    /// Some decoders of base64 are lenient: a last character with other unused bits, padding or the other alphabet changes the text
    /// of a token, and not what its issuer reads in it. Such a token is not an opaque one.
    pub(super) fn is_misshapen(token: &str) -> bool {
        let parts = token.split('.').count();
        let Some((header, _)) = token.split_once('.') else { return false };
        let header = lenient_object(header);
        let is_jwe = || parts == 5 && header.as_ref().is_some_and(|header| header.contains_key("enc"));
        header.is_some() && Jws::parse(token).is_err() && !is_jwe()
    }

    /// The type in its header (`typ`) in lower case, without the optional `application/` (RFC 7515 §4.1.9).
    ///
    /// # Errors
    ///
    /// When that is not a text.
    pub(super) fn kind(&self) -> Result<Option<String>, Flaw> {
        match self.header.get("typ") {
            None => Ok(None),
            Some(Value::String(kind)) => {
                let kind = kind.to_ascii_lowercase();
                Ok(Some(kind.strip_prefix("application/").map(ToOwned::to_owned).unwrap_or(kind)))
            }
            Some(_) => Err(malformed("its `typ` is not a string")),
        }
    }

    /// The algorithm that its header names.
    ///
    /// # Errors
    ///
    /// When it names none, or one that is not supported, such as `none`.
    pub(super) fn algorithm(&self) -> Result<SigningAlgorithm, Flaw> {
        match self.header.get("alg") {
            None | Some(Value::Null) => Err(Flaw::new("its header has no `alg`", Remedy::Algorithm)),
            Some(Value::String(name)) => SigningAlgorithm::named(name).ok_or_else(|| {
                if name.eq_ignore_ascii_case("none") {
                    Flaw::new("it is not signed (`alg` is none)", Remedy::Unsigned)
                } else {
                    Flaw::new(format!("its algorithm {:?} is not supported", clean(name)), Remedy::Algorithm)
                }
            }),
            Some(_) => Err(Flaw::new("its `alg` is not a string", Remedy::Algorithm)),
        }
    }

    /// What `at_hash` must be for `token` (OIDC Core §3.1.3.6).
    pub(super) fn half_hash(&self, token: &str) -> Option<String> {
        let whole = digest::digest(hash_of(self.algorithm().ok()?), token.as_bytes());
        let (half, _) = whole.as_ref().split_at(whole.as_ref().len() / 2);
        Some(URL_SAFE_NO_PAD.encode(half))
    }
}

/// The object that a lenient decoder of base64 may find in `part`; an empty one when it begins like an object and does not parse.
fn lenient_object(part: &str) -> Option<Map<String, Value>> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::URL_SAFE,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireNone),
    );
    let text: String = part
        .chars()
        .filter_map(|it| match it {
            '+' => Some('-'),
            '/' => Some('_'),
            it => (it.is_ascii_alphanumeric() || matches!(it, '-' | '_')).then_some(it),
        })
        .collect();
    // A last character that completes no byte is left out by some.
    let whole = text.len() - usize::from(text.len() % 4 == 1);
    let decoded = LENIENT.decode(&text[..whole]).ok()?;
    let begins = decoded.iter().find(|byte| !byte.is_ascii_whitespace() && byte.is_ascii());
    (begins == Some(&b'{')).then(|| serde_json::from_slice(&decoded).unwrap_or_default())
}

fn hash_of(algorithm: SigningAlgorithm) -> &'static digest::Algorithm {
    use SigningAlgorithm::{EdDsa, Es256, Es384, Hs256, Hs384, Hs512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
    match algorithm {
        Hs256 | Rs256 | Ps256 | Es256 => &digest::SHA256,
        Hs384 | Rs384 | Ps384 | Es384 => &digest::SHA384,
        // Of the curves of EdDSA only Ed25519 is supported, whose hash this is (RFC 8032 §5.1).
        Hs512 | Rs512 | Ps512 | EdDsa => &digest::SHA512,
    }
}

impl Ready {
    /// The algorithms with which the provider may sign a token of this `kind`.
    ///
    /// A client has one registered algorithm for ID tokens. When the settings name it, it is the only one for these and for logout
    /// tokens; otherwise the metadata name the algorithms.
    pub(super) fn algorithms(&self, settings: &IdentityProvider, kind: Kind) -> Vec<SigningAlgorithm> {
        let registered = settings.id_token_signed_response_alg;
        let mut algorithms = match (kind, registered) {
            (Kind::IdToken | Kind::Logout, Some(registered)) => return vec![registered],
            (Kind::IdToken | Kind::Logout | Kind::Access, _) => self.metadata.id_token_algorithms(),
            (Kind::Userinfo, _) => [self.metadata.id_token_algorithms(), self.metadata.userinfo_algorithms()].concat(),
        };
        algorithms.extend(registered);
        algorithms
    }

    /// Verifies that the provider made the signature, with an algorithm that it may use for this `kind`. Returns the algorithm.
    ///
    /// The client secret is used only with HMAC, and a public key only with the algorithms of its kind. So the header of a token
    /// chooses only among the algorithms of the provider.
    pub(super) fn verify_signature(
        &self,
        settings: &IdentityProvider,
        jws: &Jws<'_>,
        kind: Kind,
    ) -> Result<SigningAlgorithm, VerificationError> {
        let algorithm = jws.algorithm().map_err(VerificationError::Final)?;
        let allowed = self.algorithms(settings, kind);
        if !allowed.contains(&algorithm) {
            return Err(unexpected(settings, kind, algorithm, &allowed));
        }
        if algorithm.uses_client_secret() {
            verify_with_secret(settings, algorithm, jws).map_err(VerificationError::Final)?;
        } else {
            self.verify_with_keys(algorithm, jws)?;
        }
        Ok(algorithm)
    }

    fn verify_with_keys(&self, algorithm: SigningAlgorithm, jws: &Jws<'_>) -> Result<(), VerificationError> {
        let named = match jws.header.get("kid") {
            None => None,
            Some(Value::String(name)) => Some(name.as_str()),
            Some(_) => return Err(VerificationError::Final(malformed("its `kid` is not a string"))),
        };
        let mut known = self.keys.fit(algorithm, named).peekable();
        let unknown = known.peek().is_none();
        if known.any(|key| key.verifies(algorithm, jws.input.as_bytes(), &jws.signature)) {
            return Ok(());
        }
        let what = match named {
            _ if self.keys.is_empty() => "the provider's key set holds no key that is usable",
            Some(_) if unknown => "no key of its `kid` and algorithm is in the provider's key set",
            Some(_) => "its signature does not fit the key of its `kid`",
            None if unknown => "no key of its algorithm is in the provider's key set",
            None => "no key in the provider's key set made its signature",
        };
        Err(VerificationError::Stale(Flaw::new(what, Remedy::Key)))
    }
}

fn unexpected(
    settings: &IdentityProvider,
    kind: Kind,
    algorithm: SigningAlgorithm,
    allowed: &[SigningAlgorithm],
) -> VerificationError {
    let algorithm = algorithm.as_str();
    match settings.id_token_signed_response_alg {
        // Newer metadata would not change that.
        Some(registered) if matches!(kind, Kind::IdToken | Kind::Logout) => VerificationError::Final(Flaw::new(
            format!("it is signed with {algorithm}, and id_token_signed_response_alg is {}", registered.as_str()),
            Remedy::Registration,
        )),
        _ => {
            let announced = SigningAlgorithm::list(allowed);
            let what = format!("it is signed with {algorithm}, and the provider's metadata announce {announced}");
            VerificationError::Stale(Flaw::new(what, Remedy::Announcement))
        }
    }
}

/// Newer keys of the provider would not help: the key is our own secret.
fn verify_with_secret(settings: &IdentityProvider, algorithm: SigningAlgorithm, jws: &Jws<'_>) -> Result<(), Flaw> {
    let secret = settings.client_secret.as_ref().map(ExposeSecret::expose_secret).filter(|secret| !secret.is_empty());
    let missing = || Flaw::new("it is signed with a client secret, and there is none", Remedy::NoSecret);
    let secret = secret.ok_or_else(missing)?;
    let hash = match algorithm {
        SigningAlgorithm::Hs384 => hmac::HMAC_SHA384,
        SigningAlgorithm::Hs512 => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    hmac::verify(&hmac::Key::new(hash, secret.as_bytes()), jws.input.as_bytes(), &jws.signature)
        .map_err(|_| Flaw::new("its signature is not made with the client secret", Remedy::Secret))
}

fn object(part: &str) -> Result<Map<String, Value>, &'static str> {
    members::parse(&URL_SAFE_NO_PAD.decode(part).map_err(|_| "it is not base64url")?)
}

fn malformed(why: impl Into<Cow<'static, str>>) -> Flaw {
    Flaw::new(why, Remedy::Format)
}
