//! The provider: the code flow, what it refuses, and that the faults are what they say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use forepost::world::{Clock, UnixTime, World};
use http::StatusCode;
use openidconnect::core::{
    CoreIdTokenVerifier, CoreJsonWebKeySet, CoreProviderMetadata, CoreTokenResponse,
};
use openidconnect::{AccessTokenHash, ClientId, Nonce, OAuth2TokenResponse, TokenResponse};
use rustls::{ClientConfig, ServerConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Reply, Visitor};
use crate::provider::{
    Algorithm, Behaviour, Client, Config, Endpoint, Fault, Jwks, Provider, SigningKey,
};

const CALLBACK: &str = "http://app.localhost:1/callback";
const AFTER: &str = "http://app.localhost:1/after";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// From RFC 7636 appendix B, as is the verifier.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

#[derive(Clone)]
struct Hand(Arc<AtomicU64>);

impl Clock for Hand {
    fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.0.load(Ordering::Relaxed))
    }
}

struct Scene {
    provider: Provider,
    browser: Visitor,
    clock: Hand,
}

impl Scene {
    async fn new() -> Self {
        let clock = Hand(Arc::new(AtomicU64::new(1_000_000)));
        let client = |id: &str, secret: Option<&str>| Client {
            id: id.to_owned(),
            secret: secret.map(ToOwned::to_owned),
            redirect_uris: vec![CALLBACK.to_owned()],
            post_logout_redirect_uris: vec![AFTER.to_owned()],
        };
        let provider = Provider::start(Config {
            clients: vec![client("app", Some("se:cr+t%")), client("open", None)],
            world: World::with_clock(clock.clone()),
            ..Config::default()
        });
        let provider = provider.await.unwrap();
        let browser = Visitor::new(provider.address());
        Self {
            provider,
            browser,
            clock,
        }
    }

    /// A scene whose provider has this fault.
    async fn with(change: impl FnOnce(&mut Behaviour)) -> Self {
        let scene = Self::new().await;
        scene.provider.set(change);
        scene
    }

    /// Signs in through the form and gives the redirect to the application.
    async fn sign_in(&mut self, login: &str, request: &str) -> Reply {
        let page = self.browser.get(&format!("/authorize?{request}")).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.body);
        let form = [("request", request), ("login", login), ("password", "x")];
        self.browser.post("/login", &form, &[]).await
    }

    async fn code(&mut self) -> String {
        let back = self.sign_in("alice", &request(&[])).await;
        back.parameter("code").expect("there is a code")
    }

    async fn redeem(&mut self, code: &str) -> Reply {
        let form = redemption(code, CALLBACK, VERIFIER);
        self.browser
            .post("/token", &form, &[("authorization", &basic())])
            .await
    }

    /// Claims of a fresh ID token after its signature was checked against the key set.
    async fn verified_claims(&mut self) -> Value {
        let code = self.code().await;
        let tokens = self.redeem(&code).await.json();
        let jwks = self.browser.get("/jwks").await.json();
        verify(tokens["id_token"].as_str().unwrap(), &jwks).expect("the signature is right")
    }
}

