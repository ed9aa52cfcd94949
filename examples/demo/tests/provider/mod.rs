//! The provider: the code flow, what it refuses, and that the faults are what they say.

mod faults;
mod flow;
mod logout_tokens;
mod offline;
mod refresh;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use forepost::world::{Clock, UnixTime, World};
use http::StatusCode;
use serde_json::Value;

use super::{Reply, Visitor};
use crate::provider::{Behaviour, Client, Config, Provider};

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
            backchannel_logout_uri: None,
        };
        let provider = Provider::start(Config {
            clients: vec![client("app", Some("se:cr+t%")), client("open", None)],
            world: World::with_clock(clock.clone()),
            ..Config::default()
        });
        let provider = provider.await.unwrap();
        let browser = Visitor::new(provider.address());
        Self { provider, browser, clock }
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
        self.browser.post("/token", &form, &[("authorization", &basic())]).await
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
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn redemption<'a>(code: &'a str, redirect_uri: &'a str, verifier: &'a str) -> [(&'a str, &'a str); 4] {
    [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect_uri), ("code_verifier", verifier)]
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
    let key = jwks["keys"].as_array()?.iter().find(|key| key["kid"] == header["kid"])?;
    assert_eq!(key["alg"], header["alg"]);
    let member = |name: &str| decode(key[name].as_str().unwrap());
    let (input, signature) = (input.as_bytes(), decode(signature));
    let checked = match key["kty"].as_str().unwrap() {
        "EC" => {
            let point = [vec![4], member("x"), member("y")].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(input, &signature)
        }
        "OKP" => UnparsedPublicKey::new(&ED25519, member("x")).verify(input, &signature),
        _ => RsaPublicKeyComponents { n: member("n"), e: member("e") }.verify(
            &RSA_PKCS1_2048_8192_SHA256,
            input,
            &signature,
        ),
    };
    checked.ok()?;
    Some(serde_json::from_slice(&decode(claims)).unwrap())
}
