//! A client for records, leases and revocations in a Redis or Valkey: one server, one behind Sentinels, or a Cluster.
//!
//! It knows bytes only. Each operation has one round trip, is tried once, and has a deadline. The caller decides what to repeat
//! after an error, because an operation whose answer was lost may have taken place. Broken connections are replaced.
//!
//! The connections are those of the `redis` crate, and the routing is not: its client for Clusters follows redirections only
//! where it also repeats commands whose answer was lost, and it stops all commands while it asks silent servers one after the
//! other for the map of slots (decision 0015).

mod batch;
mod bounded;
mod cluster;
mod commands;
mod connection;
mod error;
mod follow;
mod link;

mod scan;
mod script;
mod sentinel;
mod settings;
mod stream;
#[cfg(test)]
pub(in crate::session) mod tests;
mod value;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::{Cmd, Value};
use tokio::time::Instant;

use self::cluster::{Cluster, slot};
use self::connection::Connector;
use self::link::{Link, Target};
use self::script::Script;
use self::sentinel::Sentinels;
pub use self::settings::{RedisAddress, RedisMode, RedisSettings};
use self::value::only;

pub(crate) use batch::Update;
pub(crate) use commands::{BeginReply, Finish, Order, OrderReply};
pub(crate) use error::RedisError;
pub(crate) use follow::{Follower, ListState};
pub(crate) use scan::Cursor;
pub(crate) use stream::EntryId;

/// The number of redirections before a pause.
const REDIRECTS_BEFORE_PAUSE: usize = 4;
/// The pause before a request for a slot that moves.
const REDIRECT_PAUSE: Duration = Duration::from_millis(20);

/// A Redis; it connects when it is first used.
pub(crate) struct Redis {
    topology: Topology,
    prefix: String,
    /// Distinguishes the list of revocations from those under other secrets.
    list: String,
    staleness: Duration,
    connector: Arc<Connector>,
}

/// How the server of a key is found.
enum Topology {
    /// There is one server.
    One(Arc<Link>),
    /// By the slot of the key.
    Cluster(Cluster),
}

/// The keys beside the records: all in one slot of a Cluster.
#[derive(Clone, Copy)]
enum Shared<'a> {
    Revocations,
    Removals,
    Longest,
    /// The head of the list of revocations.
    Head,
    /// The latest moment at which a saved login began.
    Latest,
    Once(&'a [u8]),
}

impl Redis {
    /// Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// [`RedisError::Tls`].
    pub(crate) fn new(settings: &RedisSettings) -> Result<Self, RedisError> {
        let connector = Arc::new(Connector::new(settings)?);
        let one = |place| Topology::One(Arc::new(Link::new(place, Arc::clone(&connector))));
        let topology = match (&settings.mode, settings.addresses.as_slice()) {
            (RedisMode::Cluster, seeds) => Topology::Cluster(Cluster::new(seeds, Arc::clone(&connector))),
            (RedisMode::Sentinel { master, username, password }, addresses) => {
                let connector = Arc::new(connector.with_user(username.as_deref(), password.as_ref()));
                one(Target::Master(Sentinels::new(master, addresses, &connector)))
            }
            (RedisMode::Single, [address, ..]) => one(Target::Server(address.clone())),
            (RedisMode::Single, []) => return Err(RedisError::Away("it has no address".to_owned())),
        };
        let list = String::new();
        Ok(Self { topology, prefix: settings.prefix.clone(), list, staleness: settings.staleness, connector })
    }

    /// The same with a list of revocations of this name.
    pub(crate) fn with_list(self, name: &[u8]) -> Self {
        Self { list: format!(":{}", URL_SAFE_NO_PAD.encode(name)), ..self }
    }

    fn record(&self, key: &[u8; 32]) -> String {
        format!("{}s:{{{}}}", self.prefix, URL_SAFE_NO_PAD.encode(key))
    }

    fn lease(&self, key: &[u8; 32]) -> String {
        format!("{}l:{{{}}}", self.prefix, URL_SAFE_NO_PAD.encode(key))
    }

    fn shared(&self, which: Shared<'_>) -> String {
        let end = match which {
            Shared::Revocations => String::new(),
            Shared::Removals => ":removals".to_owned(),
            Shared::Longest => ":longest".to_owned(),
            Shared::Head => ":head".to_owned(),
            Shared::Latest => ":latest".to_owned(),
            Shared::Once(tag) => format!(":once:{}", URL_SAFE_NO_PAD.encode(tag)),
        };
        format!("{}{{revocations}}{}{end}", self.prefix, self.list)
    }

