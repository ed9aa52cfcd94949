use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

#[tokio::test]
async fn http1_keeps_alive() {
    let mut server = Running::start(http()).await;
    let mut client = server.connect().await;
    assert_answer(&client.get().await, 200, "HTTP/1.1 tls=false before=0 cookie=0");
    assert_answer(&client.get().await, 200, "HTTP/1.1 tls=false before=1 cookie=0");
    client.send([GET, GET].concat()).await;
    assert_answer(&client.receive().await, 200, "before=2 cookie=0");
    assert_answer(&client.receive().await, 200, "before=3 cookie=0");
    drop(client);
    assert_eq!(within(server.closed.recv()).await, Some(4));
}

#[tokio::test]
async fn http2_without_tls() {
    let mut server = Running::start(http()).await;
    let (mut client, connection) = http2(server.connect().await.0).await;
    assert_eq!(http2_get(&mut client, "/").await, (200, "HTTP/2.0 tls=false before=0 cookie=0".to_owned()));
    assert_eq!(http2_get(&mut client, "/").await, (200, "HTTP/2.0 tls=false before=1 cookie=0".to_owned()));
    drop(client);
    within(connection).await.unwrap().unwrap();
    assert_eq!(within(server.closed.recv()).await, Some(2));
}

/// A certificate for `localhost` and its key, in files.
struct Pair {
    folder: tempfile::TempDir,
    certificate: String,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self { folder: tempfile::tempdir().unwrap(), certificate: String::new() };
        pair.renew();
        pair
    }

    fn renew(&mut self) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        self.certificate = made.cert.pem();
        std::fs::write(self.folder.path().join("cert.pem"), &self.certificate).unwrap();
        std::fs::write(self.folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    }

    fn server(&self) -> Server {
        https(self.folder.path().join("cert.pem"), self.folder.path().join("key.pem"))
    }

    /// Connects and accepts nothing but the certificate that is in the file.
    async fn connect(&self, server: &Running, protocol: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = TcpStream::connect(server.https.unwrap()).await?;
        let name = ServerName::try_from("localhost").unwrap();
        within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
    }
}

#[tokio::test]
async fn tls_with_either_protocol() {
    let pair = Pair::new();
    let server = Running::start(pair.server()).await;

    let stream = pair.connect(&server, "http/1.1").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_answer(&Wire(stream).get().await, 200, "HTTP/1.1 tls=true before=0 cookie=0");

    let stream = pair.connect(&server, "h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut client, _connection) = http2(stream).await;
    assert_eq!(http2_get(&mut client, "/").await, (200, "HTTP/2.0 tls=true before=0 cookie=0".to_owned()));
}

#[tokio::test]
async fn tls_certificate_is_replaced_while_serving() {
    let mut pair = Pair::new();
    let server = Running::start(pair.server()).await;
    let mut old = Wire(pair.connect(&server, "http/1.1").await.unwrap());
    pair.renew();
    let new = within(async {
        loop {
            if let Ok(stream) = pair.connect(&server, "http/1.1").await {
                return stream;
            }
        }
    });
    assert_answer(&Wire(new.await).get().await, 200, "cookie=0");
    assert_answer(&old.get().await, 200, "cookie=0");
}

#[tokio::test]
async fn tls_handshake_that_never_comes_is_cut() {
    let pair = Pair::new();
    let server = Server { tls_handshake_timeout: Duration::from_millis(50), ..pair.server() };
    let server = Running::start(server).await;
    let mut silent = Wire(TcpStream::connect(server.https.unwrap()).await.unwrap());
    silent.assert_closed().await;
    assert!(pair.connect(&server, "h2").await.is_ok());
}

#[tokio::test]
async fn bodies_are_streamed_both_ways() {
    let server = Running::start(http()).await;
    let stream = TcpStream::connect(server.http.unwrap()).await.unwrap();
    let (mut client, _driver) = http2(stream).await;
    let request = Request::post("http://a/echo").body(Full::from("a body")).unwrap();
    let response = within(client.send_request(request)).await.unwrap();
    assert_eq!(within(response.into_body().collect()).await.unwrap().to_bytes(), "a body");
}
