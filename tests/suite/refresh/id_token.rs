//! The ID token that applications get: never one that has ended, and a new one where there is one.

use std::time::Duration;

use http::Method;
use tokio::task::JoinSet;

use super::scene::{AFTER, APP, RETRY, SCRIPT, SECOND, Scene, WITHIN};
use crate::provider::{Behaviour, Fault};
use crate::support::{Browser, DIALECTS, Reply};

/// How long Keycloak's tokens live.
const LIFE: u64 = 5 * 60;

/// Long enough under load, and shorter than a provider is waited for.
const AT_ONCE: Duration = Duration::from_secs(8);

/// The clock of a scene that was just made.
fn now() -> u64 {
    forepost::world::World::system().now().as_secs()
}

/// Tokens of logins end `LIFE` from now.
fn short(behaviour: &mut Behaviour) {
    behaviour.id_token.set("exp", now() + LIFE);
}

/// Tokens of refreshes end so many seconds from the scene's beginning.
fn renewed(scene: &Scene, ends: u64) {
    scene.provider().set(|behaviour| {
        behaviour.refreshing.id_token.set("exp", now() + ends);
    });
}

/// Let in, with all headers and no token.
#[track_caller]
fn lacks(reply: &Reply) {
    assert_eq!(reply.is(200).headers.get("x-authentik-jwt").expect("it is always there"), "", "{reply:#?}");
    assert_eq!(reply.header("x-authentik-username"), "alice");
    assert_eq!(reply.headers.keys().filter(|name| name.as_str().starts_with("x-authentik-")).count(), 12);
}

#[track_caller]
fn has(reply: &Reply) -> u64 {
    assert!(!reply.is(200).header("x-authentik-jwt").is_empty(), "{reply:#?}");
    reply.token_claims()["exp"].as_u64().unwrap()
}

async fn crowd(scene: &Scene, browser: &Browser) -> Vec<Reply> {
    let crowd: JoinSet<Reply> = (0..20)
        .map(|number| {
            let (stage, mut browser) = (scene.stage.clone(), browser.clone());
            let headers = if number % 3 == 0 { &SCRIPT[..] } else { &[] };
            async move { stage.ask(DIALECTS[number % 4], &mut browser, Method::GET, APP, headers).await }
        })
        .collect();
    crowd.join_all().await
}

#[tokio::test]
async fn without_a_refresh_the_header_is_empty_from_the_end_on() {
    let prepare = |behaviour: &mut Behaviour| {
        short(behaviour);
        behaviour.refreshing.unannounced = true;
    };
    let scene = Scene::with(prepare, |_| ()).await;
    let mut browser = scene.sign_in().await;
    scene.pass(LIFE - 10 * SECOND);
    has(&scene.check(&mut browser).await);
    for passed in [10 * SECOND, SECOND, WITHIN] {
        scene.pass(passed);
        for dialect in DIALECTS {
            lacks(&scene.stage.check(dialect, &mut browser, APP).await);
        }
    }
    assert_eq!(scene.asked(), 1);
}

/// Keycloak's five minutes, and a pause that is longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_pause_a_new_one_is_fetched_before_the_answer() {
    let scene = Scene::with(short, |_| ()).await;
    let browser = scene.sign_in().await;
    let ends = has(&scene.check(&mut browser.clone()).await);
    renewed(&scene, 4 * LIFE);
    scene.pass(2 * LIFE);
    for reply in crowd(&scene, &browser).await {
        assert!(has(&reply) > ends, "{reply:#?}");
    }
    assert_eq!(scene.asked(), 2, "one refresh for all");
}

/// A request during a refresh waits for it as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_being_fetched_is_waited_for() {
    let scene = Scene::with(short, |_| ()).await;
    let mut browser = scene.sign_in().await;
    let ends = has(&scene.check(&mut browser).await);
    renewed(&scene, 4 * LIFE);
    let gate = scene.hold();
    scene.pass(LIFE - 10 * SECOND);
    has(&scene.check(&mut browser).await);
    scene.until_asked(2).await;
    scene.pass(20 * SECOND);
    let crowd = crowd(&scene, &browser);
    let opened = async {
        tokio::task::yield_now().await;
        gate.close();
    };
    let (replies, ()) = tokio::join!(crowd, opened);
    for reply in replies {
        assert!(has(&reply) > ends, "{reply:#?}");
    }
    assert_eq!(scene.asked(), 2);
}

#[tokio::test]
async fn while_there_is_none_requests_go_on_without_waiting() {
    let scene = Scene::with(short, |_| ()).await;
    let mut browser = scene.sign_in().await;
    scene.set_fault(Some(Fault::status(http::StatusCode::BAD_GATEWAY)));
    scene.pass(2 * LIFE);
    lacks(&scene.check(&mut browser).await);
    assert_eq!(scene.asked(), 2);
    for _ in 0..5 {
        lacks(&scene.check(&mut browser).await);
        lacks(&scene.script(&mut browser).await);
    }
    assert_eq!(scene.asked(), 2, "not once a request");
    renewed(&scene, 4 * LIFE);
    scene.set_fault(None);
    scene.pass(RETRY);
    has(&scene.check(&mut browser).await);
}

/// Canaille: a refresh that works and brings none.
#[tokio::test]
async fn where_refreshes_bring_none_they_are_waited_for_once() {
    let prepare = |behaviour: &mut Behaviour| {
        short(behaviour);
        behaviour.refreshing.no_id_token = true;
    };
    let scene = Scene::with(prepare, |_| ()).await;
    let mut browser = scene.sign_in().await;
    scene.rename("Alice Neu", &["staff"]);
    scene.pass(2 * LIFE);
    let first = scene.check(&mut browser).await;
    lacks(&first);
    assert_eq!(first.header("x-authentik-name"), "Alice Neu");
    let gate = scene.hold();
    scene.pass(AFTER);
    for _ in 0..3 {
        lacks(&tokio::time::timeout(AT_ONCE, scene.check(&mut browser)).await.expect("it waits for nothing"));
    }
    scene.until_asked(3).await;
    gate.close();
}

#[tokio::test]
async fn an_application_without_tokens_waits_for_none() {
    const PAGE: &str = "https://x.example.test/";
    let scene = Scene::with(short, |_| ()).await;
    let mut browser = scene.stage.browser();
    let entered = scene.stage.sign_in(&mut browser, PAGE, "alice").await;
    lacks(&entered);
    let gate = scene.hold();
    scene.pass(2 * LIFE);
    let check = scene.stage.check("traefik", &mut browser, PAGE);
    lacks(&tokio::time::timeout(AT_ONCE, check).await.expect("it waits for nothing"));
    gate.close();
}

#[tokio::test]
async fn a_session_that_ends_meanwhile_is_a_login() {
    let scene = Scene::with(short, |_| ()).await;
    let mut browser = scene.sign_in().await;
    scene.provider().end_grants();
    scene.pass(2 * LIFE);
    scene.script(&mut browser.clone()).await.is(401);
    scene.check(&mut browser).await.is(302);
}

/// What refuses and proves nothing costs the token, and not yet the session.
#[tokio::test]
async fn a_refresh_that_is_refused_leaves_the_session_without_a_token() {
    let scene = Scene::with(short, |_| ()).await;
    let mut browser = scene.sign_in().await;
    scene.provider().set(|behaviour| behaviour.refreshing.refuse = Some("invalid_client"));
    scene.pass(2 * LIFE);
    lacks(&scene.check(&mut browser).await);
    scene.pass(WITHIN - 2 * LIFE);
    scene.check(&mut browser).await.is(302);
}
