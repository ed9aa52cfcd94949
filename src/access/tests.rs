use std::sync::LazyLock;
use std::time::Duration;

use http::header::ORIGIN;
use http::{HeaderMap, Method};
use regex::Regex;

use super::*;
use crate::app::samples;
use crate::forwarded::{ClientHints, Target};
use crate::host::{Authority, Host, Scheme};
use crate::identity::Identity;
use crate::session::samples::alice;
use crate::session::{NewSession, ProviderSide};
use crate::settings::{PathPattern, PublicPathRule, Settings};

const NOW: UnixTime = UnixTime::from_secs(1_000_000);

fn rule(path: PathPattern) -> PublicPathRule {
    PublicPathRule { path, host: None, methods: Vec::new() }
}

fn regex(text: &str) -> PathPattern {
    PathPattern::Regex(Regex::new(&format!("^(?:{text})$")).unwrap())
}

fn app_with_rules() -> Application {
    app_requiring(&["admins"])
}

fn app_requiring(groups: &[&str]) -> Application {
    samples::application("https://app.example.com", Some("example.com"), |app| {
        app.required_groups = groups.iter().map(ToString::to_string).collect();
        app.cors.allowed_origins = vec!["https://spa.example.com".into()];
        app.public_paths = vec![
            rule(PathPattern::Path("/health".into())),
            rule(PathPattern::Prefix("/public/".into())),
            rule(regex("/api/.*/status")),
            PublicPathRule {
                path: PathPattern::Path("/hook".into()),
                host: Some(Host::parse("hooks.example.com").unwrap()),
                methods: vec![Method::POST],
            },
        ];
    })
}

/// What a client of this kind says about itself.
fn hints(kind: RequestKind) -> ClientHints<'static> {
    static NOTHING: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);
    static SCRIPT: LazyLock<HeaderMap> = LazyLock::new(|| fields(&[("sec-fetch-mode", "cors")]));
    static PREFLIGHT: LazyLock<HeaderMap> =
        LazyLock::new(|| fields(&[("origin", "https://spa.example.com"), ("access-control-request-method", "PUT")]));
    match kind {
        RequestKind::Navigation | RequestKind::FormSubmission => ClientHints::new(&NOTHING, false),
        RequestKind::Fetch => ClientHints::new(&SCRIPT, false),
        RequestKind::WebSocket => ClientHints::new(&NOTHING, true),
        RequestKind::Preflight => ClientHints::new(&PREFLIGHT, false),
    }
}

