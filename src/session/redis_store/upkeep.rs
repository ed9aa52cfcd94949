//! What is done every now and then: uses are written down, and what nobody needs is freed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{RedisStore, Shared, failed};
use crate::session::map::Evicted;
use crate::session::revocation::LATE;
use crate::session::{Session, StoreError};
use crate::world::UnixTime;

/// So long a removal can be told to who was not there for a while; later, all that is in memory is forgotten.
const REMOVALS_KEPT: Duration = Duration::from_hours(1);

impl RedisStore {
    /// Writes down when these were used last, without waiting for it.
    pub(super) fn keep_uses(&self, evicted: Evicted) {
        let unkept: Evicted = evicted.into_iter().filter(|(_, session)| session.has_unkept_use()).collect();
        if !unkept.is_empty() {
            let shared = Arc::clone(&self.shared);
            // An error is told when sessions are looked up; these are idle a little earlier.
            tokio::spawn(async move { shared.keep_uses(unkept).await });
        }
    }

    pub(super) async fn reclaim(&self, now: UnixTime) -> Result<(), StoreError> {
        let shared = &self.shared;
        shared.cache.reclaim(|session| !session.lives(now) || shared.revocations.cover(session)).await;
        for unkept in shared.cache.find(Session::has_unkept_use) {
            shared.keep_uses(unkept).await?;
        }
        let longest = shared.redis.longest(shared.lifetime).await.map_err(failed)?;
        shared.longest().await?.store(longest, Ordering::Relaxed);
        let oldest = before(now, Duration::from_millis(longest) + LATE);
        shared.revocations.forget_before(oldest);
        shared.redis.trim(oldest.as_millis(), before(now, REMOVALS_KEPT).as_millis()).await.map_err(failed)?;
        let count = shared.redis.count().await.map_err(failed)?;
        shared.count.store(count, Ordering::Relaxed);
        Ok(())
    }
}

impl Shared {
    pub(super) async fn keep_uses(&self, unkept: Evicted) -> Result<(), StoreError> {
        for (key, session) in unkept {
            let check = session.last_check();
            let Some(record) = self.redis.get(key.as_bytes()).await.map_err(failed)? else {
                self.cache.remove(&key);
                continue;
            };
            let used = self.keys.with_use(&self.world, &key, &record, &session);
            let Some(used) = used.map_err(|error| StoreError(error.to_string()))? else { continue };
            // Where another process wrote it meanwhile, the next time will do.
            if self.redis.update_use(key.as_bytes(), &record, &used, self.ttl(&used)).await.map_err(failed)? {
                session.kept(check);
            }
        }
        Ok(())
    }
}

fn before(time: UnixTime, duration: Duration) -> UnixTime {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    UnixTime::from_millis(time.as_millis().saturating_sub(millis))
}
