//! Where and how to listen.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

/// Listeners, limits and whom to believe.
#[derive(Clone, Debug)]
pub struct Server {
    /// The name sent as `X-authentik-meta-outpost`.
    pub name: String,
    /// Cleartext HTTP/1.1 and HTTP/2; `None` when switched off.
    pub http: Option<SocketAddr>,
    /// TLS, when a certificate is configured.
    pub https: Option<Https>,
    /// Metrics, liveness and readiness; `None` when switched off.
    pub metrics: Option<SocketAddr>,
    /// A Unix socket that speaks the same as `http`.
    pub unix_socket: Option<PathBuf>,
    /// A Unix socket for operators, who see and end sessions there.
    pub admin: Admin,
    /// Peers whose forwarded headers are read.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections served at once, all listeners together; further ones wait to be accepted.
    pub max_connections: usize,
    /// Bytes of a request's header section.
    pub max_header_bytes: usize,
    /// Header fields of a request.
    pub max_headers: usize,
    /// From the first byte of a request's header section to its last.
    pub header_timeout: Duration,
    /// From the end of the header section to the end of the answer.
    pub request_timeout: Duration,
    /// A kept-alive connection without a request.
    pub idle_timeout: Duration,
    /// For the TLS handshake.
    pub tls_handshake_timeout: Duration,
    /// From the signal to the end of the process, for what is in flight.
    pub shutdown_timeout: Duration,
    /// With one application configured, let it answer for hosts that are not its own.
    pub danger_any_host: bool,
}

/// Where operators reach the running daemon: a Unix socket that only its owner can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admin {
    /// Nowhere.
    Off,
    /// There, or the daemon does not start.
    At(PathBuf),
    /// Nobody said where: there as far as that can be had; `None`: no directory of the daemon's is known.
    Usual(Option<PathBuf>),
}

/// The TLS listener.
#[derive(Clone, Debug)]
pub struct Https {
    /// Where to listen.
    pub listen: SocketAddr,
    /// PEM file with the certificate chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// How often the two files are looked at for a change.
    pub reload_interval: Duration,
}
