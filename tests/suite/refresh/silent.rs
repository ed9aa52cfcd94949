//! Sessions without a refresh token: the browser goes to the provider and back, and nobody sees it.

use http::Method;
use tokio::task::JoinSet;

use super::scene::{AFTER, APP, SCRIPT, SECOND, Scene, WITHIN};
use crate::provider::{Behaviour, Endpoint};
use crate::support::{Browser, Reply};

const FRAME: [(&str, &str); 2] = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
const AHEAD: [(&str, &str); 3] =
    [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("sec-purpose", "prefetch")];

async fn scene() -> Scene {
    let prepare = |behaviour: &mut Behaviour| behaviour.refreshing.unannounced = true;
    Scene::with(prepare, |settings| settings.session.revalidation.silent_login = true).await
}

fn cookie(browser: &Browser) -> String {
    let url = APP.parse().unwrap();
    assert_eq!(browser.cookie_names(&url).len(), 1, "only the session");
    browser.cookie(&url, "").unwrap()
}

/// The redirect of a silent login.
#[track_caller]
fn is_silent(scene: &Scene, reply: &Reply) {
    assert!(reply.is(302).location().as_str().starts_with(scene.provider().issuer()), "{reply:#?}");
    assert_eq!(reply.parameter("prompt").as_deref(), Some("none"));
}

/// To the provider and back to us, without a page.
async fn callback(browser: &mut Browser, reply: &Reply) -> Reply {
    let back = browser.get(reply.location().as_str()).await;
    browser.get(back.location().as_str()).await
}

#[tokio::test]
async fn a_page_is_confirmed_on_the_way_and_nobody_sees_it() {
    let scene = scene().await;
    let mut browser = scene.sign_in().await;
    let mut before = browser.clone();
    scene.rename("Alice Neu", &["staff"]);
    scene.pass(AFTER - SECOND);
    scene.check(&mut browser).await.is(200);
    scene.pass(SECOND);
    for headers in [&SCRIPT[..], &FRAME, &AHEAD] {
        scene.stage.ask("traefik", &mut browser, Method::GET, APP, headers).await.is(200);
    }
    scene.stage.ask("traefik", &mut browser, Method::POST, APP, &[]).await.is(200);
    let leaving = scene.check(&mut browser).await;
    is_silent(&scene, &leaving);
    let back = callback(&mut browser, &leaving).await;
    assert_eq!(back.is(302).header("location"), APP);
    assert_ne!(cookie(&browser), cookie(&before));
    assert_eq!(scene.check(&mut browser).await.is(200).header("x-authentik-name"), "Alice Neu");
    scene.check(&mut before).await.is(302);
    for _ in 0..5 {
        scene.pass(AFTER);
        let leaving = scene.check(&mut browser).await;
        is_silent(&scene, &leaving);
        callback(&mut browser, &leaving).await.is(302);
        scene.check(&mut browser).await.is(200);
    }
}

