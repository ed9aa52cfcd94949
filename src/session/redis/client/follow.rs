//! Follows what other processes revoke and remove, and proves up to when nothing was missed.

use std::convert::Infallible;
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::time::{Instant, timeout_at};

use super::commands::command;
use super::connection::Connection;
use super::error::RedisError;
use super::link::Pauses;
use super::stream::{EntryId, Info, entries, history};
use super::value::{list, number, optional_bytes};
use super::{Redis, Shared, Topology};

/// The number of entries of each stream that are read at once.
const CHUNK: usize = 1000;

/// The number of proofs in the staleness of the settings. A proof is for a moment that is one of these parts old when it comes,
/// and the next proof comes as much later.
const PROOFS: u32 = 6;

/// What a follower is told of the two streams; all of it from one task, in order.
pub(crate) trait Follower: Send + Sync {
    /// An entry of [`Redis::order`]; after a gap the old entries come again.
    ///
    /// # Errors
    ///
    /// [`RedisError::Damaged`] when the entry does not authenticate.
    fn revoked(&self, id: EntryId, entry: &[u8]) -> Result<(), RedisError>;

    /// A record was removed.
    fn removed(&self, key: &[u8; 32]);

    /// The keys beside the streams, after each request.
    fn state(&self, heard: &ListState);

    /// All that was revoked or removed before `at` has been told, with the last [`Follower::state`] after it.
    ///
    /// # Errors
    ///
    /// [`RedisError::Damaged`] when the list of revocations does not authenticate.
    fn current(&self, at: Instant) -> Result<(), RedisError>;

    /// The list of revocations is damaged; all of it will be told again.
    fn damaged(&self, what: &'static str);

    /// Something may have been missed, or nothing was told yet: what was cached before this call must not be relied on, and
    /// which sessions are revoked is known again at the next [`Follower::current`].
    fn gap(&self);
}

/// The keys beside the streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListState {
    /// The head of the list of revocations; empty where there is none.
    pub(crate) head: Vec<u8>,
    /// The latest moment at which a saved login began, in milliseconds.
    pub(crate) latest: u64,
    /// The server's time, in milliseconds.
    pub(crate) time: u64,
}

/// The position in the streams of one server.
struct Position {
    history: String,
    revocations: StreamPosition,
    removals: StreamPosition,
    /// Whether the last request found more entries to come, and none came.
    stuck: bool,
}

/// The position in one stream, and the number of entries before it: the server counts them too, so a missing one is found.
#[derive(Clone, Copy)]
struct StreamPosition {
    seen: EntryId,
    count: u64,
}

/// The result of one request.
enum Progress {
    /// All entries were read.
    Current,
    /// There are more.
    More,
    /// Something is missing.
    Gap,
}

impl Redis {
    /// Follows the streams until it is dropped, over a connection of its own that is opened again when it breaks.
    ///
    /// All existing revocations come first. [`Follower::current`] comes at least six times in the staleness of the settings, as
    /// long as the master answers and more than half of the Sentinels, if any, name it.
    pub(crate) async fn follow(&self, follower: &dyn Follower) -> Infallible {
        let mut position = None;
        let mut pauses = Pauses::default();
        loop {
            let Err(error) = self.listen(follower, &mut position, &mut pauses).await;
            if let Topology::Cluster(cluster) = &self.topology {
                cluster.mark_outdated();
            }
            if pauses.is_first() {
                tracing::warn!(%error, "revocations cannot be followed");
            }
            if let RedisError::Damaged(what) = error {
                position = None;
                follower.damaged(what);
            }
            tokio::time::sleep(pauses.prolong(&error)).await;
        }
    }

    /// Follows over one connection, until it breaks.
    async fn listen(
        &self,
        follower: &dyn Follower,
        position: &mut Option<Position>,
        pauses: &mut Pauses,
    ) -> Result<Infallible, RedisError> {
        let key = self.shared(Shared::Revocations);
        let deadline = self.deadline();
        let link = self.link(&key, deadline).await?;
        let (connection, address) =
            timeout_at(deadline, link.connect(deadline)).await.map_err(|_| self.connector.timed_out())??;
        // The first request must not wait for new entries.
        let mut block = None;
        loop {
            let before = Instant::now();
            let deadline = before + block.unwrap_or_default() + self.connector.timeout;
            let (round, found) = match position {
                Some(position) => self.read(&connection, follower, position, block, deadline).await?,
                None => (Progress::Gap, self.first_position(&connection, follower, deadline).await?),
            };
            block = matches!(round, Progress::Current).then_some(self.staleness / PROOFS);
            match round {
                Progress::Current => {
                    link.leads_to(&address, deadline).await?;
                    follower.current(before)?;
                    if !pauses.is_first() {
                        tracing::info!("revocations are followed again");
                    }
                    pauses.reset();
                }
                Progress::More => {}
                Progress::Gap => {
                    if position.is_some() {
                        // Later lookups must not go to the server before the gap.
                        link.reset(deadline).await?;
                    }
                    // What is missed is known from here on only.
                    *position = Some(found);
                    follower.gap();
                }
            }
        }
    }

