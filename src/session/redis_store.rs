//! Sessions in a Redis or Valkey, which several processes share.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::sync::{Notify, OnceCell};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::map::{Evicted, SessionMap};
use super::record::RecordKeys;
use super::redis::{self, Cursor, Finish, Follower, Redis, RedisError};
use super::revocation::{Entry, LATE, Revocations};
use super::{
    Begun, Finished, Lease, Page, Refreshable, Revocation, Session, SessionKey, SessionOutline, SessionStore,
    SessionToken, StoreError, StoreFuture, StoreParts,
};
use crate::settings::RedisSettings;
use crate::telemetry::Rarely;
use crate::world::{UnixTime, World};

/// The right to refresh runs out so long after its holder was heard of for the last time.
const LEASE: Duration = Duration::from_secs(15);

/// The holder is heard of so many times in that time.
const LEASE_RENEWALS: u32 = 4;

/// A record stays a little longer than its session may be idle: the last uses are written down with some delay.
const GRACE: Duration = Duration::from_mins(1);

/// So long a removal can be told to who was not there for a while; later, all that is in memory is forgotten.
const REMOVALS_KEPT: Duration = Duration::from_hours(1);

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
    world: World,
    unreadable: Rarely,
    freshness: Freshness,
    /// The longest that sessions of any process live, in milliseconds.
    longest: OnceCell<AtomicU64>,
    lifetime: u64,
    count: AtomicU64,
}

/// Up to when all revocations and removals were heard.
struct Freshness {
    began: Instant,
    /// Milliseconds after `began`, and one; 0: never yet, or no longer known.
    heard: AtomicU64,
    news: Notify,
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
        let shared = Arc::new(Shared {
            redis: Redis::new(settings).map_err(failed)?,
            staleness: settings.staleness,
            patience: settings.timeout,
            lease,
            cache: SessionMap::new(parts.max_sessions),
            keys: RecordKeys::new(parts.secret),
            revocations: Revocations::new(parts.secret, parts.issuers),
            world: parts.world,
            unreadable: Rarely::default(),
            freshness: Freshness { began: Instant::now(), heard: AtomicU64::new(0), news: Notify::new() },
            longest: OnceCell::new(),
            lifetime: u64::try_from(parts.lifetime.as_millis()).unwrap_or(u64::MAX),
            count: AtomicU64::new(0),
        });
        let follower = Arc::clone(&shared);
        let follower = tokio::spawn(async move { match follower.redis.follow(&*follower).await {} });
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
            let counts = |session: &Session| session.lives(now) && !shared.revocations.cover(session);
            let Some(session) = shared.open(token, &record).filter(counts) else { return Ok(None) };
            // What was removed while it was looked up may be gone, and what was heard of may have been forgotten.
            if let Some((session, evicted)) = shared.cache.adopt(key, Arc::new(session), since) {
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
        shared.redis.put(token.key().as_bytes(), &record, ttl).await.map_err(failed)?;
        self.keep_uses(shared.cache.insert(token.key(), session));
        Ok(())
    }

    async fn begin_refresh(&self, token: &SessionToken) -> Result<Begun, StoreError> {
        let Some(session) = self.load(token).await? else { return Ok(Begun::Gone) };
        let (shared, key) = (&self.shared, token.key());
        let owner: [u8; 16] = shared.world.random().map_err(|error| StoreError(error.to_string()))?;
        let reusable = session.refreshable().is_some_and(Refreshable::is_reusable);
        let begun = shared.redis.begin_refresh(key.as_bytes(), &owner, shared.lease, reusable).await;
        match begun.inspect_err(|_| self.give_back(key, owner, session.ends_at())).map_err(failed)? {
            redis::Begun::Taken(record) => {
                let Some(newest) = shared.open(token, &record) else { return Ok(Begun::Gone) };
                let keeper = tokio::spawn(keep_lease(Arc::clone(shared), key, owner));
                let lease = Lease { owner, _keeper: Some(AbortOnDropHandle::new(keeper)) };
                if is_same_login(&session, &newest) {
                    return Ok(Begun::Lease(lease, session));
                }
                let newest = Arc::new(newest);
                shared.cache.replace(&key, Arc::clone(&newest));
                Ok(Begun::Lease(lease, newest))
            }
            redis::Begun::Busy => Ok(Begun::Busy),
            redis::Begun::Abandoned(record) => {
                // It may have been refreshed elsewhere before, and go on for longer than is known here.
                if let Some(newest) = shared.open(token, &record).filter(|newest| !is_same_login(&session, newest)) {
                    shared.cache.replace(&key, Arc::new(newest));
                }
                Ok(Begun::Spent)
            }
            redis::Begun::Gone => {
                shared.cache.remove(&key);
                Ok(Begun::Gone)
            }
        }
    }

