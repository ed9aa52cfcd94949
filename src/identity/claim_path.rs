use std::fmt;

use serde_json::{Map, Value};

/// The place of a part of an identity in claims, or several places of which the first one with a value counts.
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimPath(Box<[PathForm]>);

/// One place in claims.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum PathForm {
    /// A name, or names with dots between them. Each split is tried, the longest names first, because names may contain dots
    /// (`https://example.com/roles`, `resource_access.app.example.com.roles`).
    Text(Box<str>),
    /// Names; each is a member of the one before.
    Steps(Box<[Box<str>]>),
}

impl ClaimPath {
    /// The place that `text` names.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self::any([PathForm::Text(text.into())])
    }

    /// These places, of which the first one with a value counts.
    #[must_use]
    pub(crate) fn any(places: impl IntoIterator<Item = PathForm>) -> Self {
        Self(places.into_iter().collect())
    }

    /// The value of the first place that has one; `null` and an empty text are not values (OIDC Core §5.3.2).
    #[must_use]
    pub(crate) fn find<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        self.values(claims).next()
    }

    /// The values of all places that have one, in their order.
    pub(super) fn values<'c>(&self, claims: &'c Map<String, Value>) -> impl Iterator<Item = &'c Value> {
        self.0.iter().filter_map(|place| place.find(claims))
    }

    /// The names of the claims that it may be in.
    pub(crate) fn first_names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|place| match place {
            PathForm::Text(text) => {
                let shorter = text.match_indices('.').map(|(dot, _)| &text[..dot]);
                shorter.chain([&**text]).collect::<Vec<_>>()
            }
            PathForm::Steps(steps) => steps.iter().take(1).map(|step| &**step).collect(),
        })
    }
}

impl PathForm {
    fn find<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        match self {
            Self::Text(text) => find_split(claims, text),
            Self::Steps(steps) => {
                let (last, before) = steps.split_last()?;
                let mut members = claims;
                for step in before {
                    members = members.get(&**step)?.as_object()?;
                }
                members.get(&**last).filter(|value| says_something(value))
            }
        }
    }
}

/// Only one path leads to an object in the claims, so each is visited at most once, which bounds the cost.
fn find_split<'c>(members: &'c Map<String, Value>, text: &str) -> Option<&'c Value> {
    if let Some(value) = members.get(text).filter(|value| says_something(value)) {
        return Some(value);
    }
    text.rmatch_indices('.').find_map(|(dot, _)| find_split(members.get(&text[..dot])?.as_object()?, &text[dot + 1..]))
}

fn says_something(value: &Value) -> bool {
    !value.is_null() && value != ""
}

impl fmt::Display for PathForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Steps(steps) => write!(f, "[{}]", steps.join(", ")),
        }
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, place) in self.0.iter().enumerate() {
            write!(f, "{}{place}", if at == 0 { "" } else { " or " })?;
        }
        Ok(())
    }
}

impl fmt::Debug for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn steps(names: &[&str]) -> PathForm {
        PathForm::Steps(names.iter().map(|name| (*name).into()).collect())
    }

    #[track_caller]
    fn check(path: &ClaimPath, expected: Option<Value>) {
        let claims = json!({
            "groups": ["a"],
            "realm_access": {"roles": ["x", "y"]},
            "https://example.com/roles": ["z"],
            "a.b": 1, "a": {"b": 2, "c": null, "d": {"e": 3}, "d.e": 4},
            "c.d": null, "c": {"d": 5, "e.f": {"g": 6}},
            "resource_access": {
                "app": {"roles": ["short"]},
                "app.example.com": {"roles": ["long"]},
                "app.example": {"com": {"other": 7}},
            },
            "nothing": null, "empty": "", "list": [{"a": 1}], "": {"": 8},
        });
        let found = path.find(claims.as_object().unwrap());
        assert_eq!(found.cloned(), expected, "{path}");
    }

    #[test]
    fn claims_are_found_by_name_and_by_path() {
        let text = |text: &str, expected| check(&ClaimPath::new(text), expected);
        text("groups", Some(json!(["a"])));
        text("realm_access.roles", Some(json!(["x", "y"])));
        text("https://example.com/roles", Some(json!(["z"])));
        text("a.b", Some(json!(1)));
        text("a.c", None);
        text("a.d.e", Some(json!(4)));
        text("c.d", Some(json!(5)));
        text("c.e.f.g", Some(json!(6)));
        text("resource_access.app.roles", Some(json!(["short"])));
        text("resource_access.app.example.com.roles", Some(json!(["long"])));
        text("resource_access.app.example.com.other", Some(json!(7)));
        text("resource_access.app.example.org.roles", None);
        text("nothing", None);
        text("empty", None);
        text("list.0.a", None);
        text("realm_access.roles.deeper", None);
        text("", Some(json!({"": 8})));
        text(".", Some(json!(8)));
        text("groups.", None);
        text(&"a.".repeat(2000), None);
    }

    #[test]
    fn steps_have_one_reading() {
        let steps = |names: &[&str], expected| check(&ClaimPath::any([steps(names)]), expected);
        steps(&["resource_access", "app.example.com", "roles"], Some(json!(["long"])));
        steps(&["resource_access", "app", "example", "com", "roles"], None);
        steps(&["a", "b"], Some(json!(2)));
        steps(&["a.b"], Some(json!(1)));
        steps(&["a", "c"], None);
        steps(&["groups"], Some(json!(["a"])));
        steps(&["groups", "0"], None);
        steps(&[], None);
    }

    #[test]
    fn of_several_places_the_first_counts_that_holds_something() {
        let text = |text: &str| PathForm::Text(text.into());
        let any = |places: &[PathForm], expected| check(&ClaimPath::any(places.iter().cloned()), expected);
        any(&[text("missing"), text("groups"), text("a.b")], Some(json!(["a"])));
        any(&[text("nothing"), text("empty"), text("a.b")], Some(json!(1)));
        any(&[steps(&["a", "x"]), steps(&["a", "b"])], Some(json!(2)));
        any(&[text("missing"), text("nothing")], None);
        any(&[], None);
    }

    #[test]
    fn the_claims_that_it_may_lead_into_are_known() {
        let path = ClaimPath::any([PathForm::Text("a.b.c".into()), steps(&["d.e", "f"]), PathForm::Text("g".into())]);
        assert_eq!(path.first_names().collect::<Vec<_>>(), ["a", "a.b", "a.b.c", "d.e", "g"]);
        assert_eq!(path.to_string(), "a.b.c or [d.e, f] or g");
    }
}