    /// The present position: the beginning of the revocations, and the end of the removals.
    async fn first_position(
        &self,
        connection: &Connection,
        follower: &dyn Follower,
        deadline: Instant,
    ) -> Result<Position, RedisError> {
        let (found, _, _) = position_of(&connection.send(&self.questions(), deadline).await?, follower)?;
        Ok(found)
    }

    /// Requests the entries after `position`, waits for some for the time of `block`, and tells them; returns the position to
    /// go on from after a gap.
    async fn read(
        &self,
        connection: &Connection,
        follower: &dyn Follower,
        position: &mut Position,
        block: Option<Duration>,
        deadline: Instant,
    ) -> Result<(Progress, Position), RedisError> {
        let [revocations, removals] = [Shared::Revocations, Shared::Removals].map(|stream| self.shared(stream));
        let [after_revocations, after_removals] =
            [position.revocations, position.removals].map(|reading| reading.seen.to_string());
        let mut read = command("XREAD", &[b"COUNT", CHUNK.to_string().as_bytes()]);
        if let Some(block) = block {
            read.arg("BLOCK").arg(block.as_millis().max(1).to_string());
        }
        for argument in ["STREAMS", &revocations, &removals, &after_revocations, &after_removals] {
            read.arg(argument);
        }
        let commands: Vec<Cmd> = std::iter::once(read).chain(self.questions()).collect();
        let answers = connection.send(&commands, deadline).await?;
        let (read, answers) = answers.split_first().ok_or(RedisError::Unexpected)?;
        let (found, of_revocations, of_removals) = position_of(answers, follower)?;
        let seen = (position.revocations.seen, position.removals.seen);
        for (id, entry) in entries(read, &revocations)? {
            position.revocations.pass(id);
            follower.revoked(id, entry)?;
        }
        for (id, key) in entries(read, &removals)? {
            position.removals.pass(id);
            follower.removed(key.try_into().map_err(|_| RedisError::Unexpected)?);
        }
        if position.history != found.history {
            return Ok((Progress::Gap, found));
        }
        let round = match (position.revocations.reaches(of_revocations), position.removals.reaches(of_removals)) {
            (Progress::Gap, _) | (_, Progress::Gap) => Progress::Gap,
            (Progress::Current, Progress::Current) => Progress::Current,
            _ if seen != (position.revocations.seen, position.removals.seen) => Progress::More,
            // An entry that was added between two commands comes with the next request.
            _ if !std::mem::replace(&mut position.stuck, true) => return Ok((Progress::More, found)),
            (Progress::More, _) => return Err(RedisError::Damaged("its end is missing")),
            _ => Progress::Gap,
        };
        position.stuck = false;
        Ok((round, found))
    }

    /// The commands that tell whether something is missing.
    ///
    /// The head of the list comes before the length of the list.
    fn questions(&self) -> [Cmd; 6] {
        let get = |which| command("GET", &[self.shared(which).as_bytes()]);
        let info = |stream| command("XINFO", &[b"STREAM", self.shared(stream).as_bytes()]);
        [
            get(Shared::Head),
            get(Shared::Latest),
            info(Shared::Revocations),
            info(Shared::Removals),
            command("INFO", &[b"replication"]),
            command("TIME", &[]),
        ]
    }
}

impl StreamPosition {
    /// Counts an entry.
    fn pass(&mut self, id: EntryId) {
        self.seen = id;
        self.count += 1;
    }

    /// Compares with the server's state after all entries were read.
    fn reaches(self, info: Info) -> Progress {
        match self.seen.cmp(&info.last) {
            std::cmp::Ordering::Less => Progress::More,
            std::cmp::Ordering::Equal if self.count == info.added => Progress::Current,
            // Entries were trimmed before they were read, or the stream is another one.
            std::cmp::Ordering::Equal | std::cmp::Ordering::Greater => Progress::Gap,
        }
    }
}

/// Reads the answers to [`Redis::questions`]: the position to begin at, and the state of both streams.
fn position_of(answers: &[Value], follower: &dyn Follower) -> Result<(Position, Info, Info), RedisError> {
    let [head, latest, revocations, removals, replication, time] = answers else { return Err(RedisError::Unexpected) };
    let latest = match latest {
        Value::Nil => 0,
        latest => number(latest)?,
    };
    let [seconds, micros] = list(time)? else { return Err(RedisError::Unexpected) };
    let time = number(seconds)?.saturating_mul(1000).saturating_add(number(micros)? / 1000);
    let head = optional_bytes(head.clone())?.unwrap_or_default();
    follower.state(&ListState { head, latest, time });
    let history = history(replication)?;
    let (of_revocations, of_removals) = (Info::read(revocations)?, Info::read(removals)?);
    // An empty stream has nothing before the next entry.
    let seen = if of_revocations.length == 0 { of_revocations.last } else { EntryId::default() };
    let whole = StreamPosition { seen, count: of_revocations.added.saturating_sub(of_revocations.length) };
    let end = StreamPosition { seen: of_removals.last, count: of_removals.added };
    let position = Position { history, revocations: whole, removals: end, stuck: false };
    Ok((position, of_revocations, of_removals))
}
