//! Sessions of real providers that are asked about beside the requests.

use std::time::Duration;

use serde_json::json;

use super::scene::{Claims, Kind, ORIGIN, RealProvider, Scene};
use crate::support::{Browser, OpenIdProvider, Reply, until_answer};

/// Longer than any of it takes.
const PATIENCE: Duration = Duration::from_mins(1);

/// The last keys of the provider's section, and those of sessions.
fn settings(provider: &str) -> String {
    format!("{provider}\n[session]\nrevalidate_after = \"1s\"")
}

/// Asks about the page until `wanted` holds of the answer.
async fn until(scene: &Scene, browser: &mut Browser, wanted: impl Fn(&Reply) -> bool) -> Reply {
    until_answer(async || scene.check(browser).await, wanted).await
}

#[tokio::test]
async fn oidc_provider_refreshes_a_session_and_ends_it() {
    let provider = OpenIdProvider::with(ORIGIN, &json!({}), json!({"bound": true}));
    let secret = OpenIdProvider::CLIENT_SECRET;
    let settings = settings(&format!("client_secret = \"{secret}\"\noffline_access = \"never\""));
    let scene = Scene::of(RealProvider::OpenId(provider), &settings).await;
    let mut browser = scene.browser();
    let first = scene.sign_in(&mut browser, "alice").await.is(200).header("x-authentik-jwt");
    for _ in 0..2 {
        let newer = until(&scene, &mut browser, |reply| reply.is(200).header("x-authentik-jwt") != first).await;
        assert_eq!(newer.header("x-authentik-username"), "alice");
    }
    let RealProvider::OpenId(provider) = &scene.provider else { unreachable!() };
    provider.hook("end-sessions?alice").await;
    until(&scene, &mut browser, |reply| reply.status == 302).await;
    let stats = provider.hook("stats").await;
    assert!(stats["POST /token"].as_u64() >= Some(3), "{stats}");
    assert_eq!(stats["GET /jwks"], 1, "{stats}");
}

#[tokio::test]
async fn glewlwyd_refreshes_a_session_and_ends_it() {
    let (provider, keys) = RealProvider::start(Kind::Glewlwyd, Claims::IdToken).await;
    let scene = Scene::of(provider, &settings(&keys)).await;
    let mut browser = scene.browser();
    scene.sign_in(&mut browser, "alice").await.is(200);
    let metrics = scene.daemon.metrics_address().unwrap();
    let mut operator = Browser::new().route("*", metrics);
    let renewed = async {
        loop {
            let entered = scene.check(&mut browser).await;
            assert_eq!(entered.is(200).header("x-authentik-groups"), "admins|staff");
            let page = operator.get("http://metrics/metrics").await;
            let line = "forepost_refreshes_total{identity_provider=\"idp\",result=\"renewed\"} ";
            let count = page.body.lines().find_map(|it| it.strip_prefix(line)?.parse::<u64>().ok());
            if count.is_some_and(|count| count >= 2) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, renewed).await.expect("it is refreshed, and with the new token again");
    let RealProvider::Glewlwyd(provider) = &scene.provider else { unreachable!() };
    provider.end_grants(&mut browser).await;
    until(&scene, &mut browser, |reply| reply.status == 302).await;
}

/// Its logout token has no `exp` and the type `JWT`; it is sent once the answer to the logout is out.
#[tokio::test]
async fn glewlwyd_logs_out_through_the_back_channel() {
    let scene = Scene::start(Kind::Glewlwyd, Claims::IdToken).await;
    let RealProvider::Glewlwyd(provider) = &scene.provider else { unreachable!() };
    let http = scene.daemon.http_address().unwrap();
    provider.tell_logouts(&format!("http://{http}/outpost.goauthentik.io/backchannel-logout")).await;
    let (mut alice, mut elsewhere, mut bob) = (scene.browser(), scene.browser(), scene.browser());
    let entered = scene.sign_in(&mut alice, "alice").await;
    scene.sign_in(&mut elsewhere, "alice").await.is(200);
    scene.sign_in(&mut bob, "bob").await.is(200);

    let claims = entered.is(200).token_claims();
    provider.end_session(&mut alice, claims["sid"].as_str().unwrap()).await;
    until(&scene, &mut alice, |reply| reply.status == 302).await;
    scene.check(&mut elsewhere).await.is(200);
    scene.check(&mut bob).await.is(200);
}
