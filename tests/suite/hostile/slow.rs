//! Clients that take their time, or only sit there.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::frames::{HEADERS, frame};
use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The least that the settings take.
const SECOND: Duration = Duration::from_secs(1);

/// Sends `start`, then `drop` again and again; gives how long that went on until the other side closed.
async fn drip(address: SocketAddr, start: Vec<u8>, drop: &'static [u8]) -> Duration {
    let begun = Instant::now();
    let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
    write.write_all(&start).await.unwrap();
    let dripping = async {
        let mut interval = tokio::time::interval(SECOND / 20);
        while write.write_all(drop).await.is_ok() {
            interval.tick().await;
        }
        std::future::pending::<()>().await;
    };
    let closed = async {
        let mut buffer = [0; 1024];
        while read.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {}
    };
    within(async {
        tokio::select! { () = dripping => {}, () = closed => {} }
    })
    .await;
    begun.elapsed()
}

/// A certificate and its key in files, for the daemon and for a client that trusts nothing else.
fn certificate(folder: &Path) -> tokio_rustls::TlsConnector {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth()).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_handshakes_that_never_end() {
    let folder = tempfile::tempdir().unwrap();
    let tls = certificate(folder.path());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let target = Target::start(&[
        ("FOREPOST_SERVER__HEADER_TIMEOUT", "1s"),
        ("FOREPOST_SERVER__TLS_HANDSHAKE_TIMEOUT", "1s"),
        ("FOREPOST_SERVER__HTTPS__LISTEN", "127.0.0.1:0"),
        ("FOREPOST_SERVER__HTTPS__CERTIFICATE", &path("cert.pem")),
        ("FOREPOST_SERVER__HTTPS__KEY", &path("key.pem")),
    ])
    .await;
    let (http, https) = (target.http, target.https.unwrap());
    let head = format!("GET {AUTH} HTTP/1.1\r\nhost: outpost\r\n{FIELDS}");
    // A handshake record with a ClientHello of 508 bytes that does not come.
    let hello = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03";
    let attacks: [(SocketAddr, Vec<u8>, &'static [u8]); 10] = [
        (http, Vec::new(), b""),
        (http, b"G".to_vec(), b""),
        (http, head.clone().into(), b""),
        (http, head.clone().into(), b"x: y\r\n"),
        (http, format!("{head}cookie: ").into(), b"x"),
        (http, PREFACE[..4].to_vec(), b""),
        (http, [PREFACE, b"\0\x40\0\x01\x04\0\0\0\x01"].concat(), b"\0"),
        (http, [PREFACE, &frame(HEADERS, 0, 1, b"")].concat(), b""),
        (https, Vec::new(), b""),
        (https, hello.to_vec(), b"\0"),
    ];
    let mut dripping = JoinSet::new();
    for (address, start, drop) in attacks.iter().cycle().take(60).cloned() {
        dripping.spawn(drip(address, start, drop));
    }
    while !dripping.is_empty() {
        target.serves().await;
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let mut good = within(tls.connect(name, TcpStream::connect(https).await.unwrap())).await.unwrap();
        good.write_all(anonymous().as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        within(good.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 302");
        let took = within(dripping.join_next()).await.unwrap().unwrap();
        assert!(took >= SECOND * 9 / 10, "{took:?}");
        while dripping.try_join_next().is_some() {}
    }
    // Bytes that are not TLS end the connection at once.
    for nonsense in [anonymous().as_bytes(), PREFACE, &[0xff; 64]] {
        let mut stream = TcpStream::connect(https).await.unwrap();
        stream.write_all(nonsense).await.unwrap();
        let mut answer = Vec::new();
        let _ = within(stream.read_to_end(&mut answer)).await;
        assert!(!answer.starts_with(b"HTTP/"), "{}", answer.escape_ascii());
    }
    target.end().await;
}

/// Announced and dripping bodies keep no answer back, and get no `100 Continue`.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_never_come() {
    let target = Target::start(&[]).await;
    for (more, drop) in [
        ("content-length: 1000000\r\n", ""),
        ("content-length: 1000000\r\n", "x"),
        ("content-length: 1000000\r\nexpect: 100-continue\r\n", ""),
        ("transfer-encoding: chunked\r\n", ""),
        ("transfer-encoding: chunked\r\n", "1\r\nx\r\n"),
        ("transfer-encoding: chunked\r\nexpect: 100-continue\r\n", "ffffffffffffffff\r\n"),
        ("transfer-encoding: chunked\r\n", "g\r\n"),
    ] {
        let mut wire = target.connect().await;
        wire.send(format!("POST {AUTH} HTTP/1.1\r\nhost: outpost\r\n{FIELDS}{more}\r\n{drop}")).await;
        assert_eq!(wire.receive().await.status, 302, "{more}{drop}");
        assert!(wire.rest().await.is_empty(), "{more}{drop}");
    }
    target.end().await;
}

/// A client that asks and asks and takes no answer is cut, and keeps no memory meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_the_client_does_not_read() {
    let target = Target::start(&[("FOREPOST_SERVER__REQUEST_TIMEOUT", "1s")]).await;
    let before = target.memory("VmHWM");
    let mut greedy = JoinSet::new();
    for _ in 0..4 {
        let mut wire = target.connect().await;
        let questions = anonymous().repeat(100);
        greedy.spawn(async move { while wire.stream.write_all(questions.as_bytes()).await.is_ok() {} });
    }
    while !greedy.is_empty() {
        target.serves().await;
        within(greedy.join_next()).await.unwrap().unwrap();
    }
    let grown = target.memory("VmHWM").saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more");
    target.end().await;
}

/// Memory for one idle connection that has been used, or that never said a word.
const IDLE_MEMORY: u64 = 32 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections() {
    let most = raise_open_files().saturating_sub(1000).min(10_000);
    let target = Target::start(&[
        ("FOREPOST_SERVER__MAX_CONNECTIONS", "10100"),
        ("FOREPOST_SERVER__HEADER_TIMEOUT", "300s"),
        ("FOREPOST_SERVER__IDLE_TIMEOUT", "300s"),
    ])
    .await;
    target.serves().await;
    let before = target.memory("VmRSS");
    let mut idle = Vec::new();
    for number in 0..most {
        let source = Ipv4Addr::new(127, 0, 0, u8::try_from(number % 8).unwrap() + 2);
        let mut wire = Wire::connect_from(IpAddr::V4(source), target.http).await;
        // Every other one has been used.
        if number % 2 == 0 {
            wire.send(anonymous()).await;
            assert_eq!(wire.receive().await.status, 302);
        }
        if number % 1000 == 999 {
            target.serves().await;
        }
        idle.push(wire);
    }
    let each = target.memory("VmRSS").saturating_sub(before) / most;
    assert!(each < IDLE_MEMORY, "{each} bytes for each of {most} connections");
    target.serves().await;
    // They are all still there.
    for wire in idle.iter_mut().step_by(500) {
        target.pass(wire).await;
    }
    drop(idle);
    target.end().await;
}

/// Raises what this process may open, and its children with it, as far as it may; gives how much that is.
fn raise_open_files() -> u64 {
    let limits = || {
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap().to_owned();
        let mut words = line.split_whitespace().map(|word| word.parse().unwrap_or(u64::MAX));
        (words.next().unwrap(), words.next().unwrap())
    };
    let (soft, hard) = limits();
    if soft < hard.min(20_000) {
        let process = format!("--pid={}", std::process::id());
        // Where there is no such command, what we have must do.
        let _ = Command::new("prlimit").args([process, format!("--nofile={hard}:{hard}")]).status();
    }
    limits().0
}
