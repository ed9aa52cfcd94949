//! Rules of applications, row by row.

use super::*;

/// A line of a table: a request and its client.
#[derive(Clone, Copy)]
struct Row {
    host: &'static str,
    target: &'static str,
    method: Option<&'static str>,
    client: Option<&'static str>,
}

const ROW: Row = Row { host: "app.example.com", target: "/", method: Some("GET"), client: Some("192.0.2.1") };

fn at(target: &'static str) -> Row {
    Row { target, ..ROW }
}

/// Decides without a session, and for alice of `staff` and `admins` with these claims.
#[track_caller]
fn row(app: &Application, row: Row, anonymous: &str, alice: &str, claims: &serde_json::Value) {
    let mut original = request(row.target, RequestKind::Navigation);
    original.authority = Authority::parse(row.host).unwrap();
    original.method = row.method.map(|method| method.parse().unwrap());
    let client = row.client.map(|client| client.parse().unwrap());
    let identity = Identity {
        subject: "1".into(),
        username: "alice".into(),
        groups: vec!["staff".into(), "admins".into()],
        ..Identity::default()
    };
    let session = Arc::new(Session::new(
        NewSession {
            realm: app.realm.clone(),
            identity: app.pack(identity, "", None, claims.as_object().unwrap()),
            began_at: NOW,
            lifetime: Duration::from_hours(1),
            idle_timeout: None,
            provider: ProviderSide::default(),
        },
        NOW,
    ));
    let got = |session| decide(app, &original, client, session, NOW).as_str();
    assert_eq!((got(None), got(Some(&session))), (anonymous, alice), "{} {:?}", row.target, row.method);
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = r#"
        [[application.rule]]
        paths = [{ prefix = "/open/shut" }]
        deny = true
        [[application.rule]]
        paths = [{ prefix = "/open" }]
        public = true
        [[application.rule]]
        paths = [{ prefix = "/open" }, { prefix = "/shut" }]
        deny = true
        [[application.rule]]
        paths = [{ prefix = "/all" }]
        require = {}
        [[application.rule]]
        paths = [{ prefix = "/all/none" }]
        deny = true
    "#;
    let app = app_of("required_groups = [\"strangers\"]\npublic_paths = [\"/open/shut/first\"]", rules);
    let none = serde_json::json!({});
    let check = |target, anonymous, alice| row(&app, at(target), anonymous, alice, &none);
    check("/open/shut/first", "pass", "pass");
    check("/open/shut", "forbid", "forbid");
    check("/open", "pass", "pass");
    check("/open/x", "pass", "pass");
    check("/shut", "forbid", "forbid");
    check("/all", "start_login", "allow");
    check("/all/none", "start_login", "allow");
    check("/", "start_login", "forbid");
    // Under every reading.
    check("/open/../shut", "forbid", "forbid");
    check("/open/..%2fshut", "forbid", "forbid");
    check("/open/..%2fall", "start_login", "allow");
    check("/open/..%2felse", "start_login", "forbid");
    check("/all/..%2felse", "start_login", "forbid");
    check("/open/x/..;/..;/shut", "forbid", "forbid");
    check("/open/%73hut", "forbid", "forbid");
    // A path with too many readings is ambiguous.
    let endless: &'static str = Box::leak(format!("/open{}", "/%25".repeat(2000)).into_boxed_str());
    check(endless, "forbid", "forbid");
}

/// Paths that no honest client needs: each may be any path to some server.
const AMBIGUOUS: [&str; 12] = [
    "//y/admin",
    "///admin",
    "/\\y/admin",
    "/%5c%2fy/admin",
    "/x/..//y",
    "/admin%0a",
    "/ad%0dmin",
    "/%00",
    "/caf%e9",
    "/%c0%afadmin",
    "/%25u002fadmin",
    "/open/%250a",
];

