//! A provider that answers and does not vouch: the session is kept for a while, and then only another login helps.

use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::scene::{AFTER, APP, RETRY, SCRIPT, SECOND, Scene, WITHIN};
use crate::provider::{Behaviour, Endpoint, Fault, SigningKey};
use crate::support::{Browser, Reply};

/// The token endpoint answers this.
fn answers(status: u16, kind: &'static str, body: &'static str) -> impl Fn(&mut Behaviour) {
    let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
    let status = StatusCode::from_u16(status).ok();
    let fault = Fault { status, body: Some(body.into()), headers, ..Fault::default() };
    move |behaviour| drop(behaviour.faults.insert(Endpoint::Token, fault.clone()))
}

fn says(status: u16, body: &'static str) -> impl Fn(&mut Behaviour) {
    answers(status, "application/json", body)
}

fn page(status: u16) -> impl Fn(&mut Behaviour) {
    answers(status, "text/html", "<html>A page of whatever stands in front of the provider</html>")
}

/// Neither let in nor told that the provider is away: a login where one can begin, else 401.
async fn is_a_login(scene: &Scene, browser: &mut Browser, what: &str) {
    for dialect in ["traefik", "caddy", "envoy", "nginx"] {
        let script = scene.stage.ask(dialect, browser, Method::GET, APP, &SCRIPT).await;
        assert_eq!((script.status.as_u16(), script.header("set-cookie")), (401, String::new()), "{what} {dialect}");
        let mut tab = browser.clone();
        let reply = scene.stage.check(dialect, &mut tab, APP).await;
        if dialect == "nginx" {
            assert_eq!(reply.is(401).header("x-forepost-action"), "redirect", "{what}");
        } else {
            assert!(reply.is(302).location().as_str().starts_with(scene.provider().issuer()), "{what} {dialect}");
            assert_eq!(reply.parameter("prompt"), None);
        }
        assert_eq!(
            tab.cookie(&APP.parse().unwrap(), "authentik_proxy"),
            browser.cookie(&APP.parse().unwrap(), "authentik_proxy")
        );
    }
    let public = scene.stage.check("traefik", browser, "https://app.example.com/public/").await;
    assert_eq!(public.is(200).header("x-authentik-username"), "");
}

async fn check(what: &str, fault: impl Fn(&mut Behaviour)) {
    // Asked beside the requests, and again and again.
    let scene = Scene::new().await;
    let mut browser = scene.sign_in().await;
    scene.provider().set(&fault);
    scene.pass(AFTER);
    let mut passed = AFTER;
    while passed < WITHIN {
        scene.check(&mut browser).await.is(200);
        scene.script(&mut browser).await.is(200);
        scene.pass(RETRY.min(WITHIN - passed));
        passed += RETRY;
    }
    is_a_login(&scene, &mut browser, what).await;
    let mut other = browser.clone();
    let begun = scene.check(&mut other).await;
    // What was a mistake of a minute is none afterwards.
    scene.provider().set(|behaviour| *behaviour = Behaviour::default());
    scene.pass(SECOND);
    scene.check(&mut browser).await.is(200);
    scene.script(&mut browser).await.is(200);
    scene.stage.complete(&mut other, begun, "alice").await.is(200);

    // Asked for the first time while a request waits.
    let scene = Scene::new().await;
    let mut browser = scene.sign_in().await;
    scene.provider().set(&fault);
    scene.pass(WITHIN);
    is_a_login(&scene, &mut browser, what).await;
    assert_eq!(scene.asked(), 2, "{what}: once a second");
    scene.provider().set(|behaviour| *behaviour = Behaviour::default());
    let entered = scene.stage.sign_in(&mut browser, APP, "alice").await;
    entered.is(200);
    scene.script(&mut browser).await.is(200);
}

