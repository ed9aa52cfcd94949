//! A proxy may hand on only upgrades whose one request was the question: after any other, requests could follow that forepost is not
//! asked about.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::front::Front;
use super::proxy::Proxy;
use super::raw;
use crate::hostile::frames::{DATA, END_HEADERS, END_STREAM, Event, HEADERS, Peer, fields, frame};

const PATIENCE: Duration = Duration::from_secs(30);
/// What is to follow an upgrade: a request about which forepost was not asked.
const SMUGGLED: &str = "GET /admin HTTP/1.1\r\nHost: app.localhost\r\nX-authentik-username: forged\r\n\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const VERSION: &str = "Sec-WebSocket-Version: 13";

/// A request that reached the application, and what came behind it on the same connection.
#[derive(Debug, Default)]
struct Heard {
    head: String,
    behind: Vec<u8>,
}

impl Heard {
    fn fields(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    /// Nothing but one WebSocket is asked for, and without one nothing comes behind the request.
    #[track_caller]
    fn is_harmless(&self, variant: &str) {
        let upgrades = self.fields("upgrade");
        let websocket = matches!(upgrades.as_slice(), [one] if one.eq_ignore_ascii_case("websocket"));
        assert!(websocket || upgrades.is_empty(), "{variant}: {self:#?}");
        assert!(websocket || self.behind.is_empty(), "{variant}: {self:#?}");
        assert_eq!(self.fields("http2-settings"), [""; 0], "{variant}: {self:#?}");
        assert!(self.head.contains(" /public/x HTTP/1.1"), "{variant}: {self:#?}");
        assert!(!self.head.starts_with("CONNECT "), "{variant}: {self:#?}");
    }
}

/// An application that switches protocols whatever it is asked.
struct Switching {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Arc<Mutex<Heard>>>>>,
    /// It has switched.
    switched: Arc<Notify>,
    connections: Connections,
}

/// Those to the application, which end when they are told to: some proxies keep one that they cannot use.
#[derive(Clone, Default)]
struct Connections {
    tasks: TaskTracker,
    end: Arc<Mutex<CancellationToken>>,
}

impl Switching {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::<Mutex<Vec<Arc<Mutex<Heard>>>>>::default();
        let (switched, connections) = (Arc::new(Notify::new()), Connections::default());
        let (all, notify, running) = (Arc::clone(&heard), Arc::clone(&switched), connections.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // What breaks off is as good as what ends.
                let (all, notify, end) = (Arc::clone(&all), Arc::clone(&notify), running.end.lock().unwrap().clone());
                running.tasks.spawn(async move { serve(stream, &all, &notify, &end).await.ok() });
            }
        });
        Self { address, heard, switched, connections }
    }

    /// What was heard since the last call, with all that has arrived.
    async fn take(&self, variant: &str) -> Vec<Arc<Mutex<Heard>>> {
        std::mem::take(&mut *self.connections.end.lock().unwrap()).cancel();
        self.connections.tasks.close();
        let ended = tokio::time::timeout(PATIENCE, self.connections.tasks.wait()).await;
        assert!(ended.is_ok(), "{variant}: a connection to the application does not end");
        self.connections.tasks.reopen();
        std::mem::take(&mut self.heard.lock().unwrap())
    }
}

async fn serve(
    mut stream: TcpStream,
    all: &Mutex<Vec<Arc<Mutex<Heard>>>>,
    switched: &Notify,
    end: &CancellationToken,
) -> io::Result<()> {
    let head = raw::head(&mut stream).await?;
    if head.starts_with("GET /public/ready ") {
        return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    }
    let heard = Arc::new(Mutex::new(Heard { head, behind: Vec::new() }));
    all.lock().unwrap().push(Arc::clone(&heard));
    let protocol = heard.lock().unwrap().fields("upgrade").first().map_or("h2c", |it| *it).to_owned();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n\r\nsaid first"
    );
    stream.write_all(answer.as_bytes()).await?;
    switched.notify_one();
    loop {
        let mut bytes = [0; 1024];
        let length = tokio::select! {
            biased;
            length = stream.read(&mut bytes) => length?,
            () = end.cancelled() => 0,
        };
        if length == 0 {
            return Ok(());
        }
        heard.lock().unwrap().behind.extend_from_slice(&bytes[..length]);
        stream.write_all(&bytes[..length]).await?;
    }
}

