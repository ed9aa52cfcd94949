use std::fs;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use secrecy::SecretString;
use tokio::time::Instant;

use super::following::Told;
use super::on_each_program;
use super::port::reserved_address;
use super::server::{Server, open, settings, until};
use super::stage::Manner;
use crate::session::redis::client::RedisSettings;
use crate::session::redis::client::{Redis, RedisError};
use crate::tls::CaFile;

const LONG: Duration = Duration::from_mins(1);
const KEY: [u8; 32] = [7; 32];

on_each_program![a_silent_server_ends_in_time, a_server_that_comes_back_is_used, users_and_databases,];

async fn a_silent_server_ends_in_time(program: &'static str) {
    let server = Server::start(program, &[]).await;
    let timeout = Duration::from_millis(300);
    let connected = open(&RedisSettings { timeout, ..settings(server.address) });
    let fresh = open(&RedisSettings { timeout, ..settings(server.address) });
    connected.put(&KEY, b"one", LONG, 0).await.unwrap();
    server.signal("STOP");
    for redis in [&connected, &fresh] {
        for _ in 0..3 {
            let begun = Instant::now();
            let error = redis.get(&KEY).await.unwrap_err();
            assert!(matches!(error, RedisError::TimedOut(_) | RedisError::Away(_)), "{error}");
            assert!(begun.elapsed() < timeout * 2, "{:?}", begun.elapsed());
        }
    }
    server.signal("CONT");
    for redis in [&connected, &fresh] {
        until("an answer", async || redis.get(&KEY).await.is_ok_and(|record| record.unwrap() == b"one")).await;
    }
}

async fn a_server_that_comes_back_is_used(program: &'static str) {
    let mut server = Server::prepare(program, reserved_address(), &[]);
    let redis = open(&settings(server.address));
    for _ in 0..2 {
        let error = redis.put(&KEY, b"one", LONG, 0).await.unwrap_err();
        assert!(matches!(error, RedisError::Away(_)), "{error}");
        server.run();
        until("a connection", async || redis.put(&KEY, b"one", LONG, 0).await.is_ok()).await;
        server.kill();
    }
}

async fn users_and_databases(program: &'static str) {
    let server = Server::start(program, &["--requirepass", ""]).await;
    Manner::User.admit(&server, &[0]).await;
    let with = |user: &str, secret: &str| RedisSettings {
        username: Some(user.to_owned()),
        password: Some(SecretString::from(secret)),
        database: 3,
        prefix: "forepost:".to_owned(),
        ..settings(server.address)
    };
    let redis = Arc::new(open(&with("forepost", "password")));
    redis.put(&KEY, b"one", LONG, 0).await.unwrap();
    let (told, _) = Told::follow(&redis);
    told.until_current().await;
    redis.remove(&KEY).await.unwrap();
    redis.trim(LONG).await.unwrap();
    assert_eq!((redis.longest(5).await.unwrap(), redis.count().await.unwrap()), (5, 0));
    for (user, secret) in [("forepost", "hunter2"), ("unknown", "password")] {
        let error = open(&with(user, secret)).get(&KEY).await.unwrap_err().to_string();
        assert!(error.contains("password") && !error.contains("hunter"), "{error}");
    }
    let error = open(&RedisSettings { prefix: "other:".to_owned(), ..with("forepost", "password") });
    let error = error.put(&KEY, b"one", LONG, 0).await.unwrap_err();
    assert_eq!(error, RedisError::Refused("NOPERM".to_owned()));
    assert!(!format!("{:?}", with("forepost", "hunter2")).contains("hunter2"));
}

/// An answer that announces too large a size ends with an error at once.
#[tokio::test]
async fn an_answer_without_measure_ends_the_connection() {
    for answer in ["$99999999999\r\n", "*99999999\r\n", "*2\r\n$5\r\nhello\r\n*600000\r\n"] {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let settings = settings(listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                // The server sends no more, and waits.
                let _ = stream.read(&mut [0; 1024]).await;
            }
        });
        let error = open(&settings).get(&KEY).await.unwrap_err();
        assert!(matches!(error, RedisError::Away(_)), "{error}");
        server.abort();
    }
}

/// Redis alone: no package of Valkey has TLS.
#[tokio::test]
async fn tls_and_its_authorities() {
    let folder = tempfile::tempdir().unwrap();
    let [ca, other_ca, certificate, key] = ["ca", "other", "crt", "key"].map(|name| folder.path().join(name));
    let key_pair = rcgen::KeyPair::generate().unwrap();
    // A self-signed certificate that is also an authority, as `openssl req -x509` makes it.
    let mut params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let signed = params.self_signed(&key_pair).unwrap();
    let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(&ca, signed.pem()).unwrap();
    fs::write(&certificate, signed.pem()).unwrap();
    fs::write(&key, key_pair.serialize_pem()).unwrap();
    fs::write(&other_ca, stranger.cert.pem()).unwrap();
    let address = reserved_address();
    let (port, certificate, key) = (address.port().to_string(), certificate.to_str().unwrap(), key.to_str().unwrap());
    let tls = ["--tls-port", &port, "--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "no"];
    let _server = Server::start("redis-server", &tls).await;
    let with = |ca_file| RedisSettings { tls: true, ca_file, ..settings(address) };
    let redis = Arc::new(open(&with(Some(CaFile::read(ca)))));
    redis.put(&KEY, b"one", LONG, 0).await.unwrap();
    let (told, _) = Told::follow(&redis);
    told.until_current().await;
    for ca_file in [None, Some(CaFile::read(other_ca))] {
        let error = open(&with(ca_file)).get(&KEY).await.unwrap_err().to_string();
        assert!(error.contains("in ca_file"), "{error}");
    }
    let missing = Redis::new(&with(Some(CaFile::read(folder.path().join("missing")))));
    assert!(matches!(missing, Err(RedisError::Tls(_))));
}
