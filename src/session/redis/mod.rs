//! Sessions in a Redis or Valkey, which several processes share.

mod chain;
mod client;
mod clocks;
mod follower;
mod freshness;
mod lease;
mod list;
mod removed;
#[cfg(test)]
mod tests;
mod upkeep;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_util::task::AbortOnDropHandle;

use self::client::{Cursor, Redis, RedisError};
pub use self::client::{RedisAddress, RedisMode, RedisSettings};
use self::clocks::Clocks;
use self::follower::Reread;
use self::freshness::Freshness;
use self::lease::LEASE;
use self::list::{List, Listing};
use self::removed::RemovedKeys;
use super::backend::{Backend, LeaseReply, Removed, Stored, StoredPage};
use super::cache::Cache;
use super::map::Keyed;
use super::record::Head;
use super::{CachedStore, Finished, Lease, Revocation, Session, SessionKey, StoreError, StoreParts};
use crate::world::UnixTime;

/// A record lives this much longer than its session, because a use is written up to a minute late.
const GRACE: Duration = Duration::from_mins(1);

/// Sessions in a Redis, with a bounded part of them in memory.
///
/// What other processes revoke or remove is heard at once. Without proof that all of it was heard, within the staleness of the
/// settings, nothing is answered from memory or from Redis.
pub type RedisStore = CachedStore<RedisBackend>;

/// Keeps records in a Redis.
pub struct RedisBackend {
    shared: Arc<Shared>,
    _follower: AbortOnDropHandle<()>,
}

/// What the backend and its tasks share.
struct Shared {
    cache: Arc<Cache>,
    redis: Redis,
    staleness: Duration,
    /// The time for an answer of Redis.
    timeout: Duration,
    /// The time after which a lease runs out without a renewal.
    lease: Duration,
    list: List,
    removed: RemovedKeys,
    /// The list as it is read again after a gap.
    reread: Reread,
    clocks: Clocks,
    freshness: Freshness,
    /// The longest lifetime of sessions of any process, in milliseconds.
    longest: OnceCell<AtomicU64>,
    lifetime: u64,
    count: AtomicU64,
}

impl RedisStore {
    /// A store that begins to follow the other processes; connections open by themselves.
    ///
    /// The caller must be within a runtime.
    ///
    /// # Errors
    ///
    /// When the files for TLS cannot be used.
    pub fn new(settings: &RedisSettings, parts: StoreParts<'_>) -> Result<Self, StoreError> {
        Self::with_lease(settings, parts, LEASE)
    }

    fn with_lease(settings: &RedisSettings, parts: StoreParts<'_>, lease: Duration) -> Result<Self, StoreError> {
        let list = List::new(parts.secret);
        let lifetime = u64::try_from(parts.lifetime.as_millis()).unwrap_or(u64::MAX);
        let redis = Redis::new(settings)?.with_list(&list.key.name());
        let cache = Cache::new(parts, None);
        let shared = Arc::new(Shared {
            cache: Arc::clone(&cache),
            redis,
            staleness: settings.staleness,
            timeout: settings.timeout,
            lease,
            list,
            removed: RemovedKeys::default(),
            reread: Reread::default(),
            clocks: Clocks::default(),
            freshness: Freshness::default(),
            longest: OnceCell::new(),
            lifetime,
            count: AtomicU64::new(0),
        });
        let follower = Arc::clone(&shared);
        let follower = tokio::spawn(async move { match follower.redis.follow(&follower).await {} });
        Ok(Self { cache, backend: RedisBackend { shared, _follower: AbortOnDropHandle::new(follower) } })
    }
}

impl Shared {
    async fn longest(&self) -> Result<&AtomicU64, RedisError> {
        let ask = || async { self.redis.longest(self.lifetime).await.map(AtomicU64::new) };
        self.longest.get_or_try_init(ask).await
    }

    /// How long Redis keeps `record`.
    fn ttl(&self, record: &[u8]) -> Duration {
        end_of(record).since(self.cache.world.now()) + GRACE
    }
}

/// When the session in `record` ends unless a later use is written down.
fn end_of(record: &[u8]) -> UnixTime {
    Head::read(record).map(|head| UnixTime::from_secs(head.ends_at)).unwrap_or_default()
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        Self(error.to_string())
    }
}

impl Backend for RedisBackend {
    const IS_SHARED: bool = true;

