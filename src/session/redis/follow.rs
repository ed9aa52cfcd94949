//! Hears what other processes revoke and remove, and knows how far it has heard everything.

use std::convert::Infallible;
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::time::{Instant, timeout_at};

use super::commands::command;
use super::connection::Connection;
use super::error::RedisError;
use super::link::Pause;
use super::stream::{EntryId, Info, entries, history};
use super::{Redis, Shared, Way};

/// Entries of each stream that are read at once.
const CHUNK: usize = 1000;

/// So often in the staleness of the settings it is proven that everything was heard: each proof is for a moment that is one of these
/// parts old when it comes, and the next one comes as much later.
const PROOFS: u32 = 6;

/// What is told about the two streams; all of it from one task, in order.
pub(crate) trait Follower: Send + Sync {
    /// An entry of [`Redis::revoke`]; after a gap the old ones come again.
    fn revoked(&self, entry: &[u8]);

    /// A record was removed.
    fn removed(&self, key: &[u8; 32]);

    /// Everything that was revoked or removed before `at` has been told.
    fn current(&self, at: Instant);

    /// Something may not have been told, or nothing was yet: what was cached before this call cannot be relied on any more,
    /// and which sessions are revoked is known again at the next [`Follower::current`].
    fn gap(&self);
}

/// How far the streams of one server were read.
struct Position {
    history: String,
    revocations: Reading,
    removals: Reading,
}

/// How far a stream was read, and how it is known that no entry was left out: the server counts them too.
#[derive(Clone, Copy)]
struct Reading {
    seen: EntryId,
    count: u64,
}

/// What one question finds.
enum Round {
    /// All there was.
    Current,
    /// There is more.
    More,
    /// Something is missing.
    Gap,
}

impl Redis {
    /// Follows the streams until it is dropped, over a connection of its own that comes back by itself.
    ///
    /// First come all revocations there are. [`Follower::current`] comes at least six times in the staleness of the settings,
    /// as long as the master answers, and more than half of the Sentinels, if any, say that it is the master.
    pub(crate) async fn follow(&self, follower: &dyn Follower) -> Infallible {
        let mut position = None;
        let mut pause = Pause::default();
        loop {
            let Err(error) = self.listen(follower, &mut position, &mut pause).await;
            if let Way::Cluster(cluster) = &self.way {
                cluster.doubt();
            }
            if pause.is_first() {
                tracing::warn!(%error, "revocations cannot be followed");
            }
            tokio::time::sleep(pause.prolong(&error)).await;
        }
    }

    /// Follows over one connection, until it breaks.
    async fn listen(
        &self,
        follower: &dyn Follower,
        position: &mut Option<Position>,
        pause: &mut Pause,
    ) -> Result<Infallible, RedisError> {
        let key = self.shared(Shared::Revocations);
        let deadline = self.deadline();
        let link = self.link(&key, deadline).await?;
        let (connection, address) = timeout_at(deadline, link.dial(deadline))
            .await
            .map_err(|_| RedisError::TimedOut(self.dialer.timeout))
            .flatten()?;
        // Whoever waits to know what there is already must not wait for what is new.
        let mut block = None;
        loop {
            let before = Instant::now();
            let deadline = before + block.unwrap_or_default() + self.dialer.timeout;
            let (round, found) = match position {
                Some(position) => self.round(&connection, follower, position, block, deadline).await?,
                None => (Round::Gap, self.glance(&connection, deadline).await?),
            };
            block = matches!(round, Round::Current).then_some(self.staleness / PROOFS);
            match round {
                Round::Current => {
                    link.leads_to(&address, deadline).await?;
                    if !pause.is_first() {
                        tracing::info!("revocations are followed again");
                    }
                    *pause = Pause::default();
                    follower.current(before);
                }
                Round::More => {}
                Round::Gap => {
                    if position.is_some() {
                        // What is looked up after the gap must not come from the server before it.
                        link.reset(deadline).await?;
                    }
                    // Only from here on is known what will be missed, so nothing from before counts.
                    *position = Some(found);
                    follower.gap();
                }
            }
        }
    }

    /// Where the streams are now: at the beginning of all revocations, and at the end of the removals.
    async fn glance(&self, connection: &Connection, deadline: Instant) -> Result<Position, RedisError> {
        position_of(&connection.send(&self.questions(), deadline).await?).map(|(position, ..)| position)
    }

    /// Asks for entries after `position`, waits for some for the time of `block`, tells them, and moves the position; with the
    /// position to go on from after a gap.
    async fn round(
        &self,
        connection: &Connection,
        follower: &dyn Follower,
        position: &mut Position,
        block: Option<Duration>,
        deadline: Instant,
    ) -> Result<(Round, Position), RedisError> {
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
        let (found, of_revocations, of_removals) = position_of(answers)?;
        for (id, entry) in entries(read, &revocations)? {
            position.revocations.pass(id);
            follower.revoked(entry);
        }
        for (id, key) in entries(read, &removals)? {
            position.removals.pass(id);
            follower.removed(key.try_into().map_err(|_| RedisError::Unexpected)?);
        }
        if position.history != found.history {
            return Ok((Round::Gap, found));
        }
        let round = match (position.revocations.reaches(of_revocations), position.removals.reaches(of_removals)) {
            (Round::Gap, _) | (_, Round::Gap) => Round::Gap,
            (Round::Current, Round::Current) => Round::Current,
            _ => Round::More,
        };
        Ok((round, found))
    }

    /// Asks for what tells whether something is missing.
    fn questions(&self) -> [Cmd; 3] {
        let info = |stream| command("XINFO", &[b"STREAM", self.shared(stream).as_bytes()]);
        [info(Shared::Revocations), info(Shared::Removals), command("INFO", &[b"replication"])]
    }
}

impl Reading {
    /// Notes an entry.
    fn pass(&mut self, id: EntryId) {
        self.seen = id;
        self.count += 1;
    }

    /// Compares with what the server says after it gave all entries it had.
    fn reaches(self, info: Info) -> Round {
        match self.seen.cmp(&info.last) {
            std::cmp::Ordering::Less => Round::More,
            std::cmp::Ordering::Equal if self.count == info.added => Round::Current,
            // Trimmed before they were read, or the stream is another one.
            std::cmp::Ordering::Equal | std::cmp::Ordering::Greater => Round::Gap,
        }
    }
}

/// The answers to [`Redis::questions`], and where to begin by them.
fn position_of(answers: &[Value]) -> Result<(Position, Info, Info), RedisError> {
    let [revocations, removals, replication] = answers else { return Err(RedisError::Unexpected) };
    let history = history(replication)?;
    let (of_revocations, of_removals) = (Info::read(revocations)?, Info::read(removals)?);
    let whole = Reading { seen: EntryId::default(), count: of_revocations.added.saturating_sub(of_revocations.length) };
    let end = Reading { seen: of_removals.last, count: of_removals.added };
    Ok((Position { history, revocations: whole, removals: end }, of_revocations, of_removals))
}
