mod assurance;
mod hosts;
mod rules;

use std::sync::LazyLock;
use std::time::Duration;

use http::header::ORIGIN;
use http::{HeaderMap, Method};
use regex::Regex;

use super::*;
use super::{PathPattern, PublicPathRule};
use crate::app::{Application, samples};
use crate::forwarded::{ClientHints, Target};
use crate::host::{Authority, Host, Scheme};
use crate::identity::Identity;
use crate::session::samples::alice;
use crate::session::{NewSession, ProviderSide};
use crate::settings::Settings;
use crate::world::World;

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

fn decide(
    app: &Application,
    original: &OriginalRequest<'_>,
    client: Option<IpAddr>,
    session: Option<&Arc<Session>>,
    now: UnixTime,
) -> Decision {
    super::decide(&app.policy, &app.access_request(original, client), session, now)
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
    app.policy.cors.pass_preflight = true;
    assert_eq!(check(&app, spa, preflight), "pass");
    assert_eq!(check(&app, spa, RequestKind::Fetch), "challenge");
    assert_eq!(check(&app, Some("https://evil.example.com"), preflight), "challenge");
    assert_eq!(check(&app, None, preflight), "challenge");
}

/// An application with these `[[application.rule]]` lines, and further keys before them.
fn app_of(keys: &str, rules: &str) -> Arc<Application> {
    let text = format!(
        "[server]\ntrusted_proxies = [\"10.0.0.1\"]\n[identity_provider.default]\nissuer = \"https://idp.example.com\"\n\
         client_id = \"proxy\"\nclient_secret = \"secret\"\n[[application]]\nexternal_host = \"https://app.example.com\"\n\
         cookie_domain = \"example.com\"\n{keys}\n{rules}"
    );
    let settings = Settings::from_toml(&text).unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"));
    application(&settings)
}

fn application(settings: &Settings) -> Arc<Application> {
    let (catalog, conflicts) = crate::daemon::catalog(settings, World::system());
    assert!(conflicts.is_empty(), "{conflicts:?}");
    Arc::clone(&catalog.applications()[0])
}
