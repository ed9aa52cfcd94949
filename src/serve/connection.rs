//! One connection from its first byte to its last.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONNECTION, COOKIE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::limits::Limits;
use super::pace::{Due, Pace};
use super::stream::Paced;
use super::{Body, Connection, Handler, HandlerError, Peer, body};
use crate::lifecycle::Shutdown;

/// tokio's timers count milliseconds; twice as much is surely no sooner than the ring.
const TIMER_GRAIN: Duration = Duration::from_millis(2);

/// What the connections of one group of listeners share.
pub(super) struct Server<H> {
    pub(super) handler: Arc<H>,
    pub(super) limits: Limits,
    pub(super) protocols: auto::Builder<TokioExecutor>,
    pub(super) shutdown: Shutdown,
    pub(super) tasks: TaskTracker,
    /// Connections that the shutdown's deadline ended.
    pub(super) cut: Arc<AtomicUsize>,
}

/// Why a connection ended.
#[derive(Debug)]
enum End {
    Finished,
    Failed(Box<dyn std::error::Error + Send + Sync>),
    TooSlow,
    Shutdown,
}

/// A connection as its requests see it; on drop it is over, a panic included.
struct Session<H: Handler> {
    server: Arc<Server<H>>,
    connection: Connection,
    pace: Arc<Pace>,
}

impl<H: Handler> Drop for Session<H> {
    fn drop(&mut self) {
        self.server.handler.connection_closed(&self.connection);
    }
}

impl<H: Handler> Server<H> {
    /// Does the TLS handshake, then as [`Server::serve`].
    pub(super) async fn serve_tls(self: Arc<Self>, stream: TcpStream, peer: Peer, tls: TlsAcceptor) {
        let handshake = timeout(self.limits.tls_handshake_timeout, tls.accept(stream));
        let stream = tokio::select! {
            () = self.shutdown.begun() => return,
            handshake = handshake => match handshake {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return tracing::debug!(%peer, %error, "TLS handshake failed"),
                Err(_) => return tracing::debug!(%peer, "TLS handshake took too long"),
            },
        };
        self.serve(stream, peer, true).await;
    }

    /// Answers the requests that come on `stream` until it ends.
    pub(super) async fn serve<S>(self: Arc<Self>, stream: S, peer: Peer, tls: bool)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let pace = Arc::new(Pace::new(&self.limits));
        let connection = Connection { peer, tls, requests: AtomicU64::new(0) };
        let session = Arc::new(Session { server: self.clone(), connection, pace: pace.clone() });
        let service = service_fn(move |request: Request<Incoming>| {
            let (head, body) = request.into_parts();
            session.pace.begin_request(is_http2(&head), !body.is_end_stream());
            let state = match session.answer_at_once(&head) {
                ControlFlow::Break(answer) => {
                    session.pace.end_request(is_http2(&head));
                    return Answering::Ready(Some((answer, body)));
                }
                ControlFlow::Continue(state) => state,
            };
            let in_flight = InFlight { pace: session.pace.clone(), http2: is_http2(&head) };
            let request = Request::from_parts(head, body);
            Answering::Waiting(Box::pin(session.clone().answer(request, state, in_flight)))
        });
        let io = TokioIo::new(Paced::new(stream, pace.clone()));
        let connection = self.protocols.serve_connection(io, service);
        match drive(connection, &pace, &self.shutdown).await {
            End::Finished => {}
            End::Failed(error) => tracing::debug!(%peer, %error, "connection failed"),
            End::TooSlow => tracing::debug!(%peer, "connection was too slow"),
            End::Shutdown => {
                self.cut.fetch_add(1, Relaxed);
                tracing::debug!(%peer, "connection did not end in time for the shutdown");
            }
        }
    }
}

/// An answer on its way; most never wait, and those cost no room on the heap.
enum Answering<F> {
    /// With the request's body, which is not read: hyper closes a connection whose body was dropped too early.
    Ready(Option<(Response<Body>, Incoming)>),
    Waiting(Pin<Box<F>>),
}

impl<F: Future<Output = Response<Body>>> Future for Answering<F> {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            // hyper does not poll what was ready.
            Self::Ready(answer) => answer.take().map_or(Poll::Pending, |(answer, _body)| Poll::Ready(Ok(answer))),
            Self::Waiting(answer) => answer.as_mut().poll(context).map(Ok),
        }
    }
}

/// On drop the request is over, also if it was cancelled before its answer.
struct InFlight {
    pace: Arc<Pace>,
    http2: bool,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.pace.end_request(self.http2);
    }
}

impl<H: Handler> Session<H> {
    /// The answer of a request that is refused here, or that needs no waiting.
    fn answer_at_once(&self, head: &Parts) -> ControlFlow<Response<Body>, H::State> {
        let Server { handler, limits, .. } = &*self.server;
        if let Some(status) = refusal(head, limits) {
            let mut refusal = respond(status);
            close(head.version, &mut refusal);
            return ControlFlow::Break(refusal);
        }
        let answer = match catch_unwind(AssertUnwindSafe(|| handler.handle_at_once(head, &self.connection))) {
            Ok(ControlFlow::Continue(state)) => return ControlFlow::Continue(state),
            Ok(ControlFlow::Break(answer)) => Ok(answer),
            Err(_) => Err(HandlerError::Panicked),
        };
        ControlFlow::Break(self.conclude(&head.method, &head.uri, head.version, answer))
    }

