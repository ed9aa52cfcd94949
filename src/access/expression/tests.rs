use serde_json::{Value as Json, json};

use super::*;

#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = Expression::parse(text).unwrap_err();
    assert!(error.contains(expected), "{text}: {error}");
}

#[test]
fn what_cannot_be_used_is_refused() {
    refused("request.path ==", "");
    refused("true", "always the same");
    refused("1 == 1", "always the same");
    refused("request.pth == '/'", "no \"pth\"");
    refused("request == null", "name the field");
    refused("identity != null && identity.user == 'x'", "no \"user\"");
    refused("user == 'x'", "no variable \"user\"");
    refused("request.path.matches('a+')", "no function \"matches\"");
    refused("request.path.foo()", "no function \"foo\"");
    refused("identity.username == 'x'", "identity != null &&");
    refused("identity != null && identity.username", "");
    refused("request.path", "neither true nor false");
    refused("size(request.path)", "neither true nor false");
    refused("request.path + 1 == 'x'", "no user is signed in");
    refused("identity != null && identity.groups.exists(g, identity.groups.exists(h, g == h))", "within a loop");
    refused("identity != null && identity.groups.all(g, g in identity.groups)", "within a loop");
    let many = " && identity.groups.all(g, g != 'x')".repeat(9);
    refused(&format!("identity != null{many}"), "more than 8 loops");
    refused("identity != null && identity.groups.exists(now, now == 'x')", "name of a variable");
    refused(&format!("request.path == '{}'", "a".repeat(5000)), "longer");
    refused(&format!("{}request.path == '/'{}", "(".repeat(100), ")".repeat(100)), "too deep");
    refused(&format!("{}(request.path == '/')", "!".repeat(100)), "too deep");
    refused(&format!("request.path == '/'{}", " + '/'".repeat(150)), "too deep");
}

