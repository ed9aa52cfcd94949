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

/// SECURITY: 91, 92
#[tokio::test]
async fn a_scope_is_asked_for_where_it_is_needed() {
    let stage = stage().await;
    let token = stage.provider.opaque_token("proxy", "alice", "openid profile groups").unwrap();
    for _ in 0..2 {
        bearer(&stage, OPAQUE, &token).await.is(200);
        let reply = bearer(&stage, SCOPED, &token).await;
        let challenge = reply.is(403).header("www-authenticate");
        assert!(challenge.starts_with("Bearer error=\"insufficient_scope\", scope=\"write\""), "{challenge}");
    }
    let writer = stage.provider.opaque_token("proxy", "alice", "openid profile write").unwrap();
    bearer(&stage, SCOPED, &writer).await.is(200);
}

/// SECURITY: 17, 91, 92, 124
#[tokio::test]
async fn answers_that_prove_nothing() {
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
        ("token_use", json!("refresh_token")),
        ("tokenType", json!("refresh-token")),
        ("typ", json!("Refresh")),
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
async fn a_provider_that_fails_gives_no_answer() {
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

/// What one application is told, it could show to another of the same provider, where the provider calls it active.
#[tokio::test]
async fn an_id_token_opens_no_other_application() {
    let stage = stage().await;
    let mut browser = super::signed_in(&stage, "https://plain.example.com/").await;
    let plain = stage.check("traefik", &mut browser, "https://plain.example.com/").await;
    let id_token = plain.is(200).header("x-authentik-jwt");
    assert_eq!(id_token.split('.').count(), 3);
    stage.provider.set(|behaviour| {
        behaviour.introspection_of_id_tokens = true;
        behaviour.introspection.set("client_id", json!("proxy"));
    });
    for url in [OPAQUE, SCOPED, super::APP] {
        refused(&bearer(&stage, url, &id_token).await, url);
    }
}

/// authentik has an issuer for each application; a token of its command-line client names that of its own.
#[tokio::test]
async fn the_provider_vouches_for_an_accepted_client_of_another_issuer() {
    let stage = stage().await;
    stage.provider.set(|behaviour| {
        behaviour.introspection_of_all = true;
        behaviour.introspection_of_id_tokens = true;
    });
    let mut claims = super::claims(&stage);
    claims.extend([
        ("iss".to_owned(), json!("https://idp.example.com/application/o/cli/")),
        ("aud".to_owned(), json!("friend")),
        ("client_id".to_owned(), json!("friend")),
    ]);
    let url = "https://unnamed.example.com/page";
    let token = stage.provider.sign("proxy", &claims).unwrap();
    assert_eq!(bearer(&stage, url, &token).await.is(200).header("x-authentik-username"), "alice");
    // Who is not accepted by name stays a stranger.
    refused(&bearer(&stage, OPAQUE, &token).await, "not accepted there");
    claims.extend([("aud".to_owned(), json!("stranger")), ("client_id".to_owned(), json!("stranger"))]);
    let token = stage.provider.sign("proxy", &claims).unwrap();
    refused(&bearer(&stage, url, &token).await, "a stranger's");
}

#[tokio::test]
async fn a_provider_that_does_not_answer_about_a_token_refuses_it() {
    let stage = stage().await;
    let token = stage.provider.opaque_token("proxy", "alice", "openid profile groups").unwrap();
    // Pocket ID's answer to the token of another client.
    let fault = Fault { status: Some(http::StatusCode::BAD_REQUEST), ..Fault::default() };
    stage.provider.set(|behaviour| drop(behaviour.faults.insert(Endpoint::Introspection, fault)));
    refused(&bearer(&stage, OPAQUE, &token).await, "400");
}

#[tokio::test]
async fn a_token_that_names_no_user_is_refused() {
    let stage = stage().await;
    stage.provider.set(|behaviour| {
        behaviour.introspection.remove("preferred_username");
        behaviour.userinfo.remove("preferred_username");
    });
    let token = stage.provider.opaque_token("proxy", "alice", "openid profile groups").unwrap();
    refused(&bearer(&stage, OPAQUE, &token).await, "no user");
    let unnamed = bearer(&stage, "https://unnamed.example.com/page", &token).await;
    assert_eq!(unnamed.is(200).header("x-authentik-username"), "");
    // RFC 7662 has a member for the name.
    stage.provider.set(|behaviour| {
        behaviour.introspection.set("username", json!("alice"));
    });
    let token = stage.provider.opaque_token("proxy", "alice", "openid profile groups").unwrap();
    assert_eq!(bearer(&stage, OPAQUE, &token).await.is(200).header("x-authentik-username"), "alice");
}

#[tokio::test]
async fn userinfo_names_whom_a_token_does_not() {
    let stage = stage().await;
    stage.provider.set(|behaviour| {
        for name in ["preferred_username", "groups", "email", "name"] {
            behaviour.introspection.remove(name);
        }
    });
    let token = stage.provider.opaque_token("proxy", "alice", "openid profile groups").unwrap();
    for _ in 0..3 {
        let reply = bearer(&stage, OPAQUE, &token).await;
        assert_eq!(reply.is(200).header("x-authentik-username"), "alice");
        assert_eq!(reply.header("x-authentik-groups"), "admins|staff");
    }
    assert_eq!(stage.provider.requests(Endpoint::Userinfo), 1, "asked once");
    // Who has the token of a client alone has no userinfo.
    let narrow = stage.provider.opaque_token("proxy", "alice", "profile groups").unwrap();
    refused(&bearer(&stage, OPAQUE, &narrow).await, "no scope openid");
    assert_eq!(stage.provider.requests(Endpoint::Userinfo), 1);
    // Claims about another user are not used.
    stage.provider.set(|behaviour| {
        behaviour.userinfo.set("sub", json!("bob"));
    });
    let token = stage.provider.opaque_token("proxy", "alice", "openid profile groups").unwrap();
    refused(&bearer(&stage, OPAQUE, &token).await, "another subject");
}

/// A rule must not be asked about a claim that forepost could not look for.
#[tokio::test]
async fn what_only_userinfo_says_counts_for_tokens_too() {
    const DENYING: &str = "https://denying.example.com/page";
    for (scope, suspended, expected) in
        [("openid profile", false, 200), ("openid profile", true, 403), ("profile", false, 403), ("profile", true, 403)]
    {
        let stage = stage().await;
        if suspended {
            stage.provider.set(|behaviour| {
                behaviour.userinfo.set("suspended", json!(true));
            });
        }
        let token = stage.provider.opaque_token("proxy", "alice", scope).unwrap();
        let reply = bearer(&stage, DENYING, &token).await;
        assert_eq!(reply.status, expected, "{scope} {suspended}: {reply:#?}");
    }
    // Userinfo does not know this one.
    let stage = stage().await;
    let token = stage.provider.sign("proxy", &super::claims(&stage)).unwrap();
    bearer(&stage, DENYING, &token).await.is(403);
}

/// Base64 has lenient decoders: the provider may know a token that forepost cannot read.
#[tokio::test]
async fn an_id_token_in_another_spelling_opens_nothing() {
    let stage = stage().await;
    let mut browser = super::signed_in(&stage, "https://plain.example.com/").await;
    let plain = stage.check("traefik", &mut browser, "https://plain.example.com/").await;
    let id_token = plain.is(200).header("x-authentik-jwt");
    stage.provider.set(|behaviour| {
        behaviour.introspection_of_all = true;
        behaviour.introspection_of_id_tokens = true;
        for (name, value) in [("client_id", json!("proxy")), ("scope", json!("openid")), ("sub", json!("alice-sub"))] {
            behaviour.introspection.set(name, value);
        }
    });
    let whole = &id_token[..id_token.len() - 1];
    for spelling in [format!("{id_token}="), format!("{whole}_"), format!("{id_token}.")] {
        for url in [OPAQUE, SCOPED] {
            refused(&bearer(&stage, url, &spelling).await, &spelling);
        }
    }
    assert_eq!(stage.provider.requests(Endpoint::Introspection), 0);
}

/// An operator who names another claim than `preferred_username` wants no name that users choose for themselves.
#[tokio::test]
async fn the_name_of_an_introspection_stands_for_preferred_username_alone() {
    for (claim, expected) in [("email", 401), ("preferred_username", 200)] {
        let stage = super::stage_with(&format!("claims = {{ username = \"{claim}\" }}")).await;
        stage.provider.set(|behaviour| {
            behaviour.introspection.set("username", json!("boss@example.com"));
            for name in ["email", "preferred_username"] {
                behaviour.introspection.remove(name);
                behaviour.userinfo.remove(name);
            }
        });
        let token = stage.provider.opaque_token("proxy", "alice", "openid groups").unwrap();
        assert_eq!(bearer(&stage, OPAQUE, &token).await.status, expected, "{claim}");
    }
}
