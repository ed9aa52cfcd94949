use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ClaimPath;
use crate::identity::ClaimNames;

/// The claims that an application's settings look at: those of the identity, and those that are kept beside it.
#[derive(Debug)]
pub struct WantedClaims {
    /// Unique in this process.
    id: u64,
    /// The claims that the settings name.
    paths: Vec<ClaimPath>,
    kept: Arc<Kept>,
}

/// Which of a user's claims were kept when the session was made or refreshed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Whether all claims were kept.
    #[serde(default)]
    all: bool,
    /// Names of the claims that are kept if the user has them.
    #[serde(default)]
    names: BTreeSet<String>,
    /// The claims that the parts of the identity were read from.
    #[serde(default)]
    identity: Vec<String>,
    /// Whether a missing claim may be in a source that forepost did not ask. Only a token has this, and it is not stored.
    #[serde(skip)]
    incomplete: bool,
}

impl Kept {
    /// Whether a session that kept these claims has all that `wanted` names, so that the user does not have what is missing.
    #[must_use]
    pub(crate) fn covers(&self, wanted: &Self) -> bool {
        self.identity == wanted.identity && (self.all || (!wanted.all && wanted.names.is_subset(&self.names)))
    }

    /// Whether the user may have claims that are missing.
    #[must_use]
    pub(crate) const fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    pub(super) fn as_incomplete(&self) -> Self {
        Self { incomplete: true, ..self.clone() }
    }
}

impl Default for WantedClaims {
    /// No claims.
    fn default() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        Self { id: COUNT.fetch_add(1, Ordering::Relaxed) + 1, paths: Vec::new(), kept: Arc::default() }
    }
}

impl WantedClaims {
    /// The claims of an identity.
    #[must_use]
    pub fn of(names: &ClaimNames) -> Self {
        let ClaimNames { username, email, name, groups, entitlements, uid } = names;
        let paths = [username, email, name, groups, entitlements, uid].map(Clone::clone);
        let identity = paths.iter().map(ToString::to_string).collect();
        Self { paths: paths.into(), kept: Arc::new(Kept { identity, ..Kept::default() }), ..Self::default() }
    }

    /// A number that is unique in this process.
    #[must_use]
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    /// Whether both look at the same claims, in the same way.
    #[must_use]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.paths == other.paths && self.kept == other.kept
    }

    /// Whether `other` looks at no claim that this does not look at.
    #[must_use]
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.kept.covers(&other.kept) && other.paths.iter().all(|path| self.paths.contains(path))
    }

    /// Keeps all claims.
    pub(crate) fn add_all(&mut self) {
        Arc::make_mut(&mut self.kept).all = true;
    }

    /// Keeps the claims that `path` may lead to.
    pub(crate) fn add(&mut self, path: &ClaimPath) {
        Arc::make_mut(&mut self.kept).names.extend(path.first_names().map(str::to_owned));
        self.paths.push(path.clone());
    }

    /// The kept ones of `claims`.
    #[must_use]
    pub(crate) fn pick(&self, claims: &Map<String, Value>) -> Map<String, Value> {
        let wanted = claims.iter().filter(|(name, _)| self.kept.all || self.kept.names.contains(*name));
        wanted.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The claims that a session keeps that is made now.
    #[must_use]
    pub const fn kept(&self) -> &Arc<Kept> {
        &self.kept
    }

    /// Whether `claims` may be incomplete: a wanted claim is missing, or all claims are wanted.
    #[must_use]
    pub(crate) fn are_lacking(&self, claims: &Map<String, Value>) -> bool {
        self.kept.all || self.missing(claims).next().is_some()
    }

    /// Adds to `claims` what only `more` has. If both have a claim, that of `claims` counts; its missing members are added only if a
    /// wanted path does not lead to a value in it.
    pub(crate) fn fill(&self, claims: &mut Map<String, Value>, mut more: Map<String, Value>) {
        keep_flag_with_address(claims, &mut more);
        let incomplete: BTreeSet<String> =
            self.missing(claims).flat_map(ClaimPath::first_names).map(str::to_owned).collect();
        for (name, value) in more.into_iter().filter(|(_, value)| !value.is_null()) {
            match claims.get_mut(&name) {
                Some(Value::Object(members)) if incomplete.contains(&name) => add_members(members, value),
                Some(known) if !known.is_null() && known != "" => {}
                Some(_) | None => drop(claims.insert(name, value)),
            }
        }
    }

    fn missing<'w>(&'w self, claims: &Map<String, Value>) -> impl Iterator<Item = &'w ClaimPath> {
        self.paths.iter().filter(move |path| path.find(claims).is_none())
    }
}

