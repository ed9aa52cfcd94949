use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Identity;
use crate::unicode::is_ignorable;

/// The twelve identity headers, each of which is on every 200.
///
/// A proxy copies the fields that are present. Without one of them, it would pass the client's own copy.
pub(crate) static IDENTITY_HEADERS: [HeaderName; 12] = [
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

/// How many of [`IDENTITY_HEADERS`] are about the user; the others are about the daemon and the application.
pub(super) const IDENTITY_VALUES: usize = 7;

/// The header fields of one application without a user. Cloning a map is cheaper than filling one.
#[derive(Clone, Debug)]
pub struct HeaderTemplate(HeaderMap);

/// The values that depend neither on the user nor on the provider's metadata.
#[derive(Clone, Debug)]
pub(crate) struct Meta {
    /// This daemon's name.
    pub(crate) outpost: HeaderValue,
    /// The identity provider's name.
    pub(crate) provider: HeaderValue,
    /// The application's slug.
    pub(crate) app: HeaderValue,
    /// This program and its version.
    pub(crate) version: HeaderValue,
}

impl HeaderTemplate {
    /// All fields; those of `meta` have values, the others and the `further` ones are empty.
    #[must_use]
    pub(crate) fn new(meta: Meta, further: impl Iterator<Item = HeaderName>) -> Self {
        let empty = const { [const { HeaderValue::from_static("") }; IDENTITY_VALUES + 1] };
        let meta = [meta.outpost, meta.provider, meta.app, meta.version];
        let ours = IDENTITY_HEADERS.iter().cloned().zip(empty.into_iter().chain(meta));
        Self(ours.chain(further.map(|name| (name, const { HeaderValue::from_static("") }))).collect())
    }

    /// The headers without a user.
    #[must_use]
    pub(crate) fn anonymous(&self, jwks: &HeaderValue) -> HeaderMap {
        self.fill(&[], jwks)
    }

    /// The headers of a user with these `values`, of which the last ones may be missing, and with the provider's `jwks`.
    pub(super) fn fill(&self, values: &[HeaderValue], jwks: &HeaderValue) -> HeaderMap {
        let given = || {
            let named = IDENTITY_HEADERS.iter().zip(values);
            named.chain([(&IDENTITY_HEADERS[IDENTITY_VALUES], jwks)]).filter(|(_, value)| !value.is_empty())
        };
        let mut headers = self.0.clone();
        let mut left = given().peekable();
        for (name, slot) in &mut headers {
            if let Some((_, value)) = left.next_if(|(wanted, _)| is_same(wanted, name)) {
                slot.clone_from(value);
            }
        }
        // The map keeps its order while nothing is removed, but does not promise it.
        for (name, value) in left {
            headers.insert(name, value.clone());
        }
        headers
    }

    #[cfg(test)]
    pub(crate) fn samples() -> Self {
        let value = |text| HeaderValue::from_static(text);
        let meta =
            Meta { outpost: value("forepost"), provider: value("default"), app: value("whoami"), version: value("v") };
        Self::new(meta, std::iter::empty())
    }
}

/// Whether the names are equal; most names of a template are the same constants.
fn is_same(one: &HeaderName, other: &HeaderName) -> bool {
    std::ptr::eq(one.as_str(), other.as_str()) || one == other
}

/// The size of `headers` in HTTP/1.1, in bytes: names, values, separators and line ends.
#[must_use]
pub(crate) fn wire_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum()
}

/// The texts of the first header fields, which the ID token follows.
pub(super) fn render(identity: &Identity) -> [String; IDENTITY_VALUES - 1] {
    [
        identifier(&identity.username),
        clean(&join(&identity.groups, '|')),
        clean(&join(&identity.entitlements, '|')),
        identifier(&identity.email),
        clean(&identity.name),
        identifier(&identity.uid),
    ]
}

/// Makes a field value of any text: keeps UTF-8, replaces control characters with spaces, trims spaces at the ends.
#[must_use]
pub(crate) fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_bytes(clean(text).as_bytes()).unwrap_or(const { HeaderValue::from_static("") })
}

fn clean(text: &str) -> String {
    let spaced: String = text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
    spaced.trim_matches(' ').to_owned()
}

/// Whether an application may trim the character off the ends of a text: white space and invisible characters. JavaScript's `trim`
/// removes U+FEFF, others remove U+200B or U+180E.
fn is_trimmed(it: char) -> bool {
    it.is_whitespace() || is_ignorable(it)
}

/// Escapes a text that identifies a user, as a name in a list is escaped. Percent-decoding gives the text back, so an application
/// does not read ` admin` or `admin\0` as `admin`.
pub(super) fn identifier(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    escape(text, None, &mut escaped);
    escaped
}

/// Joins names with `separator`, at which applications split them: `|` in the twelve headers, a comma in further ones.
///
/// Splitting and percent-decoding give the names back, so two different lists have different texts.
pub(super) fn join(names: &[String], separator: char) -> String {
    let mut joined = String::new();
    for (at, name) in names.iter().enumerate() {
        if at > 0 {
            joined.push(separator);
        }
        escape(name, Some(separator), &mut joined);
    }
    joined
}

