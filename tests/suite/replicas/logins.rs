//! Logins and sign-outs that two foreposts share.

use std::time::Duration;

use http::Method;

use super::scene::{Scene, user};
use crate::proxies::proxy::Proxy;
use crate::support::redis::Redis;
use crate::support::{ask, fill_in};

/// Within it others deny what one has ended; hearing takes milliseconds, and the rest is the machine's.
const SOON: Duration = Duration::from_secs(1);

async fn are_shared(proxy: Proxy) {
    let redis = Redis::start(&[]).await;
    let scene = Scene::at(proxy, [redis.address; 2]).await;
    // Each replica has its turn.
    for number in 0..4 {
        let mut browser = scene.sign_in(&user(number)).await;
        for _ in 0..6 {
            browser.get(&scene.url("/page")).await.is(200);
        }
        for replica in 0..2 {
            let entered = scene.check(&browser, replica).await;
            assert_eq!(entered.is(200).header("x-authentik-username"), user(number));
        }
    }
    // Begun at one, ended at the other.
    for (from, to) in [(0, 1), (1, 0)] {
        let mut browser = scene.at_replica(&scene.browser(), from);
        let start = ask("traefik", &mut browser, Method::GET, &scene.url("/deep?x=1"), &[]).await;
        let page = browser.get(start.is(302).location().as_str()).await;
        let back = fill_in(&mut browser, &page, "alice").await;
        let mut browser = scene.at_replica(&browser, to);
        let ended = browser.get(back.location().as_str()).await;
        assert_eq!(ended.is(302).header("location"), scene.url("/deep?x=1"));
        scene.check(&browser, from).await.is(200);
    }
    // Ended at one.
    let mut slowest = [Duration::ZERO; 2];
    for number in 0..8 {
        let (at, other) = (number % 2, (number + 1) % 2);
        let mut browser = scene.sign_in(&user(number)).await;
        for replica in 0..2 {
            scene.check(&browser, replica).await.is(200);
        }
        let since = scene.sign_out(&browser, at).await;
        scene.check(&browser, at).await.is(302);
        slowest[0] = slowest[0].max(scene.until_denied(&browser, other, since).await);
        for _ in 0..4 {
            browser.fetch(&scene.url("/page")).await.is(401);
        }
    }
    // By an operator.
    for number in 0..8 {
        let (at, other) = (number % 2, (number + 1) % 2);
        let browser = scene.sign_in(&user(number)).await;
        for replica in 0..2 {
            scene.check(&browser, replica).await.is(200);
        }
        scene.replicas[at].command(&["sessions", "revoke", "--user", &user(number)]);
        let since = tokio::time::Instant::now();
        scene.check(&browser, at).await.is(302);
        slowest[1] = slowest[1].max(scene.until_denied(&browser, other, since).await);
    }
    let [signed_out, revoked] = slowest.map(|it| it.as_secs_f64() * 1000.0);
    println!("{proxy:?}: denied elsewhere after a sign-out: {signed_out:.1} ms, after a revocation: {revoked:.1} ms");
    assert!(slowest.iter().all(|it| *it <= SOON), "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_asks_both() {
    are_shared(Proxy::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traefik_asks_both() {
    are_shared(Proxy::Traefik).await;
}
