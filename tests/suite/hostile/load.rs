//! What must not be lost while much is going on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use http::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use super::*;
use crate::provider::Endpoint;
use crate::support::Stage;

const CLIENTS: usize = 24;
const LOGINS_AT_ONCE: usize = 4;
const APP: &str = "https://app.example.com/page";

/// What strangers send as logout tokens is forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn logout_tokens_of_strangers_take_no_room() {
    let target = Target::start(&[]).await;
    let junk = "j".repeat(8000);
    let mut wire = target.connect().await;
    let mut before = 0;
    for number in 0..11_000 {
        let form = format!("logout_token={number}.{junk}");
        let length = form.len();
        let head = format!(
            "POST /outpost.goauthentik.io/backchannel-logout HTTP/1.1\r\nhost: x\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n"
        );
        wire.send(head + &form).await;
        assert_eq!(wire.receive().await.status, 400);
        if number == 1000 {
            before = target.memory("VmRSS");
        }
    }
    let after = target.memory("VmRSS");
    assert!(after < before + (4 << 20), "{before} bytes, then {after}");
    target.end().await;
}

/// What a task of its own needs to ask.
#[derive(Clone)]
struct Alice {
    http: SocketAddr,
    cookie: String,
    allowed: Arc<AtomicU64>,
}

/// Asks in a closed loop until the daemon is gone. What was asked on a connection older than `stopping` is answered; a
/// younger one may meet the listener's end.
async fn ask_until_the_end(target: Alice, stopping: Arc<AtomicBool>, keep_alive: bool) {
    let close = if keep_alive { "" } else { "connection: close\r\n" };
    let question = format!("GET {AUTH} HTTP/1.1\r\nhost: outpost\r\n{FIELDS}{close}cookie: {}\r\n\r\n", target.cookie);
    loop {
        let Ok(mut wire) = Wire::try_connect(target.http).await else { return };
        let young = stopping.load(SeqCst);
        loop {
            let sent = within(wire.stream.write_all(question.as_bytes())).await.is_ok();
            let answer = match within(wire.next()).await {
                Some(answer) if sent => answer,
                _ if young => return,
                other => panic!("sent: {sent}, answered: {other:?}"),
            };
            assert_eq!(answer.status, 200, "{answer:?}");
            target.allowed.fetch_add(1, Relaxed);
            if answer.head.contains("connection: close\r\n") {
                assert!(wire.rest().await.is_empty());
                break;
            }
        }
    }
}

/// The same over HTTP/2, where the end is told in a frame: a stream above its number was not looked at.
async fn ask_http2_until_the_end(target: Alice) {
    let mut peer = Peer::connect(target.http).await;
    let mut last = None;
    for stream in (1..).step_by(2) {
        if last.is_some() || !peer.try_send(get(stream, AUTH, &[("cookie", &target.cookie)])).await {
            break;
        }
        loop {
            match within(peer.event()).await {
                Event::Status(answered, 200) if answered == stream => break,
                Event::GoAway(named, 0) => last = Some(named),
                // It came after the server's last word.
                Event::Closed if last.is_some_and(|last| last < stream) => return,
                other => panic!("{other:?} for stream {stream}"),
            }
        }
        target.allowed.fetch_add(1, Relaxed);
    }
    let rest = peer.rest().await;
    assert!(rest.iter().all(|event| matches!(event, Event::GoAway(_, 0))), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_drops_nothing() {
    let target = Target::start(&[]).await;
    let allowed = Arc::clone(&target.allowed);
    let alice = Alice { http: target.http, cookie: target.cookie.clone(), allowed };
    let stopping = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(ask_until_the_end(alice.clone(), Arc::clone(&stopping), number % 4 > 0));
    }
    for _ in 0..4 {
        clients.spawn(ask_http2_until_the_end(alice.clone()));
    }
    let enough = async {
        while target.allowed.load(Relaxed) < 1000 {
            tokio::task::yield_now().await;
        }
    };
    within(enough).await;
    stopping.store(true, SeqCst);
    target.daemon.signal("TERM");
    while let Some(client) = within(clients.join_next()).await {
        client.unwrap();
    }
    target.ended();
}

/// Logins in a row until `logins` are through; gives how many ended in a session and how many on a page.
async fn sign_in_again_and_again(stage: Arc<Stage>, logins: usize) -> (usize, usize) {
    let (mut sessions, mut pages) = (0, 0);
    for _ in 0..logins {
        let mut browser = stage.browser();
        let login = stage.check("traefik", &mut browser, APP).await;
        let back = stage.come_back(&mut browser, login, "alice").await;
        if back.status == StatusCode::FOUND {
            assert_eq!(back.header("location"), APP);
            stage.check("traefik", &mut browser, APP).await.is(200);
            sessions += 1;
        } else {
            // The keys are foreign, or were asked for a moment ago.
            assert!([502, 503].contains(&back.status.as_u16()), "{back:#?}");
            back.contains("<html").contains(&back.header("x-request-id"));
            stage.check("traefik", &mut browser, APP).await.is(302);
            pages += 1;
        }
    }
    (sessions, pages)
}

/// Keys rotate after every eight logins, and checks go on; gives how logins ended.
async fn rotate_under_load(rotations: u64, keep_old: bool) -> (usize, usize) {
    let stage = Arc::new(Stage::start().await);
    let over = Arc::new(AtomicBool::new(false));
    let mut checks = JoinSet::new();
    for user in ["alice", "bob"] {
        let mut browser = stage.browser();
        stage.sign_in(&mut browser, APP, user).await.is(200);
        let (stage, over) = (Arc::clone(&stage), Arc::clone(&over));
        checks.spawn(async move {
            while !over.load(Relaxed) {
                let reply = stage.check("traefik", &mut browser, APP).await;
                assert_eq!(reply.is(200).header("x-authentik-username"), user);
            }
        });
    }
    let mut logins = JoinSet::new();
    for _ in 0..LOGINS_AT_ONCE {
        logins.spawn(sign_in_again_and_again(Arc::clone(&stage), 8));
    }
    for rotation in 1..=rotations {
        stage.provider.wait_for_requests(Endpoint::Token, 2 + 8 * rotation).await;
        stage.provider.rotate(keep_old).unwrap();
    }
    let mut ends = (0, 0);
    while let Some(end) = logins.join_next().await {
        let (sessions, pages) = end.unwrap();
        ends = (ends.0 + sessions, ends.1 + pages);
    }
    over.store(true, Relaxed);
    while let Some(check) = checks.join_next().await {
        check.unwrap();
    }
    assert_eq!(ends.0 + ends.1, 32);
    ends
}

#[tokio::test(flavor = "multi_thread")]
async fn rotated_keys_disturb_no_user() {
    assert_eq!(rotate_under_load(1, true).await, (32, 0), "where old keys stay for a while, everybody gets in");
    // A token of the old key that comes after the new keys cannot be verified; there are as many as logins at once.
    let (sessions, pages) = rotate_under_load(1, false).await;
    assert!(pages <= LOGINS_AT_ONCE, "{sessions} sessions, {pages} pages");
    // More often than keys are asked for: a user whose login cannot be verified gets a page, and no other user notices.
    let (sessions, pages) = rotate_under_load(3, false).await;
    assert!(sessions >= LOGINS_AT_ONCE, "{sessions} sessions, {pages} pages");
}
