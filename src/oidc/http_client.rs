use std::convert::Infallible;
use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame, SizeHint};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

use super::OidcError;

/// More than any real answer, less than what would hurt.
const LARGEST_BODY: usize = 1 << 20;

/// Asks providers: follows no redirect, waits no longer than told, reads no body above 1 MiB.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector<Resolver>>, Watched>,
    timeout: Duration,
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// The trust in certificate authorities could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The configured file cannot be used.
    #[error("{path}: {cause}")]
    CaFile {
        /// The file.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// There is no whole answer to a request.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// The request never left whole, so whoever should have got it did nothing.
    ///
    /// Known of requests with a body only, whose last bytes that is; those without may count as sent although they were not.
    #[error("{0}")]
    Unsent(String),
    /// It may have arrived.
    #[error("{0}")]
    Lost(String),
    /// An answer came that is larger than any we take.
    #[error("the body is larger than {LARGEST_BODY} bytes")]
    TooLarge,
}

impl From<NoAnswer> for OidcError {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::Unsent(why) | NoAnswer::Lost(why) => Self::Unreachable(why),
            NoAnswer::TooLarge => Self::Malformed(none.to_string()),
        }
    }
}

/// A body that tells when it was taken to be sent.
struct Watched {
    body: Full<Bytes>,
    taken: Arc<AtomicBool>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.taken.store(true, Ordering::Relaxed);
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl HttpClient {
    /// A client that trusts the system's authorities, and those in the PEM file `ca_file`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or holds no certificate.
    pub fn new(ca_file: Option<&Path>, timeout: Duration) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(ca_file)?)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new_with_resolver(Resolver(GaiResolver::new()));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(timeout));
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_all_versions().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(connector);
        Ok(Self { client, timeout })
    }

    /// One request and its whole answer.
    ///
    /// # Errors
    ///
    /// When there is no answer in time, or too large a one.
    pub async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, NoAnswer> {
        let taken = Arc::new(AtomicBool::new(request.body().is_empty()));
        let request = request.map(|body| Watched { body: Full::new(Bytes::from(body)), taken: Arc::clone(&taken) });
        let answer = tokio::time::timeout(self.timeout, self.exchange(request)).await;
        answer
            .unwrap_or_else(|_| {
                let seconds = self.timeout.as_secs_f32();
                Err(NoAnswer::Lost(format!("no answer within {seconds} s")))
            })
            .map_err(|none| match none {
                NoAnswer::Lost(why) if !taken.load(Ordering::Relaxed) => NoAnswer::Unsent(why),
                none => none,
            })
    }

    async fn exchange(&self, request: Request<Watched>) -> Result<Response<Vec<u8>>, NoAnswer> {
        let response = self.client.request(request).await.map_err(|error| NoAnswer::Lost(innermost(&error)))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, LARGEST_BODY).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                NoAnswer::TooLarge
            } else {
                NoAnswer::Lost(innermost(error.as_ref()))
            }
        })?;
        Ok(Response::from_parts(parts, body.to_bytes().into()))
    }
}

/// The deepest cause says what really happened ("connection refused", "certificate has expired").
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    super::error::clean(&deepest.to_string())
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = ca_file {
        let refuse = |cause: String| TlsError::CaFile { path: path.display().to_string(), cause };
        let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| refuse(error.to_string()))?;
        let (added, _) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(refuse("holds no usable certificate".into()));
        }
    }
    Ok(roots)
}

/// The system's resolver, but for `localhost` and names under it, which are always this machine (RFC 6761 §6.3).
#[derive(Clone)]
struct Resolver(GaiResolver);

type Addresses = std::vec::IntoIter<SocketAddr>;

impl Service<Name> for Resolver {
    type Response = Addresses;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Addresses, std::io::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let host = name.as_str().trim_end_matches('.').to_ascii_lowercase();
        if host == "localhost" || host.ends_with(".localhost") {
            let loopback = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))];
            return Box::pin(std::future::ready(Ok(loopback.into_iter())));
        }
        let lookup = self.0.call(name);
        Box::pin(async move { Ok(lookup.await?.collect::<Vec<_>>().into_iter()) })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// How a POST ends whose connection is answered with `answer` once something came, and then closed, or held open.
    async fn check(scheme: &str, answer: Option<&'static str>, expected: &str) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = connection.read(&mut request).await;
            match answer {
                Some(answer) => connection.write_all(answer.as_bytes()).await.unwrap(),
                None => std::future::pending().await,
            }
        });
        // Silence lasts as long as that; all else may take its time on a busy machine.
        let timeout = Duration::from_secs(if answer.is_none() { 1 } else { 30 });
        let client = HttpClient::new(None, timeout).unwrap();
        let request = Request::post(format!("{scheme}://{address}/token")).body(b"a=b".to_vec()).unwrap();
        let got = match client.send(request).await {
            Ok(response) => response.status().to_string(),
            Err(NoAnswer::Unsent(_)) => "unsent".to_owned(),
            Err(NoAnswer::Lost(_)) => "lost".to_owned(),
            Err(NoAnswer::TooLarge) => "too large".to_owned(),
        };
        assert_eq!(got, expected, "{scheme} {answer:?}");
        server.abort();
    }

    #[tokio::test]
    async fn a_request_that_left_is_told_from_one_that_did_not() {
        check("http", Some("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"), "200 OK").await;
        check("http", Some("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}"), "lost").await;
        check("http", Some("HTTP/1.1 200 OK\r\n"), "lost").await;
        check("http", Some("nonsense\r\n\r\n"), "lost").await;
        check("http", Some(""), "lost").await;
        check("http", None, "lost").await;
        check("https", None, "unsent").await;
        check("https", Some("no TLS"), "unsent").await;
        check("https", Some(""), "unsent").await;
    }

    #[tokio::test]
    async fn nothing_leaves_for_where_nobody_listens() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let client = HttpClient::new(None, Duration::from_secs(5)).unwrap();
        for host in [address.to_string(), "no-such-host.invalid".to_owned()] {
            let request = Request::post(format!("http://{host}/")).body(b"a=b".to_vec()).unwrap();
            assert!(matches!(client.send(request).await, Err(NoAnswer::Unsent(_))), "{host}");
        }
    }
}