fn fields(fields: &[(&'static str, &str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect()
}

fn request(target: &str, kind: RequestKind) -> OriginalRequest<'_> {
    let method = match kind {
        RequestKind::Preflight => Method::OPTIONS,
        RequestKind::FormSubmission => Method::POST,
        RequestKind::Navigation | RequestKind::Fetch | RequestKind::WebSocket => Method::GET,
    };
    let original = OriginalRequest {
        scheme: Some(Scheme::Https),
        authority: Authority::parse("app.example.com").unwrap(),
        asked_at: None,
        target: Target::parse(target).unwrap(),
        method: Some(method),
        client: hints(kind),
    };
    assert_eq!(original.kind(), kind);
    original
}

#[track_caller]
fn path(target: &str, expected: &str) {
    let app = app_with_rules();
    let decision = decide(&app, &request(target, RequestKind::Navigation), None, None, NOW);
    assert_eq!(decision.as_str(), expected, "{target}");
}

#[test]
fn public_paths_need_no_login() {
    path("/health", "pass");
    path("/health?full=1", "pass");
    path("/public", "pass");
    path("/public/", "pass");
    path("/public/a/b.css", "pass");
    path("/public/%20x", "pass");
    path("/public//a", "pass");
    path("/api/7/status", "pass");
}

#[test]
fn everything_else_needs_one() {
    path("/", "start_login");
    path("/healthz", "start_login");
    path("/health/", "start_login");
    path("/publicity", "start_login");
    path("/PUBLIC/", "start_login");
    path("/admin?x=/public/", "start_login");
    path("/admin?/public/a", "start_login");
    path("/api/private?path=/status", "start_login");
    path("/x/api/7/status", "start_login");
    path("/api/7/status/x", "start_login");
}

#[test]
fn a_rule_grants_only_under_every_reading() {
    for target in [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/..%2fadmin",
        "/public%2f..%2fadmin",
        "/public/..;/admin",
        "/public\\..\\admin",
        "/public//../admin",
        "/public/%252e%252e%252fadmin",
        "/public;x/../admin",
        "/public/..%5c..%5cadmin",
        "/public/%23/../../admin",
        "/public/../health/../admin",
        "/api/secret%23/status",
        "/api/secret%3f/status",
        "/health%00",
        "/health%2f..%2fadmin",
        "/public/a%2fb/%2e%2e/%2e%2e/admin",
    ] {
        path(target, "start_login");
    }
    // Encoded slashes are fine where no reading leaves the rule.
    path("/public/a%2Fb", "pass");
    path("/public/a/../b", "pass");
}

#[test]
fn rules_for_a_method_need_a_known_method() {
    let app = app_with_rules();
    let check = |host: &str, method: Option<Method>| {
        let mut original = request("/hook", RequestKind::Fetch);
        original.authority = Authority::parse(host).unwrap();
        original.method = method;
        decide(&app, &original, None, None, NOW).as_str()
    };
    assert_eq!(check("hooks.example.com", Some(Method::POST)), "pass");
    assert_eq!(check("HOOKS.example.com.", Some(Method::POST)), "pass");
    assert_eq!(check("hooks.example.com", Some(Method::GET)), "challenge");
    assert_eq!(check("hooks.example.com", None), "challenge");
    assert_eq!(check("app.example.com", Some(Method::POST)), "challenge");
}

/// A session of alice for `app` that began ten seconds ago.
fn session(app: &Application, lifetime: u64, idle: Option<u64>) -> Arc<Session> {
    let began = UnixTime::from_secs(NOW.as_secs() - 10);
    Arc::new(alice(app, began, Duration::from_secs(lifetime), idle.map(Duration::from_secs)))
}

#[track_caller]
fn with_session(groups: &[&str], session: &Arc<Session>, target: &str, expected: &str) {
    let app = app_requiring(groups);
    let decision = decide(&app, &request(target, RequestKind::Navigation), None, Some(session), NOW);
    assert_eq!(decision.as_str(), expected, "{groups:?} {session:?} {target}");
}

#[test]
fn sessions_count_while_they_live_and_for_their_application() {
    let app = app_with_rules();
    let fresh = session(&app, 60, None);
    with_session(&[], &fresh, "/", "allow");
    with_session(&["admins"], &fresh, "/", "allow");
    with_session(&["other", "staff"], &fresh, "/", "allow");
    with_session(&["other"], &fresh, "/", "forbid");
    with_session(&["Admins"], &fresh, "/", "forbid");
    with_session(&["other"], &fresh, "/health", "pass");
    with_session(&[], &fresh, "/health", "allow");
    with_session(&[], &session(&app, 11, None), "/", "allow");
    with_session(&[], &session(&app, 10, None), "/", "start_login");
    with_session(&[], &session(&app, 5, None), "/", "start_login");
    with_session(&[], &session(&app, 60, Some(10)), "/", "allow");
    with_session(&[], &session(&app, 60, Some(9)), "/", "start_login");
    with_session(&[], &session(&samples::single("https://other.example.com"), 60, None), "/", "start_login");

    let touched = session(&app, 60, Some(5));
    touched.touch(UnixTime::from_secs(NOW.as_secs() - 4));
    with_session(&[], &touched, "/", "allow");
}

#[test]
fn what_a_client_can_use_decides_between_login_and_challenge() {
    use RequestKind::{Fetch, FormSubmission, Navigation, Preflight, WebSocket};
    let app = app_with_rules();
    for (kind, expected) in [
        (Navigation, "start_login"),
        (FormSubmission, "start_login"),
        (Fetch, "challenge"),
        (WebSocket, "challenge"),
        (Preflight, "challenge"),
    ] {
        assert_eq!(decide(&app, &request("/", kind), None, None, NOW).as_str(), expected, "{kind:?}");
    }
}

#[test]
fn preflights_pass_only_where_allowed() {
    let mut app = app_with_rules();
    let check = |app: &Application, origin: Option<&'static str>, kind| {
        let mut headers = match kind {
            RequestKind::Preflight => fields(&[("access-control-request-method", "PUT")]),
            _ => fields(&[("sec-fetch-mode", "cors")]),
        };
        headers.extend(origin.map(|origin| (ORIGIN, origin.parse().unwrap())));
        let mut original = request("/", kind);
        original.client = ClientHints::new(&headers, false);
        decide(app, &original, None, None, NOW).as_str()
    };
    let (spa, preflight) = (Some("https://spa.example.com"), RequestKind::Preflight);
    assert_eq!(check(&app, spa, preflight), "challenge");
    app.cors.pass_preflight = true;
    assert_eq!(check(&app, spa, preflight), "pass");
    assert_eq!(check(&app, spa, RequestKind::Fetch), "challenge");
    assert_eq!(check(&app, Some("https://evil.example.com"), preflight), "challenge");
    assert_eq!(check(&app, None, preflight), "challenge");
}

