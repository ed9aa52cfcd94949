//! Hosts of a cookie domain: the table of docs/ACCESS.md, row by row.

use super::*;

/// One host with rules of every kind, one with nothing of its own, and the application.
const DOMAIN: &str = r#"
[server]
trusted_proxies = ["10.0.0.1"]
[identity_provider.default]
issuer = "https://idp.example.com"
client_id = "proxy"
client_secret = "secret"

[[application]]
name = "Home"
external_host = "https://auth.example.com"
cookie_domain = "example.com"
public_paths = ["/app-open", { path = "/only-wiki", host = "wiki.example.com" }]
required_groups = ["family"]
[[application.rule]]
paths = ["/app-deny", "/host-open", "/host-open-rule", "/host-all"]
deny = true
[[application.rule]]
paths = ["/app-kids"]
require = { groups_any = ["kids"] }
[[application.rule]]
hosts = ["sonarr.example.com"]
paths = ["/app-sonarr"]
deny = true
[[application.rule]]
paths = ["/app-open-late"]
public = true

[[application.host]]
host = "sonarr.example.com"
name = "Sonarr"
public_paths = ["/host-open", "/both"]
required_groups = ["media"]
[[application.host.rule]]
paths = ["/both", "/app-open", "/host-deny"]
deny = true
[[application.host.rule]]
paths = ["/host-open-rule"]
public = true
[[application.host.rule]]
paths = ["/host-all"]
require = {}
[[application.host.rule]]
paths = ["/host-admins"]
require = { groups_any = ["admins"] }
[[application.host.rule]]
paths = ["/posts"]
methods = ["POST"]
require = { groups_any = ["admins"] }

[[application.host]]
host = "wiki.example.com"
"#;

struct Domain(Settings);

impl Domain {
    fn new(text: &str) -> Self {
        Self(Settings::from_toml(text).unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}")))
    }

    /// The application of a host, as the daemon finds it.
    fn app(&self, host: &str) -> Arc<Application> {
        let (catalog, conflicts) = crate::daemon::catalog(&self.0, World::system());
        assert!(conflicts.is_empty(), "{conflicts:?}");
        Arc::clone(catalog.find(&Host::parse(host).unwrap()).unwrap())
    }
}

/// Decides about a request for `host` by a user in these groups, who signed in at the application; no groups: without a user.
#[track_caller]
fn row(host: &'static str, target: &'static str, groups: &[&str], expected: &str) {
    let domain = Domain::new(DOMAIN);
    let app = domain.app(host);
    let signed_in_at = domain.app("auth.example.com");
    let session = (!groups.is_empty()).then(|| {
        let identity = Identity {
            subject: "1".into(),
            username: "alice".into(),
            groups: groups.iter().map(ToString::to_string).collect(),
            ..Identity::default()
        };
        Arc::new(Session::new(
            NewSession {
                realm: signed_in_at.realm.clone(),
                identity: signed_in_at.pack(identity, "", None, &serde_json::Map::new()),
                began_at: NOW,
                lifetime: Duration::from_hours(1),
                idle_timeout: None,
                provider: ProviderSide::default(),
            },
            NOW,
        ))
    });
    let mut original = request(target, RequestKind::Navigation);
    original.authority = Authority::parse(host).unwrap();
    let decision = decide(&app, &original, None, session.as_ref(), NOW);
    assert_eq!(decision.as_str(), expected, "{host}{target} {groups:?}");
}

const SONARR: &str = "sonarr.example.com";
const WIKI: &str = "wiki.example.com";
const OTHER: &str = "other.example.com";

#[test]
fn first_row_public_paths_of_the_host() {
    row(SONARR, "/host-open", &[], "pass");
    row(SONARR, "/both", &[], "pass");
    // Not of another host.
    row(WIKI, "/host-open", &["family"], "forbid");
    row(OTHER, "/host-open", &["family"], "forbid");
    row("auth.example.com", "/host-open", &["family"], "forbid");
}

#[test]
fn second_row_rules_of_the_host() {
    row(SONARR, "/host-deny", &["family", "media"], "forbid");
    row(SONARR, "/app-open", &["family", "media"], "forbid");
    row(SONARR, "/host-open-rule", &[], "pass");
    row(SONARR, "/host-all", &[], "start_login");
    row(SONARR, "/host-all", &["strangers"], "allow");
    row(SONARR, "/host-admins", &["family", "media"], "forbid");
    row(SONARR, "/host-admins", &["admins"], "allow");
    row(WIKI, "/host-deny", &["family"], "allow");
    row(WIKI, "/host-open-rule", &["family"], "forbid");
}

#[test]
fn third_row_public_paths_of_the_application() {
    row(WIKI, "/app-open", &[], "pass");
    row(OTHER, "/app-open", &[], "pass");
    row(WIKI, "/only-wiki", &[], "pass");
    row(SONARR, "/only-wiki", &[], "start_login");
}

