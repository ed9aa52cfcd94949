//! Opens sockets to listen on, and says why one cannot be opened.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket, UnixStream};

use super::tls::CertificateError;

/// Connections that the kernel holds until we accept them.
const BACKLOG: u32 = 1024;
/// The mode for the owner and the group, which the proxy's user can be in.
pub(super) const GROUP_MODE: u32 = 0o660;
/// The mode for the owner only.
pub(super) const OWNER_MODE: u32 = 0o600;

/// Why a listener cannot be opened; the message says how to correct that.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A TCP address.
    #[error("cannot listen on {address} ({key}): {}", address_hint(source))]
    Address {
        /// The address.
        address: SocketAddr,
        /// The setting that names it.
        key: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A Unix socket.
    #[error("cannot listen on {path} ({key}): {reason}", path = path.display())]
    UnixSocket {
        /// The socket file.
        path: PathBuf,
        /// The setting that names it.
        key: &'static str,
        /// What is in the way.
        reason: UnixSocketProblem,
    },
    /// The certificate of the TLS listener.
    #[error("cannot serve TLS (server.https): {0}")]
    Certificate(#[from] CertificateError),
}

/// Why a Unix socket cannot be opened.
#[derive(Debug)]
pub enum UnixSocketProblem {
    /// Another process answers there.
    InUse,
    /// The file at the path is not a socket.
    NotASocket,
    /// Any other error of the system.
    System(io::Error),
}

impl fmt::Display for UnixSocketProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => formatter.write_str("in use: another process listens there; stop it, or set another path"),
            Self::NotASocket => {
                formatter.write_str("there is a file that is not a socket; remove it, or set another path")
            }
            Self::System(error) if error.kind() == ErrorKind::PermissionDenied => {
                write!(formatter, "{error}; the user that runs forepost must be able to write to the folder")
            }
            Self::System(error) if error.kind() == ErrorKind::NotFound => {
                write!(formatter, "{error}; the folder must exist")
            }
            Self::System(error) => write!(formatter, "{error}"),
        }
    }
}

fn address_hint(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => "address in use: another process or another of our listeners has it; \
                                 stop that one, or set another port"
            .to_owned(),
        ErrorKind::AddrNotAvailable => "no interface of this machine has that address; \
                                        0.0.0.0 or [::] listens on all"
            .to_owned(),
        ErrorKind::PermissionDenied => "permission denied: ports below 1024 need CAP_NET_BIND_SERVICE; \
                                        a higher port does not"
            .to_owned(),
        _ => error.to_string(),
    }
}

/// Listens on `address`, which the setting `key` names.
pub(super) fn tcp(key: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A restart does not wait for the old connections' TIME_WAIT. Two listeners at once are still not possible.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    listen().map_err(|source| BindError::Address { address, key, source })
}

/// Listens on the Unix socket `path`, which the setting `key` names. Replaces a socket file that no process listens on.
pub(super) async fn unix(key: &'static str, path: &Path, mode: u32) -> Result<(UnixListener, SocketFile), BindError> {
    let problem = |reason| BindError::UnixSocket { path: path.to_owned(), key, reason };
    remove_stale(path).await.map_err(problem)?;
    listen_unix(path, mode).map_err(|error| problem(UnixSocketProblem::System(error)))
}

fn listen_unix(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let file = SocketFile::new(path)?;
    // Before listen(), when no client can connect yet.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok((socket.listen(BACKLOG)?, file))
}

async fn remove_stale(path: &Path) -> Result<(), UnixSocketProblem> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(UnixSocketProblem::System(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(UnixSocketProblem::NotASocket);
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(UnixSocketProblem::InUse),
        // A full backlog: a process listens.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(UnixSocketProblem::InUse),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(UnixSocketProblem::System)
        }
        Err(error) => Err(UnixSocketProblem::System(error)),
    }
}

/// The file of our socket. Drop removes it, unless another file has taken its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    pub(super) path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket file");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}
