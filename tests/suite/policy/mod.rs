//! Who gets in: rules of every kind, asked for by every proxy.

mod explained;
mod hosts;

use std::fs;

use http::Method;

use crate::support::{Browser, DIALECTS, Reply, Stage};

const RULES: &str = r#"
[[application]]
name = "The App"
slug = "app"
external_host = "https://app.example.com"
show_required = true

[[application.rule]]
paths = [{ prefix = "/shut" }]
deny = true

[[application.rule]]
paths = [{ prefix = "/hook" }]
methods = ["POST"]
public = true

[[application.rule]]
paths = [{ prefix = "/office" }]
networks = ["192.0.2.0/24"]
public = true

[[application.rule]]
paths = [{ prefix = "/admin" }]
require = { groups_any = ["admins"] }

[[application.rule]]
paths = [{ prefix = "/friends" }]
require = { emails = ["bob@EXAMPLE.test"], claims = { sub = ["id-bob"] } }

[[application.rule]]
paths = [{ prefix = "/night" }]
when = "identity != null && identity.claims.sub == 'id-alice' && request.path.endsWith('/shift')"
require = { groups_any = ["nonexistent"] }

[[application.rule]]
paths = [{ prefix = "/gold" }]
require = { acr = ["gold"], max_auth_age = "1h" }

[[application.rule]]
paths = [{ prefix = "/mail" }]
when = "identity != null && identity.email.endsWith('@x.example.com')"
require = {}

[server]
trusted_proxies = ["127.0.0.1"]
"#;

const HOME: &str = "https://app.example.com/";

async fn stage() -> Stage {
    Stage::with("", RULES).await
}

async fn ask(stage: &Stage, dialect: &str, browser: &mut Browser, method: Method, path: &str, client: &str) -> Reply {
    let url = format!("https://app.example.com{path}");
    stage.ask(dialect, browser, method, &url, &[("x-forwarded-for", client), ("accept", "text/html")]).await
}

/// Statuses for an anonymous browser, alice (of `admins`) and bob, from Traefik, Caddy and Envoy, and from nginx.
#[tokio::test]
async fn each_action_in_each_dialect() {
    let stage = stage().await;
    let (mut alice, mut bob) = (stage.browser(), stage.browser());
    stage.sign_in(&mut alice, HOME, "alice").await.is(200);
    stage.sign_in(&mut bob, HOME, "bob").await.is(200);
    let anonymous = stage.browser();
    let inside = "192.0.2.7";
    for (method, path, client, told, nginx) in [
        (Method::GET, "/", inside, [302, 200, 200], [401, 200, 200]),
        (Method::GET, "/shut", inside, [403, 403, 403], [403, 403, 403]),
        (Method::GET, "/shut/..%2fx", inside, [403, 403, 403], [403, 403, 403]),
        (Method::POST, "/hook", inside, [200, 200, 200], [401, 200, 200]),
        (Method::GET, "/hook", inside, [302, 200, 200], [401, 200, 200]),
        (Method::GET, "/office", inside, [200, 200, 200], [200, 200, 200]),
        (Method::GET, "/office", "198.51.100.7", [302, 200, 200], [401, 200, 200]),
        (Method::GET, "/office", "192.0.2.7, 198.51.100.7", [302, 200, 200], [401, 200, 200]),
        (Method::GET, "/office", "unknown", [302, 200, 200], [401, 200, 200]),
        (Method::GET, "/office/..%2fadmin", inside, [302, 200, 403], [401, 200, 403]),
        (Method::GET, "/admin", inside, [302, 200, 403], [401, 200, 403]),
        (Method::GET, "/friends", inside, [302, 403, 200], [401, 403, 200]),
        (Method::GET, "/night/shift", inside, [302, 403, 200], [401, 403, 200]),
        (Method::GET, "/night", inside, [302, 200, 200], [401, 200, 200]),
        (Method::GET, "/gold", inside, [302, 302, 302], [401, 401, 401]),
    ] {
        for dialect in DIALECTS {
            let expected = if dialect == "nginx" { nginx } else { told };
            for (who, expected) in [&anonymous, &alice, &bob].into_iter().zip(expected) {
                let reply = ask(&stage, dialect, &mut who.clone(), method.clone(), path, client).await;
                assert_eq!(reply.status, expected, "{dialect} {method} {path} {client}");
            }
        }
    }
    // Who has a session is known on what is public, too.
    let reply = ask(&stage, "traefik", &mut alice, Method::POST, "/hook", inside).await;
    assert_eq!(reply.header("x-authentik-username"), "alice");
}

