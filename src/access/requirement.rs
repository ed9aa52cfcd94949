//! Whether a user meets the requirements of a rule.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::{Email, Requirement};
use crate::identity::{Assurance, PackedIdentity, held};
use crate::world::UnixTime;

/// How far a user meets requirements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meets {
    /// All of them.
    All,
    /// All but those on the login; another login may meet them.
    AllBut(Assurance),
    /// Not those on the user.
    Less,
}

impl Meets {
    /// How far a user meets both.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Less, _) | (_, Self::Less) => Self::Less,
            (Self::AllBut(one), Self::AllBut(other)) => Self::AllBut(one.with(other)),
            (Self::AllBut(one), Self::All) | (Self::All, Self::AllBut(one)) => Self::AllBut(one),
            (Self::All, Self::All) => Self::All,
        }
    }
}

/// How far `user` meets the best of `alternatives`.
pub(super) fn meets_any(
    alternatives: &[Requirement],
    user: &PackedIdentity,
    unverified_email: bool,
    now: UnixTime,
) -> Meets {
    let mut nearest = Meets::Less;
    for requirement in alternatives {
        match requirement.meets(user, unverified_email, now) {
            Meets::All => return Meets::All,
            Meets::AllBut(assurance) if nearest == Meets::Less => nearest = Meets::AllBut(assurance),
            Meets::AllBut(_) | Meets::Less => {}
        }
    }
    nearest
}

impl Requirement {
    /// The requirements on the login.
    pub(super) fn assurance(&self) -> Assurance {
        Assurance::new(&self.acr, self.max_auth_age)
    }

    /// Whether it requires an e-mail address.
    pub(super) fn looks_at_email(&self) -> bool {
        !self.emails.is_empty() || !self.email_domains.is_empty()
    }

    fn meets(&self, user: &PackedIdentity, unverified_email: bool, now: UnixTime) -> Meets {
        if !self.meets_but_for_assurance(user, unverified_email) {
            return Meets::Less;
        }
        if self.is_assured(user.claims(), now) { Meets::All } else { Meets::AllBut(self.assurance()) }
    }

    fn meets_but_for_assurance(&self, user: &PackedIdentity, unverified_email: bool) -> bool {
        let group = |group: &String| user.is_in_any(std::slice::from_ref(group));
        (self.groups_any.is_empty() || user.is_in_any(&self.groups_any))
            && self.groups_all.iter().all(group)
            && (self.users.is_empty() || self.users.iter().any(|name| name == user.username()))
            && self.meets_email(user, unverified_email)
            && self.claims.iter().all(|(path, texts)| {
                path.find(user.claims()).is_some_and(|claim| texts.iter().any(|text| is_or_holds(claim, text)))
            })
            && self.scopes.iter().all(|scope| has_scope(user.claims(), scope))
    }

    fn meets_email(&self, user: &PackedIdentity, unverified: bool) -> bool {
        if !self.looks_at_email() {
            return true;
        }
        let Some(email) = counted_email(user, unverified) else { return false };
        (self.emails.is_empty() || self.emails.contains(&email))
            && (self.email_domains.is_empty() || self.email_domains.iter().any(|it| it.matches(email.domain())))
    }

    fn is_assured(&self, claims: &Map<String, Value>, now: UnixTime) -> bool {
        let acr = claims.get("acr");
        let old = |most: std::time::Duration| {
            let seen = claims.get("auth_time").and_then(seconds);
            #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are exact in a double")]
            let earliest = now.as_secs() as f64 - most.as_secs_f64();
            // A time in the future (a provider that counts milliseconds) would not expire.
            #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are exact in a double")]
            let latest = now.as_secs() as f64 + CLOCK_LEEWAY_SECONDS;
            seen.is_none_or(|seen| seen > latest || seen.partial_cmp(&earliest).is_none_or(Ordering::is_lt))
        };
        (self.acr.is_empty() || acr.is_some_and(|acr| self.acr.iter().any(|it| is(acr, it))))
            && !self.max_auth_age.is_some_and(old)
    }
}

/// The e-mail address that counts for rules: it has exactly one `@`, and the provider verified it, unless `unverified` ones count.
///
/// `email_verified` is about the claim `email` (OIDC Core §5.1), and not about an address in another claim.
pub(super) fn counted_email(user: &PackedIdentity, unverified: bool) -> Option<Email> {
    let claim_is = |name: &str, text: &str| user.claims().get(name).is_some_and(|it| is(it, text));
    let verified = || claim_is("email_verified", "true") && claim_is("email", user.email());
    Email::parse(user.email()).filter(|_| unverified || verified())
}

