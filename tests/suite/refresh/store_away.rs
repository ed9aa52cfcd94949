//! A store that is away while the provider says something that counts.

use std::time::Duration;

use forepost::session::RedisSettings;
use forepost::settings::{Settings, Store};
use http::{Method, StatusCode};
use redis::Value;
use tokio::time::Instant;

use super::scene::{AFTER, APP, Scene, WITHIN, redis_settings};
use crate::provider::{Endpoint, Fault};
use crate::support::redis::{Redis, until};
use crate::support::relay::{Network, Relay};
use crate::support::{Browser, Reply};

/// A scene with a Redis, behind a network that can be cut.
async fn scene(staleness: Duration) -> (Redis, Relay, Scene) {
    let redis = Redis::start(&[]).await;
    let relay = Relay::to(redis.address).await;
    let tune = |settings: &mut Settings| {
        settings.session.secret = Some("0123456789abcdef0123456789abcdef".into());
        let timeout = Duration::from_secs(1);
        settings.session.store = Store::Redis(RedisSettings { timeout, staleness, ..redis_settings(relay.address) });
        settings.identity_providers.values_mut().for_each(|provider| provider.timeout = Duration::from_secs(1));
    };
    let scene = Scene::with(|_| (), tune).await;
    until("the store", async || answers(&scene).await).await;
    (redis, relay, scene)
}

/// Whether a login can begin.
async fn answers(scene: &Scene) -> bool {
    scene.check(&mut scene.stage.browser()).await.status == 302
}

/// The names of records, or of marks that a refresh was begun.
async fn names(redis: &Redis, kind: &str) -> Vec<String> {
    let Some(Value::Array(names)) = redis.ask(&["KEYS", &format!("forepost:{kind}:*")]).await else {
        panic!("no names")
    };
    let text = |name| match name {
        Value::BulkString(name) => String::from_utf8(name).unwrap(),
        other => panic!("{other:?}"),
    };
    names.into_iter().map(text).collect()
}

/// Neither is forgotten what the provider said, nor is it believed only once the store heard of it.
#[tokio::test]
async fn a_session_that_the_provider_ended_is_denied_whatever_the_store_still_has() {
    let (redis, relay, scene) = scene(Duration::from_mins(1)).await;
    let mut browser = scene.sign_in().await;
    let gate = scene.hold();
    scene.provider().end_grants();
    scene.pass(AFTER);
    scene.check(&mut browser).await.is(200);
    scene.until_asked(2).await;
    relay.set(Network::Cut);
    gate.close();
    scene.until(&mut browser.clone(), |reply| reply.status != 200).await;
    let out =
        async |browser: &Browser| scene.check(&mut browser.clone()).await.is(302).location().path() == "/authorize";
    assert!(out(&browser).await);
    assert_eq!(names(&redis, "s").await.len(), 1, "the store has not heard of it");
    relay.set(Network::Whole);
    until("the store hears of it", async || {
        assert!(out(&browser).await);
        names(&redis, "s").await.is_empty()
    })
    .await;
    assert!(out(&browser).await);
    scene.set_fault(None);
    scene.stage.sign_in(&mut browser, APP, "alice").await.is(200);
}

/// A replica that seems to have died during a refresh may still be alive.
#[tokio::test]
async fn a_token_that_was_given_up_is_asked_about_again() {
    let (redis, _relay, scene) = scene(Duration::from_mins(1)).await;
    let mut browser = scene.sign_in().await;
    let record = names(&redis, "s").await.remove(0);
    let mark = record.replacen(":s:", ":l:", 1);
    redis.ask(&["HSET", &mark, "owner", "another", "until", "0"]).await.unwrap();
    scene.rename("Alice Neu", &["staff"]);
    let scripts = async || {
        let Some(Value::BulkString(text)) = redis.ask(&["INFO", "commandstats"]).await else { panic!("no numbers") };
        let text = String::from_utf8(text).unwrap();
        text.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:").map(str::to_owned))
    };
    let before = scripts().await;
    scene.pass(AFTER);
    scene.check(&mut browser).await.is(200);
    until("the mark is seen", async || scripts().await != before).await;
    scene.check(&mut browser).await.is(200);
    assert_eq!(scene.asked(), 1, "no request sends it");
    redis.ask(&["DEL", &mark]).await.unwrap();
    scene.pass(AFTER);
    scene.until_named(&mut browser, "Alice Neu").await;
    assert_eq!(scene.asked(), 2);
}

