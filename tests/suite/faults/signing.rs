//! What pages say of tokens that are not accepted; userinfo that is signed.

use http::StatusCode;
use serde_json::json;

use super::{APP, Change, PATIENT, UNACCEPTED, opens_nothing, side_by_side, stage, up_to_callback};
use crate::provider::{Algorithm, Behaviour, Endpoint, Fault, PublicForm, SigningKey};

type Case = (&'static str, &'static str, Change);

fn case(name: &'static str, hint: &'static str, change: impl FnOnce(&mut Behaviour) + Send + 'static) -> Case {
    (name, hint, Box::new(change))
}

/// What the page has to say, and that the provider is not asked for keys which could not help.
async fn ends_with_a_hint((name, hint, change): Case) {
    let stage = stage(
        |b| {
            b.metadata.set("id_token_signing_alg_values_supported", json!(["ES256", "EdDSA", "HS256"]));
        },
        PATIENT,
    )
    .await;
    let looks = || [Endpoint::Discovery, Endpoint::Jwks].map(|it| stage.provider.requests(it));
    let before = looks();
    stage.provider.set(change);
    let mut browser = stage.browser();
    let callback = up_to_callback(&stage, &mut browser, "alice").await;
    let reply = browser.get(callback.location().as_str()).await;
    assert_eq!(reply.status, 502, "{name}: {reply:#?}");
    let page = reply.body.replace("&#39;", "'");
    assert!(page.contains(hint), "{name}: {hint:?} is not in {page}");
    assert!(!page.contains("eyJ") && !page.contains("proxy-secret"), "{name}: {page}");
    opens_nothing(&stage, &mut browser).await;
    assert_eq!(looks(), before, "{name}: no key could help");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_name_the_claim_and_the_remedy() {
    fn without(name: &'static str, claim: &'static str, hint: &'static str) -> Case {
        case(name, hint, move |b| {
            b.id_token.remove(claim);
        })
    }
    fn set(name: &'static str, claim: &'static str, value: serde_json::Value, hint: &'static str) -> Case {
        case(name, hint, move |b| {
            b.id_token.set(claim, value);
        })
    }
    fn alg(name: &'static str, hint: &'static str) -> Case {
        case(name, hint, move |b| {
            b.id_token_header.set("alg", name);
        })
    }
    let cases = vec![
        without("no sub", "sub", "The claim sub is missing"),
        without("no iat", "iat", "The claim iat of the token is missing"),
        without("no exp", "exp", "The claim exp of the token is missing"),
        without("no nonce", "nonce", "The claim nonce of the ID token is not that of this login"),
        without("no aud", "aud", "The claim aud of the token does not name identity_provider.client_id"),
        set("a number", "sub", json!(7), "The claim sub is missing or is not a string"),
        set("another nonce", "nonce", json!("other"), "The claim nonce of the ID token is not that of this login"),
        set("another audience", "aud", json!("other"), "The claim aud of the token"),
        set("another client", "azp", json!("other"), "its claim azp must be identity_provider.client_id"),
        set("another issuer", "iss", json!("http://evil.test"), "The claim iss of the token"),
        set("expired", "exp", json!(1000), "use NTP on both sides"),
        set("another access token", "at_hash", json!("AAAA"), "The claim at_hash"),
        case("no signature", "alg is none", |b| b.algorithm = Algorithm::None),
        alg("none", "alg is none"),
        alg("ES256K", "an algorithm (alg) that forepost does not support: choose RS256"),
        alg("ES512", "an algorithm (alg) that forepost does not support"),
        case("a secret that is not ours", "Keycloak signs so with a key of its own", |b| {
            b.signing_key = SigningKey::PublicKeyAsSecret(PublicForm::Pem);
        }),
        case("an encrypted token", "The token is encrypted (JWE)", |b| {
            b.id_token_text = Some("eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.a.b.c.d".into());
        }),
        case("no token", "is not a signed token (JWT)", |b| b.id_token_text = Some("opaque".into())),
        case("userinfo of another user", "Userinfo speaks of another user than the ID token", |b| {
            b.user_claims_only_in_userinfo = true;
            b.userinfo.set("sub", "id-bob");
        }),
        case("userinfo of no user", "The claim sub is missing", |b| {
            b.user_claims_only_in_userinfo = true;
            b.userinfo.remove("sub");
        }),
        case("a wrong secret, as Keycloak says it", "does not accept client_id, client_secret", |b| {
            let refusal = json!({"error": "unauthorized_client", "error_description": "Invalid client credentials"});
            let status = Some(StatusCode::UNAUTHORIZED);
            let fault = Fault { status, body: Some(refusal.to_string().into()), ..Fault::default() };
            b.faults.insert(Endpoint::Token, fault);
        }),
    ];
    side_by_side(cases.into_iter().map(|it| (it.0, ends_with_a_hint(it)))).await;
}

/// Claims come from userinfo alone, signed in this way.
fn signed(algorithm: Algorithm, key: SigningKey) -> impl FnOnce(&mut Behaviour) {
    move |b| {
        b.user_claims_only_in_userinfo = true;
        b.userinfo_signing = Some((algorithm, key));
        if algorithm == Algorithm::Hs256 {
            b.metadata.set("userinfo_signing_alg_values_supported", json!(["HS256"]));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn userinfo_may_be_signed_as_id_tokens_are() {
    let all = [
        ("ES256", Algorithm::Es256),
        ("ES384", Algorithm::Es384),
        ("EdDSA", Algorithm::EdDsa),
        ("RS256", Algorithm::Rs256),
        ("PS256", Algorithm::Ps256),
        ("HS256", Algorithm::Hs256),
    ];
    side_by_side(all.into_iter().map(|(name, algorithm)| {
        (name, async move {
            let stage = stage(|_| (), PATIENT).await;
            stage.provider.set(signed(algorithm, SigningKey::Published));
            let entered = stage.sign_in(&mut stage.browser(), APP, "alice").await;
            assert_eq!(entered.is(200).header("x-authentik-username"), "alice", "{name}");
            assert_eq!(entered.header("x-authentik-groups"), "admins|staff", "{name}");
        })
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_userinfo_must_be_the_providers_for_this_client() {
    fn changed(name: &'static str, hint: &'static str, change: impl FnOnce(&mut Behaviour) + Send + 'static) -> Case {
        case(name, hint, move |b| {
            signed(Algorithm::EdDsa, SigningKey::Published)(b);
            change(b);
        })
    }
    let of = |name, hint, key| case(name, hint, signed(Algorithm::EdDsa, key));
    let cases = vec![
        of("a stranger's key", "No key in the provider's key set", SigningKey::Stray),
        of("a stranger's key under a known name", "No key in the provider's key set", SigningKey::StrayWithPublishedId),
        of("a public key as a secret", "metadata do not announce", SigningKey::PublicKeyAsSecret(PublicForm::Pem)),
        case("no signature", "alg is none", signed(Algorithm::None, SigningKey::Published)),
        changed("another client", "The claim aud of the token", |b| {
            b.userinfo.set("aud", "other");
        }),
        changed("another issuer", "The claim iss of the token", |b| {
            b.userinfo.set("iss", "http://evil.test");
        }),
        changed("another user", "Userinfo speaks of another user", |b| {
            b.userinfo.set("sub", "id-bob");
        }),
        changed("no user", "The claim sub is missing", |b| {
            b.userinfo.remove("sub");
        }),
    ];
    side_by_side(cases.into_iter().map(|(name, hint, change)| {
        (name, async move {
            let stage = stage(|_| (), PATIENT).await;
            stage.provider.set(change);
            let mut browser = stage.browser();
            let reply = stage.sign_in(&mut browser, APP, "alice").await;
            UNACCEPTED.check(&reply, true);
            assert!(reply.body.replace("&#39;", "'").contains(hint), "{name}: {hint:?} is not in {reply:#?}");
            opens_nothing(&stage, &mut browser).await;
        })
    }))
    .await;
}
