//! Sessions in a Redis or Valkey, which several processes share.

mod chain;
mod clocks;
mod freshness;
mod hearing;
mod list;
mod refresh;
mod removed;
#[cfg(test)]
mod tests;
mod upkeep;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_util::task::AbortOnDropHandle;

use self::clocks::Clocks;
use self::freshness::Freshness;
use self::hearing::Reread;
use self::list::{List, Listing};
use self::refresh::LEASE;
use self::removed::RemovedKeys;
use super::map::SessionMap;
use super::record::{Head, RecordKeys};
use super::redis::{Cursor, Redis, RedisError};
use super::revocation::Revocations;
use super::{
    Begun, Finished, Lease, Page, Revocation, Session, SessionKey, SessionOutline, SessionStore, SessionToken,
    StoreError, StoreFuture, StoreParts,
};
use crate::session::RedisSettings;
use crate::telemetry::Rarely;
use crate::world::{UnixTime, World};

/// A record stays a little longer than its session: uses that are due to be written down are, within a minute.
const GRACE: Duration = Duration::from_mins(1);

/// Sessions in a Redis, with a bounded part of them in memory.
///
/// What others revoke or remove is heard at once. While it is not certain that all of it was heard, within the staleness of the
/// settings, nothing is answered from memory or from Redis.
pub struct RedisStore {
    shared: Arc<Shared>,
    _follower: AbortOnDropHandle<()>,
}

struct Shared {
    redis: Redis,
    staleness: Duration,
    /// How long an answer of Redis may take.
    patience: Duration,
    /// The right to refresh runs out so long after its holder was heard of for the last time.
    lease: Duration,
    cache: SessionMap,
    keys: RecordKeys,
    revocations: Revocations,
    list: List,
    removed: RemovedKeys,
    /// What comes again after a gap.
    reread: Reread,
    world: World,
    unreadable: Rarely,
    clocks: Clocks,
    freshness: Freshness,
    /// The longest that sessions of any process live, in milliseconds.
    longest: OnceCell<AtomicU64>,
    lifetime: u64,
    count: AtomicU64,
}

impl RedisStore {
    /// A store that begins to follow what others revoke; connections come by themselves.
    ///
    /// It must be made within a runtime, in which it follows.
    ///
    /// # Errors
    ///
    /// When the files for TLS cannot be used.
    pub fn new(settings: &RedisSettings, parts: StoreParts<'_>) -> Result<Self, StoreError> {
        Self::with_lease(settings, parts, LEASE)
    }

    fn with_lease(settings: &RedisSettings, parts: StoreParts<'_>, lease: Duration) -> Result<Self, StoreError> {
        let list = List::new(parts.secret);
        let shared = Arc::new(Shared {
            redis: Redis::new(settings).map_err(failed)?.with_list(&list.key.name()),
            staleness: settings.staleness,
            patience: settings.timeout,
            lease,
            cache: SessionMap::new(parts.max_sessions),
            keys: RecordKeys::new(parts.secret, parts.lifetime, parts.idle_timeout),
            revocations: Revocations::new(parts.secret, parts.issuers),
            list,
            removed: RemovedKeys::default(),
            reread: Reread::default(),
            world: parts.world,
            unreadable: Rarely::default(),
            clocks: Clocks::default(),
            freshness: Freshness::default(),
            longest: OnceCell::new(),
            lifetime: u64::try_from(parts.lifetime.as_millis()).unwrap_or(u64::MAX),
            count: AtomicU64::new(0),
        });
        let follower = Arc::clone(&shared);
        let follower = tokio::spawn(async move { match follower.redis.follow(&follower).await {} });
        Ok(Self { shared, _follower: AbortOnDropHandle::new(follower) })
    }

    async fn load(&self, token: &SessionToken) -> Result<Option<Arc<Session>>, StoreError> {
        if let Some(session) = self.cached(token) {
            return Ok(Some(session));
        }
        let (shared, key) = (&self.shared, token.key());
        shared.until_fresh().await?;
        let now = shared.world.now();
        if shared.cache.get(&key).is_some_and(|session| !session.lives(now)) {
            // Another process may have seen it used.
            shared.cache.remove(&key);
        }
        loop {
            let since = shared.cache.writes(&key);
            let Some(record) = shared.redis.get(key.as_bytes()).await.map_err(failed)? else { return Ok(None) };
            if shared.was_removed(key) {
                return Ok(None);
            }
            let counts = |session: &Session| session.lives(now) && !shared.revocations.cover(session);
            let Some(session) = shared.open(token, &record).filter(counts) else { return Ok(None) };
            // What was removed while it was looked up may be gone, and what was heard of may have been forgotten.
            if let Some((session, evicted)) = shared.cache.adopt(key, Arc::new(session), since) {
                shared.world.saw(session.began_at);
                self.keep_uses(evicted);
                return if shared.is_fresh() { Ok(Some(session)) } else { Err(shared.stale()) };
            }
        }
    }

    async fn save(&self, token: &SessionToken, session: Arc<Session>) -> Result<(), StoreError> {
        let shared = &self.shared;
        // So that all processes keep revocations for as long as this session may live.
        shared.longest().await?;
        let (record, ttl) = shared.record(token, &session)?;
        // Whoever gives an order later, by whatever clock, hears of it from the server.
        shared.world.saw(session.began_at);
        let latest = shared.world.latest().as_millis();
        shared.redis.put(token.key().as_bytes(), &record, ttl, latest).await.map_err(failed)?;
        self.keep_uses(shared.cache.insert(token.key(), session));
        Ok(())
    }

