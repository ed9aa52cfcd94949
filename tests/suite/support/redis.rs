//! Redis servers, as programs of their own.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use ::redis::{Client, Cmd, Value};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::port::reserved_address;
use super::tool::{Running, command};

/// How long something may take that has to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait before looking again.
const GLANCE: Duration = Duration::from_millis(10);

/// Waits until something is so.
#[track_caller]
pub(crate) fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        let looking = async {
            while !is_so().await {
                sleep(GLANCE).await;
            }
        };
        assert!(timeout(PATIENCE, looking).await.is_ok(), "{place}: waited in vain: {what}");
    }
}

/// A server in a folder of its own.
pub(crate) struct Redis {
    pub(crate) address: SocketAddr,
    program: &'static str,
    arguments: Vec<String>,
    folder: TempDir,
    running: Option<Running>,
}

impl Redis {
    /// A server that has written down what it answered, even when it is killed.
    pub(crate) async fn durable() -> Self {
        Self::start(&["--appendonly", "yes", "--appendfsync", "always"]).await
    }

    /// A server with these arguments beside the usual ones.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let mut server = Self::prepare("--port", arguments);
        server.run().await;
        server
    }

    /// The same with a Valkey.
    pub(crate) async fn valkey(arguments: &[&str]) -> Self {
        let mut server = Self { program: "valkey-server", ..Self::prepare("--port", arguments) };
        server.run().await;
        server
    }

    /// One that is not started yet, with its port given as `port`.
    fn prepare(port: &str, arguments: &[&str]) -> Self {
        let (address, folder) = (reserved_address(), tempfile::tempdir().unwrap());
        let (number, directory) = (address.port().to_string(), folder.path().display().to_string());
        let usual = [port, &number, "--bind", "127.0.0.1", "--save", "", "--dir", &directory];
        let arguments = usual.iter().chain(arguments).map(|argument| (*argument).to_owned()).collect();
        Self { address, program: "redis-server", arguments, folder, running: None }
    }

    /// A server that speaks TLS alone, with this certificate and its key; it cannot be asked here.
    pub(crate) async fn secured(certificate: &str, key: &str, arguments: &[&str]) -> Self {
        let tls = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "no"];
        let mut server = Self::prepare("--tls-port", &[&["--port", "0"], &tls[..], arguments].concat());
        server.begin();
        until("a server", async || TcpStream::connect(server.address).await.is_ok()).await;
        server
    }

    /// A Sentinel of two that have to agree that the master `main` is gone.
    async fn sentinel(master: SocketAddr) -> Self {
        let (address, folder) = (reserved_address(), tempfile::tempdir().unwrap());
        let path = folder.path().join("configuration");
        let text = format!(
            "sentinel monitor main 127.0.0.1 {} 2\nsentinel down-after-milliseconds main 500\n\
             sentinel failover-timeout main 1000\n",
            master.port()
        );
        fs::write(&path, text).unwrap();
        let port = address.port().to_string();
        let arguments = [path.to_str().unwrap(), "--sentinel", "--port", &port, "--bind", "127.0.0.1"];
        let arguments = arguments.map(str::to_owned).into();
        let mut server = Self { address, program: "redis-server", arguments, folder, running: None };
        server.run().await;
        server
    }

    /// Starts it again.
    pub(crate) async fn run(&mut self) {
        self.begin();
        until("a server", async || self.ask(&["PING"]).await.is_some()).await;
    }

    fn begin(&mut self) {
        let mut command = command(self.program);
        command.args(&self.arguments);
        self.running = Some(Running::start(command, self.folder.path()));
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.running = None;
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.running.as_ref().unwrap().child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Asks it, over a connection of its own.
    pub(crate) async fn ask(&self, words: &[&str]) -> Option<Value> {
        let client = Client::open(format!("redis://{}/", self.address)).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        let mut command = Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut connection).await.ok()
    }

    /// Waits until this replica has all that its master has done up to now, and so all that was acknowledged.
    ///
    /// By what both count: `WAIT` is about what the connection that sends it has written, and this one has written nothing.
    pub(crate) async fn until_it_has_all_of(&self, master: &Self) {
        let wanted = master.offset("master_repl_offset").await.unwrap();
        until("a copy", async || self.offset("slave_repl_offset").await.is_some_and(|offset| offset >= wanted)).await;
    }

    /// How far a stream of replication has come.
    async fn offset(&self, name: &str) -> Option<u64> {
        let text = self.text(&["INFO", "replication"]).await?;
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| *key == name).map(|(_, offset)| offset.parse().unwrap())
    }

    pub(crate) async fn is_master(&self) -> bool {
        self.says(&["INFO", "replication"], &["role:master"]).await
    }

    /// Whether it is a replica that has everything.
    pub(crate) async fn is_copy(&self) -> bool {
        self.says(&["INFO", "replication"], &["role:slave", "master_link_status:up"]).await
    }

    /// The same, of a text.
    async fn says(&self, words: &[&str], wanted: &[&str]) -> bool {
        self.text(words).await.is_some_and(|text| wanted.iter().all(|wanted| text.contains(wanted)))
    }

    async fn text(&self, words: &[&str]) -> Option<String> {
        let Some(Value::BulkString(text)) = self.ask(words).await else { return None };
        Some(String::from_utf8(text).unwrap())
    }
}