fn request(changes: &[(&str, Option<&str>)]) -> String {
    let mut pairs = vec![
        ("response_type", "code"),
        ("client_id", "app"),
        ("redirect_uri", CALLBACK),
        ("scope", "openid profile email groups"),
        ("state", "st&te"),
        ("nonce", "n1"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in changes {
        pairs.retain(|(known, _)| known != name);
        pairs.extend(value.map(|value| (*name, value)));
    }
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

fn redemption<'a>(
    code: &'a str,
    redirect_uri: &'a str,
    verifier: &'a str,
) -> [(&'a str, &'a str); 4] {
    [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", redirect_uri),
        ("code_verifier", verifier),
    ]
}

fn basic() -> String {
    format!("Basic {}", STANDARD.encode("app:se%3Acr%2Bt%25"))
}

/// The claims, when a key of the set has signed them.
fn verify(token: &str, jwks: &Value) -> Option<Value> {
    let (input, signature) = token.rsplit_once('.')?;
    let (header, claims) = input.split_once('.')?;
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let header: Value = serde_json::from_slice(&decode(header)).unwrap();
    let key = jwks["keys"]
        .as_array()?
        .iter()
        .find(|key| key["kid"] == header["kid"])?;
    assert_eq!(key["alg"], header["alg"]);
    let member = |name: &str| decode(key[name].as_str().unwrap());
    let (input, signature) = (input.as_bytes(), decode(signature));
    let checked = match key["kty"].as_str().unwrap() {
        "EC" => {
            let point = [vec![4], member("x"), member("y")].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(input, &signature)
        }
        "OKP" => UnparsedPublicKey::new(&ED25519, member("x")).verify(input, &signature),
        _ => RsaPublicKeyComponents {
            n: member("n"),
            e: member("e"),
        }
        .verify(&RSA_PKCS1_2048_8192_SHA256, input, &signature),
    };
    checked.ok()?;
    Some(serde_json::from_slice(&decode(claims)).unwrap())
}

#[tokio::test]
async fn the_code_flow_works_and_the_second_login_is_silent() {
    let mut scene = Scene::new().await;
    let metadata = scene
        .browser
        .get("/.well-known/openid-configuration")
        .await
        .json();
    assert_eq!(metadata["issuer"], scene.provider.issuer());

    let back = scene.sign_in("alice", &request(&[])).await;
    assert_eq!(back.status, StatusCode::SEE_OTHER);
    assert_eq!(back.parameter("state").as_deref(), Some("st&te"));
    assert_eq!(
        back.parameter("iss").as_deref(),
        Some(scene.provider.issuer())
    );

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
    let userinfo = scene
        .browser
        .post("/userinfo", &[], &[("authorization", &bearer)])
        .await;
    assert_eq!(userinfo.json()["sub"], claims["sub"]);
    assert_eq!(userinfo.json()["email"], "alice@example.test");

    let silent = scene
        .browser
        .get(&format!(
            "/authorize?{}",
            request(&[("prompt", Some("none"))])
        ))
        .await;
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
        let metadata = scene
            .browser
            .get("/.well-known/openid-configuration")
            .await
            .json();
        let algorithms = metadata["id_token_signing_alg_values_supported"]
            .as_array()
            .unwrap();
        assert!(
            algorithms.contains(&json!(algorithm.name())),
            "{algorithms:?}"
        );
    }
}

/// What another implementation says: metadata, key set, signature, nonce and at_hash by the crate that does logins.
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
            CoreIdTokenVerifier::new_public_client(client, metadata.issuer().clone(), jwks)
                .set_allowed_algs(allowed);
        let claims = id_token
            .claims(&verifier, &Nonce::new("n1".to_owned()))
            .unwrap();
        let hash = AccessTokenHash::from_token(
            tokens.access_token(),
            id_token.signing_alg().unwrap(),
            id_token.signing_key(&verifier).unwrap(),
        );
        assert_eq!(
            claims.access_token_hash(),
            Some(&hash.unwrap()),
            "{algorithm:?}"
        );
    }
}

#[tokio::test]
async fn the_token_endpoint_refuses_what_does_not_fit() {
    #[track_caller]
    fn check(reply: &Reply, status: u16, error: &str) {
        assert_eq!(
            (reply.status.as_u16(), reply.json()["error"].as_str()),
            (status, Some(error))
        );
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
        let reply = scene
            .browser
            .post("/token", &form, &[("authorization", authorization)])
            .await;
        check(&reply, status, error);
    }

    scene.provider.end_sessions();
    let code = scene.code().await;
    scene.clock.0.fetch_add(60, Ordering::Relaxed);
    check(&scene.redeem(&code).await, 400, "invalid_grant");

    scene.provider.end_sessions();
    let code = scene.code().await;
    let form = [
        redemption(&code, CALLBACK, VERIFIER).as_slice(),
        &[("client_id", "open")],
    ]
    .concat();
    check(
        &scene.browser.post("/token", &form, &[]).await,
        400,
        "invalid_grant",
    );
}

