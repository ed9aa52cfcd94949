use serde_json::{Map, Value};

use super::ClaimPath;
use crate::identity::ClaimNames;

/// Who a session stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `sub`, which the issuer does not give to another user (OIDC Core §2).
    pub subject: String,
    /// The user name; empty if unknown, as are all fields that follow.
    pub username: String,
    /// The e-mail address.
    pub email: String,
    /// The full name.
    pub name: String,
    /// The identifier of the user for applications; the subject by default.
    pub uid: String,
    /// Groups, in the provider's order.
    pub groups: Vec<String>,
    /// Entitlements, in the provider's order.
    pub entitlements: Vec<String>,
}

/// The claims do not name a user: `sub` is missing, empty or not a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the claims have no usable `sub`")]
pub struct InvalidIdentity;

impl Identity {
    /// Reads an identity from verified claims.
    ///
    /// Providers differ: a text may be a number; a list may be `null`, absent, one string, a list with numbers, or an object whose
    /// members have the names. A claim of another type counts as unknown, except the subject; [`unusable`] names such claims.
    ///
    /// # Errors
    ///
    /// If `sub` is missing, empty or not a string.
    pub(crate) fn from_claims(claims: &Map<String, Value>, names: &ClaimNames) -> Result<Self, InvalidIdentity> {
        let subject = match claims.get("sub") {
            Some(Value::String(subject)) if !subject.is_empty() => subject.clone(),
            _ => return Err(InvalidIdentity),
        };
        let one = |path: &ClaimPath| path.values(claims).find_map(scalar).unwrap_or_default();
        let many = |path: &ClaimPath| path.find(claims).map(list).unwrap_or_default();
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

    /// Whether the names that `before` has are gone: the user name, or every other name and the address.
    ///
    /// Some providers refresh the grant of a user who was deleted or disabled, and name nothing but the subject. So a name that is
    /// the subject (`claims.username = "sub"`) does not count.
    #[must_use]
    pub(crate) fn lacks_names_of(&self, before: &Self) -> bool {
        let is_name = |it: &Self, text: &str| !text.is_empty() && text != it.subject;
        let is_called = |it: &Self| [&it.username, &it.email, &it.name].iter().any(|text| is_name(it, text));
        (self.username.is_empty() && !before.username.is_empty())
            || (!is_name(self, &self.username) && is_name(before, &before.username))
            || (!is_called(self) && is_called(before))
    }

    /// The name of the user for pages and logs.
    #[must_use]
    pub(crate) fn label(&self) -> &str {
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

/// The names in a list, or those of an object's members, as Zitadel writes roles. The user does not have a member that is `false` or
/// `null`.
pub(super) fn list(value: &Value) -> Vec<String> {
    let names: Vec<String> = match value {
        Value::Array(items) => items.iter().filter_map(scalar).collect(),
        Value::Object(members) => held(members).cloned().collect(),
        other => scalar(other).into_iter().collect(),
    };
    names.into_iter().filter(|text| !text.is_empty()).collect()
}

/// The names of an object's members that are neither `false` nor `null`.
pub(crate) fn held(members: &Map<String, Value>) -> impl Iterator<Item = &String> {
    members.iter().filter(|(_, value)| !matches!(value, Value::Null | Value::Bool(false))).map(|(name, _)| name)
}

/// The claims of `names` whose values have a type that an identity cannot use.
#[must_use]
pub(crate) fn unusable<'n>(claims: &Map<String, Value>, names: &'n ClaimNames) -> Vec<&'n ClaimPath> {
    let ones = [&names.username, &names.email, &names.name, &names.uid].into_iter();
    let ones = ones.filter(|path| path.find(claims).is_some() && path.values(claims).find_map(scalar).is_none());
    let is_list_of_others = |value: &Value| {
        value.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(|it| scalar(it).is_none()))
    };
    let manies = [&names.groups, &names.entitlements].into_iter();
    ones.chain(manies.filter(|path| path.find(claims).is_some_and(is_list_of_others))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::PathForm;
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
        groups(json!([{"name": "admins"}, {"name": "staff"}]), &[]);
    }

