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

/// The time that the daemon takes for an answer at most.
const PATIENCE: Duration = Duration::from_mins(10);

/// `EX_UNAVAILABLE` of sysexits.h.
const UNAVAILABLE: u8 = 69;
/// `EX_NOPERM`.
const NO_PERMISSION: u8 = 77;

/// Why the command failed: a message for the operator, and the exit status.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) status: u8,
}

impl Failure {
    pub(super) fn new(status: u8, message: impl Into<String>) -> Self {
        Self { message: message.into(), status }
    }

    fn unavailable(path: &Path, why: impl fmt::Display) -> Self {
        let hint =
            "is forepost running? Its log says where (\"listening\", listener admin); --socket names another place";
        Self::new(UNAVAILABLE, format!("no forepost answers at {}: {why}; {hint}", path.display()))
    }

    fn connecting(path: &Path, error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::PermissionDenied => {
                let hint = "run this as the user that forepost runs as, or as root";
                Self::new(NO_PERMISSION, format!("{}: {error}; {hint}", path.display()))
            }
            _ => Self::unavailable(path, error),
        }
    }
}

/// A connection to the daemon.
pub(super) struct Client {
    path: PathBuf,
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    /// Connects to the first of `paths` that exists.
    pub(super) async fn connect(paths: &[PathBuf]) -> Result<Self, Failure> {
        let mut failure = None;
        for path in paths {
            match UnixStream::connect(path).await {
                Ok(stream) => {
                    let unavailable = |error| Failure::unavailable(path, error);
                    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(unavailable)?;
                    // Errors of the connection are reported by the request.
                    tokio::spawn(connection);
                    return Ok(Self { path: path.clone(), sender });
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    failure.get_or_insert(Failure::connecting(path, &error));
                }
                Err(error) => return Err(Failure::connecting(path, &error)),
            }
        }
        Err(failure.unwrap_or_else(|| Failure::new(UNAVAILABLE, "there is no socket to ask at")))
    }

    /// Sends a request, and parses the JSON of the answer.
    pub(super) async fn ask(&mut self, method: Method, target: &str) -> Result<Value, Failure> {
        let answer = tokio::time::timeout(PATIENCE, self.exchange(method, target)).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let (status, body) = answer.map_err(|why| Failure::unavailable(&self.path, why))?;
        let message = body["message"].as_str();
        match (status, message) {
            (StatusCode::OK, _) if body.is_object() => Ok(body),
            (StatusCode::NOT_FOUND, Some(message)) if body["error"] == "no_match" => {
                Err(Failure::new(super::NOT_FOUND, message))
            }
            (StatusCode::BAD_REQUEST, Some(message)) => Err(Failure::new(super::USAGE, message)),
            (StatusCode::SERVICE_UNAVAILABLE, Some(message)) => Err(Failure::new(UNAVAILABLE, message)),
            _ => Err(Failure::unavailable(&self.path, "something else listens there")),
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
        let failure = Failure::connecting(Path::new("/run/x.sock"), &io::Error::from(kind));
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
