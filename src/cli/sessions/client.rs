//! The client of the admin socket.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::cli::command_error::CommandError;

/// The daemon takes this long for an answer at most.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(10);

/// No daemon answers at `path`.
fn unavailable(path: &Path, why: impl fmt::Display) -> CommandError {
    let hint = "is forepost running? Its log says where (\"listening\", listener admin); --socket names another place";
    CommandError::unavailable(format!("no forepost answers at {}: {why}; {hint}", path.display()))
}

/// The socket at `path` cannot be connected to.
fn not_connected(path: &Path, error: &io::Error) -> CommandError {
    match error.kind() {
        ErrorKind::PermissionDenied => {
            let hint = "run this as the user that forepost runs as, or as root";
            CommandError::denied(format!("{}: {error}; {hint}", path.display()))
        }
        _ => unavailable(path, error),
    }
}

/// A connection to the daemon.
pub(super) struct Client {
    path: PathBuf,
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    /// Connects to the first of `paths` that exists.
    pub(super) async fn connect(paths: &[PathBuf]) -> Result<Self, CommandError> {
        let mut failure = None;
        for path in paths {
            match UnixStream::connect(path).await {
                Ok(stream) => {
                    let unavailable = |error| unavailable(path, error);
                    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(unavailable)?;
                    // Errors of the connection are reported by the request.
                    tokio::spawn(connection);
                    return Ok(Self { path: path.clone(), sender });
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    failure.get_or_insert(not_connected(path, &error));
                }
                Err(error) => return Err(not_connected(path, &error)),
            }
        }
        Err(failure.unwrap_or_else(|| CommandError::unavailable("there is no socket to ask at")))
    }

    /// Sends a request, and parses the JSON of the answer.
    pub(super) async fn ask(&mut self, method: Method, target: &str) -> Result<Value, CommandError> {
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.exchange(method, target)).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let (status, body) = answer.map_err(|why| unavailable(&self.path, why))?;
        let message = body["message"].as_str();
        match (status, message) {
            (StatusCode::OK, _) if body.is_object() => Ok(body),
            (StatusCode::NOT_FOUND, Some(message)) if body["error"] == "no_match" => {
                Err(CommandError::new(super::NOT_FOUND, message))
            }
            (StatusCode::BAD_REQUEST, Some(message)) => Err(CommandError::usage(message)),
            (StatusCode::SERVICE_UNAVAILABLE, Some(message)) => Err(CommandError::unavailable(message)),
            _ => Err(unavailable(&self.path, "something else listens there")),
        }
    }

    async fn exchange(&mut self, method: Method, target: &str) -> Result<(StatusCode, Value), String> {
        let request = Request::builder().method(method).uri(target).header(HOST, "localhost").body(Full::default());
        let request = request.map_err(|error| error.to_string())?;
        self.sender.ready().await.map_err(|error| error.to_string())?;
        let answer = self.sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        // An answer that is not JSON has no message.
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: ErrorKind, status: u8, says: &str) {
        let failure = not_connected(Path::new("/run/x.sock"), &io::Error::from(kind));
        assert_eq!(failure.status, status, "{failure:?}");
        assert!(failure.message.contains("/run/x.sock") && failure.message.contains(says), "{failure:?}");
    }

    #[test]
    fn what_to_do_is_said() {
        check(ErrorKind::NotFound, 69, "is forepost running?");
        check(ErrorKind::ConnectionRefused, 69, "--socket");
        check(ErrorKind::PermissionDenied, 77, "as root");
    }
}
