//! Serving: listeners, TLS, limits, drain. What is answered is the [`Handler`]'s matter.
//!
//! ```text
//! bind ── accept (permit, then connection) ── serve: Paced stream ── hyper ── Handler
//!              │                                 └ drive: deadlines, shutdown
//! ```
//!
//! What happens to whom does not behave; the names are those of [`Server`]:
//!
//! | A peer that … | gets |
//! |---|---|
//! | is one more than `max_connections` | to wait in the kernel's backlog |
//! | says nothing, or not all of a head, for `header_timeout` | its connection closed |
//! | does not finish its TLS handshake in `tls_handshake_timeout` | its connection closed |
//! | says nothing on a used connection for `idle_timeout` | its connection closed; HTTP/2: GOAWAY first |
//! | announces a body | its answer at once, never a 1xx; what comes of the body is dropped for a second or a megabyte. One route waits for it: its [`Handler`] has a limit of its own |
//! | closes its own direction behind a request | its answer |
//! | takes no answer for `request_timeout` (HTTP/1) or `idle_timeout` (HTTP/2) | its connection closed |
//! | sends more than `max_headers` fields or `max_header_bytes` | 431 |
//! | … more than that by far (HTTP/2: compression bombs, endless CONTINUATION) | GOAWAY, `ENHANCE_YOUR_CALM` |
//! | sends a request target above 64 KiB | 414; HTTP/2: its stream reset |
//! | sends no request line or header section (RFC 9112), CONNECT, no `Host` or two | 400, then closed |
//! | sends a `Content-Length` that contradicts itself, or a `Transfer-Encoding` that does not end in `chunked` | 400, then closed |
//! | sends both of them | an answer, then closed: nothing behind it is a request (RFC 9112 §6.3) |
//! | opens more than 200 streams at once | `REFUSED_STREAM` for those beyond |
//! | resets streams before they are looked at | GOAWAY, `ENHANCE_YOUR_CALM` |
//! | sends a malformed field block | its stream reset or GOAWAY, `PROTOCOL_ERROR` |
//! | floods with SETTINGS, PING and the like | no more memory, and to be read as fast as it takes the answers |

mod accept;
mod bind;
pub mod body;
mod connection;
mod frames;
mod limits;
mod pace;
mod private;
mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use http::request::Parts;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

pub use self::bind::{BindError, UnixSocketProblem};
pub use self::body::Body;
use self::limits::Limits;
pub use self::private::PrivateSocket;
pub(crate) use self::settings::Https;
pub use self::settings::{Admin, Server};
pub use self::tls::CertificateError;
use crate::lifecycle::Shutdown;

/// Connections to the metrics listener at once, beside [`Server::max_connections`].
const METRICS_CONNECTIONS: usize = 16;

/// Who speaks to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP; an IPv4 address is always written as IPv4.
    Ip(SocketAddr),
    /// Over a Unix socket of ours.
    UnixSocket {
        /// Of the process that connected, where the system says so.
        uid: Option<u32>,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(formatter, "{address}"),
            Self::UnixSocket { .. } => formatter.write_str("unix"),
        }
    }
}

/// What a request is told about the connection it came on.
#[derive(Debug)]
pub struct Connection {
    /// The peer.
    pub peer: Peer,
    /// Whether the connection uses TLS.
    pub tls: bool,
    requests: AtomicU64,
}

impl Connection {
    /// Requests answered on it so far.
    #[must_use]
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }
}

/// Why a handler's answer did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandlerError {
    /// It took longer than [`Server::request_timeout`].
    TimedOut,
    /// It panicked; the panic hook has said where.
    Panicked,
}

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// What [`Handler::handle_at_once`] knows of a request that has to wait, for [`Handler::handle`].
    type State: Send;

    /// Looks at the head of a request: breaks with the answer where nothing has to be waited for.
    ///
    /// A future that may wait is moved and kept on the heap, which costs more than many an answer.
    fn handle_at_once(&self, head: &Parts, connection: &Connection) -> ControlFlow<Response<Body>, Self::State>;

    /// Answers a request; dropped when it takes too long, or when an HTTP/2 peer goes away or resets the stream.
    fn handle(
        &self,
        request: Request<Incoming>,
        state: Self::State,
        connection: &Connection,
    ) -> impl Future<Output = Response<Body>> + Send;

    /// Answers in the place of a handler that failed; must not panic.
    ///
    /// Not every 5xx is safe: a proxy may let a request pass when its question was not answered.
    fn failed(&self, uri: &Uri, error: HandlerError) -> Response<Body>;

    /// Is told about a connection that has ended, unless that was in its TLS handshake; must not panic.
    fn connection_closed(&self, _connection: &Connection) {}
}

/// Sockets that listen and are not yet served.
pub(crate) struct Listeners {
    limits: Limits,
    max_connections: usize,
    main: Vec<accept::Listener>,
    metrics: Vec<accept::Listener>,
    http_address: Option<SocketAddr>,
    https_address: Option<SocketAddr>,
    metrics_address: Option<SocketAddr>,
    unix_socket: Option<bind::SocketFile>,
    certificate: Option<tls::Watch>,
}

