//! Clusters and Sentinels.

use std::fs;
use std::path::PathBuf;

use redis::Value;
use secrecy::SecretString;
use tempfile::TempDir;

use super::port::reserved_address;
use super::server::{Server, at, settings, until};
use crate::session::redis::client::{Redis, Shared};
use crate::session::redis::client::{RedisMode, RedisSettings};
use crate::tls::CaFile;

/// How the client connects.
pub(in crate::session) enum Manner {
    /// Without TLS, as the default user.
    Plain,
    /// With TLS, also between the servers.
    Tls(TempDir),
    /// As a user with the rights in `docs/SESSIONS.md` and no others.
    User,
}

/// A master, its replica, and three Sentinels that know both.
pub(in crate::session) struct Watched {
    pub(super) master: Server,
    pub(super) replica: Server,
    pub(in crate::session) sentinels: Vec<Server>,
    pub(in crate::session) settings: RedisSettings,
}

impl Manner {
    /// With TLS, and one certificate for all.
    pub(in crate::session) fn tls() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key_pair = rcgen::KeyPair::generate().unwrap();
        let signed = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key_pair).unwrap();
        fs::write(folder.path().join("certificate"), signed.pem()).unwrap();
        fs::write(folder.path().join("key"), key_pair.serialize_pem()).unwrap();
        Self::Tls(folder)
    }

    /// A server that is not started yet; it also answers without TLS.
    pub(super) fn prepare(&self, program: &'static str, arguments: &[&str]) -> Server {
        let tls = reserved_address();
        let further = self.arguments(tls.port());
        let arguments: Vec<&str> = further.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        let mut server = Server::prepare(program, reserved_address(), &arguments);
        server.tls = matches!(self, Self::Tls(_)).then_some(tls);
        server
    }

    fn arguments(&self, port: u16) -> Vec<String> {
        let Self::Tls(folder) = self else { return Vec::new() };
        let [certificate, key] = ["certificate", "key"].map(|name| folder.path().join(name).display().to_string());
        let arguments = [
            ["--tls-port", &port.to_string()],
            ["--tls-cert-file", &certificate],
            ["--tls-key-file", &key],
            ["--tls-ca-cert-file", &certificate],
            ["--tls-auth-clients", "no"],
            ["--tls-replication", "yes"],
            ["--tls-cluster", "yes"],
        ];
        arguments.as_flattened().iter().map(|word| (*word).to_owned()).collect()
    }

    /// Creates the user, with these of the commands in the documentation.
    pub(super) async fn admit(&self, server: &Server, orders: &[usize]) {
        if !matches!(self, Self::User) {
            return;
        }
        for order in orders {
            let order = orders_of_document().swap_remove(*order);
            let words: Vec<&str> = order.iter().map(String::as_str).collect();
            assert_eq!(server.ask(&words).await, Value::Okay, "{order:?}");
        }
    }

    fn settings(&self, server: &Server) -> RedisSettings {
        let settings = settings(server.spoken());
        let ca_file = |folder: &TempDir| Some(CaFile::read(folder.path().join("certificate")));
        let (username, password) = (Some("forepost".to_owned()), Some(SecretString::from("password")));
        match self {
            Self::Plain => settings,
            Self::Tls(folder) => RedisSettings { tls: true, ca_file: ca_file(folder), ..settings },
            Self::User => RedisSettings { username, password, prefix: "forepost:".to_owned(), ..settings },
        }
    }
}

/// The ACL commands in `docs/SESSIONS.md`: for servers, further ones in a Cluster, and at Sentinels; as words.
fn orders_of_document() -> Vec<Vec<String>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/SESSIONS.md");
    let text = fs::read_to_string(path).unwrap();
    let orders = text.split("```\n").filter(|block| block.starts_with("ACL SETUSER "));
    let orders: Vec<Vec<String>> = orders.map(|order| order.split_whitespace().map(str::to_owned).collect()).collect();
    assert_eq!(orders.len(), 3);
    orders
}

