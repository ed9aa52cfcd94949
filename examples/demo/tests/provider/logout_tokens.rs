//! Logout tokens, as forepost verifies them; what they must say is tested beside its parser.

use std::sync::atomic::Ordering;

use forepost::oidc::{LogoutToken as Accepted, LogoutTokenError, Provider as Known};
use forepost::telemetry::WithCauses;
use http::StatusCode;
use serde_json::json;

use super::Scene;
use super::refresh::known;
use crate::provider::{Algorithm, Behaviour, Endpoint, Fault, Jwks, LogoutToken, PublicForm, SigningKey};

async fn scene(change: impl FnOnce(&mut Behaviour)) -> (Scene, Known) {
    let scene = Scene::with(change).await;
    let known = known(&scene).await;
    (scene, known)
}

fn alice() -> LogoutToken {
    LogoutToken { subject: Some("id-alice".to_owned()), session: Some("s1".to_owned()), ..LogoutToken::default() }
}

async fn send(scene: &Scene, known: &Known, token: &LogoutToken) -> Result<Accepted, LogoutTokenError> {
    known.verify_logout_token(&scene.provider.logout_token("app", token).unwrap()).await
}

#[tokio::test]
async fn logout_tokens_of_every_algorithm_are_accepted() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Hs256] {
        let (scene, known) = scene(|b| b.algorithm = algorithm).await;
        let logout = send(&scene, &known, &alice()).await.unwrap();
        assert_eq!((logout.subject.as_deref(), logout.session_id.as_deref()), (Some("id-alice"), Some("s1")));
        assert_eq!(logout.issued_at.as_secs(), 1_000_000);
        assert_eq!(logout.expires_at.as_secs(), 1_000_000 + 120 + 60);
        assert_eq!(scene.provider.requests(Endpoint::Jwks), 1, "{algorithm:?}");
    }
}

/// Where the provider signs with the client secret and has no keys at all.
#[tokio::test]
async fn a_provider_without_keys_can_log_out() {
    let (scene, known) = scene(|b| {
        b.algorithm = Algorithm::Hs256;
        b.jwks = Jwks::EmptyObject;
    })
    .await;
    send(&scene, &known, &alice()).await.unwrap();
    let es256 = LogoutToken { algorithm: Some(Algorithm::Es256), ..alice() };
    assert!(matches!(send(&scene, &known, &es256).await, Err(LogoutTokenError::Invalid(_))));
}

#[tokio::test]
async fn what_the_provider_did_not_sign_is_refused() {
    async fn check(token: LogoutToken, why: &str) {
        let (scene, known) = scene(|_| ()).await;
        let error = WithCauses(&send(&scene, &known, &token).await.unwrap_err()).to_string();
        assert!(error.contains(why), "{error:?} does not say {why:?}");
    }
    let signed = |signing_key| LogoutToken { signing_key, ..alice() };
    let by = |algorithm| LogoutToken { algorithm: Some(algorithm), ..alice() };
    check(signed(SigningKey::Stray), "key set").await;
    check(signed(SigningKey::StrayWithPublishedId), "`kid`").await;
    for form in [PublicForm::Jwk, PublicForm::Der, PublicForm::Pem] {
        check(signed(SigningKey::PublicKeyAsSecret(form)), "metadata announce").await;
    }
    check(by(Algorithm::Hs256), "metadata announce").await;
    check(by(Algorithm::None), "not signed").await;
    let mut confused = alice();
    confused.header.set("alg", "EdDSA");
    check(confused, "key set").await;
    let mut number = alice();
    number.header.set("kid", 7);
    check(number, "kid").await;
    let mut wrong = alice();
    wrong.header.set("typ", "at+jwt");
    check(wrong, "typ").await;
    let mut wrong = alice();
    wrong.claims.set("nonce", "n1");
    check(wrong, "nonce").await;
    check(LogoutToken::default(), "neither").await;
}

#[tokio::test]
async fn a_token_without_a_key_name_is_tried_with_every_key() {
    let (scene, known) = scene(|_| ()).await;
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let mut nameless = LogoutToken { algorithm: Some(algorithm), ..alice() };
        nameless.header.remove("kid");
        send(&scene, &known, &nameless).await.unwrap();
    }
}

/// Several registrations share the address: each knows its own tokens, before any work is done.
#[tokio::test]
async fn tokens_of_others_are_told_apart() {
    let (scene, known) = scene(|_| ()).await;
    let open = scene.provider.logout_token("open", &alice()).unwrap();
    assert!(matches!(known.verify_logout_token(&open).await, Err(LogoutTokenError::Foreign)));
    let mut both = LogoutToken { signing_key: SigningKey::Stray, ..alice() };
    both.claims.set("iss", "http://other.test");
    assert!(matches!(send(&scene, &known, &both).await, Err(LogoutTokenError::Foreign)));
    both.claims.set("iss", scene.provider.issuer()).set("aud", json!(["open", "app"]));
    both.signing_key = SigningKey::Published;
    send(&scene, &known, &both).await.unwrap();
    assert_eq!(scene.provider.requests(Endpoint::Jwks), 1);
}

#[tokio::test]
async fn new_keys_are_looked_for_once_in_a_while() {
    let (scene, known) = scene(|_| ()).await;
    scene.provider.rotate(false).unwrap();
    send(&scene, &known, &alice()).await.unwrap();
    assert_eq!(scene.provider.requests(Endpoint::Jwks), 2);
    // A flood costs nothing more, and what cannot be right costs nothing at all.
    for _ in 0..20 {
        let stray = LogoutToken { signing_key: SigningKey::Stray, ..alice() };
        assert!(matches!(send(&scene, &known, &stray).await, Err(LogoutTokenError::UnknownKey(_))));
    }
    assert_eq!(scene.provider.requests(Endpoint::Jwks), 2);
    send(&scene, &known, &alice()).await.unwrap();
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_another_matter_than_a_wrong_token() {
    let (scene, known) = scene(|_| ()).await;
    scene.provider.rotate(false).unwrap();
    scene.provider.set(|b| drop(b.faults.insert(Endpoint::Jwks, Fault::status(StatusCode::BAD_GATEWAY))));
    assert!(matches!(send(&scene, &known, &alice()).await, Err(LogoutTokenError::UnknownKey(_))));
}

#[tokio::test]
async fn logout_tokens_end() {
    let (scene, known) = scene(|_| ()).await;
    let token = scene.provider.logout_token("app", &alice()).unwrap();
    scene.clock.0.fetch_add(179, Ordering::Relaxed);
    known.verify_logout_token(&token).await.unwrap();
    scene.clock.0.fetch_add(1, Ordering::Relaxed);
    assert!(matches!(known.verify_logout_token(&token).await, Err(LogoutTokenError::Invalid(_))));
}
