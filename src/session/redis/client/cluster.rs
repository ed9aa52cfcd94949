//! The map from slots to the servers of a Cluster (Redis Cluster Specification, "Keys distribution model").

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use redis::{Cmd, Value};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::connection::Connector;
use super::error::RedisError;
use super::link::{Link, Target};
use super::settings::RedisAddress;
use super::value::{bytes, list, number};

const SLOTS: u16 = 16_384;

/// The pause between two requests for the map while nodes are away.
const QUESTION_INTERVAL: Duration = Duration::from_millis(100);

/// The slot of a key: of the part in its first braces, else of the whole key.
pub(super) fn slot(key: &[u8]) -> u16 {
    let open = key.iter().position(|byte| *byte == b'{').map(|at| at + 1);
    let tag = open.and_then(|from| {
        let length = key[from..].iter().position(|byte| *byte == b'}')?;
        (length > 0).then(|| &key[from..from + length])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM, as in the specification.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 },
        )
    })
}

/// The known masters of a Cluster.
pub(super) struct Cluster {
    seeds: Vec<Arc<Link>>,
    connector: Arc<Connector>,
    map: RwLock<Arc<Map>>,
    /// Whether an answer contradicted the map.
    is_outdated: AtomicBool,
    /// When the map was last requested; locked during a request.
    asked: AsyncMutex<Option<Instant>>,
}

#[derive(Default)]
struct Map {
    /// First and last slot of each range, in order.
    ranges: Vec<(u16, u16, Arc<Link>)>,
    links: HashMap<RedisAddress, Arc<Link>>,
    /// Servers that a redirection named and that are not in the map.
    named: Mutex<HashMap<RedisAddress, Arc<Link>>>,
}

impl Cluster {
    pub(super) fn new(seeds: &[RedisAddress], connector: Arc<Connector>) -> Self {
        let link =
            |address: &RedisAddress| Arc::new(Link::new(Target::Server(address.clone()), Arc::clone(&connector)));
        let seeds = seeds.iter().map(link).collect();
        let (map, is_outdated, asked) = (RwLock::default(), AtomicBool::new(true), AsyncMutex::default());
        Self { seeds, connector, map, is_outdated, asked }
    }

