//! ID tokens and token answers that prove nothing, beyond those of the login tests.

use serde_json::{Value, json};

use super::{APP, stage};
use crate::provider::{Behaviour, Endpoint, Fault};

/// A login with this fault ends with `status` and lets no user in.
async fn refused(status: u16, what: &str, fault: impl FnOnce(&mut Behaviour)) {
    let stage = stage().await;
    stage.provider.set(fault);
    let mut browser = stage.browser();
    let login = stage.check("traefik", &mut browser, APP).await;
    let reply = stage.come_back(&mut browser, login, "alice").await;
    assert_eq!(reply.status.as_u16(), status, "{what}: {reply:#?}");
    stage.check("traefik", &mut browser, APP).await.is(302);
}

/// SECURITY: 90
#[tokio::test]
async fn times_that_are_none() {
    let values = [
        json!(1e300),
        json!(-1),
        json!(-1e300),
        json!("tomorrow"),
        json!(""),
        json!(null),
        json!({}),
        json!([9_999_999_999_u64]),
        json!(true),
        json!(0),
    ];
    for value in values {
        refused(502, &format!("exp {value}"), |behaviour| {
            behaviour.id_token.set("exp", value.clone());
        })
        .await;
    }
    for (name, value) in
        [("iat", json!(1e300)), ("iat", json!("x")), ("nbf", json!(1e300)), ("nbf", json!("x")), ("nbf", json!({}))]
    {
        refused(502, &format!("{name} {value}"), |behaviour| {
            behaviour.id_token.set(name, value.clone());
        })
        .await;
    }
}

/// SECURITY: 42, 89, 90
#[tokio::test]
async fn headers_that_choose_their_own_check() {
    let headers: [(&str, Value); 7] = [
        ("alg", json!("none")),
        ("alg", json!("nOnE")),
        ("alg", json!("HS256")),
        ("alg", json!("RS256")),
        ("alg", json!("ES384")),
        ("alg", json!(null)),
        ("crit", json!(["exp"])),
    ];
    for (name, value) in headers {
        refused(502, &format!("{name} {value}"), |behaviour| {
            behaviour.id_token_header.set(name, value.clone());
        })
        .await;
    }
    for text in ["", "x", "..", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJFUzI1NiJ9.e30"] {
        refused(502, text, |behaviour| behaviour.id_token_text = Some(text.to_owned())).await;
    }
}

/// SECURITY: 90
#[tokio::test]
async fn compressed_answers_are_not_unpacked() {
    // What gzip makes of a body; it is not unpacked, and so not JSON.
    let mut fault =
        Fault { body: Some(vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0xae, 5, 0].into()), ..Fault::default() };
    fault.headers.insert("content-encoding", "gzip".parse().unwrap());
    refused(502, "gzip", |behaviour| {
        behaviour.faults.insert(Endpoint::Token, fault);
    })
    .await;
    let stage = stage().await;
    stage.sign_in(&mut stage.browser(), APP, "alice").await.is(200);
    let asked = stage.provider.last_request(Endpoint::Token).unwrap();
    assert_eq!(asked.headers.get("accept-encoding"), None);
}