/// The address of a login's way back.
async fn way_back(scene: &Scene, browser: &mut Browser) -> String {
    let start = scene.check(browser).await;
    let page = browser.get(start.is(302).location().as_str()).await;
    let back = crate::support::fill_in(browser, &page, "alice").await;
    back.location().to_string()
}

#[track_caller]
fn is_away(reply: &Reply) {
    assert_eq!(reply.is(503).header("retry-after"), "5");
    assert_eq!(reply.header("set-cookie"), "");
}

/// The same page can be loaded again: neither the attempt nor the code was used up.
#[tokio::test]
async fn a_way_back_while_the_store_is_away_can_be_gone_again() {
    let (_redis, relay, scene) = scene(Duration::from_secs(1)).await;
    let mut browser = scene.stage.browser();
    let url = way_back(&scene, &mut browser).await;
    relay.set(Network::Cut);
    until("the store is away", async || !answers(&scene).await).await;
    for _ in 0..3 {
        is_away(&browser.get(&url).await);
    }
    assert_eq!(scene.asked(), 0);
    relay.set(Network::Whole);
    until("the store", async || answers(&scene).await).await;
    assert_eq!(browser.get(&url).await.is(302).header("location"), APP);
    scene.check(&mut browser).await.is(200);
}

/// The code is spent by then.
#[tokio::test]
async fn a_login_waits_a_little_for_a_store_that_went_away() {
    let (_redis, relay, scene) = scene(Duration::from_secs(1)).await;
    let mut browser = scene.stage.browser();
    let url = way_back(&scene, &mut browser).await;
    let gate = scene.hold();
    let mended = async {
        scene.until_asked(1).await;
        relay.set(Network::Cut);
        gate.close();
        until("the store is away", async || !answers(&scene).await).await;
        relay.set(Network::Whole);
    };
    let (back, ()) = tokio::join!(browser.get(&url), mended);
    assert_eq!(back.is(302).header("location"), APP);
    until("the store", async || answers(&scene).await).await;
    scene.check(&mut browser).await.is(200);
}

#[tokio::test]
async fn a_request_does_not_wait_for_a_refresh_until_its_time_is_over() {
    let (_redis, relay, scene) = scene(Duration::from_mins(10)).await;
    let mut browser = scene.sign_in().await;
    let gate = scene.hold();
    scene.provider().set(|behaviour| behaviour.refreshing.refuse = Some("temporarily_unavailable"));
    scene.pass(WITHIN);
    let began = Instant::now();
    let cut = async {
        scene.until_asked(2).await;
        relay.set(Network::Cut);
        gate.close();
    };
    let (reply, ()) = tokio::join!(scene.check(&mut browser), cut);
    is_away(&reply);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

/// Where the request's own time is over first, it is told the same.
#[tokio::test]
async fn a_request_that_took_too_long_may_be_sent_again() {
    let tune = |settings: &mut Settings| settings.server.request_timeout = Duration::from_secs(1);
    let scene = Scene::with(|_| (), tune).await;
    let mut browser = scene.sign_in().await;
    let _gate = scene.hold();
    scene.pass(WITHIN);
    for (dialect, status) in [("traefik", 503), ("envoy", 403)] {
        let reply = scene.stage.ask(dialect, &mut browser, Method::GET, APP, &[]).await;
        assert_eq!(reply.is(status).header("retry-after"), "5", "{dialect}");
    }
    scene.set_fault(Some(Fault::status(StatusCode::BAD_GATEWAY)));
    assert_eq!(scene.provider().requests(Endpoint::Token), 2);
}
