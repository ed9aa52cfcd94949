//! The API of an engine: Docker's (<https://docs.docker.com/reference/api/engine/>), which Podman speaks too.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{DATE, HOST};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::settings::Endpoint;

/// Bytes of a list of containers: some ten thousand with twenty labels each.
const LARGEST_LIST: usize = 32 << 20;
/// Bytes of any other answer.
const LARGEST_ANSWER: usize = 65_536;
/// Bytes of an event that is read; of a longer one it is only known that it happened.
const LONGEST_EVENT: usize = 65_536;

/// What containers are looked for: `{"type":["container"]}`, escaped.
const FILTERS: &str = "%7B%22type%22%3A%5B%22container%22%5D%7D";

/// The events after which the list of containers can be another. Docker and Podman name some of them differently.
const EVENTS: [&str; 11] =
    ["cleanup", "create", "destroy", "die", "died", "remove", "rename", "restart", "start", "stop", "update"];

/// Why an engine does not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    #[error("{0}; is the engine running, and may forepost use its socket?")]
    Connect(io::Error),
    #[error("{0}")]
    Http(hyper::Error),
    #[error("the connection is lost: {0}")]
    Body(String),
    #[error("no answer within {} s", .0.as_secs_f32())]
    Slow(Duration),
    #[error("{0} is forbidden; a socket proxy has to allow it (CONTAINERS=1, EVENTS=1)")]
    Forbidden(&'static str),
    #[error("{what}: status {status}")]
    Status { what: &'static str, status: StatusCode },
    #[error("{0}: the answer is too large")]
    TooLarge(&'static str),
    #[error("{what}: the answer cannot be read: {error}")]
    Unreadable { what: &'static str, error: serde_json::Error },
    #[error("the stream of events ended")]
    Ended,
}

/// A container, as the list has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container {
    pub(super) id: String,
    #[serde(default)]
    pub(super) names: Option<Vec<String>>,
    #[serde(default)]
    pub(super) labels: Option<BTreeMap<String, String>>,
    /// `running`, `exited`, …; engines have words of their own for some.
    #[serde(default)]
    pub(super) state: Option<String>,
    /// In seconds since the epoch.
    #[serde(default)]
    pub(super) created: Option<i64>,
}

/// An engine.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    pub(super) endpoint: Endpoint,
    /// For an answer to arrive whole; events have no end.
    pub(super) answer_timeout: Duration,
}

/// What an engine says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    /// What the paths of its requests begin with.
    prefix: String,
    /// Its time, in seconds since the epoch.
    since: Option<i64>,
}

impl Greeting {
    fn new(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let is_version = |text: &&str| {
            let (major, minor) = text.split_once('.').unwrap_or_default();
            let is_number =
                |part: &str| (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
            is_number(major) && is_number(minor)
        };
        let prefix = text("api-version").filter(is_version).map(|version| format!("/v{version}"));
        let date = text(DATE.as_str()).and_then(|text| chrono::DateTime::parse_from_rfc2822(text).ok());
        Self { prefix: prefix.unwrap_or_default(), since: date.map(|date| date.timestamp()) }
    }
}

/// A connection; it ends with this value.
struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    _task: AbortOnDropHandle<()>,
}

impl Engine {
    /// Asks for version and time.
    pub(super) async fn greet(&self) -> Result<Greeting, EngineError> {
        self.whole("_ping", "/_ping", LARGEST_ANSWER).await.map(|(headers, _)| Greeting::new(&headers))
    }

    /// All containers, running or not.
    pub(super) async fn containers(&self, greeting: &Greeting) -> Result<Vec<Container>, EngineError> {
        let what = "the list of containers";
        let target = format!("{}/containers/json?all=true", greeting.prefix);
        let (_, body) = self.whole(what, &target, LARGEST_LIST).await?;
        serde_json::from_slice(&body).map_err(|error| EngineError::Unreadable { what, error })
    }

