//! Properties of every cookie header, session token and sealed value.

use std::sync::LazyLock;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use super::{CookieName, Sealer, SealerError, cookies};
use crate::session::SessionToken;
use crate::world::World;

/// The name of the cookie that is looked for; inputs that contain it are skipped.
const NAME: &str = "__Host-authentik_proxy_1241936d";

static SEALER: LazyLock<Sealer> = LazyLock::new(|| Sealer::new(b"a secret of some length, for tests"));

/// Reads each line of `bytes` as a `Cookie` field, each value as a token and a sealed text, and all of it as a secret.
pub(crate) fn hold(bytes: &[u8]) {
    seal_holds(bytes);
    let lines: Vec<&[u8]> =
        bytes.split(|byte| *byte == b'\n').filter(|line| HeaderValue::from_bytes(line).is_ok()).collect();
    let headers = fields(&lines);
    for (name, value) in cookies(&headers) {
        assert!(!name.contains([';', '=']) && !value.contains(';'), "{name:?} {value:?}");
        assert!(!name.starts_with([' ', '\t']) && !value.ends_with([' ', '\t']), "{name:?} {value:?}");
        token_holds(value);
        assert_eq!(SEALER.open("attempt", value), Err(SealerError::NotOurs), "it was not sealed");
    }
    if !String::from_utf8_lossy(bytes).contains(NAME) {
        no_other_cookie_hides_ours(&lines);
    }
}

fn fields(lines: &[&[u8]]) -> HeaderMap {
    lines.iter().filter_map(|line| Some((COOKIE, HeaderValue::from_bytes(line).ok()?))).collect()
}

/// The cookie is found after, before and between any other cookies, and not within one of them.
fn no_other_cookie_hides_ours(lines: &[&[u8]]) {
    let token = SessionToken::parse(&"A".repeat(43)).expect("a token");
    let name = CookieName::new(NAME);
    let ours = format!("{NAME}={}", token.encode());
    let found = |lines: &[&[u8]]| SessionToken::every(&name, &fields(lines)).eq([token.clone()]);
    for separator in ["; ", ";"].map(str::as_bytes) {
        let others = lines.join(separator);
        let behind = [&others, separator, ours.as_bytes()].concat();
        let before = [ours.as_bytes(), separator, &others].concat();
        assert!(found(&[&behind]) && found(&[&before]));
    }
    assert!(found(&[&[ours.as_bytes()], lines].concat()) && found(&[lines, &[ours.as_bytes()]].concat()));
    for text in [", ", ",", "=", "a=", "\"", "$", "\u{a0}"] {
        let within = [lines.join(&b';'), [text.as_bytes(), ours.as_bytes()].concat()].concat();
        let swallowed = [ours.as_bytes(), ",".as_bytes(), &lines.join(&b';')].concat();
        for line in [within, swallowed] {
            assert!(SessionToken::every(&name, &fields(&[&line])).next().is_none(), "{line:?}");
        }
    }
}

/// A token has one spelling, and `Debug` does not show it.
fn token_holds(text: &str) {
    if let Some(token) = SessionToken::parse(text) {
        assert_eq!(token.encode(), text);
        assert!(!format!("{token:?}{:?}", token.key()).contains(text));
    }
}

/// A sealed value opens for its purpose only, and not after a change.
fn seal_holds(plain: &[u8]) {
    let text = SEALER.seal(&World::system(), "state", plain).expect("randomness");
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
    assert_eq!(SEALER.open("state", &text).as_deref(), Ok(plain));
    assert_eq!(SEALER.open("attempt", &text), Err(SealerError::NotOurs));
    let at = plain.iter().map(|byte| usize::from(*byte)).sum::<usize>() % text.len();
    let mut changed = text.clone().into_bytes();
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).expect("base64url");
    assert_eq!(SEALER.open("state", &changed), Err(SealerError::NotOurs));
    assert_eq!(SEALER.open("state", &text[..at]), Err(SealerError::NotOurs));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn of_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            super::hold(&bytes);
        }

        #[test]
        fn of_texts_like_cookies(text in "([a-z_]{0,4}=?\"?[a-zA-Z0-9_=\u{e9}-]{0,4}\"?[;,\n]? ?){0,8}") {
            super::hold(text.as_bytes());
        }

        #[test]
        fn of_texts_like_tokens(token in "[A-Za-z0-9_-]{42,44}=?") {
            super::hold(format!("x={token}").as_bytes());
        }
    }
}
