use serde_json::{Map, Value};

use crate::settings::ClaimNames;

/// Who a session stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `sub`: never reassigned within the issuer (OIDC Core §2).
    pub subject: String,
    /// What the application shows; empty when unknown, like all that follow.
    pub username: String,
    /// The e-mail address.
    pub email: String,
    /// The full name.
    pub name: String,
    /// The user's identifier for applications; the subject unless configured otherwise.
    pub uid: String,
    /// Groups, in the provider's order.
    pub groups: Vec<String>,
    /// Entitlements, in the provider's order.
    pub entitlements: Vec<String>,
}

/// The claims name nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the claims have no usable `sub`")]
pub struct InvalidIdentity;

impl Identity {
    /// Reads an identity out of verified claims.
    ///
    /// Providers differ: a list may be `null`, absent, one string, or hold numbers. What cannot be read counts as
    /// unknown, except the subject.
    ///
    /// # Errors
    ///
    /// When `sub` is missing, empty or no string.
    pub fn from_claims(claims: &Map<String, Value>, names: &ClaimNames) -> Result<Self, InvalidIdentity> {
        let subject = match claims.get("sub") {
            Some(Value::String(subject)) if !subject.is_empty() => subject.clone(),
            _ => return Err(InvalidIdentity),
        };
        let one = |path: &super::ClaimPath| path.find(claims).and_then(scalar).unwrap_or_default();
        let many = |path: &super::ClaimPath| path.find(claims).map(list).unwrap_or_default();
        Ok(Self {
            username: one(&names.username),
            email: one(&names.email),
            name: one(&names.name),
            uid: one(&names.uid),
            groups: many(&names.groups),
            entitlements: many(&names.entitlements),
            subject,
        })
    }

    /// How this user is called in pages and logs.
    #[must_use]
    pub fn label(&self) -> &str {
        [&self.username, &self.email, &self.subject]
            .into_iter()
            .find(|text| !text.is_empty())
            .map_or("", String::as_str)
    }
}

pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

pub(super) fn list(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().filter_map(scalar).filter(|text| !text.is_empty()).collect(),
        other => scalar(other).filter(|text| !text.is_empty()).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::ClaimPath;
    use serde_json::json;

    fn names() -> ClaimNames {
        ClaimNames {
            username: ClaimPath::new("preferred_username"),
            email: ClaimPath::new("email"),
            name: ClaimPath::new("name"),
            groups: ClaimPath::new("realm_access.roles"),
            entitlements: ClaimPath::new("entitlements"),
            uid: ClaimPath::new("sub"),
        }
    }

    #[track_caller]
    fn groups(value: Value, expected: &[&str]) {
        let claims = json!({"sub": "s", "realm_access": {"roles": value}});
        let identity = Identity::from_claims(claims.as_object().unwrap(), &names()).unwrap();
        assert_eq!(identity.groups, expected, "{value}");
    }

    #[test]
    fn lists_are_read_tolerantly() {
        groups(json!(["a", "b"]), &["a", "b"]);
        groups(json!([]), &[]);
        groups(json!(null), &[]);
        groups(json!("single"), &["single"]);
        groups(json!(""), &[]);
        groups(json!(["a", null, 7, true, {"x": 1}, ["y"], ""]), &["a", "7", "true"]);
        groups(json!({"not": "a list"}), &[]);
    }

    #[test]
    fn a_subject_is_needed() {
        for sub in [json!(null), json!(""), json!(7), json!(["x"])] {
            let claims = json!({"sub": sub, "preferred_username": "alice"});
            let got = Identity::from_claims(claims.as_object().unwrap(), &names());
            assert_eq!(got, Err(InvalidIdentity), "{claims}");
        }
        assert_eq!(Identity::from_claims(&Map::new(), &names()), Err(InvalidIdentity));
    }

    #[test]
    fn the_label_falls_back() {
        let mut identity = Identity { subject: "s".into(), ..Identity::default() };
        assert_eq!(identity.label(), "s");
        identity.email = "a@example.test".into();
        assert_eq!(identity.label(), "a@example.test");
        identity.username = "alice".into();
        assert_eq!(identity.label(), "alice");
    }
}
