//! A provider that is away, or gives no answer that counts.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use forepost::app::{AcceptedTokens, Basic, Bearer};
use forepost::settings::Settings;
use forepost::world::World;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use super::scene::{AFTER, APP, RETRY, SCRIPT, SECOND, Scene, WITHIN, sent_token};
use crate::provider::Fault;
use crate::support::Browser;

fn page(status: StatusCode) -> Fault {
    let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static("text/html"))]);
    Fault { status: Some(status), body: Some("<html>A page</html>".into()), headers, ..Fault::default() }
}

/// Requests go on until the session has to be confirmed; then it is not known whether there is one, and it is kept.
async fn lasts_until_confirmed(scene: &Scene, browser: &mut Browser) {
    scene.pass(AFTER);
    let mut passed = AFTER;
    while passed < WITHIN {
        scene.check(browser).await.is(200);
        scene.script(browser).await.is(200);
        scene.pass(RETRY.min(WITHIN - passed));
        passed += RETRY;
    }
    let cookies = browser.cookie_names(&APP.parse().unwrap());
    for (dialect, status) in [("traefik", 503), ("caddy", 503), ("nginx", 503), ("envoy", 403)] {
        for headers in [&SCRIPT[..], &[]] {
            let reply = scene.stage.ask(dialect, browser, Method::GET, APP, headers).await;
            assert_eq!(reply.is(status).header("retry-after"), "5", "{dialect}");
            assert_eq!(reply.header("set-cookie"), "", "{dialect}");
        }
    }
    // A request that needs no session does not wait for one.
    let public = scene.stage.check("traefik", browser, "https://app.example.com/public/").await;
    assert_eq!(public.is(200).header("x-authentik-username"), "");
    assert_eq!(browser.cookie_names(&APP.parse().unwrap()), cookies);
}

async fn comes_back(scene: &Scene, browser: &mut Browser) {
    scene.pass(SECOND);
    scene.rename("Alice Neu", &["staff"]);
    assert_eq!(scene.check(browser).await.is(200).header("x-authentik-name"), "Alice Neu");
    let public = scene.stage.check("traefik", browser, "https://app.example.com/public/").await;
    assert_eq!(public.is(200).header("x-authentik-username"), "alice");
}

#[tokio::test]
async fn errors_end_nothing() {
    let codes = [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS];
    let later = [StatusCode::REQUEST_TIMEOUT, StatusCode::BAD_GATEWAY, StatusCode::FOUND].map(page);
    for fault in codes.map(Fault::status).into_iter().chain(later) {
        let scene = Scene::new().await;
        let mut browser = scene.sign_in().await;
        scene.set_fault(Some(fault));
        lasts_until_confirmed(&scene, &mut browser).await;
        let asked = scene.asked();
        assert!((3..=(WITHIN - AFTER) / RETRY + 3).contains(&asked), "{asked}");
        scene.check(&mut browser).await.is(503);
        assert_eq!(scene.asked(), asked, "once a second");
        scene.set_fault(None);
        comes_back(&scene, &mut browser).await;
    }
}

/// So do errors that mean the same, whatever their status.
#[tokio::test]
async fn errors_of_an_ill_provider_end_nothing() {
    for code in ["server_error", "temporarily_unavailable", "slow_down"] {
        let scene = Scene::new().await;
        let mut browser = scene.sign_in().await;
        scene.provider().set(|behaviour| behaviour.refreshing.refuse = Some(code));
        lasts_until_confirmed(&scene, &mut browser).await;
        scene.provider().set(|behaviour| behaviour.refreshing.refuse = None);
        comes_back(&scene, &mut browser).await;
    }
}

/// What people see while their session has to be confirmed: what is the matter, and a way out.
#[tokio::test]
async fn the_page_of_an_unconfirmed_session_has_a_way_out() {
    let scene = Scene::new().await;
    let mut browser = scene.sign_in().await;
    scene.provider().set(|behaviour| behaviour.refreshing.refuse = Some("server_error"));
    scene.pass(WITHIN);
    let page = scene.check(&mut browser).await;
    page.is(503).contains("Your sign-in cannot be confirmed right now").contains("Try again");
    assert!(!page.body.contains("not affected"), "{page:#?}");
    let way = page.body.split("href=\"").map(|rest| rest.split('"').next().unwrap()).find(|it| it.contains("/start?"));
    let login = browser.get(way.unwrap()).await;
    scene.stage.complete(&mut browser, login, "alice").await.is(200);
    assert_eq!(scene.script(&mut browser).await.is(200).header("x-authentik-username"), "alice");
}

