//! Properties of every set of claims, from any provider.

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::header_block::IDENTITY_HEADERS;
use super::{ClaimPath, FurtherHeaders, HeaderTemplate, Identity, Meta, PackedIdentity, header_value, wire_bytes};
use crate::identity::{ClaimNames, FurtherHeader, HeaderSource, IdentityField};
use crate::unicode::is_ignorable;
use crate::world::UnixTime;

/// Reads the first line of `text` as the path of the groups, and the rest as the claims.
pub(crate) fn hold(text: &str) {
    let (path, claims) = text.split_once('\n').unwrap_or(("groups", text));
    value_holds(text);
    let Ok(Value::Object(claims)) = serde_json::from_str(claims) else { return };
    let Ok(identity) = Identity::from_claims(&claims, &names(path)) else {
        assert!(matches!(claims.get("sub").and_then(Value::as_str), None | Some("")), "a usable `sub`");
        return;
    };
    assert_eq!(claims.get("sub").and_then(Value::as_str), Some(identity.subject.as_str()));
    assert!(!identity.label().is_empty());
    claims_hold(&identity, &claims, path);
    block_holds(&identity);
}

fn names(groups: &str) -> ClaimNames {
    ClaimNames {
        username: ClaimPath::new("preferred_username"),
        email: ClaimPath::new("email"),
        name: ClaimPath::new("name"),
        groups: ClaimPath::new(groups),
        entitlements: ClaimPath::new("entitlements"),
        uid: ClaimPath::new("sub"),
    }
}

/// Texts are unchanged, and each group is one that the provider named.
fn claims_hold(identity: &Identity, claims: &Map<String, Value>, path: &str) {
    if let Some(Value::String(username)) = claims.get("preferred_username") {
        assert_eq!(identity.username, *username);
    }
    let given = ClaimPath::new(path).find(claims);
    for group in &identity.groups {
        assert!(!group.is_empty());
        let given = given.expect("groups come from a claim");
        if let Value::Object(members) = given {
            assert!(members.get(group).is_some_and(|it| !it.is_null() && it != false), "{group}");
            continue;
        }
        let listed = given.as_array().map_or(std::slice::from_ref(given), Vec::as_slice);
        assert!(listed.iter().any(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned) == *group), "{group}");
    }
}

/// Every field is there once and has a valid value, and a list can be split again.
fn block_holds(identity: &Identity) {
    let packed = PackedIdentity::new(identity.clone(), "id.to.ken", Some(UnixTime::from_secs(1)));
    assert_eq!(*packed.identity(), *identity);
    assert_eq!((packed.label(), packed.subject()), (identity.label(), identity.subject.as_str()));
    let headers = packed.headers(
        &HeaderTemplate::new(meta(), std::iter::empty()),
        &HeaderValue::from_static("x"),
        Some(UnixTime::default()),
    );
    assert_eq!(headers.len(), IDENTITY_HEADERS.len());
    let mut bytes = 0;
    for name in &IDENTITY_HEADERS {
        let [value] = headers.get_all(name).iter().collect::<Vec<_>>()[..] else { panic!("{name} is there once") };
        visible(value);
        bytes += name.as_str().len() + value.len() + 4;
    }
    assert_eq!(wire_bytes(&headers), bytes);
    for (name, text) in [("x-authentik-username", &identity.username), ("x-authentik-uid", &identity.uid)] {
        let sent = std::str::from_utf8(headers[name].as_bytes()).expect("UTF-8");
        assert_eq!(percent_decode_str(sent).decode_utf8_lossy(), *text, "{sent:?} passes for another");
        assert_eq!(trimmed(sent), sent, "applications trim it");
    }
    for (name, list) in [("x-authentik-groups", &identity.groups), ("x-authentik-entitlements", &identity.entitlements)]
    {
        list_holds(&headers[name], '|', list);
    }
    let name = HeaderName::from_static("remote-groups");
    let groups = FurtherHeader { name: name.clone(), source: HeaderSource::Identity(IdentityField::Groups) };
    let mut headers = HeaderMap::new();
    FurtherHeaders::new(vec![groups], None).fill(&packed, &mut headers);
    list_holds(&headers[name], ',', &identity.groups);
}

/// The text between two separators is a name with escapes, and an application that trims it gets the same text.
fn list_holds(value: &HeaderValue, separator: char, list: &[String]) {
    visible(value);
    let joined = std::str::from_utf8(value.as_bytes()).expect("UTF-8");
    let apart = joined.split(separator).filter(|_| !list.is_empty());
    let apart = apart.inspect(|it| assert_eq!(trimmed(it), *it, "{joined}"));
    let apart: Vec<_> = apart.map(|it| percent_decode_str(it).decode_utf8_lossy().into_owned()).collect();
    assert_eq!(apart, *list, "{joined}");
}

/// A text as an application reads it that trims the most.
fn trimmed(text: &str) -> &str {
    text.trim_matches(|it: char| it.is_whitespace() || is_ignorable(it))
}

fn meta() -> Meta {
    let [outpost, provider, app, version] = [const { HeaderValue::from_static("x") }; 4];
    Meta { outpost, provider, app, version }
}

/// The header value of any text passes a connection unchanged.
fn value_holds(text: &str) {
    let value = header_value(text);
    visible(&value);
    assert_eq!(header_value(std::str::from_utf8(value.as_bytes()).expect("UTF-8")), value);
    if text.chars().all(|it| it.is_ascii_graphic()) {
        assert_eq!(value.as_bytes(), text.as_bytes());
    }
}

fn visible(value: &HeaderValue) {
    let text = std::str::from_utf8(value.as_bytes()).expect("UTF-8");
    assert!(!text.contains(char::is_control), "{text:?}");
    assert_eq!(text.trim_matches(' '), text, "connections trim it");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    proptest! {
        #[test]
        fn of_any_text(text in "(.|\n|\\PC|\\p{Cc}){0,60}") {
            super::hold(&text);
        }

        #[test]
        fn of_any_claims(
            sub in ".{1,5}",
            name in "(.|\\p{Cc}){0,9}",
            groups in prop::collection::vec("([a%|,257Cc \u{a0}\u{2028}]|\\p{Cc}){0,6}", 0..5),
            path in "groups|a\\.b|a|.{0,3}",
        ) {
            let claims = json!({"sub": sub, "name": name, "groups": groups, "a": {"b": groups}, "entitlements": groups});
            super::hold(&format!("{path}\n{claims}"));
        }
    }
}