    /// The deadline of an operation that begins now.
    fn deadline(&self) -> Instant {
        Instant::now() + self.connector.timeout
    }

    /// The link to the server of `key`.
    async fn link(&self, key: &str, deadline: Instant) -> Result<Arc<Link>, RedisError> {
        match &self.topology {
            Topology::One(link) => Ok(Arc::clone(link)),
            Topology::Cluster(cluster) => cluster.link(slot(key.as_bytes()), deadline).await,
        }
    }

    /// Sends commands for the slot of `key`, in order; the answers may be errors.
    async fn send(&self, key: &str, commands: &[Cmd]) -> Result<Vec<Value>, RedisError> {
        let deadline = self.deadline();
        let Topology::Cluster(cluster) = &self.topology else {
            return self.link(key, deadline).await?.send(commands, deadline).await;
        };
        loop {
            let answers =
                self.send_on(cluster, key, commands, deadline).await.inspect_err(|_| cluster.mark_outdated())?;
            match answers.first() {
                // The slot is moving, and only one of two keys has arrived; the server did nothing.
                Some(Value::ServerError(error))
                    if error.code() == "TRYAGAIN" && Instant::now() + REDIRECT_PAUSE < deadline =>
                {
                    tokio::time::sleep(REDIRECT_PAUSE).await;
                }
                Some(Value::ServerError(error)) if RedisError::is_away(error) => {
                    cluster.mark_outdated();
                    return Ok(answers);
                }
                _ => return Ok(answers),
            }
        }
    }

    /// Sends commands to the node that has the slot, and follows redirections.
    async fn send_on(
        &self,
        cluster: &Cluster,
        key: &str,
        commands: &[Cmd],
        deadline: Instant,
    ) -> Result<Vec<Value>, RedisError> {
        let mut link = self.link(key, deadline).await?;
        let mut asking = false;
        for redirects in 1.. {
            // Two nodes that each name the other agree soon, and neither did anything.
            if redirects % REDIRECTS_BEFORE_PAUSE == 0 {
                if Instant::now() + REDIRECT_PAUSE >= deadline {
                    break;
                }
                tokio::time::sleep(REDIRECT_PAUSE).await;
            }
            let sent =
                if asking { send_asking(&link, commands, deadline).await } else { link.send(commands, deadline).await };
            let answers = sent?;
            let Some(Value::ServerError(error)) = answers.first() else { return Ok(answers) };
            asking = error.code() == "ASK";
            if !asking && error.code() != "MOVED" {
                return Ok(answers);
            }
            if !asking {
                // While a slot is moving, the map stays as it was.
                cluster.mark_outdated();
            }
            let Target::Server(from) = link.target() else { return Err(RedisError::Unexpected) };
            link = cluster.link_to(redirection(error.details(), from)?);
        }
        Err(RedisError::Away("the cluster sends from node to node".to_owned()))
    }

    /// Runs a script.
    ///
    /// A server that does not know the script gets its text, in a second round trip.
    async fn run(&self, script: &Script, keys: &[&str], arguments: &[&[u8]]) -> Result<Value, RedisError> {
        let key = keys.first().copied().unwrap_or_default();
        let mut answer = only(self.send(key, &[script.by_digest(keys, arguments)]).await?)?;
        if matches!(&answer, Value::ServerError(error) if error.code() == "NOSCRIPT") {
            answer = only(self.send(key, &[script.by_text(keys, arguments)]).await?)?;
        }
        match answer {
            Value::ServerError(error) => Err(RedisError::answered(&error)),
            answer => Ok(answer),
        }
    }
}

/// Sends commands to the node that a slot moves to, each with its permission.
async fn send_asking(link: &Link, commands: &[Cmd], deadline: Instant) -> Result<Vec<Value>, RedisError> {
    let mut asking = Cmd::new();
    asking.arg("ASKING");
    let commands: Vec<Cmd> = commands.iter().flat_map(|command| [asking.clone(), command.clone()]).collect();
    let answers = link.send(&commands, deadline).await?;
    Ok(answers.into_iter().skip(1).step_by(2).collect())
}

/// Reads `SLOT HOST:PORT`; a node that does not know the host means its own.
fn redirection(details: Option<&str>, from: &RedisAddress) -> Result<RedisAddress, RedisError> {
    let address = details.and_then(|details| details.split_once(' ')?.1.rsplit_once(':'));
    let (host, port) = address.ok_or(RedisError::Unexpected)?;
    let host = if host.is_empty() { &from.host } else { host };
    Ok(RedisAddress { host: host.to_owned(), port: port.parse().map_err(|_| RedisError::Unexpected)? })
}