/// Requests that ask for anything but a WebSocket, or for more than that.
const VARIANTS: [(&str, &[&str]); 17] = [
    ("GET /public/x HTTP/1.1", &[]),
    ("GET /public/x HTTP/1.1", &["Connection: Upgrade"]),
    (
        "GET /public/x HTTP/1.1",
        &["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"],
    ),
    ("GET /public/x HTTP/1.1", &["Connection: upgrade", "Upgrade: H2C"]),
    ("GET /public/x HTTP/1.1", &["Connection: Upgrade", "Upgrade: foo/1"]),
    ("GET /public/x HTTP/1.1", &["Connection: Upgrade", "Upgrade: TLS/1.0, HTTP/1.1"]),
    ("GET /public/x HTTP/1.1", &["Connection: Upgrade", "Upgrade: websocket, h2c"]),
    ("GET /public/x HTTP/1.1", &["Connection: Upgrade", "Upgrade: h2c, websocket"]),
    ("GET /public/x HTTP/1.1", &["Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c"]),
    ("GET /public/x HTTP/1.1", &["Connection: Upgrade", "Upgrade: h2c", "Upgrade: websocket"]),
    ("GET /public/x HTTP/1.1", &["Connection: Upgrade", "Upgrade: websocket/13"]),
    ("GET /public/x HTTP/1.1", &["Connection: Upgrade", "Upgrade: h2c", KEY, VERSION]),
    ("GET /public/x HTTP/1.1", &["Upgrade: h2c"]),
    ("GET /public/x HTTP/1.1", &["Connection: Upgrade", "Upgrade_: h2c"]),
    ("POST /public/x HTTP/1.1", &["Connection: Upgrade", "Upgrade: h2c", "Content-Length: 0"]),
    ("GET /public/x HTTP/1.0", &["Connection: Upgrade", "Upgrade: h2c"]),
    ("OPTIONS * HTTP/1.1", &["Connection: Upgrade", "Upgrade: h2c"]),
];

/// The status of the answer, if there is one; then what is smuggled behind the request.
async fn smuggle(front: &Front, switching: &Switching, request: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(front.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    // An answer comes, or, where the proxy keeps it to itself for now, the application has switched.
    let mut head = tokio::select! {
        biased;
        head = raw::head(&mut stream) => head.unwrap_or_default(),
        () = switching.switched.notified() => String::new(),
    };
    // What is closed already takes nothing.
    let _ = stream.write_all(SMUGGLED.as_bytes()).await;
    let _ = stream.shutdown().await;
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "no end of {request}");
    head.push_str(&String::from_utf8_lossy(&rest));
    head.get(9..12).and_then(|digits| digits.parse().ok())
}