#[test]
fn fourth_row_rules_of_the_application() {
    row(SONARR, "/app-deny", &["family", "media"], "forbid");
    row(WIKI, "/app-deny", &["family"], "forbid");
    row(SONARR, "/app-kids", &["family", "media"], "forbid");
    row(SONARR, "/app-kids", &["kids"], "allow");
    row(SONARR, "/app-sonarr", &["family", "media"], "forbid");
    row(WIKI, "/app-sonarr", &["family"], "allow");
    row(SONARR, "/app-open-late", &[], "pass");
}

#[test]
fn last_row_groups_of_both() {
    row(SONARR, "/", &[], "start_login");
    row(SONARR, "/", &["family", "media"], "allow");
    row(SONARR, "/", &["family"], "forbid");
    row(SONARR, "/", &["media"], "forbid");
    row(WIKI, "/", &["family"], "allow");
    row(WIKI, "/", &["media"], "forbid");
    row(OTHER, "/", &["family"], "allow");
    // With a user who lacks one of them, an open path passes without the user.
    row(SONARR, "/host-open", &["family"], "pass");
    row(SONARR, "/host-open", &["family", "media"], "allow");
}

#[test]
fn in_doubt_the_rules_of_both_count() {
    let everything = &["family", "media", "kids", "admins"];
    for path in ["//y/x", "/x%0a", "/%ff"] {
        row(SONARR, path, everything, "forbid");
        row(SONARR, path, &[], "forbid");
    }
    // Under one reading a rule of the host decides, and under the other one of the application.
    row(SONARR, "/host-open/..%2fapp-deny", everything, "forbid");
    row(SONARR, "/host-all/..%2fx", &["media"], "forbid");
    row(SONARR, "/host-all/..%2fx", &["media", "family"], "allow");
    row(SONARR, "/host-open/..%2fapp-open-late", &[], "start_login");
}

#[test]
fn a_user_is_told_the_groups_of_both() {
    let text = DOMAIN.replace("cookie_domain", "show_required = true\ncookie_domain");
    let app = Domain::new(&text).app(SONARR);
    let mut original = request("/", RequestKind::Navigation);
    original.authority = Authority::parse(SONARR).unwrap();
    let session = Arc::new(alice(&app, NOW, Duration::from_hours(1), None));
    let Decision::Forbid(forbidden) = decide(&app, &original, None, Some(&session), NOW) else { panic!("let in") };
    assert_eq!((forbidden.because, &*forbidden.groups), (Because::NotEntitled, &["media".into(), "family".into()][..]));
}

/// A session that was made at one of them is good for all: what any of their rules and headers looks at is kept.
#[test]
fn one_login_knows_enough_for_all() {
    let grafana = r#"
[[application.host]]
host = "grafana.example.com"
required_groups = ["family"]
[application.host.headers]
jwt = false
[[application.host.header]]
name = "X-Team"
claim = "team.name"
[[application.host.rule]]
paths = ["/x"]
require = { claims = { "realm.roles" = ["ops"] } }
"#;
    let all = "[[application.host.rule]]\nwhen = \"identity != null && identity.claims.level == 3\"\ndeny = true\n";
    let known = serde_json::json!({"team": {"name": "blue"}, "realm": {"roles": ["ops"]}});
    let everything = serde_json::json!({"team": {"name": "blue"}, "realm": {"roles": ["ops"]}, "level": 3});
    for (rule, kept) in [("", known), (all, everything.clone())] {
        let domain = Domain::new(&format!("{DOMAIN}{grafana}{rule}"));
        let (catalog, _) = crate::daemon::catalog(&domain.0, World::system());
        assert_eq!(catalog.applications().len(), 4);
        for app in catalog.applications() {
            let identity = Identity { subject: "1".into(), ..Identity::default() };
            let ends = NOW + Duration::from_hours(1);
            let packed = app.pack(identity, "a.b.c", Some(ends), everything.as_object().unwrap());
            assert_eq!(packed.claims(), kept.as_object().unwrap(), "{}", app.id);
            for other in catalog.applications() {
                assert!(packed.kept().covers(other.wanted_claims.kept()), "{} {}", app.id, other.id);
                let headers = other.headers_for(&packed, &other.jwks(), NOW);
                let is_grafana = *other.id == *"grafana-example-com";
                assert_eq!(
                    headers["x-authentik-jwt"],
                    if is_grafana { "" } else { "a.b.c" },
                    "{} {}",
                    app.id,
                    other.id
                );
                assert_eq!(headers.get("x-team").is_some_and(|team| team == "blue"), is_grafana);
                assert_eq!(headers["x-authentik-meta-app"], *other.id);
                assert_eq!((&other.realm, &other.redirect_uri), (&app.realm, &app.redirect_uri));
            }
        }
    }
}