/// Appends `name` to `text`, and escapes it.
///
/// Escaped (`%7C`, `%2C`) are the separator, control characters, which a field value cannot contain, and characters that
/// applications may trim off the ends of a name. A `%` before two hexadecimal digits becomes `%25`. All other text is UTF-8.
fn escape(name: &str, separator: Option<char>, text: &mut String) {
    for (position, character) in name.char_indices() {
        let (this, rest) = name[position..].split_at(character.len_utf8());
        let at_an_end = position == 0 || rest.is_empty();
        let is_escaped = Some(character) == separator
            || character.is_control()
            || (is_trimmed(character) && at_an_end)
            || (character == '%' && is_hexadecimal(rest));
        if is_escaped {
            text.extend(utf8_percent_encode(this, NON_ALPHANUMERIC));
        } else {
            text.push(character);
        }
    }
}

/// Whether `text` begins with two hexadecimal digits.
fn is_hexadecimal(text: &str) -> bool {
    text.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_twelve_are_always_there() {
        let jwks = HeaderValue::from_static("https://idp.test/jwks");
        let template = HeaderTemplate::samples();
        let alice = [const { HeaderValue::from_static("alice") }];
        for (values, username) in [(&[][..], ""), (&alice[..], "alice")] {
            let headers = template.fill(values, &jwks);
            assert_eq!(headers.len(), 12);
            assert_eq!(headers.keys_len(), 12);
            assert_eq!(headers["x-authentik-username"], username);
            assert_eq!(headers["x-authentik-groups"], "");
            assert_eq!(headers["x-authentik-meta-jwks"], "https://idp.test/jwks");
            assert_eq!(headers["x-authentik-meta-app"], "whoami");
        }
        assert_eq!(template.anonymous(&jwks), template.fill(&[], &jwks));
    }

    #[test]
    fn a_map_in_another_order_is_filled_just_the_same() {
        let jwks = HeaderValue::from_static("https://idp.test/jwks");
        let values: [HeaderValue; IDENTITY_VALUES] = std::array::from_fn(|at| header_value(&format!("value {at}")));
        let template = HeaderTemplate::samples();
        let fields: Vec<_> = template.0.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let turned = HeaderTemplate(fields.into_iter().rev().collect());
        assert_eq!(turned.fill(&values, &jwks), template.fill(&values, &jwks));
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
        assert_eq!(super::identifier(text), expected, "{text:?}");
    }

    #[test]
    fn no_identifier_passes_for_another() {
        identifier("alice", "alice");
        identifier("Alice Ärger 🦀", "Alice Ärger 🦀");
        identifier("admin\0", "admin%00");
        identifier("admin\n", "admin%0A");
        identifier(" admin", "%20admin");
        identifier("admin  ", "admin %20");
        identifier("  ", "%20%20");
        identifier("ad\u{7f}min", "ad%7Fmin");
        identifier("\u{a0}admin\u{2003}", "%C2%A0admin%E2%80%83");
        identifier("ad \u{a0}min", "ad \u{a0}min");
        identifier("\u{fffd}admin", "\u{fffd}admin");
        identifier("%20admin", "%2520admin");
        identifier("100%", "100%");
        identifier("a|b,c", "a|b,c");
        for (unseen, escaped) in [('\u{feff}', "%EF%BB%BF"), ('\u{200b}', "%E2%80%8B"), ('\u{ad}', "%C2%AD")] {
            identifier(&format!("{unseen}admin"), &format!("{escaped}admin"));
            identifier(&format!("admin {unseen}"), &format!("admin {escaped}"));
            identifier(&format!("ad{unseen}min"), &format!("ad{unseen}min"));
            identifier(&unseen.to_string(), escaped);
        }
        identifier("", "");
    }

    #[track_caller]
    fn list(names: &[&str], expected: &str) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        assert_eq!(join(&names, '|'), expected);
        // Both kinds of list have the same escapes; only the separator differs.
        let turned = |text: &str| text.replace('|', "\0").replace(',', "|").replace('\0', ",");
        let with_commas: Vec<String> = names.iter().map(|name| turned(name)).collect();
        let expected = turned(&expected.replace("%2C", "\0").replace("%7C", "%2C").replace('\0', "%7C"));
        assert_eq!(join(&with_commas, ','), expected);
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
        list(&["Küche", "日本 🦀", "a,b"], "Küche|日本 🦀|a,b");
        list(&["\u{a0}admins", "admins\u{2003}", "ad\u{a0}mins"], "%C2%A0admins|admins%E2%80%83|ad\u{a0}mins");
        list(&["\u{feff}admins", "admins\u{200b}", "ad\u{feff}mins"], "%EF%BB%BFadmins|admins%E2%80%8B|ad\u{feff}mins");
    }
}