    fn ensure_fresh(&self) -> Result<(), StoreError> {
        self.shared.ensure_fresh()
    }

    async fn get(&self, key: SessionKey) -> Result<Option<Stored>, StoreError> {
        let shared = &self.shared;
        shared.until_fresh().await?;
        let record = shared.redis.get(key.as_bytes()).await?;
        Ok(record.filter(|_| !shared.was_removed(key)).map(Stored::Sealed))
    }

    async fn put(&self, key: SessionKey, record: Vec<u8>, session: &Arc<Session>) -> Result<(), StoreError> {
        let shared = &self.shared;
        // All processes keep revocations for as long as this session may live.
        shared.longest().await?;
        let latest = shared.cache.world.latest().as_millis();
        shared.redis.put(key.as_bytes(), &record, shared.ttl(&record), latest).await?;
        let unsaved = shared.cache.insert(key, Arc::clone(session));
        if !unsaved.is_empty() {
            self.queue_uses(unsaved);
        }
        Ok(())
    }

    async fn remove(&self, key: SessionKey) -> Result<Option<Removed>, StoreError> {
        // Memory denies it at once; where Redis fails, the session is looked up again.
        let cached = self.shared.cache.sessions.remove(&key);
        let proof = self.shared.proof().await;
        let shared = Arc::clone(&self.shared);
        // A task of its own, because the requester may be gone between the removal and the notification.
        let taken = tokio::spawn(async move { shared.take_out(key).await }).await;
        let record = taken.map_err(|_| StoreError("the process is stopping".to_owned()))??;
        self.shared.stands(proof)?;
        Ok(record.map(|record| (Stored::Sealed(record), cached)))
    }

    async fn begin_refresh(&self, key: SessionKey, session: &Session) -> Result<LeaseReply, StoreError> {
        self.shared.begin_refresh(key, session).await
    }

    async fn finish_refresh(
        &self,
        key: SessionKey,
        lease: &Lease,
        finished: Finished,
        record: Vec<u8>,
    ) -> Result<bool, StoreError> {
        Ok(self.shared.finish_refresh(key, lease, finished, &record).await?)
    }

    async fn revoke(&self, revocation: &Revocation<'_>) -> Result<bool, StoreError> {
        let shared = &self.shared;
        let proof = shared.proof().await;
        let members = shared.put_on_list(Listing::Order(revocation)).await?;
        let followed = members.is_some();
        for entry in members.into_iter().flatten() {
            shared.cache.revocations.add(entry);
        }
        shared.stands(proof)?;
        Ok(followed)
    }

    async fn page(&self, at: Option<String>) -> Result<Option<StoredPage>, StoreError> {
        let shared = &self.shared;
        shared.until_fresh().await?;
        let cursor = match at.as_deref().map(Cursor::parse) {
            Some(None) => return Ok(None),
            Some(Some(cursor)) => cursor,
            None => Cursor::start(),
        };
        let records = shared.redis.records(&cursor).await?;
        let found =
            records.found.into_iter().map(|(key, record)| (SessionKey::from_bytes(key), Stored::Sealed(record)));
        let found = found.filter(|(key, _)| !shared.was_removed(*key)).collect();
        Ok(Some(StoredPage { found, next: records.next.map(|next| next.to_string()) }))
    }

    fn queue_uses(&self, uses: Vec<Keyed>) {
        let shared = Arc::clone(&self.shared);
        // Lookups report errors; without the write these sessions end a little earlier.
        tokio::spawn(async move { shared.save_uses(uses).await });
    }

    /// What fails is told, and keeps nothing else from being done.
    async fn reclaim(&self, _: UnixTime) -> Result<(), StoreError> {
        let shared = &self.shared;
        shared.removed.reclaim();
        // First, because nothing else frees memory.
        let trimmed = shared.trim().await.map_err(StoreError::from);
        let saved = shared.save_uses(shared.cache.unsaved()).await;
        let counted = shared.redis.count().await.map(|count| shared.count.store(count, Ordering::Relaxed));
        trimmed.and(saved).and(counted.map_err(StoreError::from))
    }

    /// The number when it was last asked for, a minute ago at most.
    fn count(&self) -> u64 {
        self.shared.count.load(Ordering::Relaxed)
    }

    fn is_up(&self) -> bool {
        self.shared.is_fresh()
    }
}