/// As without a session; what is not a good credential of ours may be the application's own, and the session's turn.
#[tokio::test]
async fn a_good_credential_counts_beside_a_session_that_waits() {
    let tokens = |settings: &mut Settings| {
        settings.applications[0].tokens = Some(AcceptedTokens {
            bearer: Bearer::Jwt,
            basic: Basic::Off,
            audiences: vec![],
            accept_clients: vec![],
            scopes: vec![],
            allow_unnamed: false,
            prefer_session: true,
            issuers: vec![],
        });
    };
    let scene = Scene::with(|_| (), tokens).await;
    let mut browser = scene.sign_in().await;
    scene.set_fault(Some(Fault::status(StatusCode::SERVICE_UNAVAILABLE)));
    let later = World::system().now().as_secs() + WITHIN;
    let claims = json!({
        "iss": scene.provider().issuer(), "aud": "proxy", "sub": "carol-sub", "preferred_username": "carol",
        "iat": later - 60, "exp": later + 600, "scope": "read",
    });
    let good = format!("Bearer {}", scene.provider().sign("proxy", claims.as_object().unwrap()).unwrap());
    scene.pass(WITHIN);
    for (dialect, waits) in [("traefik", 503), ("caddy", 503), ("nginx", 503), ("envoy", 403)] {
        for (authorization, expected) in [(&*good, 200), (&good[..good.len() - 8], waits), ("Bearer own", waits)] {
            let headers = [("authorization", authorization)];
            let reply = scene.stage.ask(dialect, &mut browser, Method::GET, APP, &headers).await;
            let user = if expected == 200 { "carol" } else { "" };
            assert_eq!(reply.is(expected).header("x-authentik-username"), user, "{dialect} {authorization}");
            // A request that needs no session does not wait for one.
            let public = "https://app.example.com/public/";
            scene.stage.ask(dialect, &mut browser, Method::GET, public, &headers).await.is(200);
        }
    }
    // Once it is confirmed, the session counts first.
    scene.set_fault(None);
    scene.pass(SECOND);
    let reply = scene.stage.ask("traefik", &mut browser, Method::GET, APP, &[("authorization", &*good)]).await;
    assert_eq!(reply.is(200).header("x-authentik-username"), "alice");
}

/// The way to an endpoint, which can be broken and mended.
struct Way {
    address: SocketAddr,
    leads_to: Arc<OnceLock<SocketAddr>>,
    open: Option<JoinHandle<()>>,
}

impl Way {
    async fn new() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut way = Self { address, leads_to: Arc::default(), open: None };
        way.mend().await;
        way
    }

    async fn mend(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let leads_to = Arc::clone(&self.leads_to);
        self.open = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let leads_to = *leads_to.get().unwrap();
                connections.spawn(async move {
                    let mut far = TcpStream::connect(leads_to).await.unwrap();
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                });
            }
        }));
    }

    /// From now on no process listens there.
    async fn break_off(&mut self) {
        let open = self.open.take().unwrap();
        open.abort();
        assert!(open.await.unwrap_err().is_cancelled());
    }
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_ends_nothing() {
    let mut way = Way::new().await;
    let address = way.address;
    let prepare = move |behaviour: &mut crate::provider::Behaviour| {
        behaviour.metadata.set("token_endpoint", format!("http://{address}/token"));
    };
    let scene = Scene::with(prepare, |_| ()).await;
    way.leads_to.set(scene.provider().address()).unwrap();
    let mut browser = scene.sign_in().await;
    way.break_off().await;
    lasts_until_confirmed(&scene, &mut browser).await;
    assert_eq!(scene.asked(), 1);
    way.mend().await;
    comes_back(&scene, &mut browser).await;
}

fn cut() -> Fault {
    Fault { hang_up: true, ..Fault::default() }
}

fn silent() -> Fault {
    Fault { hold: Some(Arc::new(Semaphore::new(0))), ..Fault::default() }
}

/// The request arrived, and the answer did not: the token may be spent, and is not sent again.
#[tokio::test]
async fn a_token_that_may_be_spent_is_not_sent_again() {
    for fault in [cut(), silent(), page(StatusCode::OK), Fault::status(StatusCode::GATEWAY_TIMEOUT)] {
        let scene = Scene::with(|_| (), short_patience).await;
        let mut browser = scene.sign_in().await;
        scene.set_fault(Some(fault));
        scene.pass(AFTER);
        scene.check(&mut browser).await.is(200);
        scene.until_asked(2).await;
        scene.set_fault(None);
        let mut passed = AFTER;
        while passed < WITHIN {
            scene.check(&mut browser).await.is(200);
            scene.pass(RETRY.min(WITHIN - passed));
            passed += RETRY;
        }
        let (mut tab, mut other) = (browser.clone(), browser.clone());
        scene.check(&mut tab).await.is(302);
        scene.script(&mut other).await.is(401);
        assert_eq!(scene.asked(), 2);
        scene.stage.sign_in(&mut browser, APP, "alice").await.is(200);
    }
}