    async fn revoke(&self, revocation: &Revocation<'_>) -> Result<bool, StoreError> {
        let shared = &self.shared;
        let proof = shared.proof().await;
        let members = shared.put_on_list(Listing::Order(revocation)).await?;
        let followed = members.is_some();
        for entry in members.into_iter().flatten() {
            shared.revocations.add(entry);
        }
        shared.stands(proof)?;
        Ok(followed)
    }

    async fn outline(&self, id: SessionKey) -> Result<Option<SessionOutline>, StoreError> {
        let shared = &self.shared;
        shared.until_fresh().await?;
        let record = shared.redis.get(id.as_bytes()).await.map_err(failed)?;
        let record = record.filter(|_| !shared.was_removed(id));
        Ok(record.and_then(|record| shared.shown(id, &record, shared.cache.get(&id).as_deref())))
    }

    async fn page(&self, at: Option<String>) -> Result<Option<Page>, StoreError> {
        let shared = &self.shared;
        shared.until_fresh().await?;
        let cursor = match at.as_deref().map(Cursor::parse) {
            Some(None) => return Ok(None),
            Some(Some(cursor)) => cursor,
            None => Cursor::start(),
        };
        let records = shared.redis.records(&cursor).await.map_err(failed)?;
        let found = records.found.iter().map(|(key, record)| (SessionKey::from_bytes(*key), record));
        let found = found.filter(|(key, _)| !shared.was_removed(*key));
        let shown =
            |(key, record): (SessionKey, &Vec<u8>)| shared.shown(key, record, shared.cache.get(&key).as_deref());
        Ok(Some(Page { sessions: found.filter_map(shown).collect(), next: records.next.map(|next| next.to_string()) }))
    }
}

impl Shared {
    async fn longest(&self) -> Result<&AtomicU64, StoreError> {
        let ask = || async { self.redis.longest(self.lifetime).await.map(AtomicU64::new) };
        self.longest.get_or_try_init(ask).await.map_err(failed)
    }

    /// What does not open counts as absent: nobody can be let in with it.
    fn open(&self, token: &SessionToken, record: &[u8]) -> Option<Session> {
        let session = self.keys.open(token, record, |application| self.revocations.issuer(application));
        if session.is_none()
            && let Some(further) = self.unreadable.due()
        {
            tracing::warn!(further, "a session cannot be read and counts as absent");
        }
        session
    }

    /// Writes down `session`; the record, and how long it is to be kept.
    fn record(&self, token: &SessionToken, session: &Session) -> Result<(Vec<u8>, Duration), StoreError> {
        let issuer = self.revocations.issuer(session.application());
        let record = self.keys.seal(&self.world, token, session, issuer);
        let record = record.map_err(|error| StoreError(error.to_string()))?;
        let ttl = self.ttl(&record);
        Ok((record, ttl))
    }

    /// How long `record` is to be kept.
    fn ttl(&self, record: &[u8]) -> Duration {
        end_of(record).since(self.world.now()) + GRACE
    }

    fn shown(&self, key: SessionKey, record: &[u8], cached: Option<&Session>) -> Option<SessionOutline> {
        let shown = self.keys.shown(key, record, cached, &self.revocations, self.world.now())?;
        // An order that follows means it.
        self.world.saw(shown.began_at);
        Some(shown)
    }
}

/// When the session in `record` ends if no further use is written down.
fn end_of(record: &[u8]) -> UnixTime {
    Head::read(record).map(|head| UnixTime::from_secs(head.ends_at)).unwrap_or_default()
}

fn failed(error: RedisError) -> StoreError {
    StoreError(error.to_string())
}

impl SessionStore for RedisStore {
    /// Not one that ended as far as this process knows: another one may have seen it used.
    fn cached(&self, token: &SessionToken) -> Option<Arc<Session>> {
        let shared = &self.shared;
        let counts = |session: &Arc<Session>| !shared.revocations.cover(session) && session.lives(shared.world.now());
        shared.cache.get(&token.key()).filter(counts).filter(|_| shared.is_fresh())
    }

    fn load<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>> {
        Box::pin(self.load(token))
    }

    fn save<'s>(&'s self, token: &'s SessionToken, session: Arc<Session>) -> StoreFuture<'s, ()> {
        Box::pin(self.save(token, session))
    }

    fn remove<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>> {
        Box::pin(self.remove(token))
    }

    fn begin_refresh<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Begun> {
        Box::pin(self.begin_refresh(token))
    }

    fn finish_refresh<'s>(
        &'s self,
        token: &'s SessionToken,
        lease: &'s Lease,
        finished: Finished,
    ) -> StoreFuture<'s, bool> {
        Box::pin(self.finish_refresh(token, lease, finished))
    }

    fn revoke<'s>(&'s self, revocation: &'s Revocation<'s>) -> StoreFuture<'s, bool> {
        Box::pin(self.revoke(revocation))
    }

    fn end(&self, id: SessionKey) -> StoreFuture<'_, Option<SessionOutline>> {
        Box::pin(self.end(id))
    }

    fn outline(&self, id: SessionKey) -> StoreFuture<'_, Option<SessionOutline>> {
        Box::pin(self.outline(id))
    }

    fn page(&self, at: Option<String>) -> StoreFuture<'_, Option<Page>> {
        Box::pin(self.page(at))
    }

    fn reclaim(&self, now: UnixTime) -> StoreFuture<'_, ()> {
        Box::pin(self.reclaim(now))
    }

    /// As it was when it was last asked for, a minute ago at most.
    fn count(&self) -> u64 {
        self.shared.count.load(Ordering::Relaxed)
    }

    fn is_up(&self) -> bool {
        self.shared.is_fresh()
    }
}
