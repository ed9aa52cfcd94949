//! Requests to the letter, as no browser would send them.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::Stage;

/// Sends these bytes and reads what comes until the daemon closes the connection.
pub(super) async fn exchange(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is as good as an end.
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

/// The status of the answer to these lines; 0 when the daemon closed without one.
pub(super) async fn status(stage: &Stage, lines: &[&[u8]]) -> u16 {
    let mut request = lines.join(&b"\r\n"[..]);
    request.extend_from_slice(b"\r\nConnection: close\r\n\r\n");
    let answer = exchange(stage.daemon.http_address().unwrap(), &request).await;
    let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    status.unwrap_or(0)
}

/// What a proxy asks about a request for `target` on `host`, in the lines of its dialect.
pub(super) fn question(dialect: &str, host: &str, target: &[u8]) -> Vec<Vec<u8>> {
    let joined = |start: &str, end: &[u8]| [start.as_bytes(), end].concat();
    let envoy = [b"GET /outpost.goauthentik.io/auth/envoy", target, b" HTTP/1.1"].concat();
    let asked = joined(&format!("GET /outpost.goauthentik.io/auth/{dialect} HTTP/1.1"), b"");
    let host_line = joined("Host: ", host.as_bytes());
    match dialect {
        "envoy" => vec![envoy, host_line, joined("X-Forwarded-Proto: https", b"")],
        "nginx" => vec![asked, host_line, joined(&format!("X-Original-URL: https://{host}"), target)],
        _ => vec![
            asked,
            host_line,
            joined("X-Forwarded-Method: GET", b""),
            joined("X-Forwarded-Proto: https", b""),
            joined("X-Forwarded-Host: ", host.as_bytes()),
            joined("X-Forwarded-Uri: ", target),
        ],
    }
}

/// The status of the answer to [`question`], with further lines.
pub(super) async fn ask(stage: &Stage, dialect: &str, host: &str, target: &[u8], more: &[&[u8]]) -> u16 {
    let question = question(dialect, host, target);
    let lines: Vec<&[u8]> = question.iter().map(Vec::as_slice).chain(more.iter().copied()).collect();
    status(stage, &lines).await
}

pub(super) const fn is_2xx(status: u16) -> bool {
    200 <= status && status < 300
}
