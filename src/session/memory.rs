use std::sync::Arc;
use std::time::Duration;

use super::backend::{Backend, LeaseReply, Removed, Stored, StoredPage};
use super::cache::Cache;
use super::map::Keyed;
use super::refresh::Leases;
use super::{CachedStore, Finished, Lease, Refreshable, Revocation, Session, SessionKey, StoreError, StoreParts};
use crate::world::UnixTime;

/// Sessions in this process, bounded in number; they end with it.
///
/// When there is no more room, those that were not used for the longest time go first.
pub type MemoryStore = CachedStore<MemoryBackend>;

/// Keeps nothing but what is in memory.
pub struct MemoryBackend {
    cache: Arc<Cache>,
    leases: Leases,
    lifetime: Duration,
}

impl MemoryStore {
    /// A store without sessions.
    #[must_use]
    pub fn new(parts: StoreParts<'_>) -> Self {
        let lifetime = parts.lifetime;
        let cache = Cache::new(parts, None);
        let backend = MemoryBackend { cache: Arc::clone(&cache), leases: Leases::default(), lifetime };
        Self { cache, backend }
    }
}

impl Backend for MemoryBackend {
    const KEEPS_RECORDS: bool = false;

    async fn get(&self, key: SessionKey) -> Result<Option<Stored>, StoreError> {
        Ok(self.cache.sessions.get(&key).map(Stored::Open))
    }

    async fn put(&self, key: SessionKey, _: Vec<u8>, session: &Arc<Session>) -> Result<(), StoreError> {
        drop(self.cache.sessions.insert(key, Arc::clone(session)));
        Ok(())
    }

    async fn remove(&self, key: SessionKey) -> Result<Option<Removed>, StoreError> {
        self.leases.forget(&key);
        Ok(self.cache.sessions.remove(&key).map(|session| (Stored::Open(session), None)))
    }

    async fn begin_refresh(&self, key: SessionKey, session: &Session) -> Result<LeaseReply, StoreError> {
        let reusable = session.refreshable().is_some_and(Refreshable::is_reusable);
        Ok(self.leases.begin(key, reusable, self.cache.world.now()))
    }

    async fn finish_refresh(
        &self,
        key: SessionKey,
        lease: &Lease,
        finished: Finished,
        _: Vec<u8>,
    ) -> Result<bool, StoreError> {
        if !self.leases.hold(&key, lease) {
            return Ok(false);
        }
        let replaced = match &finished {
            Finished::Renewed(session) => self.cache.sessions.replace(&key, Arc::clone(session)),
            Finished::Untouched | Finished::Unanswered => true,
        };
        Ok(self.leases.finish(&key, lease, &finished) && replaced)
    }

    async fn revoke(&self, revocation: &Revocation<'_>) -> Result<bool, StoreError> {
        Ok(self.cache.revocations.add_order(&self.cache.order(revocation, self.lifetime)))
    }

    async fn page(&self, at: Option<String>) -> Result<Option<StoredPage>, StoreError> {
        let Ok(at) = at.as_deref().map_or(Ok(0), str::parse) else { return Ok(None) };
        let Some(part) = self.cache.sessions.part(at) else { return Ok(None) };
        let next = self.cache.sessions.part(at + 1).map(|_| (at + 1).to_string());
        Ok(Some(StoredPage {
            found: part.into_iter().map(|(key, session)| (key, Stored::Open(session))).collect(),
            next,
        }))
    }

    fn queue_uses(&self, _: Vec<Keyed>) {}

    async fn reclaim(&self, now: UnixTime) -> Result<(), StoreError> {
        self.leases.retain(now, |key| self.cache.sessions.get(key).is_some());
        self.cache.revocations.reclaim(now);
        Ok(())
    }

    fn count(&self) -> u64 {
        self.cache.sessions.count()
    }

    fn is_up(&self) -> bool {
        true
    }

    fn is_durable(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::SessionStore as _;
    use crate::session::contract::{contract, parts, token};
    use crate::session::samples::{alice, app};

    #[tokio::test]
    async fn keeps_the_contract() {
        contract(MemoryStore::new(parts(1000))).await;
    }

    fn session(began: u64, seconds: u64) -> Arc<Session> {
        Arc::new(alice(app(), UnixTime::from_secs(began), Duration::from_secs(seconds), None))
    }

    #[tokio::test]
    async fn what_has_ended_is_reclaimed() {
        let store = MemoryStore::new(parts(10_000));
        let (short, long) = (token(), token());
        for _ in 0..1000 {
            store.save(&token(), session(0, 60)).await.unwrap();
        }
        store.save(&short, session(0, 100)).await.unwrap();
        store.save(&long, session(0, 200)).await.unwrap();
        for (now, left) in [(59, 1002), (60, 2), (100, 1), (199, 1), (200, 0)] {
            store.reclaim(UnixTime::from_secs(now)).await.unwrap();
            assert_eq!(store.count(), left, "after {now} seconds");
            assert_eq!(store.cached(&long).is_some(), now < 200);
            assert_eq!(store.cached(&short).is_some(), now < 100);
        }
    }
}
