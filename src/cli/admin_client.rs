//! The client of the admin socket.

use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use super::command_error::CommandError;
use crate::serve::Admin;
use crate::settings::{self, Layers};
use crate::telemetry::log::escaped;

/// The usual paths of the admin socket, which are tried in turn, because the command may not have the daemon's environment.
const USUAL_SOCKETS: [&str; 2] = ["/var/lib/forepost/admin.sock", "/run/forepost/admin.sock"];

/// Nothing is like what was asked for.
pub(super) const NO_MATCH: u8 = 1;

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
                Err(CommandError::new(NO_MATCH, message))
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

/// The paths that the daemon may listen on.
pub(super) fn sockets(layers: &Layers, named: Option<&PathBuf>) -> Result<Vec<PathBuf>, CommandError> {
    if let Some(path) = named {
        return Ok(vec![path.clone()]);
    }
    match settings::admin(layers).map_err(|mistakes| CommandError::usage(mistakes.to_string()))? {
        Admin::At(path) | Admin::Usual(Some(path)) => Ok(vec![path]),
        Admin::Usual(None) => Ok(USUAL_SOCKETS.map(PathBuf::from).to_vec()),
        Admin::Off => Err(CommandError::usage("server.admin is off in this configuration; --socket names a socket")),
    }
}

/// Reports how a command ended, and returns its exit status.
pub(super) fn ended(result: Result<(), CommandError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("forepost: {}", failure.message.lines().map(escaped).collect::<Vec<_>>().join("\n"));
            ExitCode::from(failure.status)
        }
    }
}

/// Writes one line of JSON, without characters that control a terminal.
pub(super) fn line(value: &Value) -> String {
    escaped(&value.to_string()) + "\n"
}

/// Prints, and ignores a closed pipe.
pub(super) fn print(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(CommandError::new(NO_MATCH, error.to_string())),
        Ok(()) | Err(_) => Ok(()),
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

    #[track_caller]
    fn socket(toml: &str, runtime: Option<&str>, expected: Result<&[&str], u8>) {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("forepost.toml");
        std::fs::write(&config, toml).unwrap();
        let runtime_directory = runtime.map(PathBuf::from);
        let layers = Layers { config: Some(config), runtime_directory, ..Layers::default() };
        let expected = expected.map(|paths| paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(sockets(&layers, None).map_err(|failure| failure.status), expected, "{toml}");
    }

    #[test]
    fn the_socket_is_that_of_the_daemon() {
        let usual = Ok(&["/var/lib/forepost/admin.sock", "/run/forepost/admin.sock"][..]);
        socket("", None, usual);
        socket("client_secret_file = \"/nonexistent\"", None, usual);
        socket("", Some("/run/x"), Ok(&["/run/x/admin.sock"]));
        socket("[server]\nadmin = \"unix:/a.sock\"", Some("/run/x"), Ok(&["/a.sock"]));
        socket("[session]\ndirectory = \"/srv/x\"", Some("/run/x"), Ok(&["/srv/x/admin.sock"]));
        socket("[server]\nadmin = \"off\"", None, Err(64));
        socket("[server]\nadmin = \"127.0.0.1:1\"", None, Err(64));
        socket("no toml", None, Err(64));
        assert_eq!(sockets(&Layers::default(), Some(&PathBuf::from("/x"))).unwrap(), [PathBuf::from("/x")]);
    }
}
