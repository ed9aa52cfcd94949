//! Streams.

use std::fmt;

use redis::Value;

use super::error::RedisError;
use super::value::{bytes, list, number};

/// The id of an entry: the server's milliseconds, and a number within them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryId(u64, u64);

impl EntryId {
    /// The server's time when the entry was added, in milliseconds.
    pub(crate) const fn millis(self) -> u64 {
        self.0
    }

    /// The first id after this one.
    pub(crate) const fn next(self) -> Self {
        Self(self.0, self.1.saturating_add(1))
    }

    fn read(value: &Value) -> Result<Self, RedisError> {
        let text = std::str::from_utf8(bytes(value)?).ok();
        let parts = text.and_then(|text| text.split_once('-')).map(|(millis, number)| (millis.parse(), number.parse()));
        match parts {
            Some((Ok(millis), Ok(number))) => Ok(Self(millis, number)),
            _ => Err(RedisError::Unexpected),
        }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// The answer to `XINFO STREAM`; zeros for a stream that does not exist.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Info {
    /// The id of the last entry that was ever added.
    pub(super) last: EntryId,
    /// The number of entries that were ever added.
    pub(super) added: u64,
    /// The number of entries.
    pub(super) length: u64,
}

impl Info {
    pub(super) fn read(answer: &Value) -> Result<Self, RedisError> {
        if matches!(answer, Value::ServerError(error) if error.details() == Some("no such key")) {
            return Ok(Self::default());
        }
        let (fields, _) = list(answer)?.as_chunks();
        let field = |name: &[u8]| {
            let found = fields.iter().find(|[field, _]| bytes(field).is_ok_and(|field| field == name));
            found.map(|[_, value]| value).ok_or(RedisError::Unexpected)
        };
        Ok(Self {
            last: EntryId::read(field(b"last-generated-id")?)?,
            added: number(field(b"entries-added")?)?,
            length: number(field(b"length")?)?,
        })
    }
}

/// The entries of one stream in an answer to `XREAD`: their ids, and the values of their only field.
pub(super) fn entries<'a>(answer: &'a Value, stream: &str) -> Result<Vec<(EntryId, &'a [u8])>, RedisError> {
    let mut found = Vec::new();
    for part in list(answer)? {
        let [name, entries] = list(part)? else { return Err(RedisError::Unexpected) };
        if bytes(name)? != stream.as_bytes() {
            continue;
        }
        for entry in list(entries)? {
            let [id, fields] = list(entry)? else { return Err(RedisError::Unexpected) };
            let [_, value, ..] = list(fields)? else { return Err(RedisError::Unexpected) };
            found.push((EntryId::read(id)?, bytes(value)?));
        }
    }
    Ok(found)
}

/// The id of a server's replication history, which changes when another server takes its place and when it restarts.
///
/// Fails when the server is not a master.
pub(super) fn history(answer: &Value) -> Result<String, RedisError> {
    let text = String::from_utf8_lossy(bytes(answer)?);
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    if field("role:") != Some("master") {
        return Err(RedisError::Away("the server is not a master".to_owned()));
    }
    field("master_replid:").map(str::to_owned).ok_or(RedisError::Unexpected)
}
