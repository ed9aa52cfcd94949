//! Real servers, which end with their test.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value};
use tempfile::TempDir;

use super::port::reserved_address;
use super::tool::{Running, command};
use crate::session::redis::client::cluster::slot;
use crate::session::redis::client::{Order, OrderReply, Redis, RedisError, Update};
use crate::session::redis::client::{RedisAddress, RedisMode, RedisSettings};

/// The longest wait for something that has to happen.
pub(in crate::session) const DEADLINE: Duration = Duration::from_secs(30);
/// The pause between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Waits until something is so.
pub(in crate::session) async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let looking = async {
        while !is_so().await {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, looking).await.is_ok(), "waited in vain: {what}");
}

/// A server with a folder of its own.
pub(in crate::session) struct Server {
    program: &'static str,
    arguments: Vec<String>,
    pub(in crate::session) address: SocketAddr,
    /// Where it speaks TLS, if it does.
    pub(super) tls: Option<SocketAddr>,
    folder: TempDir,
    running: Option<Running>,
}

impl Server {
    /// Starts a server without persistence, with these further arguments, and waits until it answers.
    pub(in crate::session) async fn start(program: &'static str, arguments: &[&str]) -> Self {
        let mut server = Self::prepare(program, reserved_address(), arguments);
        server.run();
        server.until_ready().await;
        server
    }

    /// A server that is not started yet.
    pub(in crate::session) fn prepare(program: &'static str, address: SocketAddr, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = address.port().to_string();
        let directory = folder.path().display().to_string();
        let usual = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", &directory];
        let arguments = usual.iter().chain(arguments).map(|argument| (*argument).to_owned()).collect();
        Self { program, arguments, address, tls: None, folder, running: None }
    }

    /// Writes the configuration file that a Sentinel needs, and sets its arguments.
    pub(super) fn configure(&mut self, text: &str, further: &[String]) {
        let path = self.folder.path().join("configuration");
        fs::write(&path, text).unwrap();
        let port = self.address.port().to_string();
        let arguments = [path.to_str().unwrap(), "--sentinel", "--port", &port, "--bind", "127.0.0.1"];
        self.arguments = arguments.map(str::to_owned).into_iter().chain(further.iter().cloned()).collect();
    }

    /// The address for the client under test.
    pub(super) fn spoken(&self) -> SocketAddr {
        self.tls.unwrap_or(self.address)
    }

    pub(in crate::session) fn run(&mut self) {
        let mut command = command(self.program);
        command.args(&self.arguments);
        self.running = Some(Running::start(command, self.folder.path()));
    }

    pub(in crate::session) async fn until_ready(&self) {
        until("a server", async || self.connect().await.is_some()).await;
    }

    async fn connect(&self) -> Option<MultiplexedConnection> {
        let client = redis::Client::open(format!("redis://{}/", self.address)).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        let pong = Cmd::ping().query_async::<Value>(&mut connection).await.ok()?;
        (pong == Value::SimpleString("PONG".to_owned())).then_some(connection)
    }

    /// Sends a command without the client under test.
    pub(in crate::session) async fn ask(&self, words: &[&str]) -> Value {
        self.try_to_ask(words).await.expect("the server answers")
    }

    /// The same for a server that may change its role and close the connection.
    pub(in crate::session) async fn try_to_ask(&self, words: &[&str]) -> Option<Value> {
        let mut connection = self.connect().await?;
        let mut command = Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut connection).await.ok()
    }

    /// Sends a signal to the process.
    pub(in crate::session) fn signal(&self, name: &str) {
        let id = self.running.as_ref().unwrap().child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    pub(in crate::session) fn kill(&mut self) {
        self.running = None;
    }
}

impl Redis {
    /// Removes a record and notifies the followers.
    pub(in crate::session) async fn remove(&self, key: &[u8; 32]) -> Result<Option<Vec<u8>>, RedisError> {
        let taken = self.take_out(key).await?;
        if !taken.is_notified {
            self.notify_removed(key).await?;
        }
        Ok(taken.record)
    }

    /// Puts entries on the list, without heads.
    pub(in crate::session) async fn revoke(
        &self,
        entries: &[&[u8]],
        mut once: Option<(&[u8], Duration)>,
    ) -> Result<bool, RedisError> {
        let mut done = true;
        for entry in entries {
            let listed = self.order(&Order { entry, once: once.take(), ..Order::default() }).await?;
            done &= listed == OrderReply::Done;
        }
        Ok(done)
    }

    /// Replaces one record.
    pub(super) async fn update(
        &self,
        key: &[u8; 32],
        old: &[u8],
        new: &[u8],
        ttl: Duration,
    ) -> Result<bool, RedisError> {
        let update = Update { key: *key, old: old.to_vec(), new: new.to_vec(), ttl };
        self.update_uses(&[update]).await.pop().expect("an answer")
    }
}

/// The settings of a single server.
pub(in crate::session) fn settings(address: SocketAddr) -> RedisSettings {
    RedisSettings {
        addresses: vec![at(address)],
        mode: RedisMode::Single,
        tls: false,
        ca_file: None,
        username: None,
        password: None,
        database: 0,
        prefix: "test:".to_owned(),
        timeout: Duration::from_secs(2),
        staleness: Duration::from_secs(1),
    }
}

/// The key of the list of revocations called `name`.
pub(in crate::session) fn list_name(name: &[u8]) -> String {
    format!("test:{{revocations}}:{}", URL_SAFE_NO_PAD.encode(name))
}

pub(in crate::session) fn at(address: SocketAddr) -> RedisAddress {
    RedisAddress { host: address.ip().to_string(), port: address.port() }
}

pub(in crate::session) fn open(settings: &RedisSettings) -> Redis {
    Redis::new(settings).unwrap()
}

/// Which of three equal parts of the slots `key` is in.
pub(in crate::session) fn owner(servers: &[Server], key: &str) -> usize {
    assert_eq!(servers.len(), 3);
    usize::from(slot(key.as_bytes()) / 5462)
}

/// How often the server executed each command, in scripts too, since its counters were reset.
pub(in crate::session) async fn calls(server: &Server) -> BTreeMap<String, u64> {
    let Value::BulkString(text) = server.ask(&["INFO", "commandstats"]).await else { panic!("a text") };
    let text = String::from_utf8(text).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="));
    let number = |calls: &str| calls.split_once(',').unwrap().0.parse().unwrap();
    lines.map(|(name, calls)| (name.to_owned(), number(calls))).collect()
}
