//! The host that forepost judges is the one that the application reads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::front::Front;
use super::proxy::Proxy;
use super::raw;
use crate::hostile::frames::{END_HEADERS, END_STREAM, Event, HEADERS, Peer, fields, frame};

/// How many ask at once.
const WORKERS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(20);

/// Texts that are not the application's host, and in which a part of a URL could be read: behind them stands `/page`, which needs
/// a login, while `/public` and, of another application, `/page` need none.
fn texts(host: &str) -> Vec<String> {
    let (name, port) = host.split_once(':').unwrap();
    let another = format!("another.localhost:{port}");
    let mut texts = Vec::new();
    for byte in (0x21..=0x7e).map(char::from) {
        texts.push(format!("{host}{byte}public/x?"));
        if byte.is_ascii_alphanumeric() {
            continue;
        }
        texts.extend([
            format!("{byte}"),
            format!("{byte}{host}"),
            format!("{name}{byte}"),
            format!("{name}{byte}:{port}"),
            format!("{host}{byte}"),
            format!("{host}/public/x{byte}"),
            format!("{name}{byte}/public/x?"),
            format!("{another}{byte}{host}"),
            format!("{another}/page{byte}"),
            format!("{host}{byte}{another}"),
        ]);
    }
    texts
}

/// The fields of a GET over HTTP/2, with these for the host.
pub(super) fn get(path: &str, host: &[(&str, &str)]) -> Vec<u8> {
    let all: Vec<_> =
        [(":method", "GET"), (":scheme", "http"), (":path", path)].into_iter().chain(host.iter().copied()).collect();
    // Pseudo-header fields come first (RFC 9113 §8.3).
    let (pseudo, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|(name, _)| name.starts_with(':'));
    fields(&[pseudo, rest].concat())
}

/// A connection for HTTP/2 that is made anew when a proxy ends it.
pub(super) struct Http2 {
    address: SocketAddr,
    peer: Option<(Peer, u32)>,
}

impl Http2 {
    pub(super) const fn to(address: SocketAddr) -> Self {
        Self { address, peer: None }
    }

    /// The status of the answer to these fields; `None` where there is none.
    pub(super) async fn status(&mut self, block: &[u8]) -> Option<u16> {
        let (peer, stream) = match &mut self.peer {
            Some(kept) => kept,
            none => none.insert((Peer::connect(self.address).await, 1)),
        };
        let asked = *stream;
        *stream += 2;
        if !peer.try_send(frame(HEADERS, END_STREAM | END_HEADERS, asked, block)).await {
            self.peer = None;
            return None;
        }
        loop {
            match tokio::time::timeout(PATIENCE, peer.event()).await.expect("an answer, or an end") {
                Event::Status(stream, status) if stream == asked => return Some(status),
                Event::Reset(stream, _) if stream == asked => return None,
                Event::GoAway(..) | Event::Closed => {
                    self.peer = None;
                    return None;
                }
                Event::Status(..) | Event::Reset(..) | Event::Ping(_) => {}
            }
        }
    }
}

/// Asks for `/page` with every text, in every place for one; statuses are the proxy's business.
pub(super) async fn ask_all(front: &Front) {
    let good = front.host().to_owned();
    let texts = Arc::new(texts(&good));
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let (texts, good, http1, http2) = (Arc::clone(&texts), good.clone(), front.address, front.http2);
        workers.spawn(async move {
            let mut http2 = Http2::to(http2);
            for text in texts.iter().skip(worker).step_by(WORKERS) {
                let request = format!("GET /page HTTP/1.1\r\nHost: {text}\r\nConnection: close\r\n\r\n");
                // Some hang up, and some take their time to.
                let _ = raw::exchange(http1, &request).await;
                for host in [
                    &[("host", text.as_str())][..],
                    &[(":authority", text)],
                    &[(":authority", &good), ("host", text)],
                    &[(":authority", text), ("host", &good)],
                ] {
                    http2.status(&get("/page", host)).await;
                }
            }
        });
    }
    workers.join_all().await;
}

/// The application served nothing but what is public: HAProxy reads a path in what HTTP/2 says of the host, and asks for that path.
#[track_caller]
pub(super) fn saw_no_page(front: &Front) {
    for seen in front.application.take() {
        assert!(seen.target.starts_with("/public/"), "{seen:#?}");
    }
}

pub(super) async fn no_spelling_of_a_host_passes_for_a_public_path(proxy: Proxy) {
    let front = Front::with_http2(proxy).await;
    let good = front.host();
    let mut http2 = Http2::to(front.http2);
    for host in [&[("host", good)][..], &[(":authority", good)]] {
        assert_eq!(http2.status(&get("/public/x", host)).await, Some(200), "{host:?}");
        front.application.take_one();
    }
    ask_all(&front).await;
    saw_no_page(&front);
    // It still serves.
    assert_eq!(raw::status(front.address, &front.request("GET /public/x", &[])).await.unwrap(), 200);
}

