//! Asks Sentinels for the master.

use std::pin::Pin;
use std::sync::Arc;

use redis::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::commands::command;
use super::connection::Connector;
use super::error::RedisError;
use super::link::{Link, Target};
use super::settings::RedisAddress;
use super::value::{bytes, number};

type BoxFuture<'a> = Pin<Box<dyn Future<Output = Result<RedisAddress, RedisError>> + Send + 'a>>;

/// The Sentinels of one master.
pub(super) struct Sentinels {
    master: String,
    links: Vec<Arc<Link>>,
}

impl Sentinels {
    pub(super) fn new(master: &str, addresses: &[RedisAddress], connector: &Arc<Connector>) -> Self {
        let link = |address: &RedisAddress| Arc::new(Link::new(Target::Server(address.clone()), Arc::clone(connector)));
        Self { master: master.to_owned(), links: addresses.iter().map(link).collect() }
    }

    /// The master that more than half of all Sentinels name: a minority may be cut off, together with a master that was
    /// replaced.
    ///
    /// Boxed, because a link needs this, and this needs links.
    pub(super) fn master(&self, deadline: Instant) -> BoxFuture<'_> {
        Box::pin(self.find_master(deadline))
    }

    async fn find_master(&self, deadline: Instant) -> Result<RedisAddress, RedisError> {
        let mut asked = JoinSet::new();
        for link in &self.links {
            let link = Arc::clone(link);
            let command = command("SENTINEL", &[b"GET-MASTER-ADDR-BY-NAME", self.master.as_bytes()]);
            // Each Sentinel has a task of its own, so one that does not answer delays none of the others.
            asked.spawn(async move { master_of(&link.send(&[command], deadline).await?) });
        }
        let (mut named, mut last_error) = (Vec::new(), None);
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(address)) => {
                    named.push(address);
                    let votes = named.iter().filter(|other| *other == named.last().unwrap_or(other)).count();
                    if votes > self.links.len() / 2 {
                        return named.pop().ok_or(RedisError::Unexpected);
                    }
                }
                Ok(Err(error)) => last_error = Some(error),
                Err(_) => last_error = Some(RedisError::Unexpected),
            }
        }
        Err(match last_error {
            Some(error) if named.is_empty() => RedisError::Away(format!("no Sentinel names a master: {error}")),
            _ => RedisError::Away("not more than half of the Sentinels name the same master".to_owned()),
        })
    }
}

fn master_of(answers: &[Value]) -> Result<RedisAddress, RedisError> {
    match answers {
        [Value::Array(parts)] => match parts.as_slice() {
            [host, port] => {
                let host = String::from_utf8(bytes(host)?.to_vec()).map_err(|_| RedisError::Unexpected)?;
                let port = u16::try_from(number(port)?).map_err(|_| RedisError::Unexpected)?;
                Ok(RedisAddress { host, port })
            }
            _ => Err(RedisError::Unexpected),
        },
        [Value::Nil] => Err(RedisError::Refused("the Sentinel knows no master of that name".to_owned())),
        [Value::ServerError(error)] => Err(RedisError::answered(error)),
        _ => Err(RedisError::Unexpected),
    }
}
