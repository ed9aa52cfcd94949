use std::fmt;

use serde_json::{Map, Value};

/// Where a claim is: its name, or a dotted path into nested objects.
///
/// A claim whose whole name is the text wins over a path, because names may hold dots (`https://example.com/roles`).
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimPath(Box<str>);

impl ClaimPath {
    /// The path written as `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value there; `null` counts as absent.
    #[must_use]
    pub fn find<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        let found = claims.get(&*self.0).or_else(|| {
            let mut steps = self.0.split('.');
            let first = claims.get(steps.next()?)?;
            steps.try_fold(first, |value, step| value.get(step))
        });
        found.filter(|value| !value.is_null())
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(path: &str, expected: Option<Value>) {
        let claims = json!({
            "groups": ["a"],
            "realm_access": {"roles": ["x", "y"]},
            "https://example.com/roles": ["z"],
            "a.b": 1, "a": {"b": 2, "c": null},
            "nothing": null,
        });
        let found = ClaimPath::new(path).find(claims.as_object().unwrap());
        assert_eq!(found.cloned(), expected, "{path}");
    }

    #[test]
    fn claims_are_found_by_name_and_by_path() {
        check("groups", Some(json!(["a"])));
        check("realm_access.roles", Some(json!(["x", "y"])));
        check("https://example.com/roles", Some(json!(["z"])));
        check("a.b", Some(json!(1)));
        check("a.c", None);
        check("nothing", None);
        check("realm_access.roles.deeper", None);
        check("", None);
    }
}
