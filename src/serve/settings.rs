//! The settings of `[server]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

/// `[server]`: listeners, limits and trusted proxies.
#[derive(Clone, Debug)]
pub struct Server {
    /// The value of `X-authentik-meta-outpost`.
    pub name: String,
    /// Cleartext HTTP/1.1 and HTTP/2; `None` when switched off.
    pub http: Option<SocketAddr>,
    /// TLS, when a certificate is configured.
    pub https: Option<Https>,
    /// Metrics, liveness and readiness; `None` when switched off.
    pub metrics: Option<SocketAddr>,
    /// A Unix socket that speaks the same as `http`.
    pub unix_socket: Option<PathBuf>,
    /// The Unix socket for `forepost sessions`.
    pub admin: Admin,
    /// The peers whose forwarded headers forepost reads.
    pub trusted_proxies: Vec<IpNet>,
    /// The most connections at once, on all listeners together; further ones wait in the backlog.
    pub max_connections: usize,
    /// The largest header section of a request, in bytes.
    pub max_header_bytes: usize,
    /// The most header fields of a request.
    pub max_headers: usize,
    /// The time for a header section, from its first byte to its last.
    pub header_timeout: Duration,
    /// The time for an answer, from the end of the header section.
    pub request_timeout: Duration,
    /// The time of a kept connection without a request.
    pub idle_timeout: Duration,
    /// The time for the TLS handshake.
    pub tls_handshake_timeout: Duration,
    /// The time for requests in flight, from the signal to the end of the process.
    pub shutdown_timeout: Duration,
    /// Whether the only application answers for hosts that are not its own.
    pub danger_any_host: bool,
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
#[derive(Clone, Debug)]
pub struct Https {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// PEM file with the certificate chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// The interval at which forepost checks the two files for a change.
    pub reload_interval: Duration,
}
