//! Refreshes that two foreposts do not do twice.

use std::time::Duration;

use tokio::time::{Instant, interval};

use super::scene::{Scene, user};
use crate::provider::{Endpoint, Fault, User};
use crate::proxies::proxy::Proxy;
use crate::support::redis::{Redis, until};

/// When a refresh is due, and until when the provider has to have confirmed a session.
const AFTER: Duration = Duration::from_secs(3);
const WITHIN: Duration = Duration::from_secs(24);

async fn scene(redis: &Redis) -> Scene {
    let environment = vec![
        ("FOREPOST_SESSION__REDIS__URL", format!("redis://{}", redis.address)),
        ("FOREPOST_SESSION__REVALIDATE_AFTER", format!("{}s", AFTER.as_secs())),
        ("FOREPOST_SESSION__REVALIDATE_WITHIN", format!("{}s", WITHIN.as_secs())),
    ];
    Scene::start(Proxy::Nginx, vec![environment.clone(), environment]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn both_are_asked_at_once_and_one_refreshes() {
    let redis = Redis::start(&[]).await;
    let scene = scene(&redis).await;
    let browser = scene.sign_in(&user(0)).await;
    let logins = scene.provider.requests(Endpoint::Token);
    scene.provider.add_user(User::new(&user(0), "Another Name", &["staff", "new"]));
    let groups = async |replica| scene.check(&browser, replica).await.is(200).header("x-authentik-groups");
    let (mut known, mut other) = (String::new(), String::new());
    let both = async {
        while known != "staff|new" || other != "staff|new" {
            (known, other) = tokio::join!(groups(0), groups(1));
        }
    };
    assert!(tokio::time::timeout(3 * AFTER, both).await.is_ok(), "no replica heard of the new group");
    assert_eq!(scene.provider.requests(Endpoint::Token) - logins, 1, "one of them refreshed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_may_have_sent_when_it_died_is_not_sent_by_the_other() {
    let redis = Redis::durable().await;
    let mut scene = scene(&redis).await;
    let browser = scene.sign_in(&user(0)).await;
    let began = Instant::now();
    scene.check(&browser, 1).await.is(200);
    let logins = scene.provider.requests(Endpoint::Token);
    scene.provider.set(|behaviour| {
        let slow = Fault { delay: 2 * WITHIN, ..Fault::default() };
        behaviour.faults.insert(Endpoint::Token, slow);
    });
    until("a refresh", async || {
        scene.check(&browser, 0).await.is(200);
        scene.provider.requests(Endpoint::Token) > logins
    })
    .await;
    scene.replicas[0].kill();
    // The answer would come, if anybody asked again.
    scene.provider.set(|behaviour| drop(behaviour.faults.remove(&Endpoint::Token)));
    let mut pace = interval(Duration::from_millis(50));
    let (mut let_in, mut refused) = (0, 0);
    // The browser is sent to the provider when the session has not been confirmed for too long, and not before.
    let ended = loop {
        pace.tick().await;
        let reply = scene.check(&browser, 1).await;
        match reply.status.as_u16() {
            200 => let_in += 1,
            503 => refused += 1,
            302 => break began.elapsed(),
            other => panic!("{other}: {reply:#?}"),
        }
    };
    println!("{let_in} let in, {refused} refused, then a login after {:.1} s", ended.as_secs_f64());
    assert!(ended + Duration::from_secs(1) > WITHIN && refused == 0, "{ended:?}");
    assert_eq!(scene.provider.requests(Endpoint::Token) - logins, 1, "the token was not sent twice");
}
