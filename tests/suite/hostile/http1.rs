//! What HTTP/1 clients should not send: how each of it is answered, and that nothing is read out of it twice.

use tokio::io::AsyncWriteExt;

use super::*;

/// Behind every attack: answered with 204 where the connection still makes sense, and closes it.
const MARKER: &str = "GET /outpost.goauthentik.io/ping HTTP/1.1\r\nhost: marker\r\nconnection: close\r\n\r\n";

/// Sends `attack` and the marker on one connection, and gives all answers until it ends.
async fn provoke(target: &Target, attack: &[u8]) -> Vec<Answer> {
    let mut wire = target.connect().await;
    // The other side may be done with us before it has heard everything.
    let _ = within(wire.stream.write_all(&[attack, MARKER.as_bytes()].concat())).await;
    wire.rest().await
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

/// The answers to `attack` have these statuses, and the last one says that the connection ends.
async fn check(target: &Target, attack: impl AsRef<[u8]>, expected: &[u16]) {
    let answers = provoke(target, attack.as_ref()).await;
    let shown = attack.as_ref().get(..300).unwrap_or(attack.as_ref()).escape_ascii();
    assert_eq!(statuses(&answers), expected, "{shown}");
    let ends = |last: &Answer| last.head.starts_with("HTTP/1.0") || last.head.contains("connection: close\r\n");
    assert!(answers.last().is_some_and(ends), "the last answer does not say so: {shown}");
}

/// A question with these lines instead of the usual head's first two, and further ones.
fn ask(line: &str, more: &str) -> String {
    format!("{line}\r\nhost: outpost\r\n{FIELDS}{more}\r\n")
}

/// The usual question with further lines.
fn with(more: &str) -> String {
    ask(&format!("GET {AUTH} HTTP/1.1"), more)
}

#[tokio::test(flavor = "multi_thread")]
async fn request_lines() {
    let target = Target::start(&[]).await;
    let line = |line: &str| ask(line, "");
    // The application's answers: a redirect to the login, whatever the proxy's method is.
    check(&target, line(&format!("GET {AUTH} HTTP/1.1")), &[302, 204]).await;
    check(&target, line(&format!("TRACE {AUTH} HTTP/1.1")), &[302, 204]).await;
    check(&target, line(&format!("BREW {AUTH} HTTP/1.1")), &[302, 204]).await;
    // Applications read such a method in several ways.
    check(&target, line(&format!("get {AUTH} HTTP/1.1")), &[400, 204]).await;
    check(&target, line(&format!("GET http://outpost{AUTH} HTTP/1.1")), &[302, 204]).await;
    check(&target, line(&format!("GET https://app.example.com{AUTH} HTTP/1.1")), &[302, 204]).await;
    check(&target, line("GET http://outpost HTTP/1.1"), &[404, 204]).await;
    check(&target, line("OPTIONS * HTTP/1.1"), &[404, 204]).await;
    check(&target, line("CONNECT outpost:443 HTTP/1.1"), &[400]).await;
    check(&target, line(&format!("CONNECT {AUTH} HTTP/1.1")), &[400]).await;
    let cookie = format!("cookie: {}\r\n", target.cookie);
    check(&target, ask(&format!("CONNECT {AUTH} HTTP/1.1"), &cookie), &[400]).await;
    // No request line.
    for bad in [
        &*format!("GET {AUTH}"),
        &format!("GET {AUTH} "),
        &format!("GET {AUTH} HTTP/0.9"),
        &format!("GET {AUTH} HTTP/1.2"),
        &format!("GET {AUTH} HTTP/2.0"),
        &format!("GET {AUTH} HTTP/3"),
        &format!("GET {AUTH} http/1.1"),
        &format!("GET {AUTH} HTTP/1.1 "),
        &format!("GET {AUTH} x HTTP/1.1"),
        &format!("GET\t{AUTH}\tHTTP/1.1"),
        &format!(" GET {AUTH} HTTP/1.1"),
        &format!("G\0T {AUTH} HTTP/1.1"),
        &format!("GET {AUTH}\0 HTTP/1.1"),
        &format!("GET {AUTH}\u{7f} HTTP/1.1"),
        "GET outpost.goauthentik.io/auth/traefik HTTP/1.1",
        "GET  HTTP/1.1",
        "GET",
        " ",
        "\0",
        "\u{16}\u{3}\u{1}",
        "HTTP/1.1 200 OK",
        "PRI * HTTP/2.0",
    ] {
        check(&target, line(bad), &[400]).await;
    }
    target.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_hosts() {
    let target = Target::start(&[]).await;
    let bare = |version: &str, hosts: &str| format!("GET {AUTH} HTTP/{version}\r\n{hosts}{FIELDS}\r\n");
    check(&target, bare("1.0", ""), &[302]).await;
    check(&target, bare("1.0", "connection: keep-alive\r\n"), &[302, 204]).await;
    check(&target, bare("1.0", "host: outpost\r\nhost: other\r\n"), &[400]).await;
    check(&target, bare("1.1", ""), &[400]).await;
    check(&target, bare("1.1", "host: outpost\r\nhost: other\r\n"), &[400]).await;
    check(&target, bare("1.1", "host: outpost\r\nHOST: outpost\r\n"), &[400]).await;
    // An upgrade that forepost does not support is ignored (RFC 9110 §7.8).
    let upgrade = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n";
    check(&target, with(upgrade), &[302, 204]).await;
    check(&target, with("connection: upgrade\r\nupgrade: websocket\r\n"), &[401, 204]).await;
    target.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn header_sections() {
    let target = Target::start(&[]).await;
    for bad in [
        "x: a\r\n folded\r\n",
        "x: a\r\n\tfolded\r\n",
        " x: a\r\n",
        "x : a\r\n",
        "x\t: a\r\n",
        ": a\r\n",
        "x\r\n",
        "x y: a\r\n",
        "x: a\0b\r\n",
        "x\0: a\r\n",
        "x: a\rb\r\n",
        "x: a\rcookie: b\r\n",
        "x: \u{1}\r\n",
        "x: \u{7f}\r\n",
        "é: a\r\n",
        "x(: a\r\n",
        "\r\r\n",
    ] {
        check(&target, with(bad), &[400]).await;
    }
    // A bare LF ends a line (RFC 9112 §2.2), and the forwarded fields are the same for everybody then.
    check(&target, with("").replace("\r\n", "\n"), &[302, 204]).await;
    check(&target, with("x: \u{80}é\r\n"), &[302, 204]).await;
    check(&target, format!("\r\n\r\n{}", with("")), &[302, 204]).await;
    target.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_what_hides_in_them() {
    let target = Target::start(&[]).await;
    let post = |more: &str, body: &str| ask(&format!("POST {AUTH} HTTP/1.1"), more) + body;
    let hidden = format!("GET {ALIVE} HTTP/1.1\r\nhost: hidden\r\n\r\n");
    let hidden = hidden.as_str();
    let length = hidden.len();

    // Whole, and never read as a request.
    check(&target, post(&format!("content-length: {length}\r\n"), hidden), &[302, 204]).await;
    let chunked = format!("{length:x}\r\n{hidden}\r\n0\r\n\r\n");
    check(&target, post("transfer-encoding: chunked\r\n", &chunked), &[302, 204]).await;

    // The length does not count, and the connection is not used again (RFC 9112 §6.3).
    for both in
        ["transfer-encoding: chunked\r\ncontent-length: 4\r\n", "content-length: 4\r\ntransfer-encoding: chunked\r\n"]
    {
        check(&target, post(both, &chunked), &[302]).await;
        check(&target, post(both, "0\r\n\r\n"), &[302]).await;
    }
    // Broken chunks: the answer may be out by then, and nothing behind them is answered.
    for chunks in [
        "g\r\n",
        "-1\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "ffffffffffffffff1\r\n",
        "1\nx\n0\n\n",
        "\r\n",
        "5 \0\r\nhello\r\n",
    ] {
        let attack = post("transfer-encoding: chunked\r\n", &format!("{chunks}{hidden}"));
        assert_eq!(statuses(&provoke(&target, attack.as_bytes()).await), [302], "{}", chunks.escape_debug());
    }

    // Framing that two parties could read differently (RFC 9112 §6.3).
    for bad in [
        &*format!("content-length: {length}\r\ncontent-length: 0\r\n"),
        &format!("content-length: {length}, 0\r\n"),
        "content-length: +5\r\n",
        "content-length: -1\r\n",
        "content-length: 0x10\r\n",
        "content-length: 5 5\r\n",
        "content-length: \r\n",
        "content-length: 18446744073709551616\r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: \u{b}chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
    ] {
        check(&target, post(bad, hidden), &[400]).await;
    }
    target.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_in_a_head() {
    let target = Target::start(&[]).await;
    let many = |fields: usize| with(&"x: y\r\n".repeat(fields));
    check(&target, many(95), &[302, 204]).await;
    check(&target, many(96), &[431]).await;
    check(&target, many(50_000), &[431]).await;
    check(&target, with(&format!("x: {}\r\n", "y".repeat(90_000))), &[302, 204]).await;
    check(&target, with(&format!("x: {}\r\n", "y".repeat(100_000))), &[431]).await;
    check(&target, with(&format!("x: {}\r\n", "y".repeat(4_000_000))), &[431]).await;
    check(&target, with(&format!("{}: y\r\n", "x".repeat(65_535))), &[302, 204]).await;
    check(&target, with(&format!("{}: y\r\n", "x".repeat(65_536))), &[431]).await;
    let path = |length: usize| ask(&format!("GET {AUTH}?{} HTTP/1.1", "y".repeat(length)), "");
    check(&target, path(60_000), &[302, 204]).await;
    check(&target, path(66_000), &[414]).await;
    check(&target, path(1_000_000), &[431]).await;
    target.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelining() {
    let target = Target::start(&[]).await;
    let mut wire = target.connect().await;
    let ping = format!("GET {ALIVE} HTTP/1.1\r\nhost: a\r\n\r\n");
    let round = [target.check(), ping, anonymous()].concat() + "GET /nowhere HTTP/1.1\r\nhost: a\r\n\r\n";
    wire.send(round.repeat(50)).await;
    for _ in 0..50 {
        for status in [200, 204, 302, 404] {
            assert_eq!(wire.receive().await.status, status);
        }
    }
    target.allowed.fetch_add(50, Relaxed);
    // One bad request in the middle: those before it are answered, nothing behind it is.
    wire.send([anonymous(), "GET\r\n\r\n".into(), target.check()].concat()).await;
    assert_eq!(statuses(&wire.rest().await), [302, 400]);
    target.end().await;
}

/// A peer that has closed only its own direction still wants the answer.
#[tokio::test(flavor = "multi_thread")]
async fn half_closed_connections() {
    let target = Target::start(&[]).await;
    for _ in 0..20 {
        let mut wire = target.connect().await;
        wire.send([target.check(), anonymous()].concat()).await;
        wire.stream.shutdown().await.unwrap();
        assert_eq!(statuses(&wire.rest().await), [200, 302]);
        target.allowed.fetch_add(1, Relaxed);
        // Half a question is none.
        let mut wire = target.connect().await;
        wire.send(format!("GET {AUTH} HTTP/1.1\r\nhost: outpost\r\n")).await;
        wire.stream.shutdown().await.unwrap();
        assert!(wire.rest().await.is_empty());
    }
    target.end().await;
}

/// Connections that are reset wherever they are.
#[tokio::test(flavor = "multi_thread")]
async fn resets_in_flight() {
    let target = Target::start(&[]).await;
    let question = anonymous();
    for length in (0..question.len()).step_by(7).chain([question.len(); 20]) {
        let mut wire = target.connect().await;
        wire.send(&question[..length]).await;
        wire.stream.set_zero_linger().unwrap();
    }
    target.end().await;
}
