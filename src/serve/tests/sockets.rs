use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::net::UnixStream;

use super::*;

fn unix(path: &Path) -> Server {
    Server { unix_socket: Some(path.to_owned()), ..nowhere() }
}

/// `server` cannot be bound, and the message has all of `says` in it.
async fn check_refused(server: &Server, says: &[&str]) {
    let error = Listeners::bind(server).await.err().expect("it could be bound").to_string();
    for part in says {
        assert!(error.contains(part), "{error:?} lacks {part:?}");
    }
}

#[tokio::test]
async fn unix_socket_comes_and_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forepost.sock");
    let server = Running::start(unix(&path)).await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let mut client = Wire(UnixStream::connect(&path).await.unwrap());
    assert_answer(&client.get().await, 200, "HTTP/1.1 tls=false before=0 cookie=0");
    check_refused(&unix(&path), &["forepost.sock", "server.unix_socket", "another process"]).await;
    assert_eq!(server.stop().await, Drained::InTime);
    assert!(!path.exists());
}

#[tokio::test]
async fn unix_socket_replaces_only_a_socket_without_a_listener() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forepost.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = Running::start(unix(&path)).await;
    Wire(UnixStream::connect(&path).await.unwrap()).get().await;

    // The socket of another process in our place is not ours to remove.
    std::fs::remove_file(&path).unwrap();
    let _theirs = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert_eq!(server.stop().await, Drained::InTime);
    assert!(path.exists());

    let file = folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    check_refused(&unix(&file), &["not a socket", "remove it"]).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    check_refused(&unix(&folder.path().join("missing/forepost.sock")), &["the folder must exist"]).await;
}

#[tokio::test]
async fn addresses_that_cannot_be_had() {
    let taken = Running::start(http()).await.http;
    let address = taken.unwrap().to_string();
    let says = [address.as_str(), "server.http", "address in use", "another process"];
    check_refused(&Server { http: taken, ..nowhere() }, &says).await;
    check_refused(&Server { metrics: taken, ..nowhere() }, &["server.metrics"]).await;
    let elsewhere = Some("192.0.2.1:9000".parse().unwrap());
    check_refused(&Server { http: elsewhere, ..nowhere() }, &["192.0.2.1:9000", "no interface"]).await;
}

#[tokio::test]
async fn certificates_that_cannot_be_served() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
    };
    let (one, other) = (make(), make());
    write("cert", &one.cert.pem());
    write("key", &one.signing_key.serialize_pem());
    write("other-key", &other.signing_key.serialize_pem());
    write("empty", "");
    write("broken", &one.cert.pem().replace("-----END", "-----BEND"));
    let with = |cert: &str, key: &str| https(folder.path().join(cert), folder.path().join(key));

    check_refused(&with("missing", "key"), &["server.https", "cannot read", "/missing"]).await;
    check_refused(&with("cert", "missing"), &["cannot read", "/missing"]).await;
    check_refused(&with("empty", "key"), &["/empty", "no usable certificate", "none in it"]).await;
    check_refused(&with("key", "key"), &["/key", "no usable certificate"]).await;
    check_refused(&with("broken", "key"), &["/broken", "no usable certificate"]).await;
    check_refused(&with("cert", "cert"), &["/cert", "no usable private key"]).await;
    check_refused(&with("cert", "other-key"), &["/other-key", "/cert", "first certificate"]).await;
    assert!(Listeners::bind(&with("cert", "key")).await.is_ok());
}

fn make() -> rcgen::CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}
