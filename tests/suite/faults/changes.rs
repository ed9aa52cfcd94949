//! A provider that changes: how it signs, where its keys are, how it spells itself.

use std::time::Duration;

use forepost::world::World;
use http::StatusCode;

use super::odd::{Manner, Odd};
use super::{APP, PATIENT, UNACCEPTED, stage, up_to_callback};
use crate::provider::{Algorithm, Behaviour, Endpoint, Fault, LogoutToken, SigningKey};
use crate::support::{Browser, Stage};

const HOUR: Duration = Duration::from_hours(1);

const BACK_CHANNEL: &str = "http://forepost.internal/outpost.goauthentik.io/backchannel-logout";

/// What is answered to who asks whether requests can be answered, and whether logins would work.
async fn readiness(stage: &Stage) -> (u16, u16) {
    let mut operator = Browser::new().route("*", stage.daemon.metrics_address().unwrap());
    let ready = operator.get("http://x/ready").await.status.as_u16();
    (ready, operator.get("http://x/ready?logins").await.status.as_u16())
}

async fn log_out(stage: &Stage, token: &LogoutToken) -> StatusCode {
    let token = stage.provider.logout_token("proxy", token).unwrap();
    stage.browser().post(BACK_CHANNEL, &format!("logout_token={token}")).await.status
}