    /// Where the answer was lost the lease may be ours, and would run out as if the token had been sent.
    ///
    /// A Redis that stood still may take the lease after it was told that nobody wants it any more, so it is told several times.
    fn give_back(&self, key: SessionKey, owner: [u8; 16], ends_at: UnixTime) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let mut told = 0;
            while told < LEASE_RENEWALS && shared.world.now() < ends_at {
                match shared.redis.finish_refresh(key.as_bytes(), &owner, Finish::Release).await {
                    Ok(true) => return,
                    Ok(false) => told += 1,
                    Err(_) => {}
                }
                tokio::time::sleep(shared.lease / LEASE_RENEWALS).await;
            }
        });
    }

    async fn finish_refresh(
        &self,
        token: &SessionToken,
        lease: &Lease,
        finished: Finished,
    ) -> Result<bool, StoreError> {
        let (shared, key) = (&self.shared, token.key());
        let finish = |finish| async move {
            shared.redis.finish_refresh(key.as_bytes(), &lease.owner, finish).await.map_err(failed)
        };
        match finished {
            Finished::Renewed(session) => {
                let (record, ttl) = shared.record(token, &session)?;
                let kept = finish(Finish::Replace(&record, ttl)).await?;
                if kept {
                    shared.cache.replace(&key, session);
                } else {
                    // Whatever is there now, it is not what is in memory.
                    shared.cache.remove(&key);
                }
                Ok(kept)
            }
            Finished::Untouched => finish(Finish::Release).await,
            Finished::Unanswered => finish(Finish::Keep).await,
        }
    }

    async fn forget(&self, key: SessionKey) -> Result<Option<(Vec<u8>, Option<Arc<Session>>)>, StoreError> {
        // Here it is denied at once, and where Redis did not do it, looked up again.
        let cached = self.shared.cache.remove(&key);
        let record = self.shared.redis.remove(key.as_bytes()).await.map_err(failed)?;
        self.shared.cache.remove(&key);
        Ok(record.map(|record| (record, cached)))
    }

    async fn remove(&self, token: &SessionToken) -> Result<Option<Arc<Session>>, StoreError> {
        let removed = self.forget(token.key()).await?;
        let session =
            removed.and_then(|(record, cached)| cached.or_else(|| self.shared.open(token, &record).map(Arc::new)));
        Ok(session.filter(|session| !self.shared.revocations.cover(session)))
    }

    async fn revoke(&self, revocation: &Revocation<'_>) -> Result<bool, StoreError> {
        let (shared, now) = (&self.shared, self.shared.world.now());
        // How long it is remembered is for those to know who hear of it.
        let entries = shared.revocations.entries(revocation, UnixTime::from_millis(u64::MAX));
        let told: Vec<_> = entries.revoked.iter().map(|entry| entry.bytes()).collect();
        let told: Vec<&[u8]> = told.iter().map(<[u8; 24]>::as_slice).collect();
        let once = entries.once.as_ref().map(|once| (once.tag.0.as_slice(), once.until.since(now)));
        let followed = shared.redis.revoke(&told, once).await.map_err(failed)?;
        if followed {
            for entry in entries.revoked {
                shared.revocations.add(entry);
            }
        }
        Ok(followed)
    }

    async fn end(&self, id: SessionKey) -> Result<Option<SessionOutline>, StoreError> {
        let removed = self.forget(id).await?;
        Ok(removed.and_then(|(record, cached)| self.shared.shown(id, &record, cached.as_deref())))
    }

    async fn outline(&self, id: SessionKey) -> Result<Option<SessionOutline>, StoreError> {
        let shared = &self.shared;
        shared.until_fresh().await?;
        let record = shared.redis.get(id.as_bytes()).await.map_err(failed)?;
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
        let shown =
            |(key, record): (SessionKey, &Vec<u8>)| shared.shown(key, record, shared.cache.get(&key).as_deref());
        Ok(Some(Page { sessions: found.filter_map(shown).collect(), next: records.next.map(|next| next.to_string()) }))
    }

    /// Writes down when these were used last, without waiting for it.
    fn keep_uses(&self, evicted: Evicted) {
        let unkept: Evicted = evicted.into_iter().filter(|(_, session)| session.has_unkept_use()).collect();
        if !unkept.is_empty() {
            let shared = Arc::clone(&self.shared);
            // An error is told when sessions are looked up; these are idle a little earlier.
            tokio::spawn(async move { shared.keep_uses(unkept).await });
        }
    }

    async fn reclaim(&self, now: UnixTime) -> Result<(), StoreError> {
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
    fn is_fresh(&self) -> bool {
        self.freshness.is_within(self.staleness)
    }

    fn stale(&self) -> StoreError {
        let seconds = self.staleness.as_secs_f32();
        StoreError(format!("what was revoked in the last {seconds} s is not known: Redis is away"))
    }

    /// Waits where everything is being heard anew: after the start, or where something may have been missed.
    async fn until_fresh(&self) -> Result<(), StoreError> {
        let fresh = async {
            loop {
                let news = self.freshness.news.notified();
                if self.is_fresh() {
                    return;
                }
                news.await;
            }
        };
        if self.is_fresh() {
            return Ok(());
        }
        if self.freshness.heard.load(Ordering::Acquire) > 0 {
            return Err(self.stale());
        }
        tokio::time::timeout(self.patience, fresh).await.map_err(|_| self.stale())
    }

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
        Ok((record, session.ends_at().since(self.world.now()) + GRACE))
    }

    fn shown(&self, key: SessionKey, record: &[u8], cached: Option<&Session>) -> Option<SessionOutline> {
        self.keys.shown(key, record, cached, &self.revocations, self.world.now())
    }

    async fn keep_uses(&self, unkept: Evicted) -> Result<(), StoreError> {
        for (key, session) in unkept {
            let check = session.last_check();
            let Some(record) = self.redis.get(key.as_bytes()).await.map_err(failed)? else {
                self.cache.remove(&key);
                continue;
            };
            let used = self.keys.with_use(&self.world, &key, &record, &session);
            let Some(used) = used.map_err(|error| StoreError(error.to_string()))? else { continue };
            let ttl = session.ends_at().since(self.world.now()) + GRACE;
            // Where another process wrote it meanwhile, the next time will do.
            if self.redis.update_use(key.as_bytes(), &record, &used, ttl).await.map_err(failed)? {
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

/// Whether neither was refreshed after the other.
fn is_same_login(one: &Session, other: &Session) -> bool {
    let state = |session: &Session| {
        session.refreshable().map(|it| (it.token.expose_secret().to_owned(), it.schedule.confirm_by()))
    };
    state(one) == state(other)
}

/// Prolongs a lease until it is dropped, or lost.
async fn keep_lease(shared: Arc<Shared>, key: SessionKey, owner: [u8; 16]) {
    loop {
        tokio::time::sleep(shared.lease / LEASE_RENEWALS).await;
        // While Redis does not answer, there is time for two more tries.
        if let Ok(false) = shared.redis.renew_refresh(key.as_bytes(), &owner, shared.lease).await {
            return;
        }
    }
}

impl Freshness {
    fn is_within(&self, staleness: Duration) -> bool {
        let heard = self.heard.load(Ordering::Acquire);
        let age = || self.began.elapsed().saturating_sub(Duration::from_millis(heard - 1));
        heard > 0 && age() <= staleness
    }

    fn hear(&self, at: Instant) {
        let millis = at.saturating_duration_since(self.began).as_millis();
        self.heard.store(u64::try_from(millis).unwrap_or(u64::MAX - 1) + 1, Ordering::Release);
        self.news.notify_waiters();
    }

    fn doubt(&self) {
        self.heard.store(0, Ordering::Release);
    }
}

impl Follower for Shared {
    fn revoked(&self, entry: &[u8]) {
        // Nobody else writes there; what is no entry means nobody.
        if let Some(entry) = Entry::read(entry) {
            self.revocations.add(entry);
        }
    }

    fn removed(&self, key: &[u8; 32]) {
        self.cache.remove(&SessionKey::from_bytes(*key));
    }

    fn current(&self, at: Instant) {
        self.freshness.hear(at);
    }

    fn gap(&self) {
        self.freshness.doubt();
        self.cache.clear();
    }
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
