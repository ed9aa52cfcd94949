//! What each reclaim does: last uses are written down, and what is outdated is freed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shared;
use super::removed::REMOVALS_REMEMBERED;
use crate::session::StoreError;
use crate::session::map::Keyed;
use crate::session::redis::client::{RedisError, Update};
use crate::session::revocation::LATE_LOGIN;
use crate::world::UnixTime;

/// The number of uses that are written at once.
const USES_AT_ONCE: usize = 500;

impl Shared {
    /// What the server got before this time, by its own clock, cannot mean a session any more when that clock shows `time`.
    pub(super) fn oldest(&self, time: UnixTime) -> UnixTime {
        before(time, self.remembered())
    }

    /// How long a revocation may mean a session.
    fn remembered(&self) -> Duration {
        let longest = self.longest.get().map_or(self.lifetime, |longest| longest.load(Ordering::Relaxed));
        Duration::from_millis(longest) + LATE_LOGIN
    }

    /// Frees outdated revocations and removals.
    pub(super) async fn trim(&self) -> Result<(), RedisError> {
        let longest = self.redis.longest(self.lifetime).await?;
        self.longest().await?.store(longest, Ordering::Relaxed);
        let asked = self.cache.world.now();
        let time = self.redis.trim(REMOVALS_REMEMBERED).await?;
        let time = UnixTime::from_millis(time);
        self.clocks.compare(asked, time, self.cache.world.now());
        // By the server's clock alone, which gave the ids: a wrong clock here frees nothing early.
        let oldest = self.oldest(time);
        self.cache.revocations.reclaim(oldest);
        self.trim_list(oldest).await
    }

    /// Writes down the last uses of these sessions, with two round trips for several of them.
    ///
    /// # Errors
    ///
    /// When some failed; the others are written all the same, unless Redis is away.
    pub(super) async fn save_uses(&self, unsaved: Vec<Keyed>) -> Result<(), StoreError> {
        let mut kept = Ok(());
        for uses in unsaved.chunks(USES_AT_ONCE) {
            kept = self.save_some(uses).await.and(kept);
            if kept.is_err() && !self.is_fresh() {
                break;
            }
        }
        kept
    }

    async fn save_some(&self, uses: &[Keyed]) -> Result<(), StoreError> {
        let (mut kept, mut written, mut updates) = (Ok(()), Vec::new(), Vec::new());
        let keys: Vec<_> = uses.iter().map(|(key, _)| *key.as_bytes()).collect();
        for ((key, session), record) in uses.iter().zip(self.redis.get_many(&keys).await) {
            match record {
                Ok(Some(old)) => {
                    let check = session.last_check();
                    let new = self.cache.with_use(key, &old, session)?;
                    // Another process may have written a later use.
                    if let Some(new) = new.filter(|_| session.has_unsaved_use()) {
                        let ttl = self.ttl(&new);
                        updates.push(Update { key: *key.as_bytes(), old, new, ttl });
                        written.push((session, check));
                    }
                }
                Ok(None) => drop(self.cache.sessions.remove(key)),
                Err(error) => kept = Err(error.into()),
            }
        }
        for ((session, check), updated) in written.into_iter().zip(self.redis.update_uses(&updates).await) {
            match updated {
                Ok(true) => session.note_saved_use(check),
                // Where another process wrote it meanwhile, the next attempt will do.
                Ok(false) => {}
                Err(error) => kept = Err(error.into()),
            }
        }
        kept
    }
}

fn before(time: UnixTime, duration: Duration) -> UnixTime {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    UnixTime::from_millis(time.as_millis().saturating_sub(millis))
}