impl Listeners {
    /// Listens wherever `server` says, and reads the certificate.
    ///
    /// # Errors
    ///
    /// An address or a path cannot be had, or the certificate cannot be served; nothing listens then.
    pub(crate) async fn bind(server: &Server) -> Result<Self, BindError> {
        let mut listeners = Self {
            limits: Limits::new(server),
            max_connections: server.max_connections.clamp(1, Semaphore::MAX_PERMITS),
            main: Vec::new(),
            metrics: Vec::new(),
            http_address: None,
            https_address: None,
            metrics_address: None,
            unix_socket: None,
            certificate: None,
        };
        if let Some(address) = server.http {
            let (listener, address) = bind::tcp("server.http", address)?;
            listeners.main.push(accept::Listener::Http(listener));
            listeners.http_address = Some(address);
        }
        if let Some(https) = &server.https {
            let (config, watch) = tls::load(https).await?;
            let (listener, address) = bind::tcp("server.https.listen", https.listen)?;
            listeners.main.push(accept::Listener::Https(listener, TlsAcceptor::from(config)));
            listeners.https_address = Some(address);
            listeners.certificate = Some(watch);
        }
        if let Some(address) = server.metrics {
            let (listener, address) = bind::tcp("server.metrics", address)?;
            listeners.metrics.push(accept::Listener::Http(listener));
            listeners.metrics_address = Some(address);
        }
        if let Some(path) = &server.unix_socket {
            let (listener, file) = bind::unix("server.unix_socket", path, bind::GROUP_MODE).await?;
            listeners.main.push(accept::Listener::Unix(listener));
            listeners.unix_socket = Some(file);
        }
        Ok(listeners)
    }

    /// Where cleartext HTTP is served; with the port that the system chose, when 0 was asked for.
    #[must_use]
    pub(crate) fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// Where TLS is served.
    #[must_use]
    pub(crate) fn https_address(&self) -> Option<SocketAddr> {
        self.https_address
    }

    /// Where metrics are served.
    #[must_use]
    pub(crate) fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// The Unix socket's file.
    #[must_use]
    pub(crate) fn unix_socket(&self) -> Option<&Path> {
        self.unix_socket.as_ref().map(|file| file.path.as_path())
    }

    /// Serves until `shutdown` begins, then finishes what is in flight.
    ///
    /// Must be called within a tokio runtime.
    pub(crate) fn spawn<H: Handler, M: Handler>(
        self,
        handler: Arc<H>,
        metrics: Arc<M>,
        shutdown: &Shutdown,
    ) -> Serving {
        self.announce();
        let tasks = TaskTracker::new();
        let cut = Arc::new(AtomicUsize::new(0));
        let main = server(handler, &self.limits, shutdown, &tasks, &cut);
        let metrics = server(metrics, &self.limits, shutdown, &tasks, &cut);
        let permits = Arc::new(Semaphore::new(self.max_connections));
        let (listeners, socket_file) = (self.main, self.unix_socket);
        tasks.spawn(async move {
            accept::accept(listeners, permits, main).await;
            drop(socket_file);
        });
        tasks.spawn(accept::accept(self.metrics, Arc::new(Semaphore::new(METRICS_CONNECTIONS)), metrics));
        if let Some(certificate) = self.certificate {
            tasks.spawn(certificate.run(shutdown.clone()));
        }
        Serving { tasks, cut, shutdown: shutdown.clone() }
    }

    fn announce(&self) {
        let addresses = [("http", self.http_address), ("https", self.https_address), ("metrics", self.metrics_address)];
        for (listener, address) in addresses {
            if let Some(address) = address {
                tracing::info!(listener, %address, "listening");
            }
        }
        if let Some(path) = self.unix_socket() {
            tracing::info!(listener = "unix_socket", address = %path.display(), "listening");
        }
    }
}

fn server<H: Handler>(
    handler: Arc<H>,
    limits: &Limits,
    shutdown: &Shutdown,
    tasks: &TaskTracker,
    cut: &Arc<AtomicUsize>,
) -> Arc<connection::Server<H>> {
    Arc::new(connection::Server {
        handler,
        limits: limits.clone(),
        protocols: limits.protocols(),
        shutdown: shutdown.clone(),
        tasks: tasks.clone(),
        cut: cut.clone(),
    })
}

/// Listeners that are being served.
#[derive(Debug)]
#[must_use = "await `finished`, or requests in flight are cut off"]
pub(crate) struct Serving {
    tasks: TaskTracker,
    cut: Arc<AtomicUsize>,
    shutdown: Shutdown,
}

/// How a shutdown went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every request was answered.
    InTime,
    /// So many connections were cut at the deadline.
    Cut(usize),
}

impl Serving {
    /// Waits for the shutdown to begin and for everything to end, which takes no longer than its deadline.
    pub(crate) async fn finished(self) -> Drained {
        self.shutdown.begun().await;
        self.tasks.close();
        self.tasks.wait().await;
        match self.cut.load(Relaxed) {
            0 => Drained::InTime,
            connections => Drained::Cut(connections),
        }
    }
}