/// An application with these `[[application.rule]]` lines, and further keys before them.
fn app_of(keys: &str, rules: &str) -> Application {
    let text = format!(
        "[server]\ntrusted_proxies = [\"10.0.0.1\"]\n[identity_provider.default]\nissuer = \"https://idp.example.com\"\n\
         client_id = \"proxy\"\nclient_secret = \"secret\"\n[[application]]\nexternal_host = \"https://app.example.com\"\n\
         cookie_domain = \"example.com\"\n{keys}\n{rules}"
    );
    let mut settings = Settings::from_toml(&text).unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"));
    let app = settings.applications.remove(0);
    Application::new(0, app, &settings.identity_providers["default"], "forepost")
}

/// What is asked, and by whom: a line of a table.
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

/// Asks for nobody, and for alice of `staff` and `admins` with these claims.
#[track_caller]
fn row(app: &Application, row: Row, nobody: &str, alice: &str, claims: &serde_json::Value) {
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
            application: Arc::clone(&app.slug),
            identity: app.pack(identity, "", None, claims.as_object().unwrap()),
            began_at: NOW,
            lifetime: Duration::from_hours(1),
            idle_timeout: None,
            provider: ProviderSide::default(),
        },
        NOW,
    ));
    let got = |session| decide(app, &original, client, session, NOW).as_str();
    assert_eq!((got(None), got(Some(&session))), (nobody, alice), "{} {:?}", row.target, row.method);
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
    let check = |target, nobody, alice| row(&app, at(target), nobody, alice, &none);
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
    // A path with too many readings may be any.
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
    let check = |keys: &str, rules: &str, nobody: &str, alice: &str| {
        let app = app_of(keys, rules);
        for path in AMBIGUOUS {
            row(&app, at(path), nobody, alice, &none);
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
    // What is required of everybody else counts too, unless a rule for every path comes first.
    check("required_groups = [\"strangers\"]", &admins, "start_login", "forbid");
    check("required_groups = [\"strangers\"]", &open, "start_login", "forbid");
    check("required_groups = [\"strangers\"]", &rule("methods = [\"GET\"]\nrequire = {}"), "start_login", "allow");
    check("", &format!("{}{deny}", rule("networks = [\"192.0.2.0/24\"]\npublic = true")), "pass", "allow");
    // What is known to be for other requests does not count.
    check("", &rule("paths = [\"/x\"]\nmethods = [\"POST\"]\ndeny = true"), "start_login", "allow");
    check("", &rule("networks = [\"198.51.100.0/24\"]\npaths = [\"/x\"]\ndeny = true"), "start_login", "allow");
    check("", &rule("when = \"request.path == '/x'\"\ndeny = true"), "forbid", "forbid");
    check("", &rule("when = \"request.method == 'POST' && request.path == '/x'\"\ndeny = true"), "forbid", "forbid");
    // Without a rule for paths or hosts, none of it matters.
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
    let mut settings = Settings::from_toml(&format!("{text}{rules}")).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let provider = settings.identity_providers["default"].clone();
    let app = Application::new(0, settings.applications.remove(0), &provider, "forepost");
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
    for (path, nobody, alice) in [
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
        row(&app, at(path), nobody, alice, &none);
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
    let check =
        |target, method, nobody, alice| row(&app, Row { method: Some(method), ..at(target) }, nobody, alice, &none);
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
    let check = |asked: Row, nobody| row(&app, asked, nobody, "allow", &none);
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
fn what_nobody_knows_counts_both_ways() {
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

/// A session with these claims that began so many seconds ago, at whose login this was asked for.
fn assured(app: &Application, claims: &serde_json::Value, ago: u64, asked: Assurance) -> Arc<Session> {
    let began = UnixTime::from_secs(NOW.as_secs() - ago);
    let identity = Identity { subject: "1".into(), username: "alice".into(), ..Identity::default() };
    let new = NewSession {
        application: Arc::clone(&app.slug),
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
    // The login was asked for it and brought less: no second one.
    check(json("bronze", 10), 10, wanted(), "forbid");
    check(json("silver", 400), 10, wanted(), "forbid");
    check(serde_json::json!({}), 10, wanted(), "forbid");
    // It was good enough at its end.
    check(json("silver", 400), 400, wanted(), "start_login");
    // It was asked for less.
    check(json("bronze", 10), 10, Assurance { acr: vec!["bronze".into()], max_age: Some(300) }, "start_login");
    check(json("silver", 400), 10, Assurance { max_age: Some(3000), ..wanted() }, "start_login");
    // Nobody is signed in: the first login is the right one.
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
