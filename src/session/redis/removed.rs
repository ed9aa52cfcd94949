//! The removal of one session, in all processes and for good.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::lease::LEASE_RENEWALS;
use super::{Shared, end_of};
use crate::session::SessionKey;
use crate::session::redis::client::RedisError;
use crate::world::UnixTime;

/// How long removals are remembered, here and in the stream; a process that missed an older one forgets all that is in memory.
pub(super) const REMOVALS_REMEMBERED: Duration = Duration::from_hours(1);

/// The number of keys that are remembered at least, where there are as many in [`REMOVALS_REMEMBERED`]; at most twice as many,
/// about 5 MB.
const MOST: usize = 50_000;

/// The keys of sessions that were removed lately: a server that takes another one's place may not know the removal, and return
/// the record again.
pub(super) struct RemovedKeys(Mutex<Generations>);

struct Generations {
    young: HashSet<SessionKey>,
    since: Instant,
    old: HashSet<SessionKey>,
}

impl Default for RemovedKeys {
    fn default() -> Self {
        let generations = Generations { young: HashSet::new(), since: Instant::now(), old: HashSet::new() };
        Self(Mutex::new(generations))
    }
}

impl RemovedKeys {
    pub(super) fn add(&self, key: SessionKey) {
        self.with(|generations| {
            generations.age();
            generations.young.insert(key);
        });
    }

    pub(super) fn contain(&self, key: &SessionKey) -> bool {
        self.with(|generations| generations.young.contains(key) || generations.old.contains(key))
    }

    pub(super) fn all(&self) -> Vec<SessionKey> {
        self.with(|generations| generations.young.union(&generations.old).copied().collect())
    }

    /// Forgets the keys that were removed longer than [`REMOVALS_REMEMBERED`] ago.
    pub(super) fn reclaim(&self) {
        self.with(Generations::age);
    }

    fn with<T>(&self, with: impl FnOnce(&mut Generations) -> T) -> T {
        with(&mut self.0.lock())
    }
}

impl Generations {
    fn age(&mut self) {
        if self.young.len() >= MOST || self.since.elapsed() >= REMOVALS_REMEMBERED {
            self.old = std::mem::take(&mut self.young);
            self.since = Instant::now();
        }
    }
}

impl Shared {
    /// Removes a record, and notifies all processes.
    ///
    /// # Errors
    ///
    /// Where one of the two may have failed. Where the record is gone and the notification failed, it is repeated until it
    /// succeeds.
    pub(super) async fn take_out(self: &Arc<Self>, key: SessionKey) -> Result<Option<Vec<u8>>, RedisError> {
        let taken = self.redis.take_out(key.as_bytes()).await?;
        self.removed.add(key);
        self.cache.sessions.remove(&key);
        if taken.is_notified {
            return Ok(taken.record);
        }
        let told = self.redis.notify_removed(key.as_bytes()).await;
        if let (Err(_), Some(record)) = (&told, &taken.record) {
            tokio::spawn(notify(Arc::clone(self), key, end_of(record)));
        }
        told.map(|()| taken.record)
    }

    /// Whether the session was removed although its record is there; then it is removed again.
    pub(super) fn was_removed(self: &Arc<Self>, key: SessionKey) -> bool {
        let removed = self.removed.contain(&key);
        if removed {
            let shared = Arc::clone(self);
            tokio::spawn(async move { shared.take_out(key).await });
        }
        removed
    }
}

/// Notifies the others of a removal until that succeeds, or the session would have ended.
async fn notify(shared: Arc<Shared>, key: SessionKey, ends_at: UnixTime) {
    while shared.cache.world.now() < ends_at {
        tokio::time::sleep(shared.lease / LEASE_RENEWALS).await;
        if shared.redis.notify_removed(key.as_bytes()).await.is_ok() {
            return;
        }
    }
}
