//! Settings of a Redis.

use std::time::Duration;

use secrecy::SecretString;

use crate::tls::CaFile;

/// Where a Redis or Valkey is, and how to connect to it.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// The server, some of the Sentinels, or some of the Cluster's nodes; one at least.
    pub addresses: Vec<RedisAddress>,
    /// What is at those addresses.
    pub mode: RedisMode,
    /// Whether to use TLS, to Sentinels too.
    pub tls: bool,
    /// PEM file with certificate authorities trusted beside the system's.
    pub ca_file: Option<CaFile>,
    /// The ACL user; `None`: the default one.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<SecretString>,
    /// The number of the database; 0 in a Cluster, which has no other.
    pub database: u16,
    /// The prefix of all keys.
    pub prefix: String,
    /// The time for a connection, and for an operation with a new connection.
    pub timeout: Duration,
    /// How long sessions in memory are served without proof that no revocation was missed.
    pub staleness: Duration,
}

/// A kind of deployment.
#[derive(Clone, Debug)]
pub enum RedisMode {
    /// One server.
    Single,
    /// A master that Sentinels watch, and replicas that may take its place.
    Sentinel {
        /// The master's name at the Sentinels.
        master: String,
        /// The ACL user at the Sentinels.
        username: Option<String>,
        /// The user's password there.
        password: Option<SecretString>,
    },
    /// Several masters that share the keys.
    Cluster,
}

/// A name or an IP address, without brackets, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RedisAddress {
    /// The name or address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl std::fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}