    /// Zitadel's roles, sets as Go writes them, and a boolean for each name.
    #[test]
    fn the_members_of_an_object_are_a_list() {
        groups(json!({"admin": {"2069": "example.com"}, "user": {"2069": "example.com"}}), &["admin", "user"]);
        groups(json!({"admin": {}, "user": {}}), &["admin", "user"]);
        groups(json!({"admin": false, "staff": true, "user": null, "": true, "ops": 0}), &["ops", "staff"]);
        groups(json!({}), &[]);
    }

    #[test]
    fn a_text_is_the_first_that_can_be_used() {
        let mut names = names();
        let places = ["preferred_username", "email"].map(|text| PathForm::Text(text.into()));
        names.username = ClaimPath::any(places);
        for (username, expected) in [
            (json!("alice"), "alice"),
            (json!(7), "7"),
            (json!(null), "a@example.test"),
            (json!(""), "a@example.test"),
            (json!({"first": "alice"}), "a@example.test"),
        ] {
            let claims = json!({"sub": "s", "preferred_username": username, "email": "a@example.test"});
            let identity = Identity::from_claims(claims.as_object().unwrap(), &names).unwrap();
            assert_eq!(identity.username, expected, "{claims}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let check = |claims: Value, expected: &[&str]| {
            let names = names();
            let found = unusable(claims.as_object().unwrap(), &names);
            assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{claims}");
        };
        check(json!({"sub": "s"}), &[]);
        check(json!({"sub": "s", "preferred_username": 7, "email": "", "name": null}), &[]);
        check(json!({"sub": "s", "preferred_username": {}, "name": ["Alice"]}), &["preferred_username", "name"]);
        check(json!({"realm_access": {"roles": []}, "entitlements": {}}), &[]);
        check(
            json!({"realm_access": {"roles": [{"name": "x"}]}, "entitlements": [[]]}),
            &["realm_access.roles", "entitlements"],
        );
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
    fn a_user_without_the_earlier_names_is_gone() {
        let of = |username: &str, email: &str, name: &str| {
            let [username, email, name] = [username, email, name].map(str::to_owned);
            Identity { subject: "s".into(), username, email, name, ..Identity::default() }
        };
        let check = |before: &Identity, after: &Identity, expected: bool| {
            assert_eq!(after.lacks_names_of(before), expected, "{before:?} {after:?}");
        };
        check(&of("alice", "a@b", "Alice"), &of("", "", ""), true);
        check(&of("alice", "a@b", "Alice"), &of("", "a@b", "Alice"), true);
        check(&of("", "a@b", "Alice"), &of("", "", ""), true);
        check(&of("", "", "Alice"), &of("", "", ""), true);
        check(&of("alice", "a@b", "Alice"), &of("alicia", "", ""), false);
        check(&of("", "a@b", "Alice"), &of("", "", "Alice"), false);
        check(&of("", "", ""), &of("", "", ""), false);
        check(&of("", "", ""), &of("alice", "", ""), false);
        // `claims.username = "sub"`, and `["preferred_username", "sub"]`.
        check(&of("s", "a@b", "Alice"), &of("s", "", ""), true);
        check(&of("s", "a@b", ""), &of("s", "a@b", "Alice"), false);
        check(&of("s", "", ""), &of("s", "", ""), false);
        // The provider uses the user name as `sub` too.
        check(&of("s", "a@b", "Alice"), &of("", "a@b", "Alice"), true);
        check(&of("s", "", ""), &of("", "", ""), true);
        check(&of("alice", "a@b", "Alice"), &of("s", "a@b", "Alice"), true);
        check(&of("alice", "", ""), &of("s", "", ""), true);
        check(&of("s", "", ""), &of("alice", "", ""), false);
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
