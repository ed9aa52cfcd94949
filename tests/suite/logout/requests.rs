//! The back channel as HTTP: what counts as a logout request, and where.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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

/// A proxy that asks instead of routing keeps the body for itself; no user is let in by that, and no user is logged out.
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

/// A body that does not come is waited for as long as any answer may take; one that breaks off is none.
#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let short = Duration::from_millis(200);
    let stage = Stage::tuned(World::system(), |_| (), |settings| settings.server.request_timeout = short).await;
    let head = format!(
        "POST /outpost.goauthentik.io/backchannel-logout HTTP/1.1\r\nhost: x\r\ncontent-type: {FORM}\r\n\
         content-length: 100\r\n\r\nlogout_token=a"
    );
    for (breaks_off, expected) in [(false, "HTTP/1.1 503"), (true, "")] {
        let mut stream = TcpStream::connect(stage.daemon.http_address().unwrap()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        if breaks_off {
            stream.shutdown().await.unwrap();
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(expected) && !answer.contains(" 200 "), "{answer}");
    }
}

/// Who wants to be asked for the body is asked (RFC 9110 §10.1.1).
#[tokio::test]
async fn a_body_that_waits_to_be_wanted_is_wanted() {
    let stage = Stage::start().await;
    let alice = visitor(&stage, APP, "alice").await;
    let form = format!("logout_token={}", made(&stage, &of_user("alice")));
    let mut stream = TcpStream::connect(stage.daemon.http_address().unwrap()).await.unwrap();
    let head = format!(
        "POST /outpost.goauthentik.io/backchannel-logout HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {FORM}\r\n\
         expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        form.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut wanted = [0; 25];
    stream.read_exact(&mut wanted).await.unwrap();
    assert_eq!(&wanted, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(form.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(!is_in(&stage, &alice, APP).await);
}
