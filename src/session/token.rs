use std::fmt;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use http::HeaderMap;

use crate::cookie::cookies;
use crate::world::{EntropyError, World};

const LENGTH: usize = 32;

/// Cookies of one name that are looked at.
const MOST_TOKENS: usize = 8;

/// What the session cookie holds: 32 random bytes, known to the browser alone.
///
/// Stores see only what is derived from it, so what lies in a store opens no session.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken([u8; LENGTH]);

/// The name of a record in a store.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionKey([u8; LENGTH]);

struct KeyLength;

impl KeyType for KeyLength {
    fn len(&self) -> usize {
        LENGTH
    }
}

impl SessionToken {
    /// A new token; every login gets one.
    ///
    /// # Errors
    ///
    /// When the system gives no randomness.
    pub fn generate(world: &World) -> Result<Self, EntropyError> {
        world.random().map(Self)
    }

    /// Reads a cookie's value; anything that is not of our form is nobody's token.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// The tokens in the cookies called `name`: browsers may hold two, of which only one is good.
    pub fn all(name: &str, headers: &HeaderMap) -> impl Iterator<Item = Self> {
        cookies(headers)
            .filter(move |(it, _)| *it == name)
            .filter_map(|(_, value)| Self::parse(value))
            .take(MOST_TOKENS)
    }

    /// The cookie's value.
    #[must_use]
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The record's name, derived one way (HKDF-Expand, RFC 5869 §2.3; the token is uniformly random already, §3.3).
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "the length asked for is a constant that the algorithm can give")]
    pub fn key(&self) -> SessionKey {
        let mut key = [0; LENGTH];
        Prk::new_less_safe(HKDF_SHA256, &self.0)
            .expand(&[b"forepost session key 1"], KeyLength)
            .and_then(|okm| okm.fill(&mut key))
            .expect("32 bytes are within what HKDF-SHA256 can give");
        SessionKey(key)
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(…)")
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third, fourth, ..] = self.0;
        write!(f, "{first:02x}{second:02x}{third:02x}{fourth:02x}…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_and_keys_tell_nothing() {
        let token = SessionToken::generate(&World::system()).unwrap();
        let text = token.encode();
        assert_eq!(text.len(), 43);
        assert_eq!(SessionToken::parse(&text).unwrap(), token);
        assert_eq!(SessionToken::parse(&text).unwrap().key(), token.key());
        assert_ne!(URL_SAFE_NO_PAD.encode(token.key().0), text);
        assert!(!format!("{token:?}{:?}", token.key()).contains(&text[..8]));
    }

    #[test]
    fn what_is_no_token() {
        for text in ["", "garbage", "a", &"A".repeat(42), &"A".repeat(44), &"=".repeat(43), "AAAA AAAA"] {
            assert!(SessionToken::parse(text).is_none(), "{text:?}");
        }
    }
}
