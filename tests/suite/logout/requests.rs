//! The back channel as HTTP: what counts as a logout request, and where.

use super::*;
use crate::support::ask;

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn only_a_form_with_one_token_counts() {
    let stage = Stage::start().await;
    let alice = visitor(&stage, APP, "alice").await;
    let token = made(&stage, &of_user("alice"));
    let right = format!("logout_token={token}");
    let twice = format!("{right}&{right}");
    let padded = format!("{right}&x={}", "a".repeat(32 << 10));
    let json = format!("{{\"logout_token\":\"{token}\"}}");
    for (what, media_type, body) in [
        ("no body", FORM, ""),
        ("no token", FORM, "x=y"),
        ("an empty token", FORM, "logout_token="),
        ("twice", FORM, &*twice),
        ("too long", FORM, &*padded),
        ("JSON", "application/json", &*json),
        ("a form as text", "text/plain", &*right),
        ("a form as nothing", "", &*right),
        ("parts", "multipart/form-data; boundary=x", &*right),
    ] {
        let headers = [("content-type", media_type)];
        let reply = stage.browser().send(Method::POST, BACK_CHANNEL, &headers, Some(body)).await;
        assert_eq!(
            (reply.status.as_u16(), &*reply.json()["error"].to_string()),
            (400, "\"invalid_request\""),
            "{what}"
        );
        assert_eq!(reply.header("cache-control"), "no-store", "{what}");
        assert!(is_in(&stage, &alice, APP).await, "{what}");
    }
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let url = format!("{BACK_CHANNEL}?{right}");
        let reply = stage.browser().send(method.clone(), &url, &[("content-type", FORM)], None).await;
        assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, "POST".into()), "{method}");
    }
    // The query does not count, and a further parameter does not matter.
    stage.browser().post(&format!("{BACK_CHANNEL}?{right}"), "x=y").await.is(400);
    assert!(is_in(&stage, &alice, APP).await);
    let headers = [("content-type", "application/x-www-form-urlencoded;charset=UTF-8")];
    let reply = stage.browser().send(Method::POST, BACK_CHANNEL, &headers, Some(&format!("x=y&{right}&state="))).await;
    reply.is(200);
    assert!(!is_in(&stage, &alice, APP).await);
}

#[tokio::test]
async fn it_is_found_wherever_providers_look_for_it() {
    let stage = Stage::start().await;
    for url in [
        BACK_CHANNEL,
        "http://127.0.0.1/outpost.goauthentik.io/backchannel-logout",
        "https://app.example.com/outpost.goauthentik.io/backchannel-logout",
        "https://admin.example.com/outpost.goauthentik.io/backchannel-logout",
        "https://admin.example.com/sub/outpost.goauthentik.io/backchannel-logout",
        "https://anything.example.test/outpost.goauthentik.io/backchannel-logout",
    ] {
        moment().await;
        let alice = visitor(&stage, APP, "alice").await;
        stage.browser().post(url, &format!("logout_token={}", made(&stage, &of_user("alice")))).await.is(200);
        assert!(!is_in(&stage, &alice, APP).await, "{url}");
    }
    for url in [
        "https://app.example.com/sub/outpost.goauthentik.io/backchannel-logout",
        "https://app.example.com/outpost.goauthentik.io/backchannel-logout/",
        "https://app.example.com/outpost.goauthentik.io/backchannel_logout",
    ] {
        stage.browser().post(url, &format!("logout_token={}", made(&stage, &of_user("alice")))).await.is(404);
    }
}

/// A proxy that asks instead of routing keeps the body for itself; nobody is let in by that, and nobody logged out.
#[tokio::test]
async fn a_question_about_a_logout_token_is_refused() {
    let stage = Stage::start().await;
    let alice = visitor(&stage, APP, "alice").await;
    let url = "https://app.example.com/outpost.goauthentik.io/backchannel-logout";
    for dialect in ["traefik", "caddy", "nginx", "envoy"] {
        for browser in [&stage.browser(), &alice] {
            let reply = ask(dialect, &mut browser.clone(), Method::POST, url, &[("content-type", FORM)]).await;
            reply.is(if dialect == "nginx" { 403 } else { 400 });
        }
    }
    assert!(is_in(&stage, &alice, APP).await);
}
