use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::ClaimPath;

/// Which claims are kept beside the identity, because an application's settings look at them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedClaims {
    all: bool,
    names: BTreeSet<String>,
}

impl WantedClaims {
    /// Keeps all there are.
    pub fn add_all(&mut self) {
        self.all = true;
    }

    /// Keeps what `path` may lead to.
    pub fn add(&mut self, path: &ClaimPath) {
        self.names.extend(path.first_names().map(str::to_owned));
    }

    /// Those of `claims` that are kept.
    #[must_use]
    pub fn pick(&self, claims: &Map<String, Value>) -> Map<String, Value> {
        let wanted = claims.iter().filter(|(name, _)| self.all || self.names.contains(*name));
        wanted.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(paths: &[&str], expected: &[&str]) {
        let mut wanted = WantedClaims::default();
        for path in paths {
            wanted.add(&ClaimPath::new(path));
        }
        let claims =
            json!({"sub": "s", "acr": "1", "realm_access": {"roles": ["a"]}, "https://a.b/c": 1, "a": {"b": 1}});
        let picked = wanted.pick(claims.as_object().unwrap());
        assert_eq!(picked.keys().map(String::as_str).collect::<Vec<_>>(), expected, "{paths:?}");
        wanted.add_all();
        assert_eq!(wanted.pick(claims.as_object().unwrap()).len(), 5);
    }

    #[test]
    fn only_what_is_looked_at_is_kept() {
        check(&[], &[]);
        check(&["acr", "missing"], &["acr"]);
        check(&["realm_access.roles"], &["realm_access"]);
        check(&["https://a.b/c"], &["https://a.b/c"]);
        check(&["a.b"], &["a"]);
    }
}