/// The same while a request waits.
#[tokio::test]
async fn a_token_that_may_be_spent_ends_a_session_that_has_to_be_confirmed() {
    for fault in [cut(), silent()] {
        let scene = Scene::with(|_| (), short_patience).await;
        let mut browser = scene.sign_in().await;
        scene.set_fault(Some(fault));
        scene.pass(WITHIN);
        scene.script(&mut browser).await.is(401);
        scene.set_fault(None);
        scene.check(&mut browser).await.is(302);
        assert_eq!(scene.asked(), 2);
    }
}

#[tokio::test]
async fn a_token_that_stays_good_is_sent_again() {
    for fault in [cut(), silent()] {
        let scene = Scene::with(|behaviour| behaviour.refreshing.keep_token = true, short_patience).await;
        let mut browser = scene.sign_in().await;
        scene.rename("Alice Neu", &["staff"]);
        scene.pass(AFTER);
        scene.until_named(&mut browser, "Alice Neu").await;
        let token = sent_token(scene.provider());
        scene.set_fault(Some(fault));
        scene.pass(AFTER);
        scene.check(&mut browser).await.is(200);
        scene.until_asked(3).await;
        scene.set_fault(None);
        scene.pass(WITHIN - AFTER);
        scene.rename("Alice Alt", &["staff"]);
        scene
            .until(&mut browser, |reply| {
                scene.pass(SECOND);
                assert!([200, 503].contains(&reply.status.as_u16()), "{reply:#?}");
                reply.header("x-authentik-name") == "Alice Alt"
            })
            .await;
        assert_eq!(sent_token(scene.provider()), token);
    }
}

/// Some providers leave a token as it is, and give a new one when it grows old.
#[tokio::test]
async fn a_token_of_a_provider_that_rotated_once_is_not_sent_again() {
    let scene = Scene::with(|_| (), short_patience).await;
    let mut browser = scene.sign_in().await;
    for (keeps, name) in [(false, "Alice Neu"), (true, "Alice Alt")] {
        scene.provider().set(|behaviour| behaviour.refreshing.keep_token = keeps);
        scene.rename(name, &["staff"]);
        scene.pass(AFTER);
        scene.until_named(&mut browser, name).await;
    }
    scene.set_fault(Some(cut()));
    scene.pass(WITHIN);
    scene.script(&mut browser).await.is(401);
    scene.set_fault(None);
    scene.check(&mut browser).await.is(302);
    assert_eq!(scene.asked(), 4);
}

fn short_patience(settings: &mut forepost::settings::Settings) {
    for provider in settings.identity_providers.values_mut() {
        provider.timeout = Duration::from_secs(1);
    }
}

/// An error that comes at once may concern one user alone.
#[tokio::test]
async fn an_error_of_one_session_keeps_no_other_from_being_refreshed() {
    let scene = Scene::new().await;
    let (mut one, mut other) = (scene.sign_in().await, scene.sign_in().await);
    scene.set_fault(Some(Fault::status(StatusCode::INTERNAL_SERVER_ERROR)));
    scene.pass(WITHIN);
    scene.check(&mut one).await.is(503);
    scene.set_fault(None);
    scene.check(&mut other).await.is(200);
    scene.check(&mut one).await.is(503);
    scene.pass(SECOND);
    scene.check(&mut one).await.is(200);
}

/// Waiting is what costs: who waited in vain waits for all, for a while.
#[tokio::test]
async fn a_provider_that_made_one_wait_is_left_alone() {
    let scene = Scene::with(|_| (), short_patience).await;
    let (mut one, mut other) = (scene.sign_in().await, scene.sign_in().await);
    scene.set_fault(Some(silent()));
    scene.pass(WITHIN);
    scene.check(&mut one).await.is(302);
    scene.set_fault(None);
    scene.check(&mut other).await.is(503);
    assert_eq!(scene.asked(), 3);
    scene.pass(5 * SECOND);
    scene.check(&mut other).await.is(200);
}

/// One of two cookies is enough, whichever it is.
#[tokio::test]
async fn a_session_that_counts_is_found_behind_one_that_does_not() {
    let scene = Scene::new().await;
    let first = scene.sign_in().await;
    scene.pass(WITHIN - AFTER);
    let second = scene.sign_in().await;
    scene.pass(AFTER);
    scene.provider().set(|behaviour| behaviour.down = true);
    let url = APP.parse().unwrap();
    let name = first.cookie_names(&url).remove(0);
    let cookie = |browser: &Browser| format!("{name}={}", browser.cookie(&url, "").unwrap());
    let (first, second) = (cookie(&first), cookie(&second));
    for (cookies, status) in [
        (format!("{first}; {second}"), 200),
        (format!("{second}; {first}"), 200),
        (format!("{first}; {first}"), 503),
        (second, 200),
    ] {
        let headers = [("cookie", &*cookies)];
        scene.stage.ask("traefik", &mut scene.stage.browser(), Method::GET, APP, &headers).await.is(status);
    }
}
