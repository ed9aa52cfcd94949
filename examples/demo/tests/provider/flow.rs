//! The honest provider.

use std::sync::atomic::Ordering;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use forepost::world::World;
use http::StatusCode;
use openidconnect::core::{CoreIdTokenVerifier, CoreJsonWebKeySet, CoreProviderMetadata, CoreTokenResponse};
use openidconnect::{AccessTokenHash, ClientId, Nonce, OAuth2TokenResponse, TokenResponse};
use serde_json::json;

use super::super::Reply;
use super::{AFTER, CALLBACK, Scene, VERIFIER, basic, redemption, request, verify};
use crate::provider::{Algorithm, Endpoint};

#[tokio::test]
async fn the_code_flow_works_and_the_second_login_is_silent() {
    let mut scene = Scene::new().await;
    let metadata = scene.browser.get("/.well-known/openid-configuration").await.json();
    assert_eq!(metadata["issuer"], scene.provider.issuer());

    let back = scene.sign_in("alice", &request(&[])).await;
    assert_eq!(back.status, StatusCode::SEE_OTHER);
    assert_eq!(back.parameter("state").as_deref(), Some("st&te"));
    assert_eq!(back.parameter("iss").as_deref(), Some(scene.provider.issuer()));

    let tokens = scene.redeem(&back.parameter("code").unwrap()).await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    let tokens = tokens.json();
    let jwks = scene.browser.get("/jwks").await.json();
    let claims = verify(tokens["id_token"].as_str().unwrap(), &jwks).unwrap();
    assert_eq!(claims["iss"], scene.provider.issuer());
    assert_eq!(claims["aud"], "app");
    assert_eq!(claims["nonce"], "n1");
    assert_eq!(claims["iat"], 1_000_000);
    assert_eq!(claims["name"], "Alice Ärger");
    assert_eq!(claims["groups"], json!(["admins", "staff"]));

    let bearer = format!("bearer {}", tokens["access_token"].as_str().unwrap());
    let userinfo = scene.browser.post("/userinfo", &[], &[("authorization", &bearer)]).await;
    assert_eq!(userinfo.json()["sub"], claims["sub"]);
    assert_eq!(userinfo.json()["email"], "alice@example.test");

    let silent = scene.browser.get(&format!("/authorize?{}", request(&[("prompt", Some("none"))]))).await;
    assert!(silent.parameter("code").is_some());
    assert_eq!(scene.provider.requests(Endpoint::Authorize), 2);
    assert_eq!(scene.provider.requests(Endpoint::Jwks), 1);
}

#[tokio::test]
async fn every_algorithm_is_verifiable_by_the_key_set() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
        let mut scene = Scene::with(|b| b.algorithm = algorithm).await;
        let claims = scene.verified_claims().await;
        assert_eq!(claims["sub"], "id-alice");
        let metadata = scene.browser.get("/.well-known/openid-configuration").await.json();
        let algorithms = metadata["id_token_signing_alg_values_supported"].as_array().unwrap();
        assert!(algorithms.contains(&json!(algorithm.name())), "{algorithms:?}");
    }
}

/// What another implementation says: metadata, key set, signature, nonce and `at_hash` by the crate that does logins.
#[tokio::test]
async fn a_library_accepts_the_login() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
        let mut scene = Scene::with(|b| b.algorithm = algorithm).await;
        // The library goes by the real clock.
        let now = World::system().now().as_secs();
        scene.clock.0.store(now, Ordering::Relaxed);
        let metadata = scene.browser.get("/.well-known/openid-configuration").await;
        let metadata: CoreProviderMetadata = serde_json::from_str(&metadata.body).unwrap();
        let jwks = scene.browser.get("/jwks").await;
        let jwks: CoreJsonWebKeySet = serde_json::from_str(&jwks.body).unwrap();
        let code = scene.code().await;
        let tokens = scene.redeem(&code).await;
        let tokens: CoreTokenResponse = serde_json::from_str(&tokens.body).unwrap();

        let id_token = tokens.id_token().unwrap();
        let client = ClientId::new("app".to_owned());
        let allowed = metadata.id_token_signing_alg_values_supported().clone();
        let verifier =
            CoreIdTokenVerifier::new_public_client(client, metadata.issuer().clone(), jwks).set_allowed_algs(allowed);
        let claims = id_token.claims(&verifier, &Nonce::new("n1".to_owned())).unwrap();
        let hash = AccessTokenHash::from_token(
            tokens.access_token(),
            id_token.signing_alg().unwrap(),
            id_token.signing_key(&verifier).unwrap(),
        );
        assert_eq!(claims.access_token_hash(), Some(&hash.unwrap()), "{algorithm:?}");
    }
}