    /// The server that has a slot.
    pub(super) async fn link(&self, slot: u16, deadline: Instant) -> Result<Arc<Link>, RedisError> {
        let refreshed = self.refresh_if_outdated(deadline).await;
        let map = self.map();
        let range = map.ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot));
        match range {
            Some((_, _, link)) => Ok(Arc::clone(link)),
            None => Err(refreshed
                .err()
                .unwrap_or_else(|| RedisError::Away("no master serves a part of the slots".to_owned()))),
        }
    }

    /// The server at an address from a redirection; its link is kept until the next map.
    pub(super) fn link_to(&self, address: RedisAddress) -> Arc<Link> {
        let map = self.map();
        let link = self.link_at(address.clone(), &map);
        if !map.links.contains_key(&address) {
            map.named.lock().insert(address, Arc::clone(&link));
        }
        link
    }

    /// All servers that have keys.
    pub(super) async fn links(&self, deadline: Instant) -> Result<Vec<Arc<Link>>, RedisError> {
        self.mark_outdated();
        self.refresh_if_outdated(deadline).await?;
        let mut links: Vec<_> =
            self.map().links.iter().map(|(address, link)| (address.to_string(), Arc::clone(link))).collect();
        // A cursor has the position in this list.
        links.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(links.into_iter().map(|(_, link)| link).collect())
    }

    /// Has the map requested again before its next use.
    pub(super) fn mark_outdated(&self) {
        self.is_outdated.store(true, Ordering::Release);
    }

    fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map.read())
    }

    async fn refresh_if_outdated(&self, deadline: Instant) -> Result<(), RedisError> {
        if !self.is_outdated.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut asked = timeout_at(deadline, self.asked.lock()).await.map_err(|_| self.connector.timed_out())?;
        let was_just_asked = asked.is_some_and(|at| at.elapsed() < QUESTION_INTERVAL);
        if was_just_asked || !self.is_outdated.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let refreshed = self.refresh(deadline).await;
        *asked = Some(Instant::now());
        refreshed.inspect_err(|_| self.mark_outdated())
    }

    /// Takes the first complete map that any known server gives; all are asked at once.
    async fn refresh(&self, deadline: Instant) -> Result<(), RedisError> {
        let known = self.map();
        let mut questions = JoinSet::new();
        let is_new = |seed: &&Arc<Link>| !known.links.values().any(|link| Arc::ptr_eq(link, seed));
        for link in known.links.values().chain(self.seeds.iter().filter(is_new)).map(Arc::clone) {
            questions.spawn(async move {
                let mut command = Cmd::new();
                command.arg("CLUSTER").arg("SLOTS");
                let answers = link.send(&[command], deadline).await?;
                let Target::Server(address) = link.target() else { return Err(RedisError::Unexpected) };
                masters(answers.first().ok_or(RedisError::Unexpected)?, address)
            });
        }
        let mut last_error = RedisError::Away("no node of the cluster is known".to_owned());
        while let Some(answer) = questions.join_next().await {
            match answer.unwrap_or(Err(RedisError::Unexpected)) {
                Ok(masters) => {
                    let map = self.drawn(masters, &known);
                    *self.map.write() = Arc::new(map);
                    return Ok(());
                }
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }

    /// The existing link, or a new one.
    fn link_at(&self, address: RedisAddress, known: &Map) -> Arc<Link> {
        let is_here = |link: &&Arc<Link>| matches!(link.target(), Target::Server(there) if *there == address);
        let here = known.links.get(&address).cloned().or_else(|| known.named.lock().get(&address).cloned());
        match here.or_else(|| self.seeds.iter().find(is_here).cloned()) {
            Some(link) => link,
            None => Arc::new(Link::new(Target::Server(address), Arc::clone(&self.connector))),
        }
    }

    /// A new map with the existing connections.
    fn drawn(&self, masters: Vec<(u16, u16, RedisAddress)>, known: &Map) -> Map {
        let mut map = Map::default();
        for (first, last, address) in masters {
            let link = map.links.entry(address.clone()).or_insert_with(|| self.link_at(address, known));
            map.ranges.push((first, last, Arc::clone(link)));
        }
        map
    }
}

/// Reads `CLUSTER SLOTS`; a node that does not know its own address has the one at which it was `asked`.
fn masters(answer: &Value, asked: &RedisAddress) -> Result<Vec<(u16, u16, RedisAddress)>, RedisError> {
    let slot = |value: &Value| u16::try_from(number(value)?).map_err(|_| RedisError::Unexpected);
    let ranges = list(answer)?.iter().map(|range| match list(range)? {
        [first, last, master, ..] => match list(master)? {
            [host, port, ..] => {
                let host = if *host == Value::Nil { &[][..] } else { bytes(host)? };
                let host = std::str::from_utf8(host).map_err(|_| RedisError::Unexpected)?;
                let host = if matches!(host, "" | "?") { &asked.host } else { host };
                Ok((slot(first)?, slot(last)?, RedisAddress { host: host.to_owned(), port: slot(port)? }))
            }
            _ => Err(RedisError::Unexpected),
        },
        _ => Err(RedisError::Unexpected),
    });
    let ranges: Vec<_> = ranges.collect::<Result<_, _>>()?;
    if ranges.is_empty() {
        return Err(RedisError::Away("a node of the cluster knows no other".to_owned()));
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, expected: u16) {
        assert_eq!(slot(key.as_bytes()), expected, "{key}");
    }

    /// The values are those of `CLUSTER KEYSLOT`.
    #[test]
    fn slots_of_keys() {
        check("123456789", 12_739);
        check("", 0);
        check("foo", 12_182);
        check("{foo}", 12_182);
        check("a{foo}b{bar}", 12_182);
        check("foo{}{bar}", 8363);
        check("foo{{bar}}zap", 4015);
    }
}