#[tokio::test]
async fn nginx_goes_by_way_of_our_own_address() {
    let scene = scene().await;
    let mut browser = scene.sign_in().await;
    scene.pass(AFTER);
    let asked = scene.stage.check("nginx", &mut browser, APP).await;
    assert_eq!(asked.is(401).header("x-forepost-action"), "redirect");
    let start = asked.location();
    assert!(start.as_str().starts_with("https://app.example.com/outpost.goauthentik.io/start?"), "{start}");
    scene.stage.check("nginx", &mut browser, APP).await.is(200);
    let leaving = browser.get(start.as_str()).await;
    is_silent(&scene, &leaving);
    assert_eq!(callback(&mut browser, &leaving).await.is(302).header("location"), APP);
    scene.stage.check("nginx", &mut browser, APP).await.is(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_tabs_one_is_sent() {
    let scene = scene().await;
    let browser = scene.sign_in().await;
    scene.pass(AFTER);
    let tabs: JoinSet<(Browser, Reply)> = (0..20)
        .map(|_| {
            let (stage, mut browser) = (scene.stage.clone(), browser.clone());
            async move {
                let reply = stage.check("traefik", &mut browser, APP).await;
                (browser, reply)
            }
        })
        .collect();
    let mut tabs = tabs.join_all().await;
    tabs.sort_by_key(|(_, reply)| reply.status);
    let statuses: Vec<_> = tabs.iter().map(|(_, reply)| reply.status.as_u16()).collect();
    assert_eq!(statuses, [vec![200; 19], vec![302]].concat());
    let (mut browser, leaving) = tabs.pop().unwrap();
    is_silent(&scene, &leaving);
    callback(&mut browser, &leaving).await.is(302);
    scene.check(&mut browser).await.is(200);
}

#[tokio::test]
async fn who_is_signed_in_nowhere_is_asked_and_the_session_ends() {
    let scene = scene().await;
    let mut browser = scene.sign_in().await;
    let mut before = browser.clone();
    scene.provider().end_sessions();
    scene.pass(AFTER);
    let leaving = scene.check(&mut browser).await;
    is_silent(&scene, &leaving);
    let again = callback(&mut browser, &leaving).await;
    assert!(again.is(302).location().as_str().starts_with(scene.provider().issuer()));
    assert_eq!(again.parameter("prompt"), None);
    for browser in [&mut before, &mut browser.clone()] {
        scene.script(browser).await.is(401);
    }
    let entered = scene.stage.complete(&mut browser, again, "bob").await;
    assert_eq!(entered.is(200).header("x-authentik-username"), "bob");
    cookie(&browser);
}

#[tokio::test]
async fn a_provider_with_a_problem_ends_nothing_and_nothing_goes_round() {
    for error in ["server_error", "temporarily_unavailable", "access_denied", "invalid_scope"] {
        let scene = scene().await;
        let mut browser = scene.sign_in().await;
        let kept = cookie(&browser);
        scene.provider().set(|behaviour| behaviour.refuse = Some(error));
        let mut sent = 0;
        for _ in 0..11 {
            scene.pass(AFTER);
            let leaving = scene.check(&mut browser).await;
            is_silent(&scene, &leaving);
            sent += 1;
            assert_eq!(callback(&mut browser, &leaving).await.is(302).header("location"), APP);
            for _ in 0..3 {
                scene.check(&mut browser).await.is(200);
            }
        }
        assert_eq!((cookie(&browser), scene.provider().requests(Endpoint::Authorize)), (kept, 1 + sent));
        scene.pass(AFTER);
        let login = scene.check(&mut browser).await;
        assert_eq!(login.is(302).parameter("prompt"), None);
    }
}

#[tokio::test]
async fn scripts_are_never_sent_and_go_on_until_it_must_be_confirmed() {
    let scene = scene().await;
    let mut browser = scene.sign_in().await;
    let mut passed = AFTER;
    scene.pass(AFTER);
    while passed < WITHIN {
        scene.script(&mut browser).await.is(200);
        scene.pass(AFTER);
        passed += AFTER;
    }
    assert_eq!(scene.script(&mut browser).await.is(401).header("set-cookie"), "");
    let entered = scene.stage.sign_in(&mut browser, APP, "alice").await;
    entered.is(200);
    assert_eq!(scene.provider().requests(Endpoint::Login), 1, "the provider knows her");
}

/// A link can begin a silent login; it ends no session that is confirmed by a refresh token.
#[tokio::test]
async fn a_link_to_a_silent_login_ends_no_session() {
    let scene = Scene::new().await;
    let mut browser = scene.sign_in().await;
    scene.provider().end_sessions();
    let start = "https://app.example.com/outpost.goauthentik.io/start?rd=/page&silent=true";
    let leaving = browser.get(start).await;
    is_silent(&scene, &leaving);
    assert_eq!(callback(&mut browser, &leaving).await.is(302).header("location"), APP);
    scene.check(&mut browser).await.is(200);
}
