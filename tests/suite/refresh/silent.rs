//! Sessions without a refresh token: the browser goes to the provider and back, and the user sees nothing of it.

use forepost::settings::{Settings, Store};
use http::{Method, StatusCode};
use tokio::task::JoinSet;

use super::scene::{AFTER, APP, SCRIPT, SECOND, Scene, WITHIN, redis_settings};
use crate::provider::{Behaviour, Endpoint, Fault, SigningKey};
use crate::support::redis::Redis;
use crate::support::{Browser, Reply};

const FRAME: [(&str, &str); 2] = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
const AHEAD: [(&str, &str); 3] =
    [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("sec-purpose", "prefetch")];

pub(super) async fn scene() -> Scene {
    let prepare = |behaviour: &mut Behaviour| behaviour.refreshing.unannounced = true;
    Scene::with(prepare, |settings| settings.session.revalidation.silent_login = true).await
}

fn cookie(browser: &Browser) -> String {
    let url = APP.parse().unwrap();
    let names = browser.cookie_names(&url);
    let sessions = names.iter().filter(|name| !name.ends_with("_login_answered")).count();
    assert_eq!(sessions, 1, "only the session: {names:?}");
    browser.cookie(&url, "").unwrap()
}

/// The redirect of a silent login.
#[track_caller]
pub(super) fn is_silent(scene: &Scene, reply: &Reply) {
    assert!(reply.is(302).location().as_str().starts_with(scene.provider().issuer()), "{reply:#?}");
    assert_eq!(reply.parameter("prompt").as_deref(), Some("none"));
}

/// To the provider and back to us, without a page.
pub(super) async fn callback(browser: &mut Browser, reply: &Reply) -> Reply {
    let back = browser.get(reply.location().as_str()).await;
    browser.get(back.location().as_str()).await
}

#[tokio::test]
async fn a_page_is_confirmed_on_the_way_and_the_user_sees_nothing() {
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
    let leaving = browser.get(start.as_str()).await;
    is_silent(&scene, &leaving);
    assert_eq!(callback(&mut browser, &leaving).await.is(302).header("location"), APP);
    scene.stage.check("nginx", &mut browser, APP).await.is(200);
}

/// Those that come back after the first one find its session, and redeem no code.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_tabs_a_few_are_sent() {
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
    assert_eq!(statuses, [vec![200; 16], vec![302; 4]].concat());
    let mut browser = browser.clone();
    let sent = tabs.split_off(16);
    for (_, leaving) in &sent {
        browser.learn(leaving);
    }
    for (_, leaving) in &sent {
        is_silent(&scene, leaving);
        assert_eq!(callback(&mut browser, leaving).await.is(302).header("location"), APP);
        scene.check(&mut browser).await.is(200);
    }
    assert_eq!(scene.asked(), 2);
    cookie(&browser);
}

/// authentik denies on a page of its own, whatever `prompt` says.
fn deny_on_a_page(scene: &Scene) {
    let fault = Fault { body: Some("<html>Permission denied</html>".into()), ..Fault::default() };
    scene.provider().set(|behaviour| drop(behaviour.faults.insert(Endpoint::Authorize, fault)));
}

fn permit(scene: &Scene) {
    scene.provider().set(|behaviour| drop(behaviour.faults.remove(&Endpoint::Authorize)));
}

#[tokio::test]
async fn a_denial_on_a_page_of_the_providers_own_buys_no_time() {
    let scene = scene().await;
    let mut browser = scene.sign_in().await;
    deny_on_a_page(&scene);
    let mut passed = AFTER;
    scene.pass(AFTER);
    while passed < WITHIN {
        for dialect in ["traefik", "caddy", "envoy"] {
            let leaving = scene.stage.check(dialect, &mut browser, APP).await;
            is_silent(&scene, &leaving);
            browser.get(leaving.location().as_str()).await.is(200).contains("Permission denied");
        }
        let leaving = scene.stage.check("nginx", &mut browser, APP).await;
        assert_eq!(leaving.is(401).header("x-forepost-action"), "redirect");
        scene.script(&mut browser).await.is(200);
        scene.pass(20 * SECOND);
        passed += 20 * SECOND;
    }
    scene.script(&mut browser).await.is(401);
    assert_eq!(scene.check(&mut browser).await.is(302).parameter("prompt"), None);
}