#[tokio::test]
async fn a_code_used_twice_ends_the_tokens_of_its_first_use() {
    let mut scene = Scene::new().await;
    let code = scene.code().await;
    let tokens = scene.redeem(&code).await.json();
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let again = scene.redeem(&code).await;
    assert_eq!(again.json()["error"], "invalid_grant");
    let userinfo = scene
        .browser
        .post("/userinfo", &[], &[("authorization", &bearer)])
        .await;
    assert_eq!(userinfo.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn all_ways_of_client_authentication_work() {
    for (client, secret, behave) in [
        ("app", Some("se:cr+t%"), false),
        ("open", None, false),
        ("app", None, true),
    ] {
        let mut scene = Scene::with(|b| b.raw_basic = behave).await;
        let back = scene
            .sign_in("bob", &request(&[("client_id", Some(client))]))
            .await;
        let code = back.parameter("code").unwrap();
        let mut form = redemption(&code, CALLBACK, VERIFIER).to_vec();
        let raw = format!("Basic {}", STANDARD.encode("app:se:cr+t%"));
        let headers: &[_] = if behave {
            &[("authorization", raw.as_str())]
        } else {
            &[]
        };
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
        let reply = scene
            .browser
            .get(&format!("/authorize?{}", request(&changes)))
            .await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{changes:?}");
    }
}

#[tokio::test]
async fn errors_go_back_to_the_application() {
    let mut scene = Scene::new().await;
    for (name, value, error) in [
        ("prompt", Some("none"), "login_required"),
        ("response_type", Some("token"), "unsupported_response_type"),
        ("scope", Some("profile"), "invalid_scope"),
        ("code_challenge_method", Some("plain"), "invalid_request"),
        ("code_challenge_method", None, "invalid_request"),
        ("code_challenge", None, "invalid_request"),
        ("response_mode", Some("fragment"), "invalid_request"),
    ] {
        let reply = scene
            .browser
            .get(&format!("/authorize?{}", request(&[(name, value)])))
            .await;
        assert_eq!(
            reply.parameter("error").as_deref(),
            Some(error),
            "{name} {value:?}"
        );
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
    let reply = scene
        .browser
        .post("/login", &form, &[("sec-fetch-site", "cross-site")])
        .await;
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
        let mut form = vec![
            ("id_token_hint", tokens["id_token"].as_str().unwrap()),
            ("state", "s"),
        ];
        form.extend(after.map(|after| ("post_logout_redirect_uri", after)));
        form.extend(client.map(|client| ("client_id", client)));
        let reply = scene.browser.post("/end-session", &form, &[]).await;
        assert_eq!(reply.status, status, "{after:?} {client:?}");
        if status == StatusCode::SEE_OTHER {
            assert_eq!(reply.location().as_str(), format!("{AFTER}?state=s"));
        }
        let request = request(&[("prompt", Some("none"))]);
        let silent = scene.browser.get(&format!("/authorize?{request}")).await;
        assert_eq!(
            silent.parameter("error").is_some(),
            status != StatusCode::BAD_REQUEST
        );
    }
}

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
async fn claims_metadata_and_key_sets_can_be_changed() {
    let mut scene = Scene::with(|b| {
        b.metadata
            .set("issuer", "http://other.test")
            .remove("end_session_endpoint");
        b.id_token
            .set("groups", Value::Null)
            .set("aud", json!(["a", "app"]))
            .remove("nonce");
        b.userinfo.set("sub", "somebody-else");
    })
    .await;
    let metadata = scene
        .browser
        .get("/.well-known/openid-configuration")
        .await
        .json();
    assert_eq!(metadata["issuer"], "http://other.test");
    assert!(metadata.get("end_session_endpoint").is_none());
    let claims = scene.verified_claims().await;
    assert_eq!(
        (&claims["groups"], claims.get("nonce")),
        (&Value::Null, None)
    );
    assert_eq!(claims["aud"], json!(["a", "app"]));

    scene.provider.set(|b| {
        b.algorithm = Algorithm::Hs256;
        b.jwks = Jwks::EmptyObject;
    });
    assert_eq!(scene.browser.get("/jwks").await.json(), json!({}));
    let metadata = scene
        .browser
        .get("/.well-known/openid-configuration")
        .await
        .json();
    assert_eq!(
        metadata["id_token_signing_alg_values_supported"],
        json!(["HS256"])
    );
}

#[tokio::test]
async fn endpoints_fail_as_told() {
    let mut scene = Scene::new().await;
    scene.provider.set(|b| {
        b.faults
            .insert(Endpoint::Jwks, Fault::status(StatusCode::IM_A_TEAPOT));
    });
    assert_eq!(
        scene.browser.get("/jwks").await.status,
        StatusCode::IM_A_TEAPOT
    );
    scene.provider.set(|b| b.down = true);
    assert_eq!(
        scene.browser.get("/authorize").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    scene.provider.set(|b| {
        *b = Behaviour {
            refuse: Some("access_denied"),
            malformed_errors: true,
            ..Behaviour::default()
        }
    });
    let reply = scene
        .browser
        .get(&format!("/authorize?{}", request(&[])))
        .await;
    let location = reply.headers["location"].to_str().unwrap();
    assert!(
        location.starts_with(&format!("{CALLBACK}?error=access_denied&")),
        "{location}"
    );
    assert!(location.ends_with("&state=st&te"), "{location}");
}

#[tokio::test]
async fn an_issuer_with_a_path_is_served_under_it() {
    let provider = Provider::start(Config {
        issuer: Some("https://idp.example.test/o/app/".to_owned()),
        ..Config::default()
    });
    let provider = provider.await.unwrap();
    let mut browser = Visitor::new(provider.address());
    let metadata = browser
        .get("/o/app/.well-known/openid-configuration")
        .await
        .json();
    assert_eq!(metadata["issuer"], "https://idp.example.test/o/app/");
    assert_eq!(
        metadata["token_endpoint"],
        "https://idp.example.test/o/app/token"
    );
    assert_eq!(browser.get("/jwks").await.status, StatusCode::NOT_FOUND);
    provider.stop().await;
}

#[tokio::test]
async fn tls_is_served_with_the_certificate_given() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let versions = |provider| {
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
    };
    let tls = versions(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], signing_key.into());
    let provider = Provider::start(Config {
        tls: Some(Arc::new(tls.unwrap())),
        host: "localhost",
        ..Config::default()
    });
    let provider = provider.await.unwrap();
    assert!(provider.issuer().starts_with("https://localhost:"));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = rustls::crypto::aws_lc_rs::default_provider();
    let client =
        ClientConfig::builder_with_provider(Arc::new(client)).with_safe_default_protocol_versions();
    let client = client
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(provider.address()).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let mut stream = TlsConnector::from(Arc::new(client))
        .connect(name, stream)
        .await
        .unwrap();
    let request = b"GET /jwks HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"keys\""),
        "{answer}"
    );
}
