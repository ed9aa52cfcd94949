//! The certification cases of relying parties that log in by the code flow.
//!
//! They are those of the profiles Basic RP and Config RP, each test named after its case: `rp-id_token-aud` is
//! `rp_id_token_aud`. Where we differ from what a case leaves open, its comment says so. The cases for request objects,
//! encryption, dynamic registration and other flows belong to profiles of things we do not do.

use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::provider::{Algorithm, Behaviour, Config, Endpoint, Fault, Provider, SigningKey};
use crate::support::{APPLICATIONS, Browser, Reply, Stage, client};

const PAGE: &str = "https://app.example.com/page";
const SECRET: &str = "proxy-secret";

/// The provider that the cases talk about; signs with ES256 unless told otherwise, because RSA keys take their time.
async fn provider(change: impl FnOnce(&mut Behaviour)) -> Provider {
    let clients = vec![client("proxy", Some(SECRET), &["https://app.example.com"])];
    let provider = Provider::start(Config { clients, ..Config::default() }).await.unwrap();
    provider.set(change);
    provider
}

async fn stage(change: impl FnOnce(&mut Behaviour)) -> Stage {
    Stage::of(provider(change).await, SECRET, "", APPLICATIONS).await
}

async fn sign_in(stage: &Stage) -> Reply {
    stage.sign_in(&mut stage.browser(), PAGE, "alice").await
}

/// With this change a login works.
async fn accepted(change: impl FnOnce(&mut Behaviour)) -> (Stage, Reply) {
    let stage = stage(change).await;
    let entered = sign_in(&stage).await;
    assert_eq!(entered.is(200).header("x-authentik-username"), "alice");
    (stage, entered)
}

/// With this change no user is signed in, and a page says so.
async fn refused(change: impl FnOnce(&mut Behaviour)) -> Stage {
    let stage = stage(change).await;
    refuses(&stage).await;
    stage
}

async fn refuses(stage: &Stage) {
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, PAGE, "alice").await.is(502).contains("could not be accepted");
    stage.check("traefik", &mut browser, PAGE).await.is(302);
}

/// The key set, as the provider publishes it at the moment.
async fn jwks(provider: &Provider) -> Value {
    let mut anybody = Browser::new().route("*", provider.address());
    anybody.get(&format!("{}/jwks", provider.issuer())).await.is(200).json()
}

/// Publishes this instead of the key set.
fn publish(provider: &Provider, jwks: &Value) {
    let body = Some(jwks.to_string().into());
    provider.set(|behaviour| drop(behaviour.faults.insert(Endpoint::Jwks, Fault { body, ..Fault::default() })));
}

#[tokio::test]
async fn rp_response_type_code() {
    let (stage, _) = accepted(|_| ()).await;
    let request = stage.provider.last_request(Endpoint::Authorize).unwrap();
    assert_eq!(request.query.get("response_type"), Some("code"));
    assert_eq!(stage.provider.requests(Endpoint::Token), 1);
}

#[tokio::test]
async fn rp_scope_userinfo_claims() {
    let (stage, entered) = accepted(|behaviour| behaviour.user_claims_only_in_userinfo = true).await;
    let request = stage.provider.last_request(Endpoint::Authorize).unwrap();
    assert_eq!(request.query.get("scope"), Some("openid profile email groups offline_access"));
    assert_eq!(entered.header("x-authentik-name"), "Alice Ärger");
    assert_eq!(entered.header("x-authentik-email"), "alice@example.test");
}

#[tokio::test]
async fn rp_nonce_invalid() {
    refused(|behaviour| {
        behaviour.id_token.set("nonce", "another");
    })
    .await;
}

/// The case asks for a nonce in all flows but this one; we send one here too, and insist on it in the token.
#[tokio::test]
async fn rp_nonce_unless_code_flow() {
    let (stage, _) = accepted(|_| ()).await;
    let request = stage.provider.last_request(Endpoint::Authorize).unwrap();
    assert!(request.query.get("nonce").is_some_and(|nonce| nonce.len() >= 22));
    refused(|behaviour| {
        behaviour.id_token.remove("nonce");
    })
    .await;
}

