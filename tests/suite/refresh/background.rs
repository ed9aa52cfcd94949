//! Who refreshes, when, and what comes of it.

use std::time::Duration;

use http::Method;
use tokio::task::JoinSet;

use super::scene::{AFTER, APP, SCRIPT, SECOND, SIGN_OUT, Scene, WITHIN, sent_token};
use crate::provider::{Algorithm, Behaviour, Endpoint};
use crate::support::{Browser, Reply};

/// Two hundred requests at once.
fn crowd(scene: &Scene, browser: &Browser) -> JoinSet<Reply> {
    (0..200)
        .map(|number| {
            let (stage, mut browser) = (scene.stage.clone(), browser.clone());
            async move {
                let url = format!("{APP}?number={number}");
                let dialect = ["traefik", "caddy", "nginx", "envoy"][number % 4];
                let headers = if number % 3 == 0 { &SCRIPT[..] } else { &[] };
                stage.ask(dialect, &mut browser, Method::GET, &url, headers).await
            }
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_requests_when_it_is_due_cause_one_refresh_and_wait_for_none() {
    let scene = Scene::new().await;
    let mut browser = scene.sign_in().await;
    let gate = scene.hold();
    scene.pass(AFTER);
    scene.rename("Alice Neu", &["staff"]);
    for reply in crowd(&scene, &browser).join_all().await {
        assert_eq!(reply.is(200).header("x-authentik-name"), "Alice Ärger");
        assert_eq!(reply.header("set-cookie"), "");
    }
    scene.until_asked(2).await;
    gate.close();
    scene.until_named(&mut browser, "Alice Neu").await;
    assert_eq!(scene.asked(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_requests_that_must_wait_wait_for_one_refresh() {
    let scene = Scene::new().await;
    let browser = scene.sign_in().await;
    let gate = scene.hold();
    scene.pass(WITHIN);
    scene.rename("Alice Neu", &["staff"]);
    let crowd = crowd(&scene, &browser);
    scene.until_asked(2).await;
    gate.close();
    for reply in crowd.join_all().await {
        assert_eq!(reply.is(200).header("x-authentik-name"), "Alice Neu");
        assert_eq!(reply.header("set-cookie"), "");
    }
    assert_eq!(scene.asked(), 2);
}

#[tokio::test]
async fn what_the_provider_says_anew_takes_effect() {
    const ADMIN: &str = "https://admin.example.com/sub/";
    let scene = Scene::new().await;
    let mut browser = scene.stage.browser();
    let before = scene.stage.sign_in(&mut browser, ADMIN, "alice").await;
    scene.rename("Alice Neu", &["staff"]);
    scene.stage.check("traefik", &mut browser, ADMIN).await.is(200);
    scene.pass(AFTER);
    scene.until_at(&mut browser, ADMIN, |reply| reply.status == 403).await;

    scene.rename("Alice Alt", &["staff", "admins"]);
    scene.stage.check("traefik", &mut browser, ADMIN).await.is(403);
    scene.pass(AFTER);
    let after = scene.until_at(&mut browser, ADMIN, |reply| reply.status == 200).await;
    assert_eq!(after.header("x-authentik-name"), "Alice Alt");
    assert_eq!(after.header("x-authentik-groups"), "staff|admins");
    assert_eq!(before.header("x-authentik-uid"), after.header("x-authentik-uid"));
    let issued = |reply: &Reply| reply.token_claims()["iat"].as_u64().unwrap();
    assert_eq!((issued(&after) - issued(&before), after.token_claims()["name"].as_str()), (600, Some("Alice Alt")));
    assert_eq!(scene.asked(), 3);
}

#[tokio::test]
async fn without_a_new_id_token_userinfo_speaks_and_the_old_one_stays() {
    let scene = Scene::with(|behaviour| behaviour.refreshing.no_id_token = true, |_| ()).await;
    let mut browser = scene.sign_in().await;
    let before = scene.check(&mut browser).await.header("x-authentik-jwt");
    scene.rename("Alice Neu", &["staff"]);
    scene.pass(AFTER);
    scene.until_named(&mut browser, "Alice Neu").await;
    assert_eq!(scene.check(&mut browser).await.header("x-authentik-jwt"), before);
}

/// One login for a whole domain is one session, whichever host it is used on.
#[tokio::test]
async fn a_session_of_a_domain_is_refreshed_by_any_of_its_hosts() {
    let scene = Scene::new().await;
    let mut browser = scene.stage.browser();
    scene.stage.sign_in(&mut browser, "https://x.example.test/", "alice").await.is(200);
    scene.rename("Alice Neu", &["staff"]);
    scene.pass(AFTER);
    for url in ["https://y.example.test/", "https://x.example.test/", "https://auth.example.test/"] {
        scene.until_at(&mut browser, url, |reply| reply.is(200).header("x-authentik-name") == "Alice Neu").await;
    }
    assert_eq!(scene.asked(), 2);
}

#[tokio::test]
async fn a_session_that_is_not_used_is_not_refreshed() {
    let scene = Scene::new().await;
    let mut browser = scene.sign_in().await;
    for _ in 0..10 {
        scene.pass(WITHIN / 2);
        scene.stage.check("traefik", &mut scene.stage.browser(), APP).await.is(302);
    }
    assert_eq!(scene.asked(), 1);
    scene.check(&mut browser).await.is(200);
    assert_eq!(scene.asked(), 2);
}

#[tokio::test]
async fn a_refresh_prolongs_nothing() {
    let lifetime = WITHIN + WITHIN / 2;
    let scene = Scene::with(|_| (), |settings| settings.session.lifetime = Duration::from_secs(lifetime)).await;
    let mut browser = scene.sign_in().await;
    scene.pass(lifetime - SECOND);
    scene.check(&mut browser).await.is(200);
    assert_eq!(scene.asked(), 2, "confirmed");
    scene.pass(SECOND);
    scene.check(&mut browser).await.is(302);
    scene.script(&mut browser).await.is(401);

    let idle = 20 * 60;
    let scene = Scene::with(|_| (), |settings| settings.session.idle_timeout = Some(Duration::from_secs(idle))).await;
    let mut browser = scene.sign_in().await;
    scene.rename("Alice Neu", &["staff"]);
    scene.pass(idle - SECOND);
    scene.until_named(&mut browser, "Alice Neu").await;
    scene.pass(idle + idle / 10);
    scene.check(&mut browser).await.is(302);
    assert_eq!(scene.asked(), 2);
}

/// A session whose tokens live as `prepare` says is refreshed at that second, and not earlier; then again.
async fn check_pace(what: &str, prepare: impl FnOnce(&mut Behaviour), due: u64) {
    let scene = Scene::with(prepare, |_| ()).await;
    let mut browser = scene.sign_in().await;
    for round in 1..4 {
        scene.pass(due - 1);
        scene.check(&mut browser).await.is(200);
        scene.pass(SECOND);
        assert_eq!(scene.asked(), round, "{what}");
        let name = format!("Alice {round}");
        scene.rename(&name, &["staff"]);
        scene.until_named(&mut browser, &name).await;
    }
}

#[tokio::test]
async fn tokens_are_renewed_before_they_end_but_no_storm_comes_of_it() {
    check_pace("an hour", |_| (), 300).await;
    check_pace(
        "a minute",
        |it| {
            it.token.set("expires_in", 60);
        },
        48,
    )
    .await;
    check_pace(
        "a second",
        |it| {
            it.token.set("expires_in", 1);
        },
        10,
    )
    .await;
    check_pace(
        "no time",
        |it| {
            it.token.set("expires_in", 0);
        },
        300,
    )
    .await;
}

#[tokio::test]
async fn an_id_token_that_ends_early_is_renewed_early() {
    let scene = Scene::new().await;
    let ends = scene.provider();
    let now = forepost::world::World::system().now().as_secs();
    ends.set(|behaviour| {
        behaviour.id_token.set("exp", now + 150);
    });
    let mut browser = scene.sign_in().await;
    scene.rename("Alice Neu", &["staff"]);
    scene.pass(100);
    scene.check(&mut browser).await.is(200);
    assert_eq!(scene.asked(), 1);
    scene.pass(21);
    scene.until_named(&mut browser, "Alice Neu").await;
}

/// Whatever a refresh brings that was under way, a sign-out counts.
#[tokio::test]
async fn a_sign_out_during_a_refresh_holds() {
    let scene = Scene::new().await;
    let mut browser = scene.sign_in().await;
    let gate = scene.hold();
    scene.pass(AFTER);
    scene.check(&mut browser).await.is(200);
    scene.until_asked(2).await;
    let mut before = browser.clone();
    let revoked = scene.provider().requests(Endpoint::Revocation);
    let leaving = browser.send(Method::GET, SIGN_OUT, &[("sec-fetch-site", "same-origin")], None).await;
    scene.check(&mut before).await.is(302);
    gate.close();
    browser.follow(leaving).await.is(200).contains("Signed out");
    // Both the token that was sent and the one that it brought, in any order.
    scene.provider().wait_for_requests(Endpoint::Revocation, revoked + 2).await;
    scene.check(&mut before).await.is(302);
    scene.script(&mut before).await.is(401);
    assert_eq!(scene.asked(), 2);
}

#[tokio::test]
async fn each_refresh_token_is_sent_once() {
    let scene = Scene::new().await;
    let mut browser = scene.sign_in().await;
    let mut sent = Vec::new();
    for round in 0..4 {
        let name = format!("Alice {round}");
        scene.rename(&name, &["staff"]);
        scene.pass(if round % 2 == 0 { AFTER } else { WITHIN });
        scene.until_named(&mut browser, &name).await;
        let token = sent_token(scene.provider());
        assert!(!sent.contains(&token));
        sent.push(token);
    }
    assert_eq!(scene.asked(), 5);
}

#[tokio::test]
async fn a_refresh_finds_out_that_the_provider_signs_in_another_way() {
    for algorithm in [Algorithm::Rs256, Algorithm::Hs256] {
        let scene = Scene::new().await;
        let mut browser = scene.sign_in().await;
        let before = scene.provider().requests(Endpoint::Discovery);
        scene.provider().set(|behaviour| behaviour.algorithm = algorithm);
        scene.pass(WITHIN);
        scene.check(&mut browser).await.is(200);
        assert_eq!(scene.provider().requests(Endpoint::Discovery), before + 1, "{algorithm:?}");
    }
}
