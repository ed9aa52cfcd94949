use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::Value;

use super::commands::command;
use super::error::RedisError;
use super::link::Link;
use super::value::{bytes, list, number, only, optional_bytes};
use super::{Redis, Topology};

/// The number of keys that one step looks at.
const STEP: &[u8] = b"500";
/// The number of keys in the sample for the count.
const SAMPLE: &[u8] = b"1000";

/// A place among all records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The position of the server in the list.
    server: usize,
    /// The server's cursor.
    place: Vec<u8>,
}

/// Some of all records, and the place of the next ones.
#[derive(Debug)]
pub(crate) struct RecordPage {
    /// May be empty before the end.
    pub(crate) found: Vec<([u8; 32], Vec<u8>)>,
    /// `None` at the end.
    pub(crate) next: Option<Cursor>,
}

impl Cursor {
    /// The beginning.
    pub(crate) fn start() -> Self {
        Self { server: 0, place: b"0".to_vec() }
    }

    /// Reads what [`std::fmt::Display`] writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (server, place) = text.split_once('.')?;
        let is_number = !place.is_empty() && place.len() <= 20 && place.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then_some(Self { server: server.parse().ok()?, place: place.as_bytes().to_vec() })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.server, String::from_utf8_lossy(&self.place))
    }
}

impl Redis {
    /// Some of all records, in no order. A record may come twice; one that is written or removed meanwhile may come or not.
    ///
    /// The server looks at every key of the database, those of other programs too.
    pub(crate) async fn records(&self, at: &Cursor) -> Result<RecordPage, RedisError> {
        let links = self.links().await?;
        let Some(link) = links.get(at.server) else { return Ok(RecordPage { found: Vec::new(), next: None }) };
        let pattern = format!("{}s:{{*}}", self.prefix);
        let step = command("SCAN", &[&at.place, b"MATCH", pattern.as_bytes(), b"COUNT", STEP]);
        let page = only(link.send(&[step], self.deadline()).await?)?;
        let (place, names) = page_of(&page)?;
        let gets: Vec<_> = names.iter().map(|name| command("GET", &[name])).collect();
        let answers = if gets.is_empty() { Vec::new() } else { link.send(&gets, self.deadline()).await? };
        let mut found = Vec::with_capacity(names.len());
        for (name, answer) in names.iter().zip(answers) {
            let Some(key) = self.key_of(name) else { continue };
            let record = match answer {
                // The slot moves.
                Value::ServerError(error) if matches!(error.code(), "MOVED" | "ASK") => self.get(&key).await?,
                other => optional_bytes(other)?,
            };
            found.extend(record.map(|record| (key, record)));
        }
        let next = match (place, at.server + 1) {
            (b"0", server) if server < links.len() => Some(Cursor { server, ..Cursor::start() }),
            (b"0", _) => None,
            (place, _) => Some(Cursor { server: at.server, place: place.to_vec() }),
        };
        Ok(RecordPage { found, next })
    }

    /// The approximate number of records: exact among few keys, an estimate from a sample among many.
    pub(crate) async fn count(&self) -> Result<u64, RedisError> {
        let mut count = 0;
        for link in self.links().await? {
            let commands = [command("DBSIZE", &[]), command("SCAN", &[b"0", b"COUNT", SAMPLE])];
            let answers = link.send(&commands, self.deadline()).await?;
            let [size, page] = answers.as_slice() else { return Err(RedisError::Unexpected) };
            let (next, names) = page_of(page)?;
            let sampled = names.len() as u64;
            let ours = names.iter().filter(|name| self.key_of(name).is_some()).count() as u64;
            count += if next == b"0" || sampled == 0 { ours } else { number(size)?.saturating_mul(ours) / sampled };
        }
        Ok(count)
    }

    /// All servers that have keys.
    async fn links(&self) -> Result<Vec<Arc<Link>>, RedisError> {
        match &self.topology {
            Topology::One(link) => Ok(vec![Arc::clone(link)]),
            Topology::Cluster(cluster) => cluster.links(self.deadline()).await,
        }
    }

    /// The key of the record with this name.
    fn key_of(&self, name: &[u8]) -> Option<[u8; 32]> {
        let text = name.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b"s:{")?.strip_suffix(b"}")?;
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
    }
}

/// The next cursor, and the names of a page.
fn page_of(page: &Value) -> Result<(&[u8], Vec<&[u8]>), RedisError> {
    match list(page)? {
        [cursor, names] => Ok((bytes(cursor)?, list(names)?.iter().map(bytes).collect::<Result<_, _>>()?)),
        _ => Err(RedisError::Unexpected),
    }
}
