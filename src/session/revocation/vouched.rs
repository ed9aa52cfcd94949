//! Message authentication codes (HMAC-SHA256) for a list of revocations that others could write to.

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::{constant_time, hmac};

const LABEL: &[u8] = b"session revocation list 1";

/// The length of a code that is written down.
pub(in crate::session) const CODE_LENGTH: usize = 16;

/// A whole code.
pub(in crate::session) type Code = [u8; 32];

/// Computes the codes of a list.
pub(in crate::session) struct ListKey(hmac::Key);

impl ListKey {
    /// Derives the key from the daemon's secret (HKDF-SHA256, RFC 5869).
    pub(in crate::session) fn new(secret: &[u8]) -> Self {
        let key = Salt::new(HKDF_SHA256, b"forepost").extract(secret);
        let key = key.expand(&[LABEL], hmac::HMAC_SHA256);
        Self(key.expect("a key of 32 bytes is within what HKDF-SHA256 can give").into())
    }

    /// The code of `parts`, for the purpose `what`.
    pub(in crate::session) fn code(&self, what: &str, parts: &[&[u8]]) -> Code {
        let mut hash = hmac::Context::with_key(&self.0);
        for part in std::iter::once(what.as_bytes()).chain(parts.iter().copied()) {
            // The length is part of the input, so different parts never give the same input.
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let (hash, mut code) = (hash.sign(), Code::default());
        code.copy_from_slice(hash.as_ref());
        code
    }

    /// The first bytes of a code, which suffice where it is written down.
    pub(in crate::session) fn short_code(&self, what: &str, parts: &[&[u8]]) -> [u8; CODE_LENGTH] {
        let (whole, mut code) = (self.code(what, parts), [0; CODE_LENGTH]);
        code.copy_from_slice(&whole[..CODE_LENGTH]);
        code
    }

    /// Whether `code` is the code of `parts` or a long enough beginning of it, compared in constant time.
    pub(in crate::session) fn vouches(&self, code: &[u8], what: &str, parts: &[&[u8]]) -> bool {
        let whole = self.code(what, parts);
        let expected = whole.get(..code.len()).filter(|expected| expected.len() >= CODE_LENGTH);
        expected.is_some_and(|expected| constant_time::verify_slices_are_equal(expected, code).is_ok())
    }

    /// Distinguishes lists under different secrets.
    pub(in crate::session) fn name(&self) -> [u8; CODE_LENGTH] {
        self.short_code("name", &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_means_one_thing_under_one_secret() {
        let (key, other) = (ListKey::new(b"a secret"), ListKey::new(b"another secret"));
        let code = key.short_code("entry", &[b"ab", b"c"]);
        assert!(key.vouches(&code, "entry", &[b"ab", b"c"]));
        assert!(key.vouches(&key.code("entry", &[b"ab", b"c"]), "entry", &[b"ab", b"c"]));
        for (what, parts) in [("entry", [&b"a"[..], b"bc"]), ("head", [b"ab", b"c"]), ("entry", [b"ab", b"d"])] {
            assert!(!key.vouches(&code, what, &parts), "{what} {parts:?}");
        }
        assert!(!other.vouches(&code, "entry", &[b"ab", b"c"]));
        for length in [0, 1, CODE_LENGTH - 1] {
            assert!(!key.vouches(&code[..length], "entry", &[b"ab", b"c"]), "{length} bytes prove nothing");
        }
        assert_ne!(key.name(), other.name());
    }
}
