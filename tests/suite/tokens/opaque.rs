use serde_json::json;

use super::{bearer, refused, stage};
use crate::provider::{Endpoint, Fault};

const OPAQUE: &str = "https://opaque.example.com/page";
const SCOPED: &str = "https://scoped.example.com/page";

#[tokio::test]
async fn the_provider_says_what_a_token_is_worth() {
    let stage = stage().await;
    let token = stage.provider.opaque_token("proxy", "alice", "openid profile groups").unwrap();
    for _ in 0..5 {
        let reply = bearer(&stage, OPAQUE, &token).await;
        assert_eq!(reply.is(200).header("x-authentik-username"), "alice");
        assert_eq!(reply.header("x-authentik-jwt"), "", "no application learns what it could show elsewhere");
    }
    assert_eq!(stage.provider.requests(Endpoint::Introspection), 1, "asked once");
    let bob = stage.provider.opaque_token("proxy", "bob", "openid profile groups").unwrap();
    bearer(&stage, OPAQUE, &bob).await.is(403);
    refused(&bearer(&stage, OPAQUE, "unknown").await, "unknown");
    let strangers = stage.provider.opaque_token("other", "alice", "openid profile groups").unwrap();
    refused(&bearer(&stage, OPAQUE, &strangers).await, "another client's");
    let revoked = stage.provider.opaque_token("proxy", "alice", "openid profile groups").unwrap();
    stage.provider.revoke("proxy", &revoked);
    refused(&bearer(&stage, OPAQUE, &revoked).await, "revoked");
}

#[tokio::test]
async fn what_a_rule_requires_is_told_as_a_lack_of_the_token() {
    let stage = stage().await;
    let settings = "https://opaque.example.com/settings";
    let reader = stage.provider.opaque_token("proxy", "alice", "openid profile groups").unwrap();
    let challenge = bearer(&stage, settings, &reader).await.is(403).header("www-authenticate");
    assert!(challenge.starts_with("Bearer error=\"insufficient_scope\", resource_metadata="), "{challenge}");
    let writer = stage.provider.opaque_token("proxy", "alice", "openid profile settings").unwrap();
    bearer(&stage, settings, &writer).await.is(200);
}

#[tokio::test]
async fn case_091_a_scope_is_asked_for_where_it_is_needed() {
    let stage = stage().await;
    let token = stage.provider.opaque_token("proxy", "alice", "openid profile groups").unwrap();
    for _ in 0..2 {
        bearer(&stage, OPAQUE, &token).await.is(200);
        let reply = bearer(&stage, SCOPED, &token).await;
        let challenge = reply.is(403).header("www-authenticate");
        assert!(challenge.starts_with("Bearer error=\"insufficient_scope\", scope=\"write\""), "{challenge}");
    }
    let writer = stage.provider.opaque_token("proxy", "alice", "openid write").unwrap();
    bearer(&stage, SCOPED, &writer).await.is(200);
}

#[tokio::test]
async fn case_017_092_answers_that_prove_nothing() {
    let answers = [
        ("active", json!("true")),
        ("active", json!(1)),
        ("active", json!(null)),
        ("iss", json!("https://evil.example.com")),
        ("client_id", json!("other")),
        ("aud", json!(["other"])),
        ("exp", json!(1)),
        ("nbf", json!(32_503_680_000_u64)),
        ("token_type", json!("refresh_token")),
        ("cnf", json!({"jkt": "x"})),
    ];
    for (name, value) in answers {
        let stage = stage().await;
        let what = format!("{name} {value}");
        stage.provider.set(|behaviour| {
            behaviour.introspection.set(name, value);
        });
        let token = stage.provider.opaque_token("proxy", "alice", "openid profile groups").unwrap();
        refused(&bearer(&stage, OPAQUE, &token).await, &what);
    }
}

#[tokio::test]
async fn junk_is_limited_and_good_tokens_go_on() {
    let stage = stage().await;
    let token = stage.provider.opaque_token("proxy", "alice", "openid profile groups").unwrap();
    bearer(&stage, OPAQUE, &token).await.is(200);
    let mut limited = 0;
    for number in 0..1000 {
        let reply = bearer(&stage, OPAQUE, &format!("junk-{number}")).await;
        limited += usize::from(reply.status == 429);
        assert!(reply.status == 401 || (reply.status == 429 && reply.header("retry-after") == "60"), "{reply:#?}");
    }
    assert!(limited > 900, "{limited}");
    assert!(stage.provider.requests(Endpoint::Introspection) <= 11);
    bearer(&stage, OPAQUE, &token).await.is(200);
}

#[tokio::test]
async fn what_nobody_can_say_is_no_answer() {
    let stage = stage().await;
    let fault = Fault { status: Some(http::StatusCode::BAD_GATEWAY), ..Fault::default() };
    stage.provider.set(|behaviour| drop(behaviour.faults.insert(Endpoint::Introspection, fault)));
    let token = stage.provider.opaque_token("proxy", "alice", "openid profile groups").unwrap();
    for _ in 0..30 {
        bearer(&stage, OPAQUE, &token).await.is(503);
    }
    super::show(&stage, "envoy", OPAQUE, &format!("Bearer {token}")).await.is(403);
    stage.provider.set(|behaviour| behaviour.faults.clear());
    bearer(&stage, OPAQUE, &token).await.is(200);
}
