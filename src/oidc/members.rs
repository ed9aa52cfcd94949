//! JSON objects whose members must be unique.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Value};

/// An object without duplicate members.
struct Members(Map<String, Value>);

/// Parses an object. Refuses duplicate members (RFC 7519 §4, RFC 8259 §4), as of two parsers one might take the first and one the
/// last.
///
/// # Errors
///
/// What is wrong with the text, without any part of it.
pub(super) fn parse(text: &[u8]) -> Result<Map<String, Value>, &'static str> {
    match serde_json::from_slice(text) {
        Ok(Members(members)) => Ok(members),
        Err(error) => Err(match error.classify() {
            Category::Io | Category::Eof => "it ends too early",
            Category::Syntax => "it is not JSON",
            Category::Data => "it is not an object whose members stand once each",
        }),
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Once)
    }
}

struct Once;

impl<'de> Visitor<'de> for Once {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members, A::Error> {
        let mut members = Map::new();
        while let Some((name, value)) = access.next_entry::<String, Value>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member stands twice"));
            }
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let found = parse(text.as_bytes()).map(|members| Value::Object(members).to_string());
        assert_eq!(found.as_deref().map_err(|why| *why), expected, "{text}");
    }

    #[test]
    fn members_stand_once() {
        const TWICE: &str = "it is not an object whose members stand once each";
        check(r#" {"b": [1], "a": null} "#, Ok(r#"{"a":null,"b":[1]}"#));
        check("{}", Ok("{}"));
        check(r#"{"a": 1, "b": 2, "a": 1}"#, Err(TWICE));
        check(r#"{"a": 1, "\u0061": 1}"#, Err(TWICE));
        check("[]", Err(TWICE));
        check("7", Err(TWICE));
        check(r#"{"a": 1} x"#, Err("it is not JSON"));
        check(r#"{"a": 1e999}"#, Err("it is not JSON"));
        check(r#"{"a""#, Err("it ends too early"));
        check("", Err("it ends too early"));
    }
}
