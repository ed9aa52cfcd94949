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
use super::verify::Failure;
use super::{IdentityProvider, SigningAlgorithm};
use super::{Ready, members};

/// What a token is for, which decides how the provider may sign it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Signed as our client is registered (`id_token_signed_response_alg`).
    IdToken,
    /// Signed as ID tokens are (OpenID Connect Back-Channel Logout 1.0 §2.6).
    Logout,
    /// Signed as its recipient is registered, which need not be our client.
    Access,
    /// What userinfo says (`userinfo_signed_response_alg`).
    Userinfo,
}

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
    /// When it is none, or one that asks for what is not understood here (`crit`, `cty`).
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
    /// Base64 has lenient decoders: a last character with other unused bits, padding or the other alphabet changes the text of a
    /// token and not what its issuer reads in it. Such a token is not an opaque one.
    pub(super) fn is_misshapen(token: &str) -> bool {
        let parts = token.split('.').count();
        let Some((header, _)) = token.split_once('.') else { return false };
        let header = lenient_object(header);
        let is_jwe = || parts == 5 && header.as_ref().is_some_and(|header| header.contains_key("enc"));
        header.is_some() && Jws::parse(token).is_err() && !is_jwe()
    }

    /// What kind of token it says it is, without the `application/` that may be left out (RFC 7515 §4.1.9), in lower case.
    ///
    /// # Errors
    ///
    /// When that is no text.
    pub(super) fn kind(&self) -> Result<Option<String>, Flaw> {
        match self.header.get("typ") {
            None => Ok(None),
            Some(Value::String(kind)) => {
                let kind = kind.to_ascii_lowercase();
                Ok(Some(kind.strip_prefix("application/").map(ToOwned::to_owned).unwrap_or(kind)))
            }
            Some(_) => Err(malformed("its `typ` is no text")),
        }
    }

    /// How it is signed, by its own word.
    ///
    /// # Errors
    ///
    /// When it does not say so, or names what is not supported, `none` before all others.
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
            Some(_) => Err(Flaw::new("its `alg` is no text", Remedy::Algorithm)),
        }
    }

    /// What `at_hash` must be for `token` (OIDC Core §3.1.3.6).
    pub(super) fn half_hash(&self, token: &str) -> Option<String> {
        let whole = digest::digest(hash_of(self.algorithm().ok()?), token.as_bytes());
        let (half, _) = whole.as_ref().split_at(whole.as_ref().len() / 2);
        Some(URL_SAFE_NO_PAD.encode(half))
    }
}

/// What any decoder of base64 may find in `part`; an empty object where it begins like an object and is none to us.
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
    /// How the provider may sign what is of this `kind`.
    ///
    /// A client has one registered algorithm for ID tokens. Where the settings name it, there is no other for these and for
    /// logout tokens; else the metadata say which ones there are.
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

    /// Whether the provider made the signature, with an algorithm that it may use for what is of this `kind`; says which.
    ///
    /// A shared secret is only used with the algorithms that are for it, and a public key only with those of its kind; so
    /// what the token says of itself chooses among what the provider does, and no more.
    pub(super) fn verify_signature(
        &self,
        settings: &IdentityProvider,
        jws: &Jws<'_>,
        kind: Kind,
    ) -> Result<SigningAlgorithm, Failure> {
        let algorithm = jws.algorithm().map_err(Failure::Final)?;
        let allowed = self.algorithms(settings, kind);
        if !allowed.contains(&algorithm) {
            return Err(unexpected(settings, kind, algorithm, &allowed));
        }
        if algorithm.uses_client_secret() {
            verify_with_secret(settings, algorithm, jws).map_err(Failure::Final)?;
        } else {
            self.verify_with_keys(algorithm, jws)?;
        }
        Ok(algorithm)
    }

    fn verify_with_keys(&self, algorithm: SigningAlgorithm, jws: &Jws<'_>) -> Result<(), Failure> {
        let named = match jws.header.get("kid") {
            None => None,
            Some(Value::String(name)) => Some(name.as_str()),
            Some(_) => return Err(Failure::Final(malformed("its `kid` is no text"))),
        };
        let mut known = self.keys.fit(algorithm, named).peekable();
        let unknown = known.peek().is_none();
        if known.any(|key| key.made(algorithm, jws.input.as_bytes(), &jws.signature)) {
            return Ok(());
        }
        let what = match named {
            _ if self.keys.is_empty() => "the provider's key set holds no key that is usable",
            Some(_) if unknown => "no key of its `kid` and algorithm is in the provider's key set",
            Some(_) => "its signature does not fit the key of its `kid`",
            None if unknown => "no key of its algorithm is in the provider's key set",
            None => "no key in the provider's key set made its signature",
        };
        Err(Failure::Stale(Flaw::new(what, Remedy::Key)))
    }
}

fn unexpected(
    settings: &IdentityProvider,
    kind: Kind,
    algorithm: SigningAlgorithm,
    allowed: &[SigningAlgorithm],
) -> Failure {
    let algorithm = algorithm.as_str();
    match settings.id_token_signed_response_alg {
        // No metadata could change that.
        Some(registered) if matches!(kind, Kind::IdToken | Kind::Logout) => Failure::Final(Flaw::new(
            format!("it is signed with {algorithm}, and id_token_signed_response_alg is {}", registered.as_str()),
            Remedy::Registration,
        )),
        _ => {
            let announced = SigningAlgorithm::list(allowed);
            let what = format!("it is signed with {algorithm}, and the provider's metadata announce {announced}");
            Failure::Stale(Flaw::new(what, Remedy::Announcement))
        }
    }
}

/// Nothing that the provider publishes changes the outcome: the key is our own secret.
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
