//! The application behind the proxy: remembers what it was asked, and echoes on a WebSocket.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The page of the application.
pub(super) const PAGE: &str = "the application's page";

/// A body that is announced to be so long is read, and its length is the answer, in place of [`PAGE`].
const LEAST_UPLOAD: u64 = 1000;

/// The one `Sec-WebSocket-Key` that the application knows the answer to (RFC 6455 §1.3).
pub(super) const WEBSOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const WEBSOCKET_ACCEPT: HeaderValue = HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

/// One request that reached the application.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(super) method: Method,
    /// Path and query, as received.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
}

impl Seen {
    /// The value of a header that is there at most once; empty when it is not there.
    #[track_caller]
    pub(super) fn header(&self, name: &str) -> String {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        assert_eq!(values.next(), None, "{name} is there twice: {self:#?}");
        value.unwrap_or_default()
    }
}

/// A running application; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Application {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Application {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let task = tokio::spawn(accept(listener, Arc::clone(&seen)));
        Self { address, seen, task }
    }

    /// The requests since the last call.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    /// The one request since the last call.
    #[track_caller]
    pub(super) fn take_one(&self) -> Seen {
        let mut seen = self.take();
        assert_eq!(seen.len(), 1, "{seen:#?}");
        seen.remove(0)
    }

    /// Fails when a request came since the last call.
    #[track_caller]
    pub(super) fn saw_nothing(&self) {
        let seen = self.take();
        assert!(seen.is_empty(), "{seen:#?}");
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, seen: Arc<Mutex<Vec<Seen>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let seen = Arc::clone(&seen);
        let service = service_fn(move |request| {
            let seen = Arc::clone(&seen);
            async move { Ok::<_, Infallible>(answer(request, &seen).await) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
        // A connection's error is the proxy's business.
        tokio::spawn(async move { connection.await.ok() });
    }
}

async fn answer(mut request: Request<Incoming>, seen: &Mutex<Vec<Seen>>) -> Response<Full<Bytes>> {
    seen.lock().unwrap().push(Seen {
        method: request.method().clone(),
        target: request.uri().to_string(),
        headers: request.headers().clone(),
    });
    if request.headers().get(UPGRADE).is_none_or(|value| value != "websocket") {
        let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        return Response::new(match announced {
            Some(LEAST_UPLOAD..) => {
                // One that does not arrive is the proxy's business.
                let length = request.into_body().collect().await.map_or(0, |body| body.to_bytes().len());
                Full::from(length.to_string())
            }
            Some(_) | None => Full::from(PAGE),
        });
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
        tokio::io::copy(&mut reader, &mut writer).await
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, WEBSOCKET_ACCEPT);
    response
}
