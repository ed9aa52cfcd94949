//! Hosts of a domain that are applications of their own, with the login of the domain.

use http::Method;

use super::examples;
use crate::support::{Browser, DIALECTS, Stage};

pub(super) const DOMAIN: &str = r#"
[[application]]
name = "Home"
slug = "home"
external_host = "https://auth.example.test"
cookie_domain = "example.test"
required_groups = ["staff"]
[[application.rule]]
paths = [{ prefix = "/internal" }]
deny = true

[[application.host]]
host = "sonarr.example.test"
name = "Sonarr"
required_groups = ["admins"]
public_paths = [{ prefix = "/api" }]

[[application.host]]
host = "grafana.example.test"
name = "Grafana"
[application.host.headers]
jwt = false
[[application.host.header]]
name = "X-WEBAUTH-ROLE"
groups = [{ group = "admins", value = "Admin" }]
default = "Viewer"
"#;

const SONARR: &str = "https://sonarr.example.test/series";
const GRAFANA: &str = "https://grafana.example.test/d?x=y";
const WIKI: &str = "https://wiki.example.test/";

async fn metrics(stage: &Stage) -> String {
    let mut operator = Browser::new().route("*", stage.daemon.metrics_address().unwrap());
    operator.send(Method::GET, "http://metrics/metrics", &[], None).await.body
}

#[tokio::test]
async fn one_login_and_the_rules_of_each_host() {
    let stage = Stage::with("", DOMAIN).await;
    let mut bob = stage.browser();
    let asked = stage.check("traefik", &mut bob, GRAFANA).await;
    let back = stage.come_back(&mut bob, asked, "bob").await;
    assert_eq!(back.is(302).location().as_str(), GRAFANA, "the callback is the domain's, and the target the host's");
    let mut alice = stage.browser();
    stage.sign_in(&mut alice, SONARR, "alice").await.is(200);

    for dialect in DIALECTS {
        let at = async |browser: &mut Browser, url: &str| stage.check(dialect, browser, url).await;
        let allowed = at(&mut bob, GRAFANA).await;
        let got = ["x-authentik-username", "x-authentik-meta-app", "x-authentik-jwt", "x-webauth-role"];
        assert_eq!(got.map(|name| allowed.is(200).header(name)), ["bob", "grafana", "", "Viewer"], "{dialect}");
        let allowed = at(&mut alice, GRAFANA).await;
        assert_eq!(got.map(|name| allowed.is(200).header(name)), ["alice", "grafana", "", "Admin"], "{dialect}");
        let allowed = at(&mut alice, SONARR).await;
        assert_eq!(
            (allowed.is(200).header("x-authentik-meta-app"), allowed.header("x-webauth-role")),
            ("sonarr".into(), String::new())
        );
        assert_eq!(allowed.token_claims()["sub"], "id-alice");
        let allowed = at(&mut bob, WIKI).await;
        assert_eq!(allowed.is(200).header("x-authentik-meta-app"), "home", "{dialect}");

        let denied = at(&mut bob, SONARR).await;
        if dialect != "nginx" {
            denied.contains("Sonarr");
            assert!(!denied.is(403).body.contains("Home"), "{denied:#?}");
        }
        denied.is(403);
        at(&mut alice, "https://sonarr.example.test/internal").await.is(403);
        at(&mut alice, "https://sonarr.example.test/api/..%2finternal").await.is(403);
        let open = at(&mut stage.browser(), "https://sonarr.example.test/api/internal").await;
        assert_eq!(
            (open.is(200).header("x-authentik-username"), open.header("x-authentik-meta-app")),
            (String::new(), "sonarr".into())
        );
        assert_ne!(at(&mut stage.browser(), "https://grafana.example.test/api").await.status, 200, "{dialect}");
    }

    let metrics = metrics(&stage).await;
    for labels in [
        "application=\"sonarr\",dialect=\"traefik\",outcome=\"forbid\"",
        "application=\"grafana\",dialect=\"nginx\",outcome=\"allow\"",
        "application=\"home\",dialect=\"caddy\",outcome=\"allow\"",
    ] {
        assert!(metrics.contains(&format!("forepost_check_duration_seconds_count{{{labels}}}")), "{labels}\n{metrics}");
    }
}

#[tokio::test]
async fn a_sign_out_at_one_host_is_one_from_all() {
    let stage = Stage::with("", DOMAIN).await;
    let mut alice = stage.browser();
    stage.sign_in(&mut alice, SONARR, "alice").await.is(200);
    stage.check("traefik", &mut alice, GRAFANA).await.is(200);
    let sign_out = "https://sonarr.example.test/outpost.goauthentik.io/sign_out";
    alice.send(Method::GET, sign_out, &[("sec-fetch-site", "cross-site")], None).await.is(200).contains("Sonarr");
    stage.check("traefik", &mut alice, GRAFANA).await.is(200);
    alice.send(Method::POST, sign_out, &[("sec-fetch-site", "same-origin")], None).await.is(303);
    for url in [SONARR, GRAFANA, WIKI] {
        stage.check("traefik", &mut alice, url).await.is(302);
    }
}

/// A proxy may know forepost by the name that logins come back to, and not by that of a host.
#[tokio::test]
async fn a_request_names_one_host() {
    let stage = Stage::with("", DOMAIN).await;
    let browser = stage.browser();
    let start = async |host: &str, forwarded: &str| {
        let url = format!("https://{host}/outpost.goauthentik.io/start");
        let fields = [("x-forwarded-host", forwarded)];
        browser.clone().send(Method::GET, &url, &fields, None).await.status.as_u16()
    };
    assert_eq!(start("sonarr.example.test", "sonarr.example.test").await, 302);
    assert_eq!(start("auth.example.test", "sonarr.example.test").await, 302);
    assert_eq!(start("sonarr.example.test", "auth.example.test").await, 302);
    assert_eq!(start("grafana.example.test", "sonarr.example.test").await, 400);
    assert_eq!(start("wiki.example.test", "sonarr.example.test").await, 400);
}

/// The example of the document, with the groups of alice and bob.
#[tokio::test]
async fn the_example_does_what_it_says() {
    let example = examples()[2].replace("example.com", "example.test").replace("media", "admins");
    assert!(example.contains("Grafana"), "{example}");
    for (group, administrator, user) in [("staff", 200, 403), ("nobody", 200, 403)] {
        let stage = Stage::with("", &example.replace("family", group)).await;
        let (mut alice, mut bob) = (stage.browser(), stage.browser());
        stage.sign_in(&mut alice, "https://grafana.example.test/admin", "alice").await.is(administrator);
        stage.sign_in(&mut bob, "https://grafana.example.test/admin", "bob").await.is(user);
        let mut browsers = [alice, bob];
        let everywhere = if group == "staff" { 200 } else { 403 };
        for (user, path, expected) in [
            (0, "sonarr.example.test/", everywhere),
            (1, "sonarr.example.test/", 403),
            (1, "sonarr.example.test/api/metrics", 200),
            (0, "sonarr.example.test/metrics", 403),
            (1, "grafana.example.test/", everywhere),
            (1, "wiki.example.test/", everywhere),
            (1, "wiki.example.test/metrics", 403),
        ] {
            let reply = stage.check("traefik", &mut browsers[user], &format!("https://{path}")).await;
            assert_eq!(reply.status, expected, "{group} {path}");
        }
    }
}