pub(super) async fn nothing_but_a_websocket_is_an_upgrade(proxy: Proxy) {
    let switching = Switching::start().await;
    let front = Front::before(proxy, Some(switching.address)).await;
    let host = front.host();
    let connects = [format!("CONNECT {host} HTTP/1.1"), "CONNECT /public/x HTTP/1.1".into(), "PRI * HTTP/2.0".into()];
    let connects = connects.iter().map(|line| (line.as_str(), &["Connection: Upgrade", "Upgrade: h2c"][..]));
    for (line, lines) in VARIANTS.into_iter().chain(connects) {
        let variant = format!("{line} {lines:?}");
        let host = format!("Host: {host}");
        let all: Vec<_> = [line, host.as_str()].into_iter().chain(lines.iter().copied()).collect();
        let status = smuggle(&front, &switching, &(all.join("\r\n") + "\r\n\r\n")).await;
        let heard = switching.take(&variant).await;
        for heard in &heard {
            heard.lock().unwrap().is_harmless(&variant);
        }
        // Envoy hands the status on, and switches nothing.
        let asks_for_one = lines.iter().any(|line| line.starts_with("Upgrade: websocket"));
        let alone = matches!(proxy, Proxy::Nginx | Proxy::DistroNginx | Proxy::Haproxy);
        if alone && !asks_for_one && lines.iter().any(|line| line.starts_with("Upgrade:")) {
            assert!(status.is_none_or(|status| status >= 400), "{variant}: {status:?}");
        }
    }
    over_http2(&front, &switching).await;
    for upgrade in ["Upgrade: websocket", "Upgrade: WebSocket"] {
        speaks(&front, upgrade).await;
        let heard = switching.take(upgrade).await;
        let [heard] = heard.as_slice() else { panic!("{heard:#?}") };
        heard.lock().unwrap().is_harmless(upgrade);
        assert_eq!(heard.lock().unwrap().behind, b"echo");
    }
}

/// The same in HTTP/2, where a stream can become a tunnel (RFC 9113 §8.5, RFC 8441).
async fn over_http2(front: &Front, switching: &Switching) {
    let host = front.host();
    let authority = (":authority", host);
    let (get, connect, path) = ((":method", "GET"), (":method", "CONNECT"), (":path", "/public/x"));
    let scheme = (":scheme", "http");
    for block in [
        &[get, scheme, authority, path][..],
        &[get, scheme, authority, path, ("upgrade", "h2c")],
        &[get, scheme, authority, path, ("upgrade", "h2c"), ("connection", "upgrade")],
        &[connect, authority],
        &[connect, scheme, authority, path],
        &[connect, (":protocol", "h2c"), scheme, authority, path],
        &[connect, (":protocol", "connect-udp"), scheme, authority, path],
        &[connect, (":protocol", "websocket"), scheme, authority, path, ("sec-websocket-version", "13")],
    ] {
        let variant = format!("HTTP/2 {block:?}");
        let mut peer = Peer::connect(front.http2).await;
        let is_tunnel = block[0] == connect;
        let end = if is_tunnel { 0 } else { END_STREAM };
        peer.try_send(frame(HEADERS, END_HEADERS | end, 1, &fields(block))).await;
        let status = tokio::select! {
            biased;
            status = answer(&mut peer) => status,
            () = switching.switched.notified() => None,
        };
        if is_tunnel {
            peer.try_send(frame(DATA, END_STREAM, 1, SMUGGLED.as_bytes())).await;
        }
        drop(peer);
        let heard = switching.take(&variant).await;
        for heard in &heard {
            heard.lock().unwrap().is_harmless(&variant);
        }
        if is_tunnel && !block.contains(&(":protocol", "websocket")) {
            assert!(heard.is_empty() && status.is_none_or(|status| status >= 400), "{variant}: {status:?}");
        }
    }
}

/// The status on the first stream, or none where stream or connection end without one.
async fn answer(peer: &mut Peer) -> Option<u16> {
    let answer = async {
        loop {
            match peer.event().await {
                Event::Status(1, status) => return Some(status),
                Event::Reset(1, _) | Event::GoAway(..) | Event::Closed => return None,
                Event::Status(..) | Event::Reset(..) | Event::Ping(_) => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, answer).await.expect("an answer, or an end")
}

/// A WebSocket comes through, both ways.
async fn speaks(front: &Front, upgrade: &str) {
    let request = front.request("GET /public/x", &["Connection: Upgrade", upgrade, KEY, VERSION]);
    let request = request.replace("Connection: close\r\n", "");
    let (mut socket, (status, head)) = raw::exchange(front.address, &request).await.unwrap();
    assert_eq!(status, 101, "{head}");
    socket.write_all(b"echo").await.unwrap();
    let mut both = [0; 14];
    socket.read_exact(&mut both).await.unwrap();
    assert_eq!(&both, b"said firstecho");
}
