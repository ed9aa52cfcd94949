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
/// A search through millions of sessions takes longer than a proxy would wait.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(10);

/// A socket that only its owner and root can connect to, by the permissions of its file.
pub struct PrivateSocket {
    listener: UnixListener,
    file: SocketFile,
    limits: Limits,
}

impl PrivateSocket {
    /// Listens on `path`, which the setting `key` names. The limits are those of `server`, except for the time of an answer.
    ///
    /// # Errors
    ///
    /// If the socket cannot be opened.
    pub(crate) async fn bind(key: &'static str, path: &Path, server: &Server) -> Result<Self, BindError> {
        let (listener, file) = bind::unix(key, path, bind::OWNER_MODE).await?;
        let limits = Limits { request_timeout: REQUEST_TIMEOUT, ..Limits::new(server) };
        Ok(Self { listener, file, limits })
    }
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.file.path
    }
}

impl Serving {
    /// Serves `socket` beside the other listeners, until the same shutdown.
    pub(crate) fn serve_private<H: Handler>(&self, socket: PrivateSocket, handler: Arc<H>) {
        let PrivateSocket { listener, file, limits } = socket;
        let server = server(handler, &limits, &self.shutdown, &self.tasks, &self.cut);
        let listeners = vec![accept::Listener::Unix(listener)];
        self.tasks.spawn(async move {
            accept::accept(listeners, Arc::new(Semaphore::new(CONNECTIONS)), server).await;
            drop(file);
        });
    }
}