#[tokio::test]
async fn users_are_told_who_they_are_and_can_change() {
    let stage = stage().await;
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, HOME, "bob").await.is(200);
    let page = ask(&stage, "traefik", &mut browser, Method::GET, "/admin?x=1", "192.0.2.7").await;
    page.is(403)
        .contains("bob")
        .contains("The App")
        .contains("admins")
        .contains("Sign in as someone else")
        .contains("Request");
    let link = page.body.split("href=\"").find(|it| it.contains("prompt")).unwrap().split('"').next().unwrap();
    let link = link.replace("&#38;", "&").replace("&amp;", "&");
    let start = browser.get(&link).await;
    assert_eq!(start.parameter("prompt").as_deref(), Some("login"));
    stage.complete(&mut browser, start, "alice").await.is(200);
    let reply = ask(&stage, "traefik", &mut browser, Method::GET, "/admin", "192.0.2.7").await;
    assert_eq!(reply.is(200).header("x-authentik-username"), "alice");
}

#[tokio::test]
async fn a_better_login_is_asked_for_and_checked() {
    let stage = stage().await;
    let gold = "https://app.example.com/gold?x=1";
    for dialect in DIALECTS {
        let mut browser = stage.browser();
        stage.sign_in(&mut browser, HOME, "alice").await.is(200);
        let mut reply = stage.check(dialect, &mut browser, gold).await;
        if dialect == "nginx" {
            reply = browser.get(reply.is(401).location().as_str()).await;
        }
        let asked = (reply.parameter("acr_values"), reply.parameter("max_age"));
        assert_eq!(asked, (Some("gold".to_owned()), Some("3600".to_owned())), "{dialect}");
        let back = stage.come_back(&mut browser, reply, "alice").await;
        assert_eq!(back.is(302).header("location"), gold, "{dialect}");
        stage.check(dialect, &mut browser, gold).await.is(200);
        stage.check(dialect, &mut browser, HOME).await.is(200);
    }
}

#[tokio::test]
async fn the_first_login_is_the_better_one() {
    let stage = stage().await;
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, "https://app.example.com/gold", "alice").await.is(200);
}

#[tokio::test]
async fn a_provider_that_does_no_better_is_asked_once() {
    let stage = stage().await;
    stage.provider.set(|behaviour| {
        behaviour.id_token.remove("acr");
    });
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, HOME, "alice").await.is(200);
    for _ in 0..2 {
        let page = ask(&stage, "traefik", &mut browser, Method::GET, "/gold", "192.0.2.7").await;
        if page.status == 302 {
            let back = stage.come_back(&mut browser, page, "alice").await;
            back.is(302);
        }
        let page = ask(&stage, "traefik", &mut browser, Method::GET, "/gold", "192.0.2.7").await;
        page.is(403).contains("stronger or newer login").contains("Sign in again").contains("acr_values");
    }
    stage.check("nginx", &mut browser, "https://app.example.com/gold").await.is(403);
    stage.check("traefik", &mut browser, HOME).await.is(200);
    // Once the provider can, signing in again is enough.
    stage.provider.set(|behaviour| {
        behaviour.id_token.set("acr", "gold");
    });
    let page = ask(&stage, "traefik", &mut browser, Method::GET, "/gold", "192.0.2.7").await;
    let link = page.body.split("href=\"").find(|it| it.contains("prompt")).unwrap().split('"').next().unwrap();
    let start = browser.get(&link.replace("&#38;", "&").replace("&amp;", "&")).await;
    stage.complete(&mut browser, start, "alice").await.is(200);
}

#[tokio::test]
async fn strangers_links_ask_for_nothing_odd() {
    let stage = stage().await;
    let start = "https://app.example.com/outpost.goauthentik.io/start?rd=/&acr_values=odd%20gold&max_age=1";
    let reply = stage.browser().get(start).await;
    assert_eq!((reply.parameter("acr_values").as_deref(), reply.parameter("max_age")), (Some("gold"), None));
}

const MAIL: &str = r#"
[[application]]
external_host = "https://app.example.com"

[[application.rule]]
paths = ["/expression"]
when = "identity != null && identity.email.endsWith('@x.example.com')"
require = {}
[[application.rule]]
paths = ["/guarded"]
when = "identity != null && identity.email != null && identity.email.endsWith('@x.example.com')"
require = {}
[[application.rule]]
paths = ["/expression", "/guarded"]
deny = true

[[application.rule]]
paths = ["/banned"]
when = "identity != null && identity.email == 'banned@x.example.com'"
deny = true

[[application.rule]]
paths = ["/below"]
require = { email_domains = ["*.example.com"] }
"#;