fn of_alice() -> LogoutToken {
    LogoutToken { subject: Some("id-alice".into()), ..LogoutToken::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_signs_in_another_way_is_looked_at_again_once() {
    let algorithms = [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es384, Algorithm::EdDsa, Algorithm::Hs256];
    for algorithm in algorithms {
        let stage = Stage::with_key_cooldown(HOUR).await;
        stage.daemon.ready().await;
        let mut alice = stage.browser();
        stage.sign_in(&mut alice, APP, "alice").await.is(200);
        let looks = || [Endpoint::Discovery, Endpoint::Jwks].map(|it| stage.provider.requests(it));
        let before = looks();
        stage.provider.set(|b| b.algorithm = algorithm);
        for user in ["bob", "alice", "bob"] {
            stage.sign_in(&mut stage.browser(), APP, user).await.is(200);
        }
        // EdDSA was announced, and its key known, all the time.
        let changed = u64::from(algorithm != Algorithm::EdDsa);
        assert_eq!(looks(), before.map(|count| count + changed), "{algorithm:?}");
        assert_eq!(readiness(&stage).await, (200, 200), "{algorithm:?}");
        assert_eq!(log_out(&stage, &of_alice()).await, 200, "{algorithm:?}");
        let out = stage.check("traefik", &mut alice, APP).await;
        assert_eq!(out.is(302).location().path(), "/authorize", "{algorithm:?}");
        assert_eq!(looks(), before.map(|count| count + changed), "{algorithm:?}");
    }
}

/// What comes first after the change may be a logout token or a refresh.
#[tokio::test]
async fn a_logout_token_finds_out_that_the_provider_signs_in_another_way() {
    let stage = Stage::with_key_cooldown(HOUR).await;
    stage.daemon.ready().await;
    let mut alice = stage.browser();
    stage.sign_in(&mut alice, APP, "alice").await.is(200);
    let before = stage.provider.requests(Endpoint::Discovery);
    stage.provider.set(|b| b.algorithm = Algorithm::Hs256);
    assert_eq!(log_out(&stage, &of_alice()).await, 200);
    stage.check("traefik", &mut alice, APP).await.is(302);
    assert_eq!(stage.provider.requests(Endpoint::Discovery), before + 1);
}

#[tokio::test]
async fn keys_that_moved_are_found() {
    let elsewhere = Odd::start(Manner::Object).await;
    let old = elsewhere.url();
    let announce = |b: &mut Behaviour| {
        b.metadata.set("jwks_uri", old);
    };
    let stage = stage(announce, PATIENT).await;
    let before = stage.provider.requests(Endpoint::Discovery);
    stage.provider.set(|b| b.metadata = Behaviour::default().metadata);
    for user in ["alice", "bob"] {
        stage.sign_in(&mut stage.browser(), APP, user).await.is(200);
    }
    assert_eq!(stage.provider.requests(Endpoint::Discovery), before + 1);
}

/// The issuer is compared to the last character, so only the operator or the provider can help; forepost says what is wrong.
#[tokio::test]
async fn an_issuer_that_is_spelled_in_another_way_is_told_of() {
    let stage = Stage::with_key_cooldown(HOUR).await;
    stage.daemon.ready().await;
    let respelled = stage.provider.issuer().replace("idp", "IDP");
    assert_ne!(respelled, stage.provider.issuer());
    stage.provider.set(|b| {
        b.id_token.set("iss", respelled.clone());
        b.metadata.set("issuer", respelled);
    });
    let before = stage.provider.requests(Endpoint::Discovery);
    for _ in 0..3 {
        let reply = stage.sign_in(&mut stage.browser(), APP, "alice").await;
        UNACCEPTED.check(&reply, true);
        reply.contains("The claim iss of the token is not identity_provider.issuer");
        assert_eq!(readiness(&stage).await, (200, 503));
    }
    assert_eq!(stage.provider.requests(Endpoint::Discovery), before + 1, "as often as the cooldown allows");
    stage.provider.set(|b| *b = Behaviour::default());
    stage.sign_in(&mut stage.browser(), APP, "alice").await.is(200);
    assert_eq!(readiness(&stage).await, (200, 200));
}

/// Where it could not be asked when a login failed, it is asked again soon, although no user signs in.
#[tokio::test]
async fn readiness_for_logins_comes_back_by_itself() {
    let stage = Stage::with_key_cooldown(Duration::from_secs(1)).await;
    stage.daemon.ready().await;
    assert_eq!(readiness(&stage).await, (200, 200));
    stage.provider.set(|b| {
        for endpoint in [Endpoint::Discovery, Endpoint::Jwks] {
            b.faults.insert(endpoint, Fault::status(StatusCode::BAD_GATEWAY));
        }
    });
    stage.provider.rotate(false).unwrap();
    UNACCEPTED.check(&stage.sign_in(&mut stage.browser(), APP, "alice").await, true);
    assert_eq!(readiness(&stage).await, (200, 503));
    stage.provider.set(|b| b.faults.clear());
    while readiness(&stage).await != (200, 200) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let known = stage.provider.requests(Endpoint::Jwks);
    stage.sign_in(&mut stage.browser(), APP, "alice").await.is(200);
    assert_eq!(stage.provider.requests(Endpoint::Jwks), known);
}

/// Discovery is ill, and the keys can be had where they were.
#[tokio::test]
async fn new_keys_need_no_discovery() {
    let stage = stage(|_| (), PATIENT).await;
    stage.provider.set(|b| {
        b.faults.insert(Endpoint::Discovery, Fault::status(StatusCode::BAD_GATEWAY));
    });
    stage.provider.rotate(false).unwrap();
    stage.sign_in(&mut stage.browser(), APP, "alice").await.is(200);
    assert_eq!(readiness(&stage).await, (200, 200));
}

/// What anybody can send says nothing about logins.
///
/// SECURITY: 90, 137
#[tokio::test]
async fn tokens_of_strangers_change_no_readiness() {
    let stage = Stage::with_key_cooldown(HOUR).await;
    stage.daemon.ready().await;
    let looks = || [Endpoint::Discovery, Endpoint::Jwks].map(|it| stage.provider.requests(it));
    let before = looks();
    for algorithm in [Algorithm::Es256, Algorithm::Rs256, Algorithm::Hs256, Algorithm::None] {
        let stray = LogoutToken { algorithm: Some(algorithm), signing_key: SigningKey::Stray, ..of_alice() };
        for _ in 0..10 {
            assert_ne!(log_out(&stage, &stray).await, 200);
        }
    }
    assert_eq!(looks(), before.map(|count| count + 1));
    assert_eq!(readiness(&stage).await, (200, 200));
}

/// Each login fails for itself; what is asked of the provider does not grow with them.
#[tokio::test]
async fn logins_that_fail_are_no_flood_of_discoveries() {
    let tune = |settings: &mut forepost::settings::Settings| {
        for provider in settings.identity_providers.values_mut() {
            provider.jwks_cooldown = HOUR;
        }
    };
    let stage = Stage::tuned(World::system(), |_| (), tune).await;
    stage.daemon.ready().await;
    let looks = || [Endpoint::Discovery, Endpoint::Jwks].map(|it| stage.provider.requests(it));
    let before = looks();
    stage.provider.set(|b| b.signing_key = SigningKey::Stray);
    for _ in 0..20 {
        let mut browser = stage.browser();
        let callback = up_to_callback(&stage, &mut browser, "alice").await;
        UNACCEPTED.check(&browser.get(callback.location().as_str()).await, true);
    }
    assert_eq!(looks(), before.map(|count| count + 1));
    assert_eq!(readiness(&stage).await, (200, 503));
}
