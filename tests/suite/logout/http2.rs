//! The back channel over HTTP/2, where a request can be taken back while it is being answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::*;
use crate::provider::{Endpoint, Fault};

/// A connection to forepost, of a peer that is not trusted.
async fn connect(stage: &Stage) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(stage.daemon.http_address().unwrap()).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn logout(token: &str) -> Request<Full<Bytes>> {
    Request::post(BACK_CHANNEL)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::from(format!("logout_token={token}")))
        .unwrap()
}

async fn body(answer: Response<Incoming>) -> Bytes {
    answer.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn a_logout_token_counts_once() {
    let stage = Stage::start().await;
    let (alice, bob) = (visitor(&stage, APP, "alice").await, visitor(&stage, APP, "bob").await);
    let token = made(&stage, &of_user("alice"));
    let mut sender = connect(&stage).await;
    for result in ["logout", "repeated"] {
        let answer = sender.send_request(logout(&token)).await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["cache-control"]), (200, &"no-store".parse().unwrap()));
        assert!(body(answer).await.is_empty());
        assert_eq!(logout_tokens(&stage, "idp", result).await, 1);
    }
    assert!(!is_in(&stage, &alice, APP).await && is_in(&stage, &bob, APP).await);
    let answer = sender.send_request(logout("junk")).await.unwrap();
    assert_eq!(answer.status(), 400);
}

/// A client that cancels its request must not keep new keys from other requests.
#[tokio::test]
async fn keys_arrive_although_no_request_waits_any_more() {
    let stage = Stage::with_key_cooldown(Duration::from_hours(1)).await;
    stage.daemon.ready().await;
    let alice = visitor(&stage, APP, "alice").await;
    let gate = Arc::new(Semaphore::new(0));
    let hold = Fault { hold: Some(Arc::clone(&gate)), ..Fault::default() };
    stage.provider.set(|it| drop(it.faults.insert(Endpoint::Jwks, hold)));
    let before = stage.provider.requests(Endpoint::Jwks);
    stage.provider.rotate(false).unwrap();

    let mut sender = connect(&stage).await;
    let taken_back = tokio::spawn(sender.send_request(logout(&made(&stage, &of_user("unknown")))));
    stage.provider.wait_for_requests(Endpoint::Jwks, before + 1).await;
    taken_back.abort();
    assert!(taken_back.await.unwrap_err().is_cancelled());
    // Frames come in order: by the time of this answer the reset has been read.
    let answer = sender.send_request(logout("junk")).await.unwrap();
    assert_eq!(answer.status(), 400);

    let token = made(&stage, &of_user("alice"));
    let (reply, ()) = tokio::join!(send(&stage, &token), async { gate.close() });
    reply.is(200);
    assert!(!is_in(&stage, &alice, APP).await);
    assert_eq!(stage.provider.requests(Endpoint::Jwks), before + 1);
}