/// Three masters that share the keys.
pub(in crate::session) async fn cluster(program: &'static str) -> Vec<Server> {
    cluster_of(program, &Manner::Plain).await
}

pub(in crate::session) async fn cluster_of(program: &'static str, manner: &Manner) -> Vec<Server> {
    let mut servers = Vec::new();
    for _ in 0..3 {
        let server = node(program, manner, servers.first()).await;
        let first = servers.len() * 5462;
        let last = (first + 5461).min(16_383);
        server.ask(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]).await;
        servers.push(server);
    }
    for server in &servers {
        until("a whole cluster", async || {
            let Value::BulkString(info) = server.ask(&["CLUSTER", "INFO"]).await else { return false };
            let info = String::from_utf8(info).unwrap();
            info.contains("cluster_state:ok") && info.contains("cluster_size:3")
        })
        .await;
    }
    servers
}

/// One more server of a Cluster, which gets to know `other`.
pub(super) async fn node(program: &'static str, manner: &Manner, other: Option<&Server>) -> Server {
    let bus = reserved_address().port().to_string();
    let arguments = ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "1000"];
    let mut server = manner.prepare(program, &arguments);
    server.run();
    server.until_ready().await;
    manner.admit(&server, &[0, 1]).await;
    if let Some(other) = other {
        let port = server.spoken().port().to_string();
        other.ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await;
    }
    server
}

pub(in crate::session) fn cluster_settings(servers: &[Server]) -> RedisSettings {
    cluster_settings_of(servers, &Manner::Plain)
}

pub(in crate::session) fn cluster_settings_of(servers: &[Server], manner: &Manner) -> RedisSettings {
    RedisSettings { mode: RedisMode::Cluster, ..manner.settings(&servers[0]) }
}

/// A master that Sentinels watch, once all know each other.
pub(in crate::session) async fn watched(program: &'static str, manner: &Manner) -> Watched {
    let started = async |arguments: &[&str]| {
        let mut server = manner.prepare(program, arguments);
        server.run();
        server.until_ready().await;
        manner.admit(&server, &[0]).await;
        server
    };
    let master = started(&[]).await;
    let port = master.spoken().port().to_string();
    let replica = started(&["--replicaof", "127.0.0.1", &port]).await;
    let mut sentinels = Vec::new();
    for _ in 0..3 {
        let mut sentinel = manner.prepare(program, &[]);
        let text = format!(
            "sentinel monitor main 127.0.0.1 {port} 2\nsentinel down-after-milliseconds main 500\n\
             sentinel failover-timeout main 1000\n"
        );
        sentinel.configure(&text, &manner.arguments(sentinel.spoken().port()));
        sentinel.run();
        sentinel.until_ready().await;
        manner.admit(&sentinel, &[2]).await;
        sentinels.push(sentinel);
    }
    for sentinel in &sentinels {
        until("acquaintance", async || {
            let Value::Array(found) = sentinel.ask(&["SENTINEL", "REPLICAS", "main"]).await else { panic!() };
            let Value::Array(others) = sentinel.ask(&["SENTINEL", "SENTINELS", "main"]).await else { panic!() };
            found.len() == 1 && others.len() == 2
        })
        .await;
    }
    let of_server = manner.settings(&master);
    let user = of_server.username.clone();
    let mode = RedisMode::Sentinel { master: "main".to_owned(), username: user, password: of_server.password.clone() };
    let addresses = sentinels.iter().map(|sentinel| at(sentinel.spoken())).collect();
    let settings = RedisSettings { addresses, mode, ..of_server };
    Watched { master, replica, sentinels, settings }
}

impl Redis {
    /// Whether a server is a replica with all data, the list included.
    pub(super) async fn is_copied_to(&self, server: &Server) -> bool {
        let Some(Value::BulkString(info)) = server.try_to_ask(&["INFO", "replication"]).await else { return false };
        String::from_utf8(info).unwrap().contains("master_link_status:up")
            && server.try_to_ask(&["EXISTS", &self.shared(Shared::Revocations)]).await == Some(Value::Int(1))
    }
}
