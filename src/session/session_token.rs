use std::fmt;
use std::hash::{Hash, Hasher};

use aws_lc_rs::aead::LessSafeKey;
use aws_lc_rs::digest;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use http::HeaderMap;
use serde::{Serialize, Serializer};

use super::record::aead_key;
use crate::cookie::CookieName;
use crate::world::{EntropyError, World};

const LENGTH: usize = 32;

const KEY_LABEL: &[u8; 22] = b"forepost session key 1";

const RECORD_LABEL: &[u8] = b"session record 1";

/// The number of different tokens in one request that may let a user in. A request with more lets no user in.
const MOST_LETTING_IN: usize = 8;

/// The number of different tokens in one request that a sign-out looks at. Browsers keep fewer cookies for one site (Chromium
/// and Firefox: 180), so a planted cookie cannot hide a session from its end; a request could bring more.
const MOST_ENDING: usize = 200;

/// The value of the session cookie: 32 random bytes that only the browser knows.
///
/// Stores see only what is derived from it, so a copy of a store opens no session.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken([u8; LENGTH]);

/// The name of a record in a store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionKey([u8; LENGTH]);

impl SessionKey {
    /// Bits that are as random as a hash of the key would be.
    pub(crate) const fn bits(&self) -> u64 {
        let [low, ..] = self.0.as_chunks().0 else { return 0 };
        u64::from_ne_bytes(*low)
    }
}

impl SessionKey {
    pub(super) const fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }

    pub(super) const fn from_bytes(bytes: [u8; LENGTH]) -> Self {
        Self(bytes)
    }

    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        decode(text).map(Self)
    }
}

/// It opens nothing; operators name a session by it.
impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl Serialize for SessionKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Hash for SessionKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.bits());
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

    /// Reads a cookie's value; `None` for anything that does not have the form of a token.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        decode(text).map(Self)
    }

    /// All tokens in the cookies called `name`, with repetitions: a browser may send several, of which one is valid.
    pub fn every<'h>(name: &'h CookieName, headers: &'h HeaderMap) -> impl Iterator<Item = Self> {
        name.values(headers).filter_map(Self::parse)
    }

    /// The different tokens in the cookies called `name`, to let a user in. Empty where there are more than eight, which no
    /// honest browser sends: a session must not count because others were not looked at.
    pub(crate) fn letting_in(name: &CookieName, headers: &HeaderMap) -> Vec<Self> {
        let (tokens, are_all) = different(name, headers, MOST_LETTING_IN);
        if are_all { tokens } else { Vec::new() }
    }

    /// The different tokens in the cookies called `name`, to end sessions: all that could let the user in, in this request or
    /// in one with fewer cookies. Another path than that of a sign-out may have fewer.
    pub(super) fn ending(name: &CookieName, headers: &HeaderMap) -> (Vec<Self>, bool) {
        different(name, headers, MOST_ENDING)
    }

    /// The cookie's value.
    #[must_use]
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The record's key: SHA-256 over a label and the token.
    ///
    /// The token has 256 uniformly random bits, so a slower derivation is not needed; with this label the hash has one block.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "SHA-256 has 32 bytes")]
    pub fn key(&self) -> SessionKey {
        let mut input = [0; KEY_LABEL.len() + LENGTH];
        let (label, token) = input.split_at_mut(KEY_LABEL.len());
        label.copy_from_slice(KEY_LABEL);
        token.copy_from_slice(&self.0);
        let hash = digest::digest(&digest::SHA256, &input);
        SessionKey(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl SessionToken {
    /// The key of the part of a record that only the token's holder may read (HKDF-SHA256, RFC 5869).
    pub(super) fn record_key(&self) -> LessSafeKey {
        aead_key(&Salt::new(HKDF_SHA256, b"forepost").extract(&self.0), &[RECORD_LABEL])
    }
}

/// The first `most` different tokens in the cookies called `name`, and whether there are no others.
fn different(name: &CookieName, headers: &HeaderMap, most: usize) -> (Vec<SessionToken>, bool) {
    let mut tokens = Vec::new();
    for token in SessionToken::every(name, headers) {
        if tokens.contains(&token) {
            continue;
        }
        if tokens.len() == most {
            return (tokens, false);
        }
        tokens.push(token);
    }
    (tokens, true)
}

fn decode(text: &str) -> Option<[u8; LENGTH]> {
    // The decoder needs room for whole quartets.
    let mut bytes = [0; LENGTH + 1];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    bytes[..length].try_into().ok()
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

    /// How many of these tokens may let a user in, how many are looked at to end sessions, and whether those are all.
    #[track_caller]
    fn looked_at(numbers: impl Iterator<Item = u32>, expected: (usize, usize, bool)) {
        let name = CookieName::new("name");
        let line = numbers.map(|number| format!("name={number:042}A")).collect::<Vec<_>>().join("; ");
        let headers = HeaderMap::from_iter([(http::header::COOKIE, line.parse().unwrap())]);
        let entering = SessionToken::letting_in(&name, &headers);
        let (leaving, are_all) = SessionToken::ending(&name, &headers);
        assert_eq!((entering.len(), leaving.len(), are_all), expected);
        assert!(entering.iter().all(|token| leaving.contains(token)), "what lets in can be ended");
    }

    #[test]
    fn what_lets_in_can_be_ended_and_each_token_counts_once() {
        let again = || [1; 300].into_iter();
        looked_at(0..0, (0, 0, true));
        looked_at(again(), (1, 1, true));
        looked_at(0..8, (8, 8, true));
        looked_at(again().chain(0..8), (8, 8, true));
        looked_at((0..8).chain(again()), (8, 8, true));
        looked_at(0..9, (0, 9, true));
        looked_at(again().chain(0..200).chain(again()), (0, 200, true));
        looked_at(0..201, (0, 200, false));
        looked_at(again().chain(0..201), (0, 200, false));
    }

    #[test]
    fn what_is_no_token() {
        for text in ["", "garbage", "a", &"A".repeat(42), &"A".repeat(44), &"=".repeat(43), "AAAA AAAA"] {
            assert!(SessionToken::parse(text).is_none(), "{text:?}");
        }
    }
}