#[tokio::test]
async fn the_token_endpoint_refuses_what_does_not_fit() {
    #[track_caller]
    fn check(reply: &Reply, status: u16, error: &str) {
        assert_eq!((reply.status.as_u16(), reply.json()["error"].as_str()), (status, Some(error)));
    }
    let mut scene = Scene::new().await;
    let right = basic();
    let wrong = format!("Basic {}", STANDARD.encode("app:wrong"));
    let raw = format!("Basic {}", STANDARD.encode("app:se:cr+t%"));
    for (redirect_uri, verifier, authorization, status, error) in [
        (CALLBACK, "another-verifier", &right, 400, "invalid_grant"),
        (CALLBACK, "", &right, 400, "invalid_grant"),
        (AFTER, VERIFIER, &right, 400, "invalid_grant"),
        (CALLBACK, VERIFIER, &wrong, 401, "invalid_client"),
        (CALLBACK, VERIFIER, &raw, 401, "invalid_client"),
    ] {
        scene.provider.end_sessions();
        let code = scene.code().await;
        let form = redemption(&code, redirect_uri, verifier);
        let reply = scene.browser.post("/token", &form, &[("authorization", authorization)]).await;
        check(&reply, status, error);
    }

    scene.provider.end_sessions();
    let code = scene.code().await;
    scene.clock.0.fetch_add(60, Ordering::Relaxed);
    check(&scene.redeem(&code).await, 400, "invalid_grant");

    scene.provider.end_sessions();
    let code = scene.code().await;
    let form = [redemption(&code, CALLBACK, VERIFIER).as_slice(), &[("client_id", "open")]].concat();
    check(&scene.browser.post("/token", &form, &[]).await, 400, "invalid_grant");
}