/// Whether a claim is `text`, a list that contains it, or an object with a member of that name.
fn is_or_holds(claim: &Value, text: &str) -> bool {
    match claim {
        Value::Array(items) => items.iter().any(|item| is(item, text)),
        Value::Object(members) => held(members).any(|name| name == text),
        other => is(other, text),
    }
}

/// Whether a claim is `text`, as a text, number or boolean.
fn is(claim: &Value, text: &str) -> bool {
    match claim {
        Value::String(claim) => claim == text,
        Value::Number(number) => number.to_string() == text,
        Value::Bool(truth) => text == if *truth { "true" } else { "false" },
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// The largest difference of the clocks of provider and forepost, in seconds.
const CLOCK_LEEWAY_SECONDS: f64 = 60.0;

/// A number of seconds (OIDC Core §2); some providers write a fraction or a text.
fn seconds(claim: &Value) -> Option<f64> {
    let seconds = match claim {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    seconds.filter(|seconds| seconds.is_finite())
}

/// The scopes of a token: joined with blanks (RFC 8693 §4.2), or a list, or in the claim `scp`.
fn has_scope(claims: &Map<String, Value>, scope: &str) -> bool {
    ["scope", "scp"].iter().filter_map(|name| claims.get(*name)).any(|claim| match claim {
        Value::String(joined) => joined.split(' ').any(|it| it == scope),
        Value::Array(scopes) => scopes.iter().any(|it| is(it, scope)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::access::HostPattern;
    use crate::identity::{ClaimPath, Identity};
    use serde_json::json;

    const NOW: UnixTime = UnixTime::from_secs(1_000_000);

    #[track_caller]
    fn check(requirement: Requirement, claims: Value, expected: Meets) {
        let identity = Identity {
            subject: "7".into(),
            username: "alice".into(),
            email: "alice@Example.com".into(),
            groups: vec!["staff".into(), "ops".into()],
            ..Identity::default()
        };
        let user = PackedIdentity::new(identity, "", None).with_claims(claims.as_object().unwrap().clone());
        assert_eq!(
            meets_any(std::slice::from_ref(&requirement), &user, false, NOW),
            expected,
            "{requirement:?} {claims}"
        );
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    fn required(change: impl FnOnce(&mut Requirement)) -> Requirement {
        let mut requirement = Requirement::default();
        change(&mut requirement);
        requirement
    }

    #[test]
    fn groups_and_users() {
        let any = |names: &[&str]| required(|it| it.groups_any = texts(names));
        let all = |names: &[&str]| required(|it| it.groups_all = texts(names));
        let users = |names: &[&str]| required(|it| it.users = texts(names));
        check(required(|_| ()), json!({}), Meets::All);
        check(any(&["ops", "x"]), json!({}), Meets::All);
        check(any(&["x"]), json!({}), Meets::Less);
        check(all(&["ops", "staff"]), json!({}), Meets::All);
        check(all(&["ops", "x"]), json!({}), Meets::Less);
        check(users(&["bob", "alice"]), json!({}), Meets::All);
        check(users(&["7", "Alice"]), json!({}), Meets::Less);
        let both = required(|it| {
            it.users = texts(&["alice"]);
            it.groups_any = texts(&["x"]);
        });
        check(both, json!({}), Meets::Less);
    }

    #[test]
    fn addresses_count_when_verified() {
        let emails = |address| required(|it| it.emails = vec![Email::parse(address).unwrap()]);
        let domains = |domain| required(|it| it.email_domains = vec![HostPattern::of_email(domain).unwrap()]);
        let flagged = |flag: Value| json!({"email": "alice@Example.com", "email_verified": flag});
        let verified = flagged(json!(true));
        check(emails("alice@example.COM"), verified.clone(), Meets::All);
        check(emails("Alice@example.com"), verified.clone(), Meets::Less);
        check(emails("alice@example.com"), json!({}), Meets::Less);
        check(emails("alice@example.com"), flagged(json!(false)), Meets::Less);
        check(emails("alice@example.com"), flagged(json!("true")), Meets::All);
        check(emails("alice@example.com"), flagged(json!({"true": 1})), Meets::Less);
        check(domains("example.com"), verified.clone(), Meets::All);
        check(domains("com"), verified.clone(), Meets::Less);
        check(domains("mail.example.com"), verified.clone(), Meets::Less);
        check(domains("*.example.com"), verified.clone(), Meets::Less);
        check(domains("*.com"), verified.clone(), Meets::All);
        check(domains("*.com"), json!({}), Meets::Less);
        check(domains("*.com"), json!({"email_verified": true}), Meets::Less);
        check(domains("*.com"), json!({"email": "bob@example.com", "email_verified": true}), Meets::Less);
        check(domains("*.e.com"), verified, Meets::Less);
    }

    #[test]
    fn claims_are_or_hold_a_text() {
        let claim = |path: &str, names: &[&str]| required(|it| it.claims = vec![(ClaimPath::new(path), texts(names))]);
        check(claim("realm_access.roles", &["ops"]), json!({"realm_access": {"roles": ["x", "ops"]}}), Meets::All);
        check(claim("realm_access.roles", &["ops"]), json!({"realm_access": {"roles": ["xops"]}}), Meets::Less);
        check(claim("level", &["3", "4"]), json!({"level": 4}), Meets::All);
        check(claim("level", &["4"]), json!({"level": [[4]]}), Meets::Less);
        check(claim("staff", &["true"]), json!({"staff": true}), Meets::All);
        check(claim("staff", &["true"]), json!({"staff": null}), Meets::Less);
        check(claim("staff", &["true"]), json!({}), Meets::Less);
        let roles = |value: Value| json!({"urn:zitadel:iam:org:project:roles": value});
        let admin = claim("urn:zitadel:iam:org:project:roles", &["admin"]);
        check(admin.clone(), roles(json!({"admin": {"2069": "example.com"}})), Meets::All);
        check(admin.clone(), roles(json!({"admin": false, "user": {}})), Meets::Less);
        check(admin.clone(), roles(json!({"admins": {}, "user": "admin"})), Meets::Less);
        check(admin, roles(json!([{"admin": {}}])), Meets::Less);
        let client = json!({"resource_access": {"app.example.com": {"roles": ["ops"]}, "app": {"roles": ["x"]}}});
        check(claim("resource_access.app.example.com.roles", &["ops"]), client.clone(), Meets::All);
        check(claim("resource_access.app.roles", &["ops"]), client, Meets::Less);
    }

    #[test]
    fn scopes_are_all_needed() {
        let scopes = |names: &[&str]| required(|it| it.scopes = texts(names));
        check(scopes(&["read", "write"]), json!({"scope": "read write"}), Meets::All);
        check(scopes(&["read", "write"]), json!({"scp": ["read", "write"]}), Meets::All);
        check(scopes(&["read", "write"]), json!({"scope": "read"}), Meets::Less);
        check(scopes(&["read"]), json!({"scope": "readonly"}), Meets::Less);
        check(scopes(&["read"]), json!({}), Meets::Less);
    }

    #[test]
    fn how_the_login_came_about() {
        let acr = required(|it| it.acr = texts(&["gold", "silver"]));
        let unmet = |requirement: &Requirement| Meets::AllBut(requirement.assurance());
        check(acr.clone(), json!({"acr": "silver"}), Meets::All);
        check(acr.clone(), json!({"acr": "bronze"}), unmet(&acr));
        check(acr.clone(), json!({"acr": ["gold"]}), unmet(&acr));
        check(required(|it| it.acr = texts(&["1"])), json!({"acr": 1}), Meets::All);
        check(acr.clone(), json!({}), unmet(&acr));
        let age = required(|it| it.max_auth_age = Some(Duration::from_mins(5)));
        check(age.clone(), json!({"auth_time": 1_000_000 - 300}), Meets::All);
        check(age.clone(), json!({"auth_time": 1_000_000 - 301}), unmet(&age));
        check(age.clone(), json!({"auth_time": "1000000"}), Meets::All);
        check(age.clone(), json!({"auth_time": 1_000_060}), Meets::All);
        check(age.clone(), json!({"auth_time": 1_000_061}), unmet(&age));
        check(age.clone(), json!({"auth_time": 1_000_000_000_u64}), unmet(&age));
        for odd in [json!("inf"), json!("NaN"), json!("yesterday"), json!([1_000_000]), json!(true)] {
            check(age.clone(), json!({"auth_time": odd}), unmet(&age));
        }
        check(age.clone(), json!({}), unmet(&age));
        let stranger = required(|it| {
            it.acr = texts(&["gold"]);
            it.groups_any = texts(&["x"]);
        });
        check(stranger, json!({}), Meets::Less);
    }
}
