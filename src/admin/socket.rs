//! The admin socket.

use crate::serve::{Admin, BindError, PrivateSocket, Server};

/// Listens on the admin socket of these settings.
///
/// The default path may be impossible (a volume may not support sockets); then the daemon serves without a socket.
///
/// # Errors
///
/// If the daemon cannot listen on a path that the operator configured.
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