#[tokio::test]
async fn an_answer_that_comes_late_counts() {
    let scene = scene().await;
    let mut browser = scene.sign_in().await;
    deny_on_a_page(&scene);
    scene.pass(AFTER);
    for _ in 0..3 {
        let leaving = scene.check(&mut browser).await;
        is_silent(&scene, &leaving);
        browser.get(leaving.location().as_str()).await.is(200);
    }
    permit(&scene);
    scene.pass(10 * SECOND);
    let leaving = scene.check(&mut browser).await;
    is_silent(&scene, &leaving);
    callback(&mut browser, &leaving).await.is(302);
    for _ in 0..3 {
        scene.check(&mut browser).await.is(200);
    }
    scene.pass(AFTER - SECOND);
    scene.check(&mut browser).await.is(200);
}

/// Whatever sends a browser back without an answer, it is not sent off for ever.
#[tokio::test]
async fn what_goes_round_without_an_answer_is_stopped() {
    let scene = scene().await;
    let mut browser = scene.sign_in().await;
    scene.pass(AFTER);
    for _ in 0..4 {
        is_silent(&scene, &scene.check(&mut browser).await);
    }
    pauses(&scene, &mut browser).await;
}

/// After four trips in ten seconds the browser is not sent off until these are over.
pub(super) async fn pauses(scene: &Scene, browser: &mut Browser) {
    for _ in 0..3 {
        scene.check(browser).await.is(200);
    }
    scene.pass(10 * SECOND);
    is_silent(scene, &scene.check(browser).await);
}

#[tokio::test]
async fn a_provider_that_denies_ends_the_session() {
    let scene = scene().await;
    let mut browser = scene.sign_in().await;
    let mut before = browser.clone();
    scene.provider().set(|behaviour| behaviour.refuse = Some("access_denied"));
    scene.pass(AFTER);
    let leaving = scene.check(&mut browser).await;
    is_silent(&scene, &leaving);
    callback(&mut browser, &leaving).await.is(403).contains("The identity provider did not grant access.");
    scene.script(&mut before).await.is(401);
    assert_eq!(scene.check(&mut before).await.is(302).parameter("prompt"), None);
}

/// An hour after the login, also where refreshes work all the time.
const AGAIN: u64 = 60 * 60;

async fn refreshed_scene() -> Scene {
    let again = Some(std::time::Duration::from_secs(AGAIN));
    Scene::with(|_| (), |settings| settings.session.revalidation.reauthorize_after = again).await
}

#[tokio::test]
async fn with_a_refresh_token_a_browser_makes_the_trip_as_well() {
    let scene = refreshed_scene().await;
    let mut browser = scene.sign_in().await;
    let first = cookie(&browser);
    for round in 1..AGAIN / AFTER {
        let name = format!("Alice {round}");
        scene.rename(&name, &["staff"]);
        scene.pass(AFTER);
        scene.until_named(&mut browser, &name).await;
    }
    scene.pass(AFTER);
    assert_eq!(cookie(&browser), first);
    scene.script(&mut browser).await.is(200);
    let leaving = scene.check(&mut browser).await;
    is_silent(&scene, &leaving);
    callback(&mut browser, &leaving).await.is(302);
    assert_ne!(cookie(&browser), first);
    scene.check(&mut browser).await.is(200);
    scene.pass(AGAIN - SECOND);
    scene.check(&mut browser).await.is(200);
    scene.pass(SECOND);
    is_silent(&scene, &scene.check(&mut browser).await);
}

