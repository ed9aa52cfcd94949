//! The settings of `[server]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

/// `[server]`: listeners, limits and trusted proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The value of `X-authentik-meta-outpost`.
    pub(crate) name: String,
    /// Cleartext HTTP/1.1 and HTTP/2; `None` when switched off.
    pub http: Option<SocketAddr>,
    /// TLS, when a certificate is configured.
    pub(crate) https: Option<Https>,
    /// Metrics, liveness and readiness; `None` when switched off.
    pub metrics: Option<SocketAddr>,
    /// A Unix socket that speaks the same as `http`.
    pub(crate) unix_socket: Option<PathBuf>,
    /// The Unix socket for `forepost sessions`.
    pub admin: Admin,
    /// The peers whose forwarded headers forepost reads.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// The most connections at once, on all listeners together; further ones wait in the backlog.
    pub(crate) max_connections: usize,
    /// The largest header section of a request, in bytes.
    pub(crate) max_header_bytes: usize,
    /// The most header fields of a request.
    pub(crate) max_headers: usize,
    /// The time for a header section, from its first byte to its last.
    pub(crate) header_timeout: Duration,
    /// The time for an answer, from the end of the header section.
    pub request_timeout: Duration,
    /// The time of a kept connection without a request.
    pub(crate) idle_timeout: Duration,
    /// The time for the TLS handshake.
    pub(crate) tls_handshake_timeout: Duration,
    /// The time for requests in flight, from the signal to the end of the process.
    pub(crate) shutdown_timeout: Duration,
    /// Whether forepost reads its files again when they change.
    pub(crate) watch: bool,
    /// Whether the only application answers for hosts that are not its own.
    pub(crate) danger_any_host: bool,
}

/// The Unix socket for `forepost sessions`, which only its owner can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admin {
    /// No socket.
    Off,
    /// At this path; the daemon does not start without it.
    At(PathBuf),
    /// Not configured: at this path if possible; `None` if the daemon has no directory of its own.
    Usual(Option<PathBuf>),
}

/// The TLS listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Https {
    /// The address to listen on.
    pub(crate) listen: SocketAddr,
    /// PEM file with the certificate chain, leaf first.
    pub(crate) certificate: PathBuf,
    /// PEM file with the private key.
    pub(crate) key: PathBuf,
    /// The interval at which forepost checks the two files for a change.
    pub(crate) reload_interval: Duration,
}
