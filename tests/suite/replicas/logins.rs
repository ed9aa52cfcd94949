//! Logins and sign-outs that two foreposts share.

use std::time::Duration;

use http::Method;
use tokio::time::Instant;

use super::scene::{Scene, user};
use crate::provider::LogoutToken;
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
    let mut slowest = [Duration::ZERO; 3];
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
    // By an operator, and by the provider.
    for number in 0..16 {
        let (at, other) = (number % 2, (number + 1) % 2);
        let name = user(number);
        let browser = scene.sign_in(&name).await;
        for replica in 0..2 {
            scene.check(&browser, replica).await.is(200);
        }
        if number < 8 {
            scene.replicas[at].command(&["sessions", "revoke", "--user", &name]);
        } else {
            let wanted = LogoutToken { subject: Some(format!("id-{name}")), ..LogoutToken::default() };
            let token = scene.provider.logout_token("proxy", &wanted).unwrap();
            let mut provider = scene.at_replica(&scene.browser(), at);
            let url = scene.url("/outpost.goauthentik.io/backchannel-logout");
            provider.post(&url, &format!("logout_token={token}")).await.is(200);
        }
        let since = Instant::now();
        scene.check(&browser, at).await.is(302);
        let slowest = &mut slowest[1 + number / 8];
        *slowest = scene.until_denied(&browser, other, since).await.max(*slowest);
    }
    let [signed_out, revoked, logged_out] = slowest.map(|it| it.as_secs_f64() * 1000.0);
    println!(
        "{proxy:?}: denied elsewhere after a sign-out: {signed_out:.1} ms, a revocation: {revoked:.1} ms, a back-channel \
         logout: {logged_out:.1} ms"
    );
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
