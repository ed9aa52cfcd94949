//! A credential beside a good session.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Method;
use serde_json::{Value, json};

use super::{APP, claims, refused, show, signed_in, stage};
use crate::support::{Browser, DIALECTS, Reply, Stage};

const OPAQUE: &str = "https://opaque.example.com/page";
const OWN: &str = "https://own.example.com/page";

/// What an application's own pages may send: a JWT of its own.
fn jwt(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("Bearer {}.{}.c2ln", part(&json!({"alg": "HS256"})), part(claims))
}

async fn beside(stage: &Stage, dialect: &str, browser: &mut Browser, url: &str, authorization: &str) -> Reply {
    let headers = [("authorization", authorization), ("accept", "*/*"), ("sec-fetch-mode", "cors")];
    stage.ask(dialect, browser, Method::GET, url, &headers).await
}

#[tokio::test]
async fn a_token_that_is_plainly_the_applications_own_leaves_the_session() {
    let stage = stage().await;
    let mut browser = signed_in(&stage, APP).await;
    let own = jwt(&json!({"iss": "https://portainer.example.com", "id": 1}));
    for authorization in [own.as_str(), "Bearer ptr_opaque", &jwt(&json!({"id": 1}))] {
        for dialect in DIALECTS {
            let reply = beside(&stage, dialect, &mut browser, APP, authorization).await;
            assert_eq!(reply.is(200).header("x-authentik-username"), "alice", "{dialect} {authorization}");
        }
        // Without a session it counts as before.
        refused(&show(&stage, "traefik", APP, authorization).await, authorization);
    }
    // One that says it is ours is ours, and is bad.
    let ours = jwt(&json!({"iss": stage.provider.issuer(), "aud": "proxy", "sub": "alice", "scope": "openid"}));
    for dialect in DIALECTS {
        refused(&beside(&stage, dialect, &mut browser, APP, &ours).await, dialect);
    }
}

#[tokio::test]
async fn a_token_of_which_only_the_provider_can_tell_counts() {
    let stage = stage().await;
    let mut browser = signed_in(&stage, OPAQUE).await;
    refused(&beside(&stage, "traefik", &mut browser, OPAQUE, "Bearer opaque").await, "opaque");
    let own = jwt(&json!({"iss": "https://portainer.example.com"}));
    beside(&stage, "traefik", &mut browser, OPAQUE, &own).await.is(200);
}

#[tokio::test]
async fn the_operator_may_let_the_session_count_first() {
    let stage = stage().await;
    let mut browser = signed_in(&stage, OWN).await;
    let ours = jwt(&json!({"iss": stage.provider.issuer(), "scope": "openid"}));
    let basic = format!("Basic {}", STANDARD.encode("admin:secret"));
    for authorization in ["Bearer opaque", ours.as_str(), basic.as_str()] {
        for dialect in DIALECTS {
            let reply = beside(&stage, dialect, &mut browser, OWN, authorization).await;
            assert_eq!(reply.is(200).header("x-authentik-username"), "alice", "{dialect} {authorization}");
        }
        show(&stage, "traefik", OWN, authorization).await.is(401);
    }
    // Without a session, a good token is one.
    let token = stage.provider.sign("proxy", &claims(&stage)).unwrap();
    let reply = show(&stage, "traefik", OWN, &format!("Bearer {token}")).await;
    assert_eq!(reply.is(200).header("x-authentik-username"), "alice");
}
