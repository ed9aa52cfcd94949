use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Identity;
use crate::settings::HeaderSwitches;

/// The header fields we own, in the order of [`HeaderBlock`]; each is on every 200.
///
/// A proxy that copies only fields that are present would otherwise let the client's own copy through.
pub const IDENTITY_HEADERS: [HeaderName; 12] = [
    HeaderName::from_static("x-authentik-username"),
    HeaderName::from_static("x-authentik-groups"),
    HeaderName::from_static("x-authentik-entitlements"),
    HeaderName::from_static("x-authentik-email"),
    HeaderName::from_static("x-authentik-name"),
    HeaderName::from_static("x-authentik-uid"),
    HeaderName::from_static("x-authentik-jwt"),
    HeaderName::from_static("x-authentik-meta-jwks"),
    HeaderName::from_static("x-authentik-meta-outpost"),
    HeaderName::from_static("x-authentik-meta-provider"),
    HeaderName::from_static("x-authentik-meta-app"),
    HeaderName::from_static("x-authentik-meta-version"),
];

/// The values that do not depend on the user.
#[derive(Clone, Debug)]
pub struct Meta {
    /// Where the provider's keys are; empty while it is unknown.
    pub jwks: HeaderValue,
    /// This daemon's name.
    pub outpost: HeaderValue,
    /// The identity provider's name.
    pub provider: HeaderValue,
    /// The application's slug.
    pub app: HeaderValue,
    /// This program and its version.
    pub version: HeaderValue,
}

/// The ready-made identity headers of a session; cloning their values is cheap.
#[derive(Clone, Debug)]
pub struct HeaderBlock([HeaderValue; 12]);

impl HeaderBlock {
    /// Renders the headers of `identity`; `id_token` is sent only where `switches` say so.
    #[must_use]
    pub fn new(identity: &Identity, id_token: &str, switches: &HeaderSwitches, meta: Meta) -> Self {
        Self::render(
            [
                identifier_value(&identity.username),
                header_value(&join(&identity.groups)),
                header_value(&join(&identity.entitlements)),
                identifier_value(&identity.email),
                header_value(&identity.name),
                identifier_value(&identity.uid),
                header_value(if switches.jwt { id_token } else { "" }),
            ],
            meta,
        )
    }

    /// The headers of nobody: identity empty, the rest as always.
    #[must_use]
    pub fn anonymous(meta: Meta) -> Self {
        Self::render([const { HeaderValue::from_static("") }; 7], meta)
    }

    fn render(identity: [HeaderValue; 7], meta: Meta) -> Self {
        let [username, groups, entitlements, email, name, uid, jwt] = identity;
        Self([
            username,
            groups,
            entitlements,
            email,
            name,
            uid,
            jwt,
            meta.jwks,
            meta.outpost,
            meta.provider,
            meta.app,
            meta.version,
        ])
    }

    /// Puts all fields into `headers`.
    pub fn write(&self, headers: &mut HeaderMap) {
        for (name, value) in IDENTITY_HEADERS.iter().zip(&self.0) {
            headers.insert(name.clone(), value.clone());
        }
    }

    /// Bytes on an HTTP/1.1 wire: names, values, separators and line ends.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        let names: usize = IDENTITY_HEADERS.iter().map(|name| name.as_str().len()).sum();
        let values: usize = self.0.iter().map(HeaderValue::len).sum();
        names + values + IDENTITY_HEADERS.len() * ": \r\n".len()
    }
}

/// Any text as a field value: UTF-8 is kept, control characters become spaces, spaces at the ends are trimmed.
#[must_use]
pub fn header_value(text: &str) -> HeaderValue {
    let clean: String = text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
    HeaderValue::from_bytes(clean.trim_matches(' ').as_bytes()).unwrap_or(const { HeaderValue::from_static("") })
}

/// A text that applications tell users apart by: what a field value cannot carry becomes U+FFFD rather than disappearing,
/// so that `admin\0` or ` admin` is never taken for `admin`.
fn identifier_value(text: &str) -> HeaderValue {
    const UNCARRIED: char = char::REPLACEMENT_CHARACTER;
    let inner = text.trim_matches(' ');
    let start = text.len() - text.trim_start_matches(' ').len();
    let marked: String = text
        .char_indices()
        .map(|(at, it)| {
            let outside = at < start || at >= start + inner.len();
            if it.is_control() || outside { UNCARRIED } else { it }
        })
        .collect();
    header_value(&marked)
}

