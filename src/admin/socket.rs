//! Where operators connect.

use crate::serve::{Admin, BindError, PrivateSocket, Server};

/// Listens where operators are to reach the daemon with these settings.
///
/// A place that nobody asked for may be none: a volume may hold no sockets, and the daemon serves without it.
///
/// # Errors
///
/// When the place that the operator named cannot be had.
pub async fn socket(server: &Server) -> Result<Option<PrivateSocket>, BindError> {
    let (path, wanted) = match &server.admin {
        Admin::At(path) => (path, true),
        Admin::Usual(Some(path)) => (path, false),
        Admin::Usual(None) | Admin::Off => return Ok(None),
    };
    match PrivateSocket::bind("server.admin", path, server).await {
        Ok(socket) => {
            tracing::info!(listener = "admin", address = %socket.path().display(), "listening");
            Ok(Some(socket))
        }
        Err(error) if wanted => Err(error),
        Err(error) => {
            tracing::warn!(%error, "operators cannot reach forepost: their socket cannot be had");
            Ok(None)
        }
    }
}