#[track_caller]
fn check(text: &str, claims: Option<Json>, expected: Result<bool, &str>) {
    let expression = Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let user = claims.map(|claims| {
        let identity = Identity {
            subject: "7".into(),
            username: "alice".into(),
            groups: vec!["staff".into(), "ops".into()],
            ..Identity::default()
        };
        PackedIdentity::new(identity, "", None).with_claims(claims.as_object().unwrap().clone())
    });
    let asked = RequestFields {
        host: Some("app.example.com"),
        path: Some("/a"),
        method: None,
        client: None,
        scheme: Some("https"),
    };
    // A Tuesday at 22:13:20 UTC.
    let got = expression.holds(&asked, user.as_ref(), false, UnixTime::from_secs(1_700_000_000));
    match (got, expected) {
        (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{text}"),
        (Err(got), Err(expected)) => assert!(got.contains(expected), "{text}: {got}"),
        (got, _) => panic!("{text}: {got:?}"),
    }
}

#[test]
fn expressions_are_true_false_or_not_known() {
    check("request.path == '/a' && request.host.endsWith('.example.com')", None, Ok(true));
    check("request.scheme == 'http'", None, Ok(false));
    check("request.method == 'GET'", None, Err("request.method is not known"));
    check("request.client.startsWith('10.')", None, Err("request.client is not known"));
    check("identity == null", None, Ok(true));
    check("identity == null", Some(json!({})), Ok(false));
    check("identity != null && 'ops' in identity.groups", Some(json!({})), Ok(true));
    check("identity != null && identity.groups.exists(g, g.startsWith('st'))", Some(json!({})), Ok(true));
    check("identity != null && identity.groups.exists(g, g in ['ops', 'x'])", Some(json!({})), Ok(true));
    check("identity != null && identity.claims.level > 3", Some(json!({"level": 4})), Ok(true));
    check("identity != null && identity.claims.level > 3", Some(json!({"level": "4"})), Err(""));
    check("identity != null && identity.claims.level > 3", Some(json!({})), Err(""));
    check("identity != null && identity.claims.level", Some(json!({"level": 4})), Err(""));
    check(
        "identity != null && has(identity.claims.org) && identity.claims.org.unit == 'x'",
        Some(json!({"org": {"unit": "x"}})),
        Ok(true),
    );
    check("identity != null && has(identity.claims.org)", Some(json!({})), Ok(false));
    for (claims, has, is_true, as_text) in [
        (json!({}), Ok(false), Err(""), Err("")),
        (json!({"x": null}), Ok(true), Ok(false), Err("")),
        (json!({"x": false}), Ok(true), Ok(false), Ok(false)),
        (json!({"x": true}), Ok(true), Ok(true), Ok(true)),
        (json!({"x": "true"}), Ok(true), Ok(false), Ok(true)),
        (json!({"x": ""}), Ok(true), Ok(false), Ok(false)),
        (json!({"x": []}), Ok(true), Ok(false), Err("")),
    ] {
        check("identity != null && has(identity.claims.x)", Some(claims.clone()), has);
        check("identity != null && identity.claims.x == true", Some(claims.clone()), is_true);
        check("identity != null && string(identity.claims.x) == 'true'", Some(claims), as_text);
    }
    let many: Vec<u32> = (0..2000).collect();
    check("identity != null && 'ops' in identity.groups", Some(json!({"many": many})), Err("too many"));
    check("now.getHours() >= 22 && now.getDayOfWeek() == 2", None, Ok(true));
    check("now > timestamp('2024-01-01T00:00:00Z')", None, Ok(false));
}

/// A token for which userinfo was not asked.
#[test]
fn what_was_not_asked_about_is_not_known() {
    let check = |text: &str, identity: &Identity, expected: Result<bool, &str>| {
        let expression = Expression::parse(&format!("identity != null && {text}")).unwrap();
        let user = PackedIdentity::new(identity.clone(), "", None).incomplete();
        let asked = RequestFields { host: Some("a"), path: Some("/a"), method: None, client: None, scheme: None };
        let got = expression.holds(&asked, Some(&user), false, UnixTime::from_secs(1_700_000_000));
        match (got, expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{text}"),
            (Err(got), Err(field)) => assert!(got.contains(&format!("identity.{field} is not known")), "{text}: {got}"),
            (got, _) => panic!("{text}: {got:?}"),
        }
    };
    let bare = Identity { subject: "7".into(), ..Identity::default() };
    let known = Identity { username: "alice".into(), name: "A".into(), groups: vec!["ops".into()], ..bare.clone() };
    check("request.path == '/a'", &bare, Ok(true));
    check("identity.subject == '7'", &bare, Ok(true));
    check("identity.username == 'bob'", &bare, Err("username"));
    check("identity.username == 'bob'", &known, Ok(false));
    check("identity.name == 'A'", &known, Ok(true));
    check("identity.name == 'A'", &bare, Err("name"));
    check("'banned' in identity.groups", &bare, Err("groups"));
    check("'banned' in identity.groups", &known, Ok(false));
    check("identity.email == null", &known, Err("email"));
    check("'suspended' in identity.claims", &known, Err("claims"));
    check("has(identity.claims.suspended)", &known, Err("claims"));
}

/// Whether the expression is true for a user with this address, which is `verified`; `None` if not known.
fn of_email(text: &str, email: &str, verified: bool, unverified: bool) -> Option<bool> {
    let expression = Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let claims = json!({"email": email, "email_verified": verified});
    let identity = Identity { subject: "7".into(), email: email.into(), ..Identity::default() };
    let user = PackedIdentity::new(identity, "", None).with_claims(claims.as_object().unwrap().clone());
    let asked = RequestFields { host: Some("a"), path: Some("/"), method: None, client: None, scheme: None };
    expression.holds(&asked, Some(&user), unverified, UnixTime::from_secs(1_700_000_000)).ok()
}

#[test]
fn addresses_in_expressions_are_those_that_count() {
    let check = |text: &str, email: &str, expected: Option<bool>| {
        assert_eq!(of_email(text, email, true, false), expected, "{text} {email}");
        assert_eq!(of_email(text, email, false, true), expected, "danger: {text} {email}");
    };
    let ends = "identity != null && identity.email.endsWith('@x.example.com')";
    check(ends, "a@X.Example.COM", Some(true));
    check(ends, "a@\u{ff58}.example\u{3002}com.", Some(true));
    check(ends, "a@y.example.com", Some(false));
    check(ends, "a@evil.com@x.example.com", None);
    check(ends, "a\u{ff20}evil.com@x.example.com", None);
    check(ends, "a@x.example.com, b@evil.com", None);
    check(ends, "@x.example.com", None);
    check(ends, "", None);
    check("identity != null && identity.email == 'Al@example.com'", "Al@EXAMPLE.com", Some(true));
    check("identity != null && identity.email == 'al@example.com'", "Al@example.com", Some(false));
    check("identity != null && identity.email != null", "a@example.com", Some(true));
    check("identity != null && null != identity.email", "", Some(false));
    check("identity != null && identity.claims.email.endsWith('.com')", "a@evil.com@x.example.com", Some(true));
}

/// The flag is about the claim `email`.
#[test]
fn an_address_of_another_claim_is_not_verified() {
    let claims = json!({"email": "bob@evil.test", "mail": "boss@example.com", "email_verified": true});
    let check = |email: &str, unverified: bool, expected: Option<&str>| {
        let identity = Identity { subject: "7".into(), email: email.into(), ..Identity::default() };
        let user = PackedIdentity::new(identity, "", None).with_claims(claims.as_object().unwrap().clone());
        let counted = counted_email(&user, unverified).map(|email| email.to_string());
        assert_eq!(counted.as_deref(), expected, "{email}");
    };
    check("boss@example.com", false, None);
    check("boss@example.com", true, Some("boss@example.com"));
    check("bob@evil.test", false, Some("bob@evil.test"));
}

#[test]
fn an_address_that_is_not_verified_is_null_and_may_be_the_users() {
    let check = |text: &str, expected: Option<bool>| {
        let text = format!("identity != null && {text}");
        assert_eq!(of_email(&text, "a@x.example.com", false, false), expected, "{text}");
    };
    check("identity.email == null", Some(true));
    check("identity.email != null", Some(false));
    check("identity.email.endsWith('.example.com')", None);
    check("!identity.email.endsWith('.example.com')", None);
    check("!identity.email.endsWith('.evil.com')", None);
    check("identity.email == 'a@x.example.com'", None);
    check("identity.email != 'a@x.example.com'", None);
    check("identity.email in ['a@x.example.com', 'b@x.example.com']", None);
    check("identity.email != null && identity.email.endsWith('.example.com')", None);
    check("(identity.email == null || !identity.email.endsWith('.example.com'))", None);
    check("identity.email == 'b@x.example.com'", Some(false));
    check("identity.email != null && identity.email.endsWith('.evil.com')", Some(false));
    check("identity.claims.email.endsWith('.example.com')", Some(true));
    refused("identity != null && has(identity.email)", "always the same; compare it: identity.email != null");
}
