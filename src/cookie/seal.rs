use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::world::{EntropyError, World};

/// The first byte of each sealed value, which tells this format from a later one.
const VERSION: u8 = 1;

/// Seals values that a browser keeps for forepost, and opens them: AES-256-GCM under a key derived from the secret.
///
/// A value that opens was sealed by a holder of the same secret, for the same purpose, and was not changed.
#[derive(Debug)]
pub struct Sealer {
    key: LessSafeKey,
}

/// Why a value could not be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealerError {
    /// The system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Entropy,
    /// The value was changed, or sealed for another purpose, under another secret, or not at all.
    #[error("not sealed by us")]
    NotOurs,
}

impl From<EntropyError> for SealerError {
    fn from(_: EntropyError) -> Self {
        Self::Entropy
    }
}

impl Sealer {
    /// Derives the key from `secret` (HKDF-SHA256, RFC 5869).
    #[must_use]
    pub(crate) fn new(secret: &[u8]) -> Self {
        let prk = Salt::new(HKDF_SHA256, b"forepost").extract(secret);
        let key: UnboundKey = prk
            .expand(&[b"seal 1"], &AES_256_GCM)
            .expect("a key of 32 bytes is within what HKDF-SHA256 can give")
            .into();
        Self { key: LessSafeKey::new(key) }
    }

    /// Seals `plain` for `purpose`, as base64url.
    ///
    /// # Errors
    ///
    /// If the system gives no random bytes for the nonce.
    pub(crate) fn seal(&self, world: &World, purpose: &str, plain: &[u8]) -> Result<String, SealerError> {
        let nonce: [u8; NONCE_LEN] = world.random()?;
        let mut sealed = plain.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(purpose.as_bytes()), &mut sealed)
            .map_err(|_| SealerError::NotOurs)?;
        let mut whole = Vec::with_capacity(1 + NONCE_LEN + sealed.len());
        whole.push(VERSION);
        whole.extend_from_slice(&nonce);
        whole.extend_from_slice(&sealed);
        Ok(URL_SAFE_NO_PAD.encode(whole))
    }

    /// Opens a value that [`Sealer::seal`] made for the same purpose.
    ///
    /// # Errors
    ///
    /// For any other value.
    pub(crate) fn open(&self, purpose: &str, text: &str) -> Result<Vec<u8>, SealerError> {
        let whole = URL_SAFE_NO_PAD.decode(text).map_err(|_| SealerError::NotOurs)?;
        let [VERSION, rest @ ..] = whole.as_slice() else {
            return Err(SealerError::NotOurs);
        };
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or(SealerError::NotOurs)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealerError::NotOurs)?;
        let mut plain = sealed.to_vec();
        let length = self
            .key
            .open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut plain)
            .map_err(|_| SealerError::NotOurs)?
            .len();
        plain.truncate(length);
        Ok(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sealed(plain: &[u8]) -> (Sealer, String) {
        let sealer = Sealer::new(b"a secret of some length, for tests");
        let text = sealer.seal(&World::system(), "state", plain).unwrap();
        (sealer, text)
    }

    #[test]
    fn two_seals_of_one_value_differ() {
        let (sealer, one) = sealed(b"value");
        assert_ne!(one, sealer.seal(&World::system(), "state", b"value").unwrap());
    }

    #[test]
    fn another_purpose_or_secret_opens_nothing() {
        let (sealer, text) = sealed(b"value");
        assert_eq!(sealer.open("cookie", &text), Err(SealerError::NotOurs));
        assert_eq!(Sealer::new(b"other").open("state", &text), Err(SealerError::NotOurs));
    }

    proptest! {
        #[test]
        fn any_change_is_noticed(plain: Vec<u8>, at: prop::sample::Index, to in "[A-Za-z0-9_-]") {
            let (sealer, text) = sealed(&plain);
            let at = at.index(text.len());
            let mut changed = text.clone();
            changed.replace_range(at..=at, &to);
            let opened = sealer.open("state", &changed);
            prop_assert!(changed == text || opened == Err(SealerError::NotOurs));
        }
    }
}