/// `/page` is public for another application of this forepost, which is somewhere else.
pub(super) async fn another_applications_host_does_not_lead_here(proxy: Proxy) {
    let front = Front::with_http2(proxy).await;
    let here = front.host();
    let there = here.replace("app.", "another.");
    let (name, _) = there.split_once(':').unwrap();
    for (target, hosts) in [
        ("/page".to_owned(), &[there.as_str()][..]),
        ("/page".to_owned(), &[name]),
        ("/page".to_owned(), &["ANOTHER.localhost."]),
        ("/page".to_owned(), &[here, &there]),
        ("/page".to_owned(), &[&there, here]),
        ("/page".to_owned(), &[]),
        (format!("http://{there}/page"), &[here]),
        (format!("http://{there}/page"), &[&there]),
        (format!("http://{here}/page"), &[&there]),
        (format!("http://{there}@{here}/page"), &[&there]),
    ] {
        for version in ["1.1", "1.0"] {
            let hosts = hosts.iter().map(|host| format!("Host: {host}"));
            let lines = [format!("GET {target} HTTP/{version}")].into_iter().chain(hosts);
            let request = lines.collect::<Vec<_>>().join("\r\n") + "\r\nConnection: close\r\n\r\n";
            let _ = raw::exchange(front.address, &request).await;
            front.application.saw_nothing();
        }
    }
    let mut http2 = Http2::to(front.http2);
    let whole = format!("http://{there}/page");
    for (path, hosts) in [
        ("/page", &[(":authority", there.as_str())][..]),
        ("/page", &[("host", &there)]),
        ("/page", &[(":authority", here), ("host", &there)]),
        ("/page", &[(":authority", &there), ("host", here)]),
        ("/page", &[("host", here), ("host", &there)]),
        ("/page", &[]),
        (&whole, &[(":authority", here)]),
        (".localhost/page", &[(":authority", "another")]),
        ("@another.localhost/page", &[(":authority", here)]),
    ] {
        http2.status(&get(path, hosts)).await;
        front.application.saw_nothing();
    }
}

/// An absolute target has a host and a path that servers find in different places: `http:///public/page` is `/page` of the host
/// `public` for those that read URLs as browsers do.
pub(super) async fn an_absolute_target_is_not_handed_on(proxy: Proxy) {
    let front = Front::with_http2(proxy).await;
    let here = front.host();
    let mut targets = vec!["http:/public/page".to_owned(), "http:public/page".to_owned(), "*".to_owned()];
    for scheme in ["http", "https", "ftp", "ws", "file", "x"] {
        for rest in [
            format!("{here}/public/x"),
            "/public/page".to_owned(),
            "/public\\page".to_owned(),
            "//public/page".to_owned(),
        ] {
            targets.push(format!("{scheme}://{rest}"));
        }
    }
    for target in &targets {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {here}\r\nConnection: close\r\n\r\n");
        let _ = raw::exchange(front.address, &request).await;
        saw_no_page(&front);
    }
    let mut http2 = Http2::to(front.http2);
    for scheme in ["https", "ftp", "ws", "http:///public/x?", "x"] {
        for path in ["/public/x", "http:///public/page", "//public/page"] {
            let asked = fields(&[(":method", "GET"), (":scheme", scheme), (":path", path), (":authority", here)]);
            http2.status(&asked).await;
            saw_no_page(&front);
        }
    }
}

/// Its script and its configuration: the application is protected on forepost's own paths too, where nothing is asked.
#[tokio::test]
async fn haproxy_refuses_what_is_no_host() {
    let front = Front::with_http2(Proxy::Haproxy).await;
    let good = front.host();
    for target in ["/admin", "/public/x", "/outpost.goauthentik.io/start"] {
        for host in ["/public/x?", "?", "#", "/", "\\", "@x", ":", ":80", ", x", ";", "%2f", "\u{e4}"] {
            let text = format!("{good}{host}");
            let request = format!("GET {target} HTTP/1.1\r\nHost: {text}\r\nConnection: close\r\n\r\n");
            assert_eq!(raw::status(front.address, &request).await.unwrap(), 400, "{target} {text}");
            if text.is_ascii() {
                let status = Http2::to(front.http2).status(&get(target, &[("host", &text)])).await;
                assert!([Some(400), None].contains(&status), "{target} {text} {status:?}");
            }
        }
        let none = format!("GET {target} HTTP/1.0\r\nConnection: close\r\n\r\n");
        assert_eq!(raw::status(front.address, &none).await.unwrap(), 400);
    }
    front.application.saw_nothing();
}