/// Joins names with `|`, as applications of the contract split them.
///
/// A `|` inside a name becomes `%7C`, and so do control characters and spaces at its ends, which a field value cannot
/// carry; a `%` that reads as an escape becomes `%25`. Splitting and percent-decoding gives the names back, so no two
/// lists look alike.
fn join(names: &[String]) -> String {
    let mut joined = String::new();
    for (at, name) in names.iter().enumerate() {
        if at > 0 {
            joined.push('|');
        }
        for (position, character) in name.char_indices() {
            let rest = &name[position..];
            match character {
                '|' => joined.push_str("%7C"),
                '%' if is_escape(rest) => joined.push_str("%25"),
                ' ' if position == 0 || rest.len() == 1 => joined.push_str("%20"),
                it if it.is_control() => joined.extend(utf8_percent_encode(&rest[..it.len_utf8()], NON_ALPHANUMERIC)),
                it => joined.push(it),
            }
        }
    }
    joined
}

fn is_escape(text: &str) -> bool {
    text.as_bytes().get(1..3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        let value = |text| HeaderValue::from_static(text);
        Meta {
            jwks: value("https://idp.test/jwks"),
            outpost: value("forepost"),
            provider: value("default"),
            app: value("whoami"),
            version: value("v"),
        }
    }

    fn written(identity: &Identity, jwt: bool) -> HeaderMap {
        let switches = HeaderSwitches { jwt, warn_bytes: 0 };
        let mut headers = HeaderMap::new();
        HeaderBlock::new(identity, "header.payload.signature", &switches, meta()).write(&mut headers);
        headers
    }

    #[test]
    fn all_twelve_are_always_there() {
        let mut anonymous = HeaderMap::new();
        HeaderBlock::anonymous(meta()).write(&mut anonymous);
        for headers in [anonymous, written(&Identity::default(), true)] {
            assert_eq!(headers.len(), 12);
            assert_eq!(headers["x-authentik-username"], "");
            assert_eq!(headers["x-authentik-meta-app"], "whoami");
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-authentik-username", HeaderValue::from_static("old"));
        HeaderBlock::anonymous(meta()).write(&mut headers);
        assert_eq!(headers.get_all("x-authentik-username").iter().count(), 1);
    }

    #[test]
    fn the_token_can_be_switched_off() {
        let identity = Identity { username: "alice".into(), ..Identity::default() };
        assert_eq!(written(&identity, true)["x-authentik-jwt"], "header.payload.signature");
        assert_eq!(written(&identity, false)["x-authentik-jwt"], "");
        assert_eq!(written(&identity, false)["x-authentik-username"], "alice");
    }

    #[track_caller]
    fn value(text: &str, expected: &str) {
        assert_eq!(header_value(text).as_bytes(), expected.as_bytes(), "{text:?}");
    }

    #[test]
    fn values_are_cleaned_and_keep_utf8() {
        value("Alice Ärger 🦀", "Alice Ärger 🦀");
        value("a\r\nX-Admin: yes", "a  X-Admin: yes");
        value("a\0b\u{7f}c\u{85}d", "a b c d");
        value("\t padded \n", "padded");
        value("\u{a0}wide\u{2003}", "\u{a0}wide\u{2003}");
        value("", "");
    }

    #[track_caller]
    fn identifier(text: &str, expected: &str) {
        assert_eq!(identifier_value(text).as_bytes(), expected.as_bytes(), "{text:?}");
    }

    #[test]
    fn no_identifier_passes_for_another() {
        identifier("alice", "alice");
        identifier("Alice Ärger 🦀", "Alice Ärger 🦀");
        identifier("admin\0", "admin\u{fffd}");
        identifier("admin\n", "admin\u{fffd}");
        identifier(" admin", "\u{fffd}admin");
        identifier("admin  ", "admin\u{fffd}\u{fffd}");
        identifier("  ", "\u{fffd}\u{fffd}");
        identifier("ad\u{7f}min", "ad\u{fffd}min");
        identifier("", "");
    }

    #[track_caller]
    fn list(names: &[&str], expected: &str) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        assert_eq!(join(&names), expected);
    }

    #[test]
    fn lists_are_joined_without_ambiguity() {
        list(&[], "");
        list(&["a"], "a");
        list(&["a", "b c"], "a|b c");
        list(&["a|b"], "a%7Cb");
        list(&["a%7Cb"], "a%257Cb");
        list(&["a%25"], "a%2525");
        list(&["100%", "50% off"], "100%|50% off");
        list(&["a%20b", "%|"], "a%2520b|%%7C");
        list(&["admins\n", " admins", "admins ", " "], "admins%0A|%20admins|admins%20|%20");
        list(&["a\u{85}"], "a%C2%85");
    }
}