/// A master, a replica that has everything that was acknowledged, and three Sentinels.
pub(crate) struct Sentinels {
    pub(crate) master: Redis,
    pub(crate) replica: Redis,
    pub(crate) judges: Vec<Redis>,
}

impl Sentinels {
    pub(crate) async fn start() -> Self {
        let master = Redis::start(&[]).await;
        let port = master.address.port().to_string();
        let replica = Redis::start(&["--replicaof", "127.0.0.1", &port]).await;
        until("a copy", async || replica.is_copy().await).await;
        let mut judges = Vec::new();
        for _ in 0..3 {
            judges.push(Redis::sentinel(master.address).await);
        }
        for sentinel in &judges {
            until("acquaintance", async || {
                let count = async |words: &[&str]| match sentinel.ask(words).await {
                    Some(Value::Array(found)) => found.len(),
                    _ => 0,
                };
                count(&["SENTINEL", "REPLICAS", "main"]).await == 1
                    && count(&["SENTINEL", "SENTINELS", "main"]).await == 2
            })
            .await;
        }
        Self { master, replica, judges }
    }
}

/// Three masters that share the keys, each with a replica.
pub(crate) async fn cluster() -> Vec<Redis> {
    let mut servers: Vec<Redis> = Vec::new();
    let mut first_bus = String::new();
    for number in 0..6 {
        let bus = reserved_address().port().to_string();
        let cluster = ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "1000"];
        let server = Redis::start(&cluster).await;
        if number < 3 {
            let first = number * 5462;
            let last = (first + 5461).min(16_383);
            server.ask(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]).await.unwrap();
        }
        match servers.first() {
            Some(seed) => {
                let port = seed.address.port().to_string();
                server.ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &first_bus]).await.unwrap();
            }
            None => first_bus = bus,
        }
        servers.push(server);
    }
    let info = &["CLUSTER", "INFO"];
    for server in &servers {
        until("acquaintance", async || server.says(info, &["cluster_known_nodes:6", "cluster_state:ok"]).await).await;
    }
    for number in 0..3 {
        let Some(Value::BulkString(id)) = servers[number].ask(&["CLUSTER", "MYID"]).await else { panic!("no id") };
        let id = String::from_utf8(id).unwrap();
        let replica = &servers[number + 3];
        until("a master", async || replica.ask(&["CLUSTER", "REPLICATE", &id]).await.is_some()).await;
        until("a copy", async || replica.is_copy().await).await;
    }
    servers
}