    /// The answer of any other request.
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        state: H::State,
        _in_flight: InFlight,
    ) -> Response<Body> {
        let Server { handler, limits, .. } = &*self.server;
        let (method, uri, version) = (request.method().clone(), request.uri().clone(), request.version());
        let mut answer = pin!(handler.handle(request, state, &self.connection));
        let answer = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(HandlerError::Panicked)),
        });
        let answer = timeout(limits.request_timeout, answer).await.unwrap_or(Err(HandlerError::TimedOut));
        self.conclude(&method, &uri, version, answer)
    }

    fn conclude(
        &self,
        method: &Method,
        uri: &Uri,
        version: Version,
        answer: Result<Response<Body>, HandlerError>,
    ) -> Response<Body> {
        let failed = answer.is_err();
        let mut answer = answer.unwrap_or_else(|error| {
            tracing::error!(%method, path = uri.path(), failure = ?error, "a request was not answered");
            self.server.handler.failed(uri, error)
        });
        if failed || self.pace.is_stopping() {
            close(version, &mut answer);
        }
        self.connection.requests.fetch_add(1, Relaxed);
        answer
    }
}

/// Says that a connection ends with this answer; HTTP/2 has a frame for that.
fn close(version: Version, answer: &mut Response<Body>) {
    if version != Version::HTTP_2 {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

fn is_http2(head: &Parts) -> bool {
    head.version == Version::HTTP_2
}

/// What hyper leaves to us to refuse.
fn refusal(head: &Parts, limits: &Limits) -> Option<StatusCode> {
    if too_many_headers(&head.headers, limits.max_headers)
        || !is_http2(head) && head_length(head) > limits.max_header_bytes
    {
        return Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    // A 2xx to CONNECT would make a tunnel of the connection (RFC 9110 §9.3.6).
    (head.method == Method::CONNECT || !names_one_host(head)).then_some(StatusCode::BAD_REQUEST)
}

/// The bytes of an HTTP/1 head: hyper takes as much more as it happens to have read at once.
fn head_length(head: &Parts) -> usize {
    let line = head.method.as_str().len() + head.uri.path().len() + head.uri.query().map_or(0, str::len);
    head.headers.iter().fold(line, |length, (name, value)| length + name.as_str().len() + value.len() + 4)
}

/// hyper has its own limit for HTTP/1 and none for HTTP/2, where a split cookie is one field (RFC 9113 §8.2.3).
fn too_many_headers(headers: &HeaderMap, most: usize) -> bool {
    headers.len() > most && headers.len() - headers.get_all(COOKIE).iter().count().saturating_sub(1) > most
}

/// RFC 9112 §3.2: a request of HTTP/1.1 has one `Host`, and none has two; hyper leaves that to us.
fn names_one_host(head: &Parts) -> bool {
    let mut hosts = head.headers.get_all(HOST).iter();
    let named = hosts.next().is_some();
    hosts.next().is_none() && (named || head.version != Version::HTTP_11)
}

/// An answer without a body.
pub(super) fn respond(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = status;
    response
}

/// Polls `connection` to its end, and ends it when the peer is too slow or the shutdown asks for it.
async fn drive<S, V>(
    connection: auto::Connection<'_, TokioIo<Paced<S>>, V, TokioExecutor>,
    pace: &Pace,
    shutdown: &Shutdown,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    V: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
    V::Future: Send + 'static,
{
    let mut connection = pin!(connection);
    let begun = shutdown.token();
    let mut begun = pin!(begun.cancelled());
    let mut timer = pin!(sleep_until(Instant::now()));
    let mut stopping = false;
    let mut closing = false;
    let mut waits_for_shutdown = false;
    let mut timer_is_set = false;
    poll_fn(move |context| {
        let now = Instant::now();
        pace.tick(now);
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(context) {
                return Poll::Ready(result.map_or_else(End::Failed, |()| End::Finished));
            }
            // The task that polls here is always the same one, so it need not ask again to be woken: asking takes a lock.
            if !stopping && (!waits_for_shutdown || shutdown.has_begun()) {
                waits_for_shutdown = has_budget_remaining();
                if begun.as_mut().poll(context).is_ready() {
                    stopping = true;
                    pace.stop();
                }
            }
            let due = pace.due();
            let idle = matches!(due, Due::Idle(due) if due <= now);
            // HTTP/2 can say goodbye while requests are under way (RFC 9113 §6.8). HTTP/1 says it with its next answer,
            // or closes once it is idle.
            if !closing && (idle || stopping && pace.is_http2()) {
                closing = true;
                pace.close();
                connection.as_mut().graceful_shutdown();
                continue;
            }
            let limit = if stopping { shutdown.deadline() } else { None };
            if limit.is_some_and(|limit| limit <= now) {
                let idle = matches!(due, Due::Idle(_));
                return Poll::Ready(if idle { End::Finished } else { End::Shutdown });
            }
            let due = match due {
                Due::Cut(due) if due <= now => return Poll::Ready(End::TooSlow),
                Due::Cut(due) | Due::Idle(due) => Some(due),
                Due::Answer => None,
            };
            let Some(due) = due.into_iter().chain(limit).min() else {
                return Poll::Pending;
            };
            // A later time is left alone: the timer then rings once for nothing, and no request has to set it.
            if timer.is_elapsed() || due < timer.deadline() {
                timer.as_mut().reset(due);
                timer_is_set = false;
            }
            // Once it will wake this task, it need not be asked again before it is about to. A task that has used up its
            // turn is not heard by the timer.
            if timer_is_set && now + TIMER_GRAIN < timer.deadline() {
                return Poll::Pending;
            }
            timer_is_set = has_budget_remaining();
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await
}
