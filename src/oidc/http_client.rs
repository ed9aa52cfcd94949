use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame, SizeHint};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

use crate::tls::{self, CaFile, TlsError};

/// More than any real answer, less than what would hurt.
const LARGEST_BODY: usize = 1 << 20;

/// The HTTP client for requests to providers: follows no redirect, has a time-out, reads no body above 1 MiB.
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

/// Why there is no complete answer to a request.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoAnswer {
    /// The request was not sent completely, so the server did nothing.
    ///
    /// Known only for requests with a body, which comes last; a request without one may count as sent although it was not.
    #[error(transparent)]
    Unsent(TransportError),
    /// It may have arrived.
    #[error(transparent)]
    Lost(TransportError),
    /// The answer is too large.
    #[error("the body is larger than {LARGEST_BODY} bytes")]
    TooLarge,
}

/// What is wrong with a connection; the text tells the deepest cause, with what to do about it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TransportError {
    /// There was no answer in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// There was no head of an answer.
    #[error("{}", explain(.error, *.in_cleartext))]
    Request {
        /// What the library said.
        error: Arc<hyper_util::client::legacy::Error>,
        /// Whether the address begins with `http:`.
        in_cleartext: bool,
    },
    /// The body of an answer ended too early.
    #[error("{}", tls::cause(&**.0))]
    Body(Arc<dyn StdError + Send + Sync>),
}

/// A body that notes when the library begins to send it.
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
    /// A client that trusts the authorities of [`tls::client_config`].
    ///
    /// # Errors
    ///
    /// When the file cannot be read or holds no usable certificate.
    pub fn new(ca_file: Option<&CaFile>, timeout: Duration) -> Result<Self, TlsError> {
        let tls = tls::client_config(ca_file)?;
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

    /// Sends a request, and waits for the complete answer.
    ///
    /// # Errors
    ///
    /// When there is no answer in time, or when it is too large.
    pub async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, NoAnswer> {
        let taken = Arc::new(AtomicBool::new(request.body().is_empty()));
        let request = request.map(|body| Watched { body: Full::new(Bytes::from(body)), taken: Arc::clone(&taken) });
        let answer = tokio::time::timeout(self.timeout, self.exchange(request)).await;
        answer.unwrap_or_else(|_| Err(NoAnswer::Lost(TransportError::TimedOut(self.timeout)))).map_err(
            |none| match none {
                NoAnswer::Lost(why) if !taken.load(Ordering::Relaxed) => NoAnswer::Unsent(why),
                none => none,
            },
        )
    }

    async fn exchange(&self, request: Request<Watched>) -> Result<Response<Vec<u8>>, NoAnswer> {
        let in_cleartext = request.uri().scheme() == Some(&Scheme::HTTP);
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| NoAnswer::Lost(TransportError::Request { error: Arc::new(error), in_cleartext }))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, LARGEST_BODY).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                NoAnswer::TooLarge
            } else {
                NoAnswer::Lost(TransportError::Body(error.into()))
            }
        })?;
        Ok(Response::from_parts(parts, body.to_bytes().into()))
    }
}

fn explain(error: &(dyn StdError + 'static), in_cleartext: bool) -> String {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    let is_http = !causes.any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse));
    let cause = tls::cause(error);
    match (is_http, in_cleartext) {
        (true, _) => cause,
        (false, true) => format!("the answer is not HTTP ({cause}): should the address begin with https://?"),
        (false, false) => format!("the answer is not HTTP ({cause})"),
    }
}

/// The system's resolver, except that `localhost` and names under it are always this machine (RFC 6761 §6.3).
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

    /// What is said of a port that answers `answer` to whatever comes.
    async fn said(scheme: &str, answer: &'static [u8]) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let _ = connection.read(&mut [0; 4096]).await;
            connection.write_all(answer).await.unwrap();
        });
        let client = HttpClient::new(None, Duration::from_secs(30)).unwrap();
        let request = Request::get(format!("{scheme}://{address}/")).body(Vec::new()).unwrap();
        let error = client.send(request).await.unwrap_err().to_string();
        server.await.unwrap();
        error
    }

    #[tokio::test]
    async fn http_and_https_are_told_apart_in_words() {
        let tls_alert = b"\x15\x03\x01\x00\x02\x02\x46";
        let error = said("http", tls_alert).await;
        assert!(error.contains("should the address begin with https://"), "{error}");
        let error = said("https", b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        assert!(error.contains("does not speak TLS"), "{error}");
        let error = said("https", tls_alert).await;
        assert!(error.contains("TLS 1.2 or 1.3 is needed"), "{error}");
        let error = said("https", b"").await;
        assert!(error.contains("does TLS belong to this port?"), "{error}");
    }

    #[tokio::test]
    async fn nothing_is_sent_where_no_process_listens() {
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
