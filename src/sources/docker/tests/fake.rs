//! An engine that says what a test wants, in the words of dockerd.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// How an engine answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Honest,
    /// Heads of events come with the first event, as Podman's do.
    LateHeads,
    /// 403, as socket proxies answer.
    Forbidden,
    /// Connections that nothing comes out of.
    Silent,
    /// Something that is not HTTP.
    Junk,
    /// A list that is not JSON.
    NotJson,
    /// A list that does not end.
    Endless,
    /// Events that end at once.
    ShortEvents,
}

pub(super) struct State {
    containers: Mutex<Vec<Value>>,
    mode: Mutex<Mode>,
    events: broadcast::Sender<String>,
    /// All events so far.
    log: Mutex<Vec<String>>,
    requests: Mutex<Vec<String>>,
}

pub(super) struct Fake {
    folder: TempDir,
    state: Arc<State>,
    running: Option<AbortOnDropHandle<()>>,
}

/// A container as `GET /containers/json` of dockerd has it (API 1.51).
pub(super) fn container(name: &str, created: i64, state: &str, labels: &[(&str, &str)]) -> Value {
    let labels: serde_json::Map<String, Value> =
        labels.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
    json!({
        "Id": format!("{name:0>12}{created:0>20}"), "Names": [format!("/{name}")], "Image": "nginx",
        "ImageID": "sha256:60c8a892f36faf6c9215464005ee6fb8cf0585f70b113c0b030f6cb497a41876",
        "ImageManifestDescriptor": null, "Command": "/docker-entrypoint.sh nginx -g 'daemon off;'", "Created": created,
        "Ports": [{ "PrivatePort": 80, "Type": "tcp" }], "Labels": labels, "State": state, "Status": "Up 2 minutes",
        "HostConfig": { "NetworkMode": "bridge" }, "Health": { "Status": "none", "FailingStreak": 0 },
        "NetworkSettings": { "Networks": { "bridge": { "IPAMConfig": null, "IPAddress": "172.17.0.2" } } }, "Mounts": [],
    })
}

impl Fake {
    /// An engine that is not reached yet.
    pub(super) fn new() -> Self {
        let state = State {
            containers: Mutex::default(),
            mode: Mutex::new(Mode::Honest),
            events: broadcast::channel(64).0,
            log: Mutex::default(),
            requests: Mutex::default(),
        };
        Self { folder: tempfile::tempdir().unwrap(), state: Arc::new(state), running: None }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("engine.sock")
    }

    /// Begins to listen.
    pub(super) fn up(&mut self) {
        let listener = UnixListener::bind(self.path()).unwrap();
        let state = Arc::clone(&self.state);
        let accepting = async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&state)));
            }
        };
        self.running = Some(AbortOnDropHandle::new(tokio::spawn(accepting)));
    }

    /// Ends all connections, and refuses others.
    pub(super) fn down(&mut self) {
        self.running = None;
        std::fs::remove_file(self.path()).unwrap();
    }

    pub(super) fn answer(&self, mode: Mode) {
        *self.state.mode.lock() = mode;
    }

    /// Replaces all containers without an event.
    pub(super) fn replace(&self, containers: &[Value]) {
        *self.state.containers.lock() = containers.to_vec();
    }

    /// Replaces all containers and tells it.
    pub(super) fn set(&self, containers: &[Value]) {
        self.replace(containers);
        self.event("create");
    }

    pub(super) fn event(&self, action: &str) {
        let event = json!({
            "status": action, "id": "4fa5…", "from": "nginx", "Type": "container", "Action": action,
            "Actor": { "ID": "4fa5…", "Attributes": { "image": "nginx", "name": "x" } }, "scope": "local",
            "time": 1_796_098_927, "timeNano": 1_796_098_927_515_591_264_i64,
        });
        let mut log = self.state.log.lock();
        log.push(format!("{event}\n"));
        // Without a listener it is in the log alone.
        let _ = self.state.events.send(format!("{event}\n"));
    }

    /// How many requests for the list came.
    pub(super) fn lists(&self) -> usize {
        self.state.requests.lock().iter().filter(|target| target.contains("/containers/json")).count()
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.state.requests.lock().clone()
    }
}

/// Answers one request, the only one of a connection.
async fn serve(mut stream: UnixStream, state: Arc<State>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    let (mut events, mut past) = {
        let log = state.log.lock();
        // Engines repeat the events since a time. All of this one's came later than its greeting.
        let past = if target.contains("&since=1796098926") { log.clone() } else { Vec::new() };
        (state.events.subscribe(), past.into_iter())
    };
    state.requests.lock().push(target.clone());
    let mode = *state.mode.lock();
    let is_list = target.contains("/containers/json");
    let answer = match mode {
        Mode::Silent => return std::future::pending().await,
        Mode::Junk => "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(),
        Mode::Forbidden if target != "/_ping" => answer("403 Forbidden", "{\"message\":\"no\"}"),
        Mode::NotJson if is_list => answer("200 OK", "<html>"),
        Mode::Endless if is_list => return endless(stream).await,
        _ if is_list => answer("200 OK", &Value::from(state.containers.lock().clone()).to_string()),
        _ if target == "/_ping" => answer("200 OK", "OK"),
        _ => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
            let mut late = (mode == Mode::LateHeads).then_some(head);
            if late.is_none() {
                // The client may have gone away.
                let _ = stream.write_all(head.as_bytes()).await;
            }
            if mode == Mode::ShortEvents {
                let _ = stream.write_all(b"0\r\n\r\n").await;
                return;
            }
            loop {
                let event = match past.next() {
                    Some(event) => event,
                    None => match events.recv().await {
                        Ok(event) => event,
                        Err(_) => return,
                    },
                };
                let text = format!("{}{:x}\r\n{event}\r\n", late.take().unwrap_or_default(), event.len());
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    };
    // The client may have gone away.
    let _ = stream.write_all(answer.as_bytes()).await;
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nApi-Version: 1.51\r\nDocker-Experimental: false\r\nOstype: linux\r\nServer: Docker/28.3.0 (linux)\r\n\
         Date: Tue, 01 Dec 2026 04:22:06 GMT\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn endless(mut stream: UnixStream) {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 65_536, " ".repeat(65_536));
    while stream.write_all(chunk.as_bytes()).await.is_ok() {}
}