#[tokio::test]
async fn rp_token_endpoint_client_secret_basic() {
    let (stage, _) = accepted(|_| ()).await;
    let request = stage.provider.last_request(Endpoint::Token).unwrap();
    assert!(request.headers["authorization"].to_str().unwrap().starts_with("Basic "));
    assert_eq!(request.form.get("client_secret"), None, "the secret belongs in one place");
}

/// Beyond the case: another audience beside ours needs an `azp` that is us.
#[tokio::test]
async fn rp_id_token_aud() {
    for audience in [json!("another"), json!([]), json!(["another"]), json!(["proxy", "another"]), json!(null)] {
        refused(|behaviour| {
            behaviour.id_token.set("aud", audience);
        })
        .await;
    }
    refused(|behaviour| {
        behaviour.id_token.remove("aud");
    })
    .await;
}

#[tokio::test]
async fn rp_id_token_iat() {
    refused(|behaviour| {
        behaviour.id_token.remove("iat");
    })
    .await;
}

#[tokio::test]
async fn rp_id_token_sub() {
    refused(|behaviour| {
        behaviour.id_token.remove("sub");
    })
    .await;
}

#[tokio::test]
async fn rp_id_token_issuer_mismatch() {
    for issuer in ["https://other.example.com", ""] {
        refused(|behaviour| {
            behaviour.id_token.set("iss", issuer);
        })
        .await;
    }
}

#[tokio::test]
async fn rp_id_token_kid_absent_single_jwks() {
    for signing_key in [SigningKey::Published, SigningKey::StrayWithPublishedId] {
        let provider = provider(|behaviour| {
            behaviour.id_token_header.remove("kid");
            behaviour.signing_key = signing_key;
        })
        .await;
        let mut set = jwks(&provider).await;
        set["keys"].as_array_mut().unwrap().retain(|key| key["kty"] == "EC");
        assert_eq!(set["keys"].as_array().unwrap().len(), 1);
        publish(&provider, &set);
        let stage = Stage::of(provider, SECRET, "", APPLICATIONS).await;
        match signing_key {
            SigningKey::Published => drop(sign_in(&stage).await.is(200)),
            SigningKey::Stray | SigningKey::StrayWithPublishedId | SigningKey::PublicKeyAsSecret(_) => {
                refuses(&stage).await;
            }
        }
    }
}

/// The case leaves a choice between refusing and trying the keys. We try those whose type and `alg` fit the token's `alg`,
/// because providers that never name a key rotate theirs too; the keys are all the provider's.
#[tokio::test]
async fn rp_id_token_kid_absent_multiple_jwks() {
    for (signing_key, shared_id) in [
        (SigningKey::Published, false),
        (SigningKey::Published, true),
        (SigningKey::StrayWithPublishedId, false),
        (SigningKey::StrayWithPublishedId, true),
    ] {
        let provider = provider(|behaviour| {
            behaviour.signing_key = signing_key;
            if shared_id {
                behaviour.id_token_header.set("kid", "the only name");
            } else {
                behaviour.id_token_header.remove("kid");
            }
        })
        .await;
        jwks(&provider).await;
        provider.rotate(true).unwrap();
        let mut set = jwks(&provider).await;
        let keys = set["keys"].as_array_mut().unwrap();
        assert_eq!(keys.iter().filter(|key| key["kty"] == "EC").count(), 2);
        for key in keys.iter_mut().filter(|_| shared_id) {
            key["kid"] = json!("the only name");
        }
        // The key that signs stands last, so that the first one that fits is not it.
        keys.reverse();
        publish(&provider, &set);
        let stage = Stage::of(provider, SECRET, "", APPLICATIONS).await;
        match signing_key {
            SigningKey::Published => {
                sign_in(&stage).await.is(200);
                assert_eq!(stage.provider.requests(Endpoint::Jwks), 3, "two of the test, one of the daemon");
            }
            SigningKey::Stray | SigningKey::StrayWithPublishedId | SigningKey::PublicKeyAsSecret(_) => {
                refuses(&stage).await;
            }
        }
    }
}

