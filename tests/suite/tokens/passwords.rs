use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{APP, show, stage};
use crate::provider::Endpoint;
use crate::support::{Reply, Stage};

const URL: &str = "https://password.example.com/page";

async fn basic(stage: &Stage, user: &str, password: &str) -> Reply {
    show(stage, "traefik", URL, &format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))).await
}

#[tokio::test]
async fn app_passwords_are_redeemed_once() {
    let stage = stage().await;
    stage.provider.set(|behaviour| behaviour.app_password = Some("right"));
    for _ in 0..3 {
        let reply = basic(&stage, "alice", "right").await;
        assert_eq!(reply.is(200).header("x-authentik-username"), "alice");
        assert_eq!(reply.header("set-cookie"), "");
    }
    assert_eq!(stage.provider.requests(Endpoint::Token), 1);
    let asked = stage.provider.last_request(Endpoint::Token).unwrap();
    assert_eq!(asked.form.get("client_secret"), None, "with it, the client itself would be the user");
    assert_eq!(asked.headers.get("authorization"), None);
    let reply = basic(&stage, "alice", "wrong").await;
    assert_eq!(reply.is(401).header("www-authenticate"), "Basic realm=\"password\", charset=\"UTF-8\"");
    // Where it is not accepted, it is the application's own.
    let reply = show(&stage, "traefik", APP, "Basic YWxpY2U6cmlnaHQ=").await;
    assert!(reply.is(401).header("www-authenticate").starts_with("Bearer resource_metadata="), "{reply:#?}");
}

/// SECURITY: 49, 50
#[tokio::test]
async fn guessing_costs_the_guesser() {
    let stage = stage().await;
    stage.provider.set(|behaviour| behaviour.app_password = Some("right"));
    basic(&stage, "alice", "right").await.is(200);
    for (number, spelling) in ["alice", "Alice", "ALICE ", "ａｌｉｃｅ"].into_iter().cycle().take(100).enumerate()
    {
        let reply = basic(&stage, spelling, &format!("guess-{number}")).await;
        assert!(reply.status == 401 || reply.status == 429, "{reply:#?}");
    }
    basic(&stage, "bob", "right").await.is(429);
    assert!(stage.provider.requests(Endpoint::Token) <= 11);
    // Who was right before is not locked out by others' guesses.
    basic(&stage, "alice", "right").await.is(200);
    let authorization = format!("Basic {}", STANDARD.encode("alice:again"));
    let reply = show(&stage, "nginx", URL, &authorization).await;
    assert_eq!(reply.is(401).header("location"), "", "nginx takes no 429");
}

#[tokio::test]
async fn a_password_may_be_a_token() {
    let stage = stage().await;
    let token = stage.provider.opaque_token("proxy", "alice", "openid profile").unwrap();
    let reply = basic(&stage, "goauthentik.io/token", &token).await;
    assert_eq!(reply.is(200).header("x-authentik-username"), "alice");
    basic(&stage, "goauthentik.io/token", "unknown").await.is(401);
    // Access tokens of authentik are JWTs with all groups in them.
    stage.provider.set(|behaviour| behaviour.introspection_of_id_tokens = true);
    let mut claims = super::claims(&stage);
    claims.insert("groups".to_owned(), vec!["a group of some length"; 40].into());
    let token = stage.provider.sign("proxy", &claims).unwrap();
    assert!(token.len() > 1100, "{}", token.len());
    let reply = basic(&stage, "goauthentik.io/token", &token).await;
    assert_eq!(reply.is(200).header("x-authentik-username"), "alice");
}
