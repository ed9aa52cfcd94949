use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::Value;

use super::commands::command;
use super::error::RedisError;
use super::link::Link;
use super::value::{bytes, list, number, only, optional_bytes};
use super::{Redis, Way};

/// Keys looked at in one step.
const STEP: &[u8] = b"500";
/// Keys that stand for all of them where they are counted.
const SAMPLE: &[u8] = b"1000";

/// Goes through all records, a few at a time.
pub(crate) struct Scan<'a> {
    redis: &'a Redis,
    /// Servers still to ask.
    links: Vec<Arc<Link>>,
    /// Where the first of them goes on.
    cursor: Vec<u8>,
}

impl Redis {
    /// All records, in no order; one may come twice, and one that comes or goes meanwhile may come or not.
    ///
    /// It looks at every key of the database, other programs' too.
    pub(crate) async fn scan(&self) -> Result<Scan<'_>, RedisError> {
        Ok(Scan { redis: self, links: self.links().await?, cursor: b"0".to_vec() })
    }

    /// About how many records there are: exactly among few keys, an estimate from a sample among many.
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

    /// Every server that has keys.
    async fn links(&self) -> Result<Vec<Arc<Link>>, RedisError> {
        match &self.way {
            Way::One(link) => Ok(vec![Arc::clone(link)]),
            Way::Cluster(cluster) => cluster.links(self.deadline()).await,
        }
    }

    /// The key of a record of this name.
    fn key_of(&self, name: &[u8]) -> Option<[u8; 32]> {
        let text = name.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b"s:{")?.strip_suffix(b"}")?;
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
    }
}

impl Scan<'_> {
    /// The next records, perhaps none for once; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<([u8; 32], Vec<u8>)>>, RedisError> {
        let (redis, Some(link)) = (self.redis, self.links.last()) else { return Ok(None) };
        let pattern = format!("{}s:{{*}}", redis.prefix);
        let step = command("SCAN", &[&self.cursor, b"MATCH", pattern.as_bytes(), b"COUNT", STEP]);
        let page = only(link.send(&[step], redis.deadline()).await?)?;
        let (cursor, names) = page_of(&page)?;
        let gets: Vec<_> = names.iter().map(|name| command("GET", &[name])).collect();
        let answers = if gets.is_empty() { Vec::new() } else { link.send(&gets, redis.deadline()).await? };
        let mut records = Vec::with_capacity(names.len());
        for (name, answer) in names.iter().zip(answers) {
            let Some(key) = redis.key_of(name) else { continue };
            let record = match answer {
                // Its slot moves.
                Value::ServerError(error) if matches!(error.code(), "MOVED" | "ASK") => redis.get(&key).await?,
                other => optional_bytes(other)?,
            };
            records.extend(record.map(|record| (key, record)));
        }
        if cursor == b"0" {
            self.links.pop();
        }
        self.cursor = cursor.to_vec();
        Ok(Some(records))
    }
}

/// The next cursor, and the names of a page.
fn page_of(page: &Value) -> Result<(&[u8], Vec<&[u8]>), RedisError> {
    match list(page)? {
        [cursor, names] => Ok((bytes(cursor)?, list(names)?.iter().map(bytes).collect::<Result<_, _>>()?)),
        _ => Err(RedisError::Unexpected),
    }
}