    /// Calls `changed` after each event that may change the list, from the time of the greeting on; until the stream ends.
    ///
    /// Podman sends the head of its answer with the first event, so there is no moment at which the stream is known to have begun.
    pub(super) async fn events(&self, greeting: &Greeting, changed: impl Fn()) -> EngineError {
        let since = greeting.since.map_or_else(String::new, |since| format!("&since={since}"));
        let target = format!("{}/events?filters={FILTERS}{since}", greeting.prefix);
        // The connection lives as long as its answer is read.
        let (_connection, mut body) = match self.begin("events", &target).await {
            Ok((connection, answer)) => (connection, answer.into_body()),
            Err(error) => return error,
        };
        let mut lines = Lines::default();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => {
                    let bytes = frame.into_data().unwrap_or_default();
                    if lines.push(&bytes) {
                        changed();
                    }
                }
                Err(error) => return EngineError::Http(error),
            }
        }
        EngineError::Ended
    }

    async fn whole(&self, what: &'static str, target: &str, most: usize) -> Result<(HeaderMap, Bytes), EngineError> {
        let exchange = async {
            let (_connection, answer) = self.begin(what, target).await?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, most).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    EngineError::TooLarge(what)
                } else {
                    EngineError::Body(error.to_string())
                }
            })?;
            Ok((parts.headers, body.to_bytes()))
        };
        timeout(self.answer_timeout, exchange).await.unwrap_or(Err(EngineError::Slow(self.answer_timeout)))
    }

    /// Sends a request over a connection of its own, and waits for the head of the answer.
    async fn begin(
        &self,
        what: &'static str,
        target: &str,
    ) -> Result<(Connection, http::Response<Incoming>), EngineError> {
        let late = |_| EngineError::Slow(self.answer_timeout);
        let (mut connection, host) = match &self.endpoint {
            Endpoint::Unix(path) => {
                let stream = timeout(self.answer_timeout, UnixStream::connect(path)).await.map_err(late)?;
                (connected(stream.map_err(EngineError::Connect)?).await?, "localhost")
            }
            Endpoint::Tcp(address) => {
                let stream = timeout(self.answer_timeout, TcpStream::connect(address)).await.map_err(late)?;
                (connected(stream.map_err(EngineError::Connect)?).await?, address.as_str())
            }
        };
        let request = Request::get(target).header(HOST, host).body(Empty::new());
        let request = request.map_err(|error| EngineError::Body(error.to_string()))?;
        let answer = connection.sender.send_request(request).await.map_err(EngineError::Http)?;
        match answer.status() {
            StatusCode::OK => Ok((connection, answer)),
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Err(EngineError::Forbidden(what)),
            status => Err(EngineError::Status { what, status }),
        }
    }
}

async fn connected(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Connection, EngineError> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(EngineError::Http)?;
    // Errors of the connection are reported by the request.
    let task = tokio::spawn(async move { drop(connection.await) });
    Ok(Connection { sender, _task: AbortOnDropHandle::new(task) })
}

/// Events out of a stream of JSON texts, each on a line.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
    is_too_long: bool,
}

impl Lines {
    /// Takes the next bytes; whether a line ended with them that matters.
    fn push(&mut self, bytes: &[u8]) -> bool {
        let mut matters = false;
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            if self.line.len() + piece.len() > LONGEST_EVENT {
                self.is_too_long = true;
                self.line.clear();
            } else if !self.is_too_long {
                self.line.extend_from_slice(piece);
            }
            if pieces.peek().is_some() {
                matters |= self.is_too_long || is_change(&self.line);
                *self = Self::default();
            }
        }
        matters
    }
}