#[test]
fn every_rule_counts_for_an_ambiguous_path() {
    let none = serde_json::json!({});
    let check = |keys: &str, rules: &str, anonymous: &str, alice: &str| {
        let app = app_of(keys, rules);
        for path in AMBIGUOUS {
            row(&app, at(path), anonymous, alice, &none);
        }
    };
    let rule = |lines: &str| format!("[[application.rule]]\n{lines}\n");
    let deny = rule("paths = [{ prefix = \"/internal\" }]\ndeny = true");
    let strangers = rule("paths = [\"/x\", \"/z\"]\nrequire = { groups_any = [\"strangers\"] }");
    let admins = rule("paths = [\"/x\"]\nrequire = { groups_any = [\"admins\"] }");
    let open = rule("paths = [{ prefix = \"/open\" }]\npublic = true");
    let everything = rule("public = true");
    check("", &deny, "forbid", "forbid");
    check("", &strangers, "start_login", "forbid");
    check("", &admins, "start_login", "allow");
    check("", &format!("{admins}{strangers}"), "start_login", "forbid");
    // A grant needs to be known.
    check("", &open, "start_login", "allow");
    check("public_paths = [{ prefix = \"/open\" }, { prefix = \"/admin\" }]", "", "start_login", "allow");
    check("", &format!("{open}{deny}"), "forbid", "forbid");
    check("", &format!("{strangers}{everything}"), "start_login", "forbid");
    check("", &format!("{admins}{everything}"), "start_login", "allow");
    // `required_groups` count too, unless a rule for every path comes first.
    check("required_groups = [\"strangers\"]", &admins, "start_login", "forbid");
    check("required_groups = [\"strangers\"]", &open, "start_login", "forbid");
    check("required_groups = [\"strangers\"]", &rule("methods = [\"GET\"]\nrequire = {}"), "start_login", "allow");
    check("", &format!("{}{deny}", rule("networks = [\"192.0.2.0/24\"]\npublic = true")), "pass", "allow");
    // A rule that is known to be for other requests does not count.
    check("", &rule("paths = [\"/x\"]\nmethods = [\"POST\"]\ndeny = true"), "start_login", "allow");
    check("", &rule("networks = [\"198.51.100.0/24\"]\npaths = [\"/x\"]\ndeny = true"), "start_login", "allow");
    check("", &rule("when = \"request.path == '/x'\"\ndeny = true"), "forbid", "forbid");
    check("", &rule("when = \"request.method == 'POST' && request.path == '/x'\"\ndeny = true"), "forbid", "forbid");
    // Without a rule for paths or hosts, the path does not matter.
    check("", "", "start_login", "allow");
    check("required_groups = [\"staff\"]", "", "start_login", "allow");
}

#[test]
fn a_host_in_the_path_may_be_the_host() {
    let rules = "[[application.rule]]\nhosts = [\"wiki.example.com\"]\ndeny = true\n\
                 [[application.rule]]\nhosts = [\"app.example.com\"]\npublic = true";
    let app = app_of("", rules);
    let none = serde_json::json!({});
    let check =
        |target, expected| row(&app, at(target), expected, if expected == "pass" { "allow" } else { expected }, &none);
    check("/x", "pass");
    check("/x//wiki.example.com", "pass");
    check("/x%0a", "pass");
    check("/caf%e9", "pass");
    check("//wiki.example.com/x", "forbid");
    check("///wiki.example.com", "forbid");
    check("/%5cwiki.example.com/x", "forbid");
    check("/..//wiki.example.com/x", "forbid");
    let path: &'static str = Box::leak("/%25".repeat(2000).into_boxed_str());
    check(path, "forbid");
    let path: &'static str = Box::leak("/a".repeat(3000).into_boxed_str());
    check(path, "pass");
}

#[test]
fn an_empty_segment_below_the_own_path_is_ambiguous() {
    let rules = "[[application.rule]]\npaths = [{ prefix = \"/sub/admin\" }]\ndeny = true";
    let text = "[identity_provider.default]\nissuer = \"https://idp.example.com\"\nclient_id = \"proxy\"\n\
                client_secret = \"secret\"\n[[application]]\nexternal_host = \"https://app.example.com/sub\"\n";
    let settings = Settings::from_toml(&format!("{text}{rules}")).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let app = application(&settings);
    let none = serde_json::json!({});
    row(&app, at("/sub//y/admin"), "forbid", "forbid", &none);
    row(&app, at("/sub/%5cy/admin"), "forbid", "forbid", &none);
    row(&app, at("/sub/y//admin"), "start_login", "allow", &none);
}

