//! Requirements on a login.

use super::*;

/// A session with these claims that began `ago` seconds before now, after a login with these requirements.
fn assured(app: &Application, claims: &serde_json::Value, ago: u64, asked: Assurance) -> Arc<Session> {
    let began = UnixTime::from_secs(NOW.as_secs() - ago);
    let identity = Identity { subject: "1".into(), username: "alice".into(), ..Identity::default() };
    let new = NewSession {
        realm: app.realm.clone(),
        identity: app.pack(identity, "", None, claims.as_object().unwrap()),
        began_at: began,
        lifetime: Duration::from_hours(10),
        idle_timeout: None,
        provider: ProviderSide { asked, ..ProviderSide::default() },
    };
    Arc::new(Session::new(new, began))
}

#[test]
fn a_better_login_is_asked_for_once() {
    let app = app_of("", "[[application.rule]]\nrequire = { acr = [\"gold\", \"silver\"], max_auth_age = \"5m\" }");
    let wanted = || Assurance { acr: vec!["gold".into(), "silver".into()], max_age: Some(300) };
    let check = |claims: serde_json::Value, ago, asked: Assurance, expected: &str| {
        let session = assured(&app, &claims, ago, asked.clone());
        let decision = decide(&app, &request("/", RequestKind::Navigation), None, Some(&session), NOW);
        assert_eq!(decision.as_str(), expected, "{claims} {ago} {asked:?}");
        match decision {
            Decision::StartLogin(assurance) => assert_eq!(assurance, wanted()),
            Decision::Forbid(forbidden) => assert_eq!(forbidden.because, Because::NotAssured),
            _ => {}
        }
    };
    let json = |acr: &str, ago: u64| serde_json::json!({"acr": acr, "auth_time": NOW.as_secs() - ago});
    check(json("silver", 10), 10, Assurance::default(), "allow");
    check(json("bronze", 10), 10, Assurance::default(), "start_login");
    check(json("silver", 400), 10, Assurance::default(), "start_login");
    // The provider was asked for it and did less, so there is no second login.
    check(json("bronze", 10), 10, wanted(), "forbid");
    check(json("silver", 400), 10, wanted(), "forbid");
    check(serde_json::json!({}), 10, wanted(), "forbid");
    // The login met the requirement at its end.
    check(json("silver", 400), 400, wanted(), "start_login");
    // The provider was asked for less.
    check(json("bronze", 10), 10, Assurance { acr: vec!["bronze".into()], max_age: Some(300) }, "start_login");
    check(json("silver", 400), 10, Assurance { max_age: Some(3000), ..wanted() }, "start_login");
    // Without a session, the first login has the requirements.
    match decide(&app, &request("/", RequestKind::Fetch), None, None, NOW) {
        Decision::Challenge(assurance) => assert_eq!(assurance, wanted()),
        other => panic!("{}", other.as_str()),
    }
}

#[test]
fn logins_that_exclude_each_other_are_not_asked_for_in_turns() {
    let rules = r#"
        [[application.rule]]
        paths = [{ prefix = "/gold" }]
        require = { acr = ["gold", "both"] }
        [[application.rule]]
        paths = [{ prefix = "/silver" }]
        require = { acr = ["silver", "both"], max_auth_age = "1h" }
        [[application.rule]]
        paths = [{ prefix = "/bronze" }]
        require = { acr = ["bronze"] }
    "#;
    let app = app_of("", rules);
    let check = |target: &'static str, acr: Option<&str>, expected: Result<&[&str], &str>| {
        let asked = Assurance { acr: acr.into_iter().map(str::to_owned).collect(), max_age: None };
        let session = acr.map(|acr| assured(&app, &serde_json::json!({"acr": acr, "auth_time": 999_990}), 10, asked));
        let decision = decide(&app, &request(target, RequestKind::Navigation), None, session.as_ref(), NOW);
        let got = match &decision {
            Decision::StartLogin(assurance) => Ok(assurance.acr.iter().map(String::as_str).collect::<Vec<_>>()),
            other => Err(other.as_str()),
        };
        assert_eq!(got.as_deref().map_err(|it| *it), expected, "{target} {acr:?}");
    };
    check("/gold", None, Ok(&["gold", "both"]));
    check("/gold", Some("gold"), Err("allow"));
    check("/gold/..%2fsilver", None, Ok(&["both"]));
    check("/gold/..%2fsilver", Some("gold"), Ok(&["both"]));
    check("/gold/..%2fsilver", Some("silver"), Ok(&["both"]));
    check("/gold/..%2fsilver", Some("both"), Err("allow"));
    for path in ["/gold/..%2fbronze", "//x"] {
        for acr in [None, Some("gold"), Some("silver"), Some("both"), Some("bronze")] {
            check(path, acr, Err("forbid"));
        }
    }
}