/// Statuses of `/expression`, `/guarded`, `/banned` and `/below` for users with odd addresses.
#[tokio::test]
async fn addresses_count_in_expressions_as_in_keys() {
    for (email, verified, expected) in [
        ("a@x.example.com", true, [200, 200, 200, 200]),
        ("a@X.EXAMPLE.com", true, [200, 200, 200, 200]),
        ("banned@x.Example.com", true, [200, 200, 403, 200]),
        ("a@example.com", true, [403, 403, 200, 403]),
        ("a@evilexample.com", true, [403, 403, 200, 403]),
        ("a@y.x.example.com", true, [403, 403, 200, 200]),
        ("a@x.example.com", false, [403, 403, 200, 403]),
        ("banned@x.example.com", false, [403, 403, 403, 403]),
        ("a@evil.com@x.example.com", true, [403, 403, 200, 403]),
        ("a@evil.com\u{ff20}x.example.com", true, [403, 403, 200, 403]),
        ("", true, [403, 403, 200, 403]),
    ] {
        let stage = Stage::with("", MAIL).await;
        stage.provider.set(|behaviour| {
            behaviour.id_token.set("email", email);
            behaviour.id_token.set("email_verified", verified);
        });
        let mut browser = stage.browser();
        stage.sign_in(&mut browser, HOME, "alice").await.is(200);
        let paths = ["/expression", "/guarded", "/banned", "/below"];
        for (path, expected) in paths.into_iter().zip(expected) {
            let reply = ask(&stage, "traefik", &mut browser, Method::GET, path, "192.0.2.7").await;
            assert_eq!(reply.status, expected, "{path} {email:?} {verified}");
        }
    }
}

/// The examples of the document about who gets in, as they stand there.
fn examples() -> Vec<String> {
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ACCESS.md")).unwrap();
    let blocks = document.split("\n```toml\n").skip(1);
    blocks.map(|block| block.split_once("\n```").unwrap().0.to_owned()).collect()
}

#[tokio::test]
async fn the_example_does_what_it_says() {
    let example = examples().remove(0).replace("10.0.0.2", "127.0.0.1").replace("bob@example.com", "bob@example.test");
    let (head, rules) = example.split_once("# What no key says").unwrap();
    let (office_hours, rules) = rules.split_once("# Closed to all users.").unwrap();
    let stage = Stage::with("", &format!("{head}#{rules}")).await;
    let (mut alice, mut bob, mut anonymous) = (stage.browser(), stage.browser(), stage.browser());
    stage.sign_in(&mut alice, HOME, "alice").await.is(200);
    stage.sign_in(&mut bob, HOME, "bob").await;
    for (path, client, of_anonymous, of_alice, of_bob) in [
        ("/robots.txt", "198.51.100.1", 200, 200, 200),
        ("/internal/x", "198.51.100.1", 403, 403, 403),
        ("/hooks/build", "192.0.2.7", 200, 200, 200),
        ("/hooks/build", "192.0.2.8", 302, 200, 200),
        ("/admin", "198.51.100.1", 302, 302, 403),
        ("/shared", "198.51.100.1", 302, 403, 200),
    ] {
        for (browser, expected) in [(&mut anonymous, of_anonymous), (&mut alice, of_alice), (&mut bob, of_bob)] {
            let reply = ask(&stage, "traefik", browser, Method::GET, path, client).await;
            assert_eq!(reply.status, expected, "{path} {client}");
        }
    }
    let night = office_hours.replace("now.getHours() < 6", "now.getHours() >= 0");
    let night = format!("[[application]]\nexternal_host = \"https://app.example.com\"\n#{night}");
    let stage = Stage::with("", &night).await;
    let mut alice = stage.browser();
    stage.sign_in(&mut alice, HOME, "alice").await.is(403);
}

#[tokio::test]
async fn both_orders_of_the_document_can_be_written() {
    // The provider knows this address.
    let example = examples()[1].replace("https://www.example.com", "https://admin.example.com/sub");
    let stage = Stage::with("", &example).await;
    let (mut alice, mut bob, anonymous) = (stage.browser(), stage.browser(), stage.browser());
    for host in ["app", "admin"] {
        let home = format!("https://{host}.example.com/admin");
        stage.sign_in(&mut alice, &home, "alice").await.is(200);
        stage.sign_in(&mut bob, &home, "bob").await;
    }
    for (url, of_anonymous, of_alice, of_bob) in [
        ("https://app.example.com/", 302, 200, 200),
        ("https://app.example.com/admin", 302, 200, 200),
        ("https://app.example.com/static/x", 200, 200, 200),
        ("https://app.example.com/static/%0a", 302, 200, 200),
        ("https://admin.example.com/", 200, 200, 200),
        ("https://admin.example.com/admin", 302, 200, 403),
        ("https://admin.example.com//y/admin", 302, 200, 403),
        ("https://admin.example.com/admin%0a", 302, 200, 403),
        ("https://admin.example.com/page%0a", 302, 200, 403),
    ] {
        for (who, expected) in [(&anonymous, of_anonymous), (&alice, of_alice), (&bob, of_bob)] {
            let reply = stage.check("traefik", &mut who.clone(), url).await;
            assert_eq!(reply.status, expected, "{url}");
        }
    }
}

#[tokio::test]
async fn bindings_of_authentik_can_be_said() {
    let stage = Stage::with("", &examples()[3]).await;
    let any = HOME;
    let all = "https://admin.example.com/sub/";
    for (user, of_any, of_all) in [("alice", 200, 200), ("bob", 200, 403)] {
        let mut browser = stage.browser();
        assert_eq!(stage.sign_in(&mut browser, any, user).await.status, of_any, "{user}");
        assert_eq!(stage.sign_in(&mut browser, all, user).await.status, of_all, "{user}");
    }
}