/// Removes `email_verified` where the address is from the other document: the flag is about the address beside it (OIDC Core §5.1).
///
/// The address is that of `claims`, or else that of `more`.
fn keep_flag_with_address(claims: &mut Map<String, Value>, more: &mut Map<String, Value>) {
    if address(claims).is_none() {
        if address(more).is_some() {
            claims.remove("email_verified");
        }
    } else if address(more) != address(claims) {
        more.remove("email_verified");
    }
}

/// The e-mail address in a document.
fn address(claims: &Map<String, Value>) -> Option<&Value> {
    claims.get("email").filter(|email| !email.is_null() && *email != "")
}

/// Removes `email_verified` from `claims` if `newer` has another address, and from `newer` if it has no address.
pub(crate) fn replace_flag_with_address(claims: &mut Map<String, Value>, newer: &mut Map<String, Value>) {
    match address(newer) {
        Some(email) if claims.get("email") != Some(email) => drop(claims.remove("email_verified")),
        Some(_) => {}
        None => drop(newer.remove("email_verified")),
    }
}

fn add_members(members: &mut Map<String, Value>, more: Value) {
    let Value::Object(more) = more else { return };
    for (name, value) in more {
        match members.get_mut(&name) {
            Some(Value::Object(inner)) => add_members(inner, value),
            Some(known) if !known.is_null() && known != "" => {}
            Some(_) | None => drop(members.insert(name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(paths: &[&str]) -> WantedClaims {
        let mut wanted = WantedClaims::default();
        for path in paths {
            wanted.add(&ClaimPath::new(path));
        }
        wanted
    }

    #[track_caller]
    fn filled(claims: Value, more: Value, expected: Value) {
        let (Value::Object(mut claims), Value::Object(more)) = (claims, more) else { panic!("objects") };
        of(&["email", "email_verified"]).fill(&mut claims, more);
        assert_eq!(Value::Object(claims), expected);
    }

    #[test]
    fn an_address_is_verified_by_its_own_document() {
        let (ours, other) = ("x@example.com", "y@evil.test");
        filled(json!({"email": ours}), json!({"email": other, "email_verified": true}), json!({"email": ours}));
        filled(json!({"email": ours}), json!({"email_verified": true}), json!({"email": ours}));
        filled(
            json!({"email": ours}),
            json!({"email": ours, "email_verified": true}),
            json!({"email": ours, "email_verified": true}),
        );
        filled(
            json!({"email_verified": true}),
            json!({"email": ours, "email_verified": false}),
            json!({"email": ours, "email_verified": false}),
        );
        filled(json!({"email_verified": true}), json!({"email": ours}), json!({"email": ours}));
        filled(
            json!({"email": ours, "email_verified": false}),
            json!({"email": ours, "email_verified": true}),
            json!({"email": ours, "email_verified": false}),
        );
    }

    #[track_caller]
    fn newer(before: Value, newer: Value, expected: (Value, Value)) {
        let (Value::Object(mut before), Value::Object(mut newer)) = (before, newer) else { panic!("objects") };
        replace_flag_with_address(&mut before, &mut newer);
        assert_eq!((Value::Object(before), Value::Object(newer)), expected);
    }

    #[test]
    fn a_newer_address_is_not_verified_by_the_older_one() {
        let (old, new) = (json!({"email": "y@evil.test", "email_verified": true}), json!({"email": "x@example.com"}));
        newer(old.clone(), new.clone(), (json!({"email": "y@evil.test"}), new));
        newer(old.clone(), json!({"email": "y@evil.test"}), (old.clone(), json!({"email": "y@evil.test"})));
        newer(json!({"email": "x"}), json!({"email_verified": true}), (json!({"email": "x"}), json!({})));
    }

    #[track_caller]
    fn check(paths: &[&str], expected: &[&str]) {
        let mut wanted = of(paths);
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

    #[test]
    fn what_says_nothing_is_filled_at_any_depth() {
        let check = |claims: Value, expected: Value| {
            let (Value::Object(mut claims), Value::Object(more)) = (claims, json!({"ctx": {"role": "banned"}})) else {
                panic!("objects")
            };
            of(&["ctx.role"]).fill(&mut claims, more);
            assert_eq!(Value::Object(claims), expected);
        };
        for nothing in [json!({}), json!({"ctx": null}), json!({"ctx": {}}), json!({"ctx": {"role": null}})] {
            check(nothing, json!({"ctx": {"role": "banned"}}));
        }
        check(json!({"ctx": {"role": "", "o": 1}}), json!({"ctx": {"role": "banned", "o": 1}}));
        check(json!({"ctx": {"role": "dev"}}), json!({"ctx": {"role": "dev"}}));
    }

    #[test]
    fn what_is_missing_is_known() {
        let claims = json!({"sub": "s", "a": {"b": 1}, "n": null, "e": "", "l": []});
        let lacking = |paths: &[&str]| of(paths).are_lacking(claims.as_object().unwrap());
        assert!(!lacking(&[]) && !lacking(&["sub"]) && !lacking(&["a.b", "l"]));
        assert!(lacking(&["a.c"]) && lacking(&["sub", "x"]) && lacking(&["n"]) && lacking(&["e"]));
        let mut all = of(&[]);
        all.add_all();
        assert!(all.are_lacking(claims.as_object().unwrap()));
    }

    #[test]
    fn gaps_are_filled_and_nothing_is_replaced() {
        #[track_caller]
        fn filled(paths: &[&str], claims: Value, more: Value, expected: Value) {
            let (Value::Object(mut claims), Value::Object(more)) = (claims, more) else { panic!("objects") };
            of(paths).fill(&mut claims, more);
            assert_eq!(Value::Object(claims), expected);
        }
        filled(&[], json!({"a": 1}), json!({"a": 2, "b": 3}), json!({"a": 1, "b": 3}));
        filled(&[], json!({"a": null, "b": ""}), json!({"a": 2, "b": 3}), json!({"a": 2, "b": 3}));
        filled(&[], json!({"a": ""}), json!({"a": null, "b": null}), json!({"a": ""}));
        filled(&[], json!({"a": [], "b": false}), json!({"a": [2], "b": true}), json!({"a": [], "b": false}));
        let (short, long) =
            (json!({"r": {"x": {"roles": [1]}}}), json!({"r": {"x": {"roles": [2], "more": 3}, "y": 4}}));
        // A claim with a value is unchanged; if the path does not lead to a value, missing members are added.
        filled(&["r.x.roles"], short.clone(), long.clone(), short.clone());
        filled(&["r.y"], short, long, json!({"r": {"x": {"roles": [1], "more": 3}, "y": 4}}));
        filled(&["r.y"], json!({"r": 7}), json!({"r": {"y": 1}}), json!({"r": 7}));
    }

    #[test]
    fn what_was_kept_covers_what_is_wanted_or_not() {
        let all = |mut wanted: WantedClaims| {
            wanted.add_all();
            wanted.kept
        };
        let (none, one, two): (Arc<Kept>, _, _) = (of(&[]).kept, of(&["a"]).kept, of(&["a", "b.c"]).kept);
        let every = all(of(&[]));
        for (kept, wanted, expected) in [
            (&none, &none, true),
            (&two, &one, true),
            (&one, &two, false),
            (&none, &one, false),
            (&every, &two, true),
            (&every, &every, true),
            (&two, &every, false),
        ] {
            assert_eq!(kept.covers(wanted), expected, "{kept:?} {wanted:?}");
        }
        let of_groups = |groups: &str| Kept { identity: vec![groups.to_owned()], ..Kept::default() };
        assert!(of_groups("a").covers(&of_groups("a")) && !of_groups("a").covers(&of_groups("b")));
        assert!(!Kept::default().covers(&of_groups("a")) && !every.covers(&of_groups("a")));
    }
}
