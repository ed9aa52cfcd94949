//! Signing keys: rotated while logins are under way, unknown in floods, gone.

use std::sync::Arc;
use std::time::Duration;

use forepost::daemon::Assembly;
use forepost::settings::Settings;
use forepost::world::World;
use http::StatusCode;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{APP, PATIENT, UNACCEPTED, opens_nothing, stage, up_to_callback};
use crate::provider::{Behaviour, Config, Endpoint, Fault, LogoutToken, Provider, SigningKey};
use crate::support::{Browser, Stage, client};

const MANY: u64 = 50;

/// `MANY` browsers that wait with their callbacks, and where each goes.
async fn waiting(stage: &Stage) -> Vec<(Browser, String)> {
    let mut all = Vec::new();
    for _ in 0..MANY {
        let mut browser = stage.browser();
        let callback = up_to_callback(stage, &mut browser, "alice").await.location().into();
        all.push((browser, callback));
    }
    all
}

/// Lets all of them come at once; keys are answered only when every code has been redeemed.
async fn come_at_once(stage: &Stage, all: Vec<(Browser, String)>) -> Vec<(Browser, crate::support::Reply)> {
    let gate = Arc::new(Semaphore::new(0));
    let tokens = stage.provider.requests(Endpoint::Token);
    let hold = Arc::clone(&gate);
    stage.provider.set(|b| {
        b.faults.insert(Endpoint::Jwks, Fault { hold: Some(hold), ..Fault::default() });
    });
    let mut running = JoinSet::new();
    for (mut browser, callback) in all {
        running.spawn(async move {
            let reply = browser.get(&callback).await;
            (browser, reply)
        });
    }
    stage.provider.wait_for_requests(Endpoint::Token, tokens + MANY).await;
    gate.close();
    let replies = running.join_all().await;
    stage.provider.set(|b| {
        b.faults.remove(&Endpoint::Jwks);
    });
    replies
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_unknown_keys_costs_one_look_at_the_keys() {
    let stage = stage(|_| (), PATIENT).await;
    let all = waiting(&stage).await;
    let before = stage.provider.requests(Endpoint::Jwks);
    let discoveries = stage.provider.requests(Endpoint::Discovery);
    stage.provider.set(|b| b.signing_key = SigningKey::Stray);
    for (mut browser, reply) in come_at_once(&stage, all).await {
        UNACCEPTED.check(&reply, true);
        opens_nothing(&stage, &mut browser).await;
    }
    let mut browser = stage.browser();
    UNACCEPTED.check(&stage.sign_in(&mut browser, APP, "alice").await, true);
    assert_eq!(stage.provider.requests(Endpoint::Jwks), before + 1);
    assert_eq!(stage.provider.requests(Endpoint::Discovery), discoveries + 1);
    // Those who are signed by known keys are not held up by it.
    stage.provider.set(|b| b.signing_key = SigningKey::Published);
    stage.sign_in(&mut stage.browser(), APP, "alice").await.is(200);
    assert_eq!(stage.provider.requests(Endpoint::Jwks), before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_under_many_logins_costs_one_look_and_no_login() {
    for keep_old in [true, false] {
        let stage = stage(|_| (), PATIENT).await;
        let all = waiting(&stage).await;
        let before = stage.provider.requests(Endpoint::Jwks);
        stage.provider.rotate(keep_old).unwrap();
        for (mut browser, reply) in come_at_once(&stage, all).await {
            reply.is(302);
            stage.check("traefik", &mut browser, APP).await.is(200);
        }
        assert_eq!(stage.provider.requests(Endpoint::Jwks), before + 1);
    }
}

#[tokio::test]
async fn rotated_keys_never_need_a_restart() {
    let stage = Stage::with_key_cooldown(Duration::from_hours(1)).await;
    stage.daemon.ready().await;
    for keep_old in [true, false] {
        let before = stage.provider.requests(Endpoint::Jwks);
        let mut browser = stage.browser();
        let callback = up_to_callback(&stage, &mut browser, "alice").await;
        stage.provider.rotate(keep_old).unwrap();
        let reply = browser.get(callback.location().as_str()).await;
        if keep_old {
            reply.is(302);
            stage.sign_in(&mut stage.browser(), APP, "alice").await.is(200);
        } else {
            // Within the cooldown no further key is asked for, however often a login comes.
            UNACCEPTED.check(&reply, true);
            UNACCEPTED.check(&stage.sign_in(&mut stage.browser(), APP, "alice").await, true);
        }
        assert_eq!(stage.provider.requests(Endpoint::Jwks), before + u64::from(keep_old));
    }
}

#[tokio::test]
async fn each_cooldown_allows_one_more_look() {
    let stage = Stage::with_key_cooldown(Duration::ZERO).await;
    stage.daemon.ready().await;
    let before = stage.provider.requests(Endpoint::Jwks);
    for round in 1..=3 {
        stage.provider.rotate(false).unwrap();
        stage.sign_in(&mut stage.browser(), APP, "alice").await.is(200);
        assert_eq!(stage.provider.requests(Endpoint::Jwks), before + round);
    }
}

#[tokio::test]
async fn a_key_that_goes_before_it_is_looked_at_ends_on_a_page() {
    let stage = stage(|_| (), PATIENT).await;
    let gate = Arc::new(Semaphore::new(0));
    let hold = Arc::clone(&gate);
    stage.provider.rotate(true).unwrap();
    stage.provider.set(|b| {
        b.faults.insert(Endpoint::Jwks, Fault { hold: Some(hold), ..Fault::default() });
    });
    let before = stage.provider.requests(Endpoint::Jwks);
    let mut browser = stage.browser();
    let callback = up_to_callback(&stage, &mut browser, "alice").await.location();
    let reply = async { browser.get(callback.as_str()).await };
    let rotate = async {
        stage.provider.wait_for_requests(Endpoint::Jwks, before + 1).await;
        stage.provider.rotate(false).unwrap();
        gate.close();
    };
    let (reply, ()) = tokio::join!(reply, rotate);
    UNACCEPTED.check(&reply, true);
    // The keys that came are those of now.
    stage.sign_in(&mut browser, APP, "alice").await.is(200);
}

#[tokio::test]
async fn known_keys_serve_while_the_key_set_is_ill() {
    let faults: [fn() -> Fault; 3] = [
        || Fault::status(StatusCode::INTERNAL_SERVER_ERROR),
        || Fault { body: Some("<html>".into()), ..Fault::default() },
        || Fault { hang_up: true, ..Fault::default() },
    ];
    for fault in faults {
        let stage = stage(|_| (), PATIENT).await;
        stage.provider.set(|b: &mut Behaviour| {
            b.faults.insert(Endpoint::Jwks, fault());
            b.signing_key = SigningKey::Stray;
        });
        UNACCEPTED.check(&stage.sign_in(&mut stage.browser(), APP, "alice").await, true);
        stage.provider.set(|b| b.signing_key = SigningKey::Published);
        stage.sign_in(&mut stage.browser(), APP, "alice").await.is(200);
    }
}

/// A look at the keys that failed is not a reason to keep the old ones.
#[tokio::test]
async fn what_a_failed_look_did_not_bring_a_scheduled_one_does() {
    let clients = vec![client("proxy", Some("proxy-secret"), &["https://app.example.com"])];
    let provider = Provider::start(Config { clients, ..Config::default() }).await.unwrap();
    let settings = Settings::from_toml(&format!(
        "issuer = \"{}\"\nclient_id = \"proxy\"\nclient_secret = \"proxy-secret\"\n\
         external_host = \"https://app.example.com\"\n",
        provider.issuer()
    ));
    let assembly = Assembly::new(settings.unwrap(), World::system()).unwrap();
    let catalog = assembly.catalog.load_full();
    let ours = &catalog.providers()[0];
    ours.refresh().await.unwrap();
    provider.rotate(false).unwrap();
    let of_alice = LogoutToken { subject: Some("id-alice".to_owned()), ..LogoutToken::default() };
    let token = provider.logout_token("proxy", &of_alice).unwrap();

    let gate = Arc::new(Semaphore::new(0));
    let hold = Fault { hold: Some(Arc::clone(&gate)), ..Fault::default() };
    provider.set(|b| {
        b.faults.insert(Endpoint::Discovery, hold);
        b.faults.insert(Endpoint::Jwks, Fault::status(StatusCode::BAD_GATEWAY));
    });
    let seen = provider.requests(Endpoint::Discovery);
    let failed_look = async {
        provider.wait_for_requests(Endpoint::Discovery, seen + 1).await;
        provider.set(|b| drop(b.faults.insert(Endpoint::Discovery, Fault::status(StatusCode::BAD_GATEWAY))));
        assert!(ours.verify_logout_token(&token).await.is_err());
        provider.set(|b| b.faults.clear());
        gate.close();
    };
    let (scheduled, ()) = tokio::join!(ours.refresh(), failed_look);
    scheduled.unwrap();
    ours.verify_logout_token(&token).await.unwrap();
}