#[tokio::test]
async fn a_permission_that_was_taken_away_ends_sessions_with_refresh_tokens_too() {
    // As an error that is sent back.
    let scene = refreshed_scene().await;
    let mut browser = scene.sign_in().await;
    scene.provider().set(|behaviour| behaviour.refuse = Some("access_denied"));
    scene.pass(AGAIN);
    let leaving = scene.check(&mut browser).await;
    is_silent(&scene, &leaving);
    callback(&mut browser.clone(), &leaving).await.is(403);
    scene.script(&mut browser).await.is(401);

    // As a page: refreshes go on, and end with what was granted to be unconfirmed.
    let scene = refreshed_scene().await;
    let mut browser = scene.sign_in().await;
    deny_on_a_page(&scene);
    let mut passed = 0;
    while passed < AGAIN + WITHIN {
        scene.script(&mut browser).await.is(200);
        let page = scene.check(&mut browser).await;
        if passed < AGAIN {
            page.is(200);
        } else {
            is_silent(&scene, &page);
        }
        scene.pass(AFTER);
        passed += AFTER;
    }
    scene.script(&mut browser).await.is(401);
    assert_eq!(scene.check(&mut browser).await.is(302).parameter("prompt"), None);
}

/// The other replica hears of an answer from the browser.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_one_replica_saw_counts_at_the_other() {
    let redis = Redis::start(&[]).await;
    let share = |settings: &mut Settings| {
        settings.session.revalidation.silent_login = true;
        settings.session.store = Store::Redis(redis_settings(redis.address));
        settings.session.secret = Some("a-secret-of-some-length-for-both-of-them".to_owned().into());
    };
    let scene = Scene::with(|behaviour| behaviour.refreshing.unannounced = true, share).await;
    let second = scene.second(share).await;
    let mut browser = scene.sign_in().await;
    let address = second.http_address().unwrap();
    let at_second = async |browser: &Browser| {
        let mut there = browser.clone().route("*", address);
        crate::support::ask("traefik", &mut there, Method::GET, APP, &[]).await
    };
    at_second(&browser).await.is(200);
    scene.provider().set(|behaviour| behaviour.refuse = Some("server_error"));
    scene.pass(AFTER);
    let leaving = scene.check(&mut browser).await;
    is_silent(&scene, &leaving);
    is_silent(&scene, &at_second(&browser).await);
    assert_eq!(callback(&mut browser, &leaving).await.is(302).header("location"), APP);
    scene.check(&mut browser).await.is(200);
    at_second(&browser).await.is(200);
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
    for error in ["server_error", "temporarily_unavailable", "invalid_request", "invalid_scope"] {
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

type Change = Box<dyn Fn(&mut Behaviour)>;

/// The answer of the authorization endpoint is one, whatever becomes of its code.
#[tokio::test]
async fn a_silent_login_that_fails_later_ends_nothing_and_nothing_goes_round() {
    let token =
        |fault: Fault| move |behaviour: &mut Behaviour| drop(behaviour.faults.insert(Endpoint::Token, fault.clone()));
    let refused = Fault {
        status: Some(StatusCode::UNAUTHORIZED),
        body: Some(r#"{"error":"invalid_client"}"#.into()),
        ..Fault::default()
    };
    let faults: [Change; 4] = [
        Box::new(token(Fault::status(StatusCode::INTERNAL_SERVER_ERROR))),
        Box::new(token(Fault { hang_up: true, ..Fault::default() })),
        Box::new(token(refused)),
        Box::new(|behaviour| behaviour.signing_key = SigningKey::StrayWithPublishedId),
    ];
    for fault in faults {
        let scene = scene().await;
        let mut browser = scene.sign_in().await;
        let kept = cookie(&browser);
        scene.provider().set(&fault);
        for _ in 0..11 {
            scene.pass(AFTER);
            let leaving = scene.check(&mut browser).await;
            is_silent(&scene, &leaving);
            assert_eq!(callback(&mut browser, &leaving).await.is(302).header("location"), APP);
            for _ in 0..3 {
                scene.check(&mut browser).await.is(200);
            }
        }
        assert_eq!(cookie(&browser), kept);
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