#[tokio::test]
async fn what_refuses_without_a_word_about_the_grant_ends_in_a_login() {
    check("a scope", says(400, r#"{"error":"invalid_scope"}"#)).await;
    check("a grant type", says(400, r#"{"error":"unauthorized_client"}"#)).await;
    check("a framework's error", says(400, r#"{"status":400,"error":"Bad Request","path":"/token"}"#)).await;
    check("JSON of a gateway", says(403, r#"{"message":"Forbidden"}"#)).await;
    check("a page", page(400)).await;
    check("another page", page(404)).await;
}

/// Hydra, after its keys were rotated: the name of the old key, and the signature of the new one.
#[tokio::test]
async fn what_proves_nothing_ends_in_a_login() {
    check("a signature", |it| it.signing_key = SigningKey::StrayWithPublishedId).await;
    check("an issuer", |it| {
        it.refreshing.id_token.set("iss", "http://evil.test");
    })
    .await;
    check("userinfo", |it| {
        it.user_claims_only_in_userinfo = true;
        it.faults.insert(Endpoint::Userinfo, Fault::status(StatusCode::FORBIDDEN));
    })
    .await;
}

#[tokio::test]
async fn a_client_that_is_refused_ends_in_a_login() {
    check("an unknown client", says(401, r#"{"error":"invalid_client"}"#)).await;
    check("as Keycloak says it", says(401, r#"{"error":"unauthorized_client","error_description":"Invalid client"}"#))
        .await;
}

/// The token may be spent, so it is sent again only where the provider is known to leave it valid.
#[tokio::test]
async fn a_success_without_tokens_ends_in_a_login() {
    let json = "application/json";
    let answers_without_tokens =
        [(json, "{}"), (json, r#"{"token_type":"Bearer"}"#), ("text/html", "<html>All is well</html>")];
    for (kind, body) in answers_without_tokens {
        for keeps_token in [true, false] {
            let scene = Scene::with(|it| it.refreshing.keep_token = keeps_token, |_| ()).await;
            let mut browser = scene.sign_in().await;
            scene.rename("Alice Neu", &["staff"]);
            scene.pass(AFTER);
            scene.until_named(&mut browser, "Alice Neu").await;
            scene.provider().set(answers(200, kind, body));
            scene.pass(AFTER);
            scene.check(&mut browser).await.is(200);
            scene.until_asked(3).await;
            scene.pass(WITHIN - AFTER);
            is_a_login(&scene, &mut browser, body).await;
            scene.provider().set(|behaviour| behaviour.faults.clear());
            scene.pass(SECOND);
            let reply = scene.check(&mut browser).await;
            assert_eq!(reply.status, if keeps_token { 200 } else { 302 }, "{body}");
        }
    }
}

/// The provider that refused last was away when it was asked again: its answer is not known.
#[tokio::test]
async fn the_last_answer_counts() {
    let scene = Scene::new().await;
    let mut browser = scene.sign_in().await;
    scene.provider().set(says(400, r#"{"error":"invalid_scope"}"#));
    scene.pass(WITHIN);
    scene.check(&mut browser).await.is(302);
    scene.set_fault(Some(Fault::status(StatusCode::BAD_GATEWAY)));
    scene.pass(SECOND);
    scene.check(&mut browser).await.is(503);
    scene.check(&mut browser).await.is(503);
    scene.provider().set(says(400, r#"{"error":"invalid_scope"}"#));
    scene.pass(SECOND);
    scene.check(&mut browser).await.is(302);
}

/// A refused client: the page of a login says so, and readiness reports it.
#[tokio::test]
async fn a_refused_client_is_told_of() {
    let scene = Scene::new().await;
    let mut browser = scene.sign_in().await;
    let mut operator = Browser::new().route("*", scene.stage.daemon.metrics_address().unwrap());
    let mut ready = async |query: &str, status: u16, logins: bool| -> Reply {
        let reply = operator.get(&format!("http://x/ready{query}")).await;
        assert_eq!(reply.is(status).json()["logins"], logins);
        assert_eq!(reply.json()["identity_providers"]["idp"], logins);
        let metrics = operator.get("http://x/metrics").await;
        metrics.contains(&format!("forepost_provider_ready{{identity_provider=\"idp\"}} {}\n", u8::from(logins)));
        reply
    };
    ready("?logins", 200, true).await;
    // A refresh notices it, and a login heals it.
    scene.provider().set(says(401, r#"{"error":"invalid_client"}"#));
    scene.pass(WITHIN);
    let login = scene.check(&mut browser).await;
    ready("?logins", 503, false).await;
    ready("", 200, false).await;
    let failed = scene.stage.come_back(&mut browser, login, "alice").await;
    failed.is(502).contains("The identity provider refuses this application.").contains("client_secret");
    scene.set_fault(None);
    scene.stage.sign_in(&mut browser, APP, "alice").await.is(200);
    ready("?logins", 200, true).await;
    // A login notices it, and a refresh heals it; a user whose grant is gone says that the client is good.
    for healed in [None, Some(r#"{"error":"invalid_grant"}"#)] {
        scene.provider().set(says(401, r#"{"error":"unauthorized_client"}"#));
        let mut other = scene.stage.browser();
        let login = scene.check(&mut other).await;
        scene.stage.come_back(&mut other, login, "alice").await.is(502).contains("refuses this application");
        ready("?logins", 503, false).await;
        match healed {
            None => scene.set_fault(None),
            Some(body) => scene.provider().set(says(400, body)),
        }
        scene.pass(WITHIN);
        scene.check(&mut browser).await;
        ready("?logins", 200, true).await;
    }
}