/// The case lets a token without signature pass in this flow, because it comes from the token endpoint. To us `none` does
/// not exist, even where the provider announces it.
#[tokio::test]
async fn rp_id_token_sig_none() {
    for announced in [json!(["RS256"]), json!(["RS256", "none"]), json!(["none"])] {
        refused(|behaviour| {
            behaviour.algorithm = Algorithm::None;
            behaviour.metadata.set("id_token_signing_alg_values_supported", announced);
        })
        .await;
    }
}

#[tokio::test]
async fn rp_id_token_sig_rs256() {
    let (_, entered) = accepted(|behaviour| behaviour.algorithm = Algorithm::Rs256).await;
    let header = entered.header("x-authentik-jwt");
    let header = header.split('.').next().unwrap();
    let header = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, header).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&header).unwrap()["alg"], "RS256");
}

#[tokio::test]
async fn rp_id_token_bad_sig_rs256() {
    for signing_key in [SigningKey::Stray, SigningKey::StrayWithPublishedId] {
        refused(|behaviour| {
            behaviour.algorithm = Algorithm::Rs256;
            behaviour.signing_key = signing_key;
        })
        .await;
    }
}

#[tokio::test]
async fn rp_userinfo_bearer_header() {
    let (stage, _) = accepted(|behaviour| behaviour.user_claims_only_in_userinfo = true).await;
    let request = stage.provider.last_request(Endpoint::Userinfo).unwrap();
    assert!(request.headers["authorization"].to_str().unwrap().starts_with("Bearer "));
    assert_eq!((request.query.get("access_token"), request.form.get("access_token")), (None, None));
}

#[tokio::test]
async fn rp_userinfo_bad_sub_claim() {
    for sub in [Some(json!("another-user")), Some(json!("")), Some(json!(7)), None] {
        refused(|behaviour| {
            behaviour.user_claims_only_in_userinfo = true;
            match sub {
                Some(sub) => behaviour.userinfo.set("sub", sub),
                None => behaviour.userinfo.remove("sub"),
            };
        })
        .await;
    }
}

#[tokio::test]
async fn rp_discovery_openid_configuration() {
    let (stage, entered) = accepted(|_| ()).await;
    assert_eq!(stage.provider.requests(Endpoint::Discovery), 1);
    let request = stage.provider.last_request(Endpoint::Authorize);
    assert!(request.is_some(), "the address came from the document");
    assert_eq!(entered.header("x-authentik-meta-jwks"), format!("{}/jwks", stage.provider.issuer()));
}

/// Also where the server gives the set the media type of its own.
#[tokio::test]
async fn rp_discovery_jwks_uri_keys() {
    for media_type in ["application/json", "application/jwk-set+json"] {
        let headers: HeaderMap =
            [(http::header::CONTENT_TYPE, HeaderValue::from_static(media_type))].into_iter().collect();
        let (stage, _) = accepted(|behaviour| {
            behaviour.faults.insert(Endpoint::Jwks, Fault { headers, ..Fault::default() });
        })
        .await;
        assert_eq!(stage.provider.requests(Endpoint::Jwks), 1);
    }
}

/// No login begins at all: people see that it is not possible, and operators are told both issuers.
#[tokio::test]
async fn rp_discovery_issuer_not_matching_config() {
    for issuer in ["https://other.example.com", "http://idp.localhost"] {
        let provider = provider(|behaviour| {
            behaviour.metadata.set("issuer", issuer);
        })
        .await;
        let stage = Stage::waiting(provider, SECRET, "", APPLICATIONS).await;
        stage.provider.wait_for_requests(Endpoint::Discovery, 1).await;
        let page = stage.check("traefik", &mut stage.browser(), PAGE).await;
        assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(stage.provider.requests(Endpoint::Authorize), 0);
    }
}

/// Between two logins, and between the authorisation request and the token: an unknown name of a key leads to new keys.
#[tokio::test]
async fn rp_key_rotation_op_sign_key() {
    for keep_old in [true, false] {
        let (stage, _) = accepted(|_| ()).await;
        let mut browser = stage.browser();
        let login = stage.check("traefik", &mut browser, PAGE).await;
        stage.provider.rotate(keep_old).unwrap();
        stage.complete(&mut browser, login, "bob").await.is(200);
        sign_in(&stage).await.is(200);
        assert_eq!(stage.provider.requests(Endpoint::Jwks), 2, "once at the start, once for all that followed");
    }
}