/// Whether the list of containers may be another after this event; of one that cannot be read it may.
fn is_change(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Event {
        #[serde(rename = "Action")]
        action: Option<String>,
        /// The same in older versions of the API.
        status: Option<String>,
    }
    if line.trim_ascii().is_empty() {
        return false;
    }
    let action = serde_json::from_slice(line).ok().and_then(|event: Event| event.action.or(event.status));
    action.is_none_or(|action| EVENTS.contains(&action.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn event(stream: &[&str], expected: &[bool]) {
        let mut lines = Lines::default();
        let found: Vec<_> = stream.iter().map(|piece| lines.push(piece.as_bytes())).collect();
        assert_eq!(found, expected, "{stream:?}");
    }

    #[test]
    fn events_that_change_the_list_are_noticed() {
        event(&["{\"status\":\"create\",\"id\":\"1\",\"Type\":\"container\",\"Action\":\"create\"}\n"], &[true]);
        event(&["{\"status\":\"remove\"}\n", "{\"Action\":\"rename\"}\n"], &[true, true]);
        event(
            &["{\"Action\":\"exec_create: sh -c true\"}\n", "{\"Action\":\"health_status: healthy\"}\n"],
            &[false, false],
        );
        event(&["{\"Acti", "on\":\"die\"", "}", "\n", "\n", "\r\n"], &[false, false, false, true, false, false]);
        event(&["{\"Action\":\"top\"}\n{\"Action\":\"start\"}\n{\"Act"], &[true]);
        // What cannot be read is looked into.
        event(&["<html>\n", "{}\n", "[1]\n"], &[true, true, true]);
    }

    #[test]
    fn a_long_event_is_not_kept() {
        let mut lines = Lines::default();
        for _ in 0..100 {
            assert!(!lines.push(&[b'x'; 10_000]));
            assert!(lines.line.len() <= LONGEST_EVENT);
        }
        assert!(lines.push(b"\n"));
        assert!(!lines.push(b"{\"Action\":\"top\"}\n"));
    }

    #[track_caller]
    fn greeting(fields: &[(&'static str, &'static str)], prefix: &str, since: Option<i64>) {
        let headers = fields
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)));
        assert_eq!(Greeting::new(&headers.collect()), Greeting { prefix: prefix.to_owned(), since }, "{fields:?}");
    }

    #[test]
    fn requests_have_the_version_that_the_engine_names() {
        greeting(&[("api-version", "1.53"), ("date", "Tue, 01 Dec 2026 04:22:06 GMT")], "/v1.53", Some(1_796_098_926));
        greeting(&[("date", "soon")], "", None);
        for version in ["", "1", "1.", ".1", "1.2.3", "1.x", "1.41/../..", "99999.1"] {
            greeting(&[("api-version", version)], "", None);
        }
    }

    #[tokio::test]
    async fn an_engine_is_asked_over_tcp() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let proxy = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let answer = b"HTTP/1.1 200 OK\r\nApi-Version: 1.44\r\nContent-Length: 2\r\n\r\nOK";
            stream.write_all(answer).await.unwrap();
            String::from_utf8(head).unwrap()
        });
        let engine = Engine { endpoint: Endpoint::Tcp(address.clone()), answer_timeout: Duration::from_secs(30) };
        assert_eq!(engine.greet().await.unwrap(), Greeting { prefix: "/v1.44".to_owned(), since: None });
        assert_eq!(proxy.await.unwrap(), format!("GET /_ping HTTP/1.1\r\nhost: {address}\r\n\r\n"));
    }

    #[test]
    fn containers_are_read_as_engines_write_them() {
        // Docker, Podman, and one without anything.
        let list = r#"[
            {"Id":"a","Names":["/sonarr"],"Labels":{"a":"b"},"State":"running","Created":1700000000,"Ports":[],"SizeRw":1},
            {"Id":"b","Names":["/radarr"],"Labels":null,"State":"initialized","Created":1700000001,"Config":null},
            {"Id":"c"}
        ]"#;
        let containers: Vec<Container> = serde_json::from_str(list).unwrap();
        let states: Vec<_> = containers.iter().map(|it| (it.id.as_str(), it.state.as_deref(), it.created)).collect();
        assert_eq!(
            states,
            [
                ("a", Some("running"), Some(1_700_000_000)),
                ("b", Some("initialized"), Some(1_700_000_001)),
                ("c", None, None)
            ]
        );
    }
}
