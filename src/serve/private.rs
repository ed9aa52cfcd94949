//! A Unix socket for one user, with a handler of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::Semaphore;

use super::Server;
use super::bind::{self, BindError, SocketFile};
use super::limits::Limits;
use super::{Handler, Serving, accept, server};

/// Connections at once.
const CONNECTIONS: usize = 16;
/// To look through millions of sessions takes longer than any proxy would wait.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(10);

/// A socket that only its owner (and root) can connect to: the permissions of the file say who may ask.
pub struct PrivateSocket {
    listener: UnixListener,
    file: SocketFile,
    limits: Limits,
}

impl PrivateSocket {
    /// Listens on `path`, which the setting `key` names, with the limits of `server` but for the time that an answer may
    /// take.
    ///
    /// # Errors
    ///
    /// When the path cannot be had.
    pub async fn bind(key: &'static str, path: &Path, server: &Server) -> Result<Self, BindError> {
        let (listener, file) = bind::unix(key, path, bind::OWNER_MODE).await?;
        let limits = Limits { request_timeout: REQUEST_TIMEOUT, ..Limits::new(server) };
        Ok(Self { listener, file, limits })
    }

    /// The socket's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }
}

impl Serving {
    /// Serves `socket` beside the others, until the same shutdown.
    pub fn serve_private<H: Handler>(&self, socket: PrivateSocket, handler: Arc<H>) {
        let PrivateSocket { listener, file, limits } = socket;
        let server = server(handler, &limits, &self.shutdown, &self.tasks, &self.cut);
        let listeners = vec![accept::Listener::Unix(listener)];
        self.tasks.spawn(async move {
            accept::accept(listeners, Arc::new(Semaphore::new(CONNECTIONS)), server).await;
            drop(file);
        });
    }
}