#[test]
fn both_orders_can_be_written() {
    let deny_first = r#"
        [[application.rule]]
        paths = [{ prefix = "/admin" }]
        require = { groups_any = ["admins"] }
        [[application.rule]]
        paths = [{ prefix = "/internal" }]
        deny = true
        [[application.rule]]
        public = true
    "#;
    let app = app_of("", deny_first);
    let none = serde_json::json!({});
    for (path, anonymous, alice) in [
        ("/", "pass", "allow"),
        ("/page", "pass", "allow"),
        ("/admin", "start_login", "allow"),
        ("/internal", "forbid", "forbid"),
        ("/x/..%2fadmin", "start_login", "allow"),
        ("/x/..%2finternal", "forbid", "forbid"),
        ("/internal%20", "forbid", "forbid"),
        ("/internal.", "forbid", "forbid"),
        ("/internal;x", "forbid", "forbid"),
        ("/internal%ef%bc%8fx", "forbid", "forbid"),
        ("//", "forbid", "forbid"),
    ] {
        row(&app, at(path), anonymous, alice, &none);
    }
}

#[test]
fn head_may_be_answered_as_get() {
    let rules = r#"
        [[application.rule]]
        paths = ["/shut"]
        methods = ["GET"]
        deny = true
        [[application.rule]]
        paths = ["/open"]
        methods = ["GET"]
        public = true
        [[application.rule]]
        paths = ["/heads"]
        methods = ["HEAD"]
        public = true
    "#;
    let app = app_of("", rules);
    let none = serde_json::json!({});
    let check = |target, method, anonymous, alice| {
        row(&app, Row { method: Some(method), ..at(target) }, anonymous, alice, &none);
    };
    check("/shut", "HEAD", "forbid", "forbid");
    check("/shut", "POST", "start_login", "allow");
    check("/open", "HEAD", "start_login", "allow");
    check("/open", "GET", "pass", "allow");
    check("/heads", "HEAD", "pass", "allow");
    check("/heads", "GET", "start_login", "allow");
}

#[test]
fn every_condition_must_hold() {
    let rules = r#"
        [[application.rule]]
        hosts = ["*.example.com"]
        methods = ["GET", "HEAD"]
        networks = ["192.0.2.0/24", "2001:db8::/32"]
        paths = ["/a"]
        when = "request.scheme == 'https'"
        public = true
    "#;
    let app = app_of("", rules);
    let none = serde_json::json!({});
    let check = |asked: Row, anonymous| row(&app, asked, anonymous, "allow", &none);
    check(at("/a"), "pass");
    check(Row { client: Some("2001:db8::1"), ..at("/a") }, "pass");
    check(at("/b"), "start_login");
    check(Row { host: "example.com", ..at("/a") }, "start_login");
    check(Row { method: Some("HEAD"), ..at("/a") }, "pass");
    check(Row { method: None, ..at("/a") }, "start_login");
    check(Row { client: Some("198.51.100.1"), ..at("/a") }, "start_login");
    check(Row { client: None, ..at("/a") }, "start_login");
}

#[test]
fn an_unknown_condition_counts_both_ways() {
    let rules = r#"
        [[application.rule]]
        paths = ["/denied"]
        methods = ["POST"]
        deny = true
        [[application.rule]]
        paths = ["/opened"]
        networks = ["192.0.2.0/24"]
        public = true
        [[application.rule]]
        paths = ["/required"]
        when = "identity != null && identity.claims.level > 3"
        require = { groups_any = ["strangers"] }
        [[application.rule]]
        paths = ["/required"]
        require = { groups_all = ["staff", "admins"] }
    "#;
    let app = app_of("", rules);
    let none = serde_json::json!({});
    row(&app, at("/denied"), "start_login", "allow", &none);
    row(&app, Row { method: None, ..at("/denied") }, "forbid", "forbid", &none);
    row(&app, Row { client: None, ..at("/opened") }, "start_login", "allow", &none);
    row(&app, at("/required"), "start_login", "forbid", &none);
    row(&app, at("/required"), "start_login", "forbid", &serde_json::json!({"level": "four"}));
    row(&app, at("/required"), "start_login", "forbid", &serde_json::json!({"level": 4}));
    row(&app, at("/required"), "start_login", "allow", &serde_json::json!({"level": 3}));
}

#[test]
fn denied_preflights_do_not_pass() {
    let app = app_of(
        "cors = { allowed_origins = [\"https://spa.example.com\"], pass_preflight = true }",
        "[[application.rule]]\npaths = [\"/shut\"]\ndeny = true",
    );
    assert_eq!(decide(&app, &request("/shut", RequestKind::Preflight), None, None, NOW).as_str(), "forbid");
    assert_eq!(decide(&app, &request("/", RequestKind::Preflight), None, None, NOW).as_str(), "pass");
}
