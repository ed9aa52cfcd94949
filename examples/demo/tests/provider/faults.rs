//! The switches, and what is set at start.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use rustls::{ClientConfig, ServerConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use super::super::Visitor;
use super::{CALLBACK, Scene, request, verify};
use crate::provider::{Algorithm, Behaviour, Config, Endpoint, Fault, Jwks, Provider, PublicForm, SigningKey};

#[tokio::test]
async fn rotation_keeps_the_old_keys_or_not() {
    for keep_old in [true, false] {
        let mut scene = Scene::new().await;
        let code = scene.code().await;
        let old = scene.redeem(&code).await.json()["id_token"].clone();
        scene.provider.rotate(keep_old).unwrap();
        let jwks = scene.browser.get("/jwks").await.json();
        assert_eq!(verify(old.as_str().unwrap(), &jwks).is_some(), keep_old);
        scene.provider.end_sessions();
        scene.verified_claims().await;
    }
}

#[tokio::test]
async fn stray_keys_never_verify() {
    for key in [SigningKey::Stray, SigningKey::StrayWithPublishedId] {
        let mut scene = Scene::with(|b| b.signing_key = key).await;
        let code = scene.code().await;
        let tokens = scene.redeem(&code).await.json();
        let jwks = scene.browser.get("/jwks").await.json();
        assert_eq!(verify(tokens["id_token"].as_str().unwrap(), &jwks), None);
    }
}

#[tokio::test]
async fn a_public_key_can_be_taken_for_a_secret() {
    for form in [PublicForm::Jwk, PublicForm::Der, PublicForm::Pem] {
        let mut scene = Scene::with(|b| b.signing_key = SigningKey::PublicKeyAsSecret(form)).await;
        let code = scene.code().await;
        let tokens = scene.redeem(&code).await.json();
        let (input, signature) = tokens["id_token"].as_str().unwrap().rsplit_once('.').unwrap();
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let header: Value = serde_json::from_slice(&decode(input.split_once('.').unwrap().0)).unwrap();
        let jwks = scene.browser.get("/jwks").await.json();
        assert_eq!((&header["alg"], &header["kid"]), (&json!("HS256"), &jwks["keys"][0]["kid"]));
        if form == PublicForm::Jwk {
            let key = hmac::Key::new(hmac::HMAC_SHA256, jwks["keys"][0].to_string().as_bytes());
            hmac::verify(&key, input.as_bytes(), &decode(signature)).unwrap();
        }
    }
}

#[tokio::test]
async fn texts_can_say_what_no_value_can() {
    let mut scene = Scene::with(|b| {
        b.rewrite.token = Some(|text| text.replacen('{', "{\"twice\":1,\"twice\":1,", 1));
        b.rewrite.id_token_header = Some(|_| "header".to_owned());
        b.rewrite.id_token = Some(|_| "claims".to_owned());
        b.rewrite.userinfo = Some(|_| "userinfo".to_owned());
    })
    .await;
    let code = scene.code().await;
    let tokens = scene.redeem(&code).await;
    assert_eq!(tokens.body.matches("twice").count(), 2);
    let tokens = tokens.json();
    let parts: Vec<_> = tokens["id_token"].as_str().unwrap().split('.').collect();
    assert_eq!(parts[..2], ["header", "claims"].map(|text| URL_SAFE_NO_PAD.encode(text)));
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    assert_eq!(scene.browser.post("/userinfo", &[], &[("authorization", &bearer)]).await.body, "userinfo");
}

