//! What provider and proxy share: a small HTTP server, bounded bodies, parameters, answers.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// The style sheet of all demo pages.
pub(crate) const STYLE: &str = include_str!("style.css");

/// Enough for every form and every page of the demo.
pub(crate) const BODY_LIMIT: usize = 1 << 20;

/// How long open connections may finish after a stop.
const DRAIN: Duration = Duration::from_secs(2);

/// For a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A whole answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Close the connection instead of answering.
#[derive(Debug)]
pub(crate) struct HangUp;

impl fmt::Display for HangUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hung up on purpose")
    }
}

impl std::error::Error for HangUp {}

/// A running server; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Server {
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves HTTP/1.1 and HTTP/2 on `listener`, in TLS where `tls` is given; `handle` gets each request and its peer.
    pub(crate) fn run<H, F>(listener: TcpListener, tls: Option<Arc<ServerConfig>>, handle: H) -> Self
    where
        H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Answer, HangUp>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let tls = tls.map(TlsAcceptor::from);
        let task = tokio::spawn(accept(listener, tls, stop.clone(), handle));
        Self { stop, task: Some(task) }
    }

    /// Stops accepting and waits until what is in flight has ended, two seconds at most.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            // The task only fails by a panic, which has been reported already.
            let _ = task.await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept<H, F>(listener: TcpListener, tls: Option<TlsAcceptor>, stop: CancellationToken, handle: H)
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Answer, HangUp>> + Send + 'static,
{
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let Ok((stream, peer)) = accepted else {
            // Out of descriptors, most likely: let some connections end.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Only a matter of latency.
        let _ = stream.set_nodelay(true);
        let watcher = connections.watcher();
        let (tls, handle) = (tls.clone(), handle.clone());
        tokio::spawn(async move {
            let Some(tls) = tls else {
                return connection(stream, peer, handle, watcher).await;
            };
            let handshake = tokio::time::timeout(HANDSHAKE, tls.accept(stream));
            if let Ok(Ok(stream)) = handshake.await {
                connection(stream, peer, handle, watcher).await;
            }
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, connections.shutdown()).await;
}

async fn connection<S, H, F>(stream: S, peer: SocketAddr, handle: H, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: Fn(Request<Incoming>, SocketAddr) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Answer, HangUp>> + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Without a timer hyper has no header time-out.
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    let service = service_fn(move |request| handle(request, peer));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    // A connection's error is the client's business.
    let _ = watcher.watch(connection).await;
}

/// Binds `address`.
///
/// # Errors
///
/// What the system says, for example that the port is taken.
pub(crate) async fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// A body did not end within [`BODY_LIMIT`], or broke off.
#[derive(Debug)]
pub(crate) struct BadBody;

/// Reads a body to its end.
///
/// # Errors
///
/// [`BadBody`].
pub(crate) async fn read<B>(body: B) -> Result<Bytes, BadBody>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(_) => Err(BadBody),
    }
}

/// Parameters of a query or a form (`application/x-www-form-urlencoded`).
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Decodes `text`; this cannot fail.
    pub(crate) fn parse(text: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(text).into_owned().collect())
    }

    /// The first value of `name`, unless it is empty (RFC 6749 §3.1: an empty one counts as omitted).
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
        (!value.is_empty()).then_some(value.as_str())
    }

    /// Whether a name occurs twice, which RFC 6749 §3.1 forbids.
    pub(crate) fn repeated(&self) -> bool {
        self.0.iter().enumerate().any(|(at, (name, _))| self.0[..at].iter().any(|(earlier, _)| earlier == name))
    }
}

/// The value of the first cookie of that name.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// An answer with a plain body of the given type.
pub(crate) fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// A line of text.
pub(crate) fn text(status: StatusCode, line: &str) -> Answer {
    let line = Bytes::from(format!("{line}\n"));
    answer(status, "text/plain; charset=utf-8", line)
}

/// A JSON document.
pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Answer {
    answer(status, "application/json", Bytes::from(value.to_string()))
}

/// A page.
///
/// Its policy allows the style sheet in the page and nothing else. `form-action` is left out: browsers apply it to the redirect
/// behind a login form too, which goes to another origin.
pub(crate) fn page(status: StatusCode, template: &impl Template) -> Answer {
    let Ok(html) = template.render() else {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "The page could not be made.");
    };
    let mut answer = answer(status, "text/html; charset=utf-8", Bytes::from(html));
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'",
        ),
    );
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    answer
}

/// A redirect that is followed with GET.
pub(crate) fn redirect(target: &str) -> Answer {
    let Ok(location) = HeaderValue::try_from(target) else {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "The target is not a URL.");
    };
    let mut answer = text(StatusCode::SEE_OTHER, "See the Location.");
    answer.headers_mut().insert(LOCATION, location);
    answer
}