#[tokio::test]
async fn a_code_used_twice_ends_the_tokens_of_its_first_use() {
    let mut scene = Scene::new().await;
    let code = scene.code().await;
    let tokens = scene.redeem(&code).await.json();
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let again = scene.redeem(&code).await;
    assert_eq!(again.json()["error"], "invalid_grant");
    let userinfo = scene.browser.post("/userinfo", &[], &[("authorization", &bearer)]).await;
    assert_eq!(userinfo.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn all_ways_of_client_authentication_work() {
    for (client, secret, behave) in [("app", Some("se:cr+t%"), false), ("open", None, false), ("app", None, true)] {
        let mut scene = Scene::with(|b| b.raw_basic = behave).await;
        let back = scene.sign_in("bob", &request(&[("client_id", Some(client))])).await;
        let code = back.parameter("code").unwrap();
        let mut form = redemption(&code, CALLBACK, VERIFIER).to_vec();
        let raw = format!("Basic {}", STANDARD.encode("app:se:cr+t%"));
        let headers: &[_] = if behave { &[("authorization", raw.as_str())] } else { &[] };
        if !behave {
            form.push(("client_id", client));
            form.extend(secret.map(|secret| ("client_secret", secret)));
        }
        let reply = scene.browser.post("/token", &form, headers).await;
        assert_eq!(reply.status, StatusCode::OK, "{client} {}", reply.body);
    }
}

#[tokio::test]
async fn nothing_is_sent_to_an_address_that_is_not_registered() {
    let mut scene = Scene::new().await;
    for changes in [
        [("redirect_uri", Some("http://app.localhost:1/callback/"))],
        [("redirect_uri", Some("http://app.localhost:1/callback?x=1"))],
        [("redirect_uri", None)],
        [("client_id", Some("unknown"))],
        [("client_id", None)],
    ] {
        let reply = scene.browser.get(&format!("/authorize?{}", request(&changes))).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{changes:?}");
    }
}

#[tokio::test]
async fn errors_go_back_to_the_application() {
    let mut scene = Scene::new().await;
    for (name, value, error) in [
        ("prompt", Some("none"), "login_required"),
        ("prompt", Some("none login"), "invalid_request"),
        ("response_type", Some("token"), "unsupported_response_type"),
        ("scope", Some("profile"), "invalid_scope"),
        ("code_challenge_method", Some("plain"), "invalid_request"),
        ("code_challenge_method", None, "invalid_request"),
        ("code_challenge", None, "invalid_request"),
        ("response_mode", Some("fragment"), "invalid_request"),
    ] {
        let reply = scene.browser.get(&format!("/authorize?{}", request(&[(name, value)]))).await;
        assert_eq!(reply.parameter("error").as_deref(), Some(error), "{name} {value:?}");
        assert_eq!(reply.parameter("state").as_deref(), Some("st&te"));
    }
}

#[tokio::test]
async fn a_login_is_asked_for_when_the_application_wants_a_fresh_one() {
    let mut scene = Scene::new().await;
    scene.code().await;
    scene.clock.0.fetch_add(100, Ordering::Relaxed);
    for (name, value, status) in [
        ("max_age", "100", StatusCode::SEE_OTHER),
        ("max_age", "99", StatusCode::OK),
        ("prompt", "login", StatusCode::OK),
        ("prompt", "consent", StatusCode::SEE_OTHER),
    ] {
        let request = request(&[(name, Some(value))]);
        let reply = scene.browser.get(&format!("/authorize?{request}")).await;
        assert_eq!(reply.status, status, "{name}={value}");
    }
}

#[tokio::test]
async fn the_login_form_refuses_strangers_and_other_sites_and_escapes() {
    let mut scene = Scene::new().await;
    let request = request(&[("login_hint", Some("\"><script>"))]);
    let page = scene.browser.get(&format!("/authorize?{request}")).await;
    assert!(!page.body.contains("<script>"), "{}", page.body);
    let form = [("request", request.as_str()), ("login", "mallory")];
    let reply = scene.browser.post("/login", &form, &[]).await;
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY);
    let form = [("request", request.as_str()), ("login", "alice")];
    let reply = scene.browser.post("/login", &form, &[("sec-fetch-site", "cross-site")]).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(scene.browser.cookie, None);
}

#[tokio::test]
async fn logout_ends_the_sign_on_and_goes_to_registered_addresses_only() {
    for (after, client, status) in [
        (Some(AFTER), Some("app"), StatusCode::SEE_OTHER),
        (Some(AFTER), None, StatusCode::SEE_OTHER),
        (Some("http://evil.test/"), Some("app"), StatusCode::OK),
        (None, None, StatusCode::OK),
        (Some(AFTER), Some("open"), StatusCode::BAD_REQUEST),
    ] {
        let mut scene = Scene::new().await;
        let code = scene.code().await;
        let tokens = scene.redeem(&code).await.json();
        let mut form = vec![("id_token_hint", tokens["id_token"].as_str().unwrap()), ("state", "s")];
        form.extend(after.map(|after| ("post_logout_redirect_uri", after)));
        form.extend(client.map(|client| ("client_id", client)));
        let reply = scene.browser.post("/end-session", &form, &[]).await;
        assert_eq!(reply.status, status, "{after:?} {client:?}");
        if status == StatusCode::SEE_OTHER {
            assert_eq!(reply.location().as_str(), format!("{AFTER}?state=s"));
        }
        let request = request(&[("prompt", Some("none"))]);
        let silent = scene.browser.get(&format!("/authorize?{request}")).await;
        assert_eq!(silent.parameter("error").is_some(), status != StatusCode::BAD_REQUEST);
    }
}