#[tokio::test]
async fn claims_metadata_and_key_sets_can_be_changed() {
    let mut scene = Scene::with(|b| {
        b.metadata.set("issuer", "http://other.test").remove("end_session_endpoint");
        b.id_token.set("groups", Value::Null).set("aud", json!(["a", "app"])).remove("nonce");
        b.userinfo.set("sub", "another-user");
    })
    .await;
    let metadata = scene.browser.get("/.well-known/openid-configuration").await.json();
    assert_eq!(metadata["issuer"], "http://other.test");
    assert!(metadata.get("end_session_endpoint").is_none());
    let claims = scene.verified_claims().await;
    assert_eq!((&claims["groups"], claims.get("nonce")), (&Value::Null, None));
    assert_eq!(claims["aud"], json!(["a", "app"]));

    scene.provider.set(|b| {
        b.algorithm = Algorithm::Hs256;
        b.jwks = Jwks::EmptyObject;
    });
    assert_eq!(scene.browser.get("/jwks").await.json(), json!({}));
    let metadata = scene.browser.get("/.well-known/openid-configuration").await.json();
    assert_eq!(metadata["id_token_signing_alg_values_supported"], json!(["HS256"]));
}

#[tokio::test]
async fn endpoints_fail_as_told() {
    let mut scene = Scene::new().await;
    scene.provider.set(|b| {
        b.faults.insert(Endpoint::Jwks, Fault::status(StatusCode::IM_A_TEAPOT));
    });
    assert_eq!(scene.browser.get("/jwks").await.status, StatusCode::IM_A_TEAPOT);
    scene.provider.set(|b| b.down = true);
    assert_eq!(scene.browser.get("/authorize").await.status, StatusCode::SERVICE_UNAVAILABLE);
    scene
        .provider
        .set(|b| *b = Behaviour { refuse: Some("access_denied"), malformed_errors: true, ..Behaviour::default() });
    let reply = scene.browser.get(&format!("/authorize?{}", request(&[]))).await;
    let location = reply.headers["location"].to_str().unwrap();
    assert!(location.starts_with(&format!("{CALLBACK}?error=access_denied&")), "{location}");
    assert!(location.ends_with("&state=st&te"), "{location}");
}

#[tokio::test]
async fn an_issuer_with_a_path_is_served_under_it() {
    let provider =
        Provider::start(Config { issuer: Some("https://idp.example.test/o/app/".to_owned()), ..Config::default() });
    let provider = provider.await.unwrap();
    let mut browser = Visitor::new(provider.address());
    let metadata = browser.get("/o/app/.well-known/openid-configuration").await.json();
    assert_eq!(metadata["issuer"], "https://idp.example.test/o/app/");
    assert_eq!(metadata["token_endpoint"], "https://idp.example.test/o/app/token");
    assert_eq!(browser.get("/jwks").await.status, StatusCode::NOT_FOUND);
    provider.stop().await;
}

#[tokio::test]
async fn tls_is_served_with_the_certificate_given() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let versions = |provider| ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = versions(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], signing_key.into());
    let provider =
        Provider::start(Config { tls: Some(Arc::new(tls.unwrap())), host: "localhost", ..Config::default() });
    let provider = provider.await.unwrap();
    assert!(provider.issuer().starts_with("https://localhost:"));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = rustls::crypto::aws_lc_rs::default_provider();
    let client = ClientConfig::builder_with_provider(Arc::new(client)).with_safe_default_protocol_versions();
    let client = client.unwrap().with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(provider.address()).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let mut stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap();
    let request = b"GET /jwks HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"keys\""), "{answer}");
}

#[tokio::test]
async fn an_answer_is_held_until_the_test_lets_it_go() {
    let gate = Arc::new(Semaphore::new(0));
    let scene = Scene::with(|b| {
        b.faults.insert(Endpoint::Jwks, Fault { hold: Some(Arc::clone(&gate)), ..Fault::default() });
    })
    .await;
    let mut browser = scene.browser;
    let asking = tokio::spawn(async move { browser.get("/jwks").await });
    scene.provider.wait_for_requests(Endpoint::Jwks, 1).await;
    assert!(!asking.is_finished());
    gate.add_permits(1);
    assert_eq!(asking.await.unwrap().status, StatusCode::OK);
    let seen = scene.provider.last_request(Endpoint::Jwks).unwrap();
    assert_eq!(seen.method, Method::GET);
}
