use std::sync::Arc;

use secrecy::ExposeSecret;

use super::backend::{Backend, LeaseReply, Stored};
use super::cache::{Cache, unsaved};
use super::{
    Finished, Lease, LeaseAnswer, Page, Refreshable, Revocation, Session, SessionKey, SessionOutline, SessionStore,
    SessionToken, StoreError, StoreFuture,
};
use crate::world::UnixTime;

/// Records that are shown to operators before others get their turn.
const SHOWN_AT_ONCE: usize = 100;

/// Sessions in memory, bounded in number, in front of a backend that keeps their records.
///
/// What has to be durable is so before it is answered.
pub struct CachedStore<B> {
    pub(super) cache: Arc<Cache>,
    pub(super) backend: B,
}

#[expect(private_bounds, reason = "the rest of forepost uses the trait SessionStore")]
impl<B: Backend> CachedStore<B> {
    /// Looks a session up in the backend, and takes it into memory.
    async fn find(&self, token: &SessionToken) -> Result<Option<Arc<Session>>, StoreError> {
        let (sessions, world, key) = (&self.cache.sessions, &self.cache.world, token.key());
        if sessions.get(&key).is_some_and(|session| !session.lives(world.now())) {
            // Another process may have seen it used.
            sessions.remove(&key);
        }
        loop {
            let since = sessions.writes(&key);
            let Some(stored) = self.backend.get(key).await? else { return Ok(None) };
            let found = self.cache.open(token, stored).filter(|session| self.cache.counts(session));
            let Some(session) = found else { return Ok(None) };
            // Where it was removed or replaced in the meantime, the backend is asked again.
            if let Some((session, evicted)) = sessions.adopt(key, session, since) {
                world.saw(session.began_at);
                let unsaved = unsaved(evicted);
                if !unsaved.is_empty() {
                    self.backend.queue_uses(unsaved);
                }
                return self.backend.ensure_fresh().map(|()| Some(session));
            }
        }
    }

    fn record(&self, token: &SessionToken, session: &Session) -> Result<Vec<u8>, StoreError> {
        if B::KEEPS_RECORDS { Ok(self.cache.seal(token, session)?) } else { Ok(Vec::new()) }
    }

    async fn lease(&self, token: &SessionToken) -> Result<LeaseAnswer, StoreError> {
        let Some(session) = self.load(token).await? else { return Ok(LeaseAnswer::Gone) };
        let key = token.key();
        let (lease, record, is_retaken) = match self.backend.begin_refresh(key, &session).await? {
            LeaseReply::Lease(lease, record) => (lease, record, false),
            LeaseReply::Retaken(lease, record) => (lease, Some(record), true),
            LeaseReply::Busy => return Ok(LeaseAnswer::Busy),
            LeaseReply::Spent(record) => {
                // It may have been refreshed elsewhere before, and go on for longer than is known here.
                record.map(|record| self.newest(token, &session, record));
                return Ok(LeaseAnswer::Spent);
            }
            LeaseReply::Gone => {
                self.cache.sessions.remove(&key);
                return Ok(LeaseAnswer::Gone);
            }
        };
        let newest = match record {
            Some(record) => self.newest(token, &session, record),
            None => Some(session),
        };
        let Some(newest) = newest else { return Ok(LeaseAnswer::Gone) };
        if is_retaken && !newest.refreshable().is_some_and(Refreshable::is_reusable) {
            // What was known here is older than the record: the provider gives a new token each time by now.
            self.backend.finish_refresh(key, &lease, Finished::Unanswered, Vec::new()).await?;
            return Ok(LeaseAnswer::Spent);
        }
        Ok(LeaseAnswer::Lease(lease, newest))
    }

    /// The session in `record`, which another process may have refreshed since `known` was read; from now on memory has it.
    fn newest(&self, token: &SessionToken, known: &Arc<Session>, record: Vec<u8>) -> Option<Arc<Session>> {
        let newest = self.cache.open(token, Stored::Sealed(record))?;
        // What takes the record's place must not be older than the uses in it.
        known.note_saved_use(newest.last_check());
        if is_same_login(known, &newest) {
            return Some(Arc::clone(known));
        }
        if known.was_checked() {
            newest.touch(known.last_use());
        }
        self.cache.sessions.replace(&token.key(), Arc::clone(&newest));
        Some(newest)
    }
}

/// Whether neither was refreshed after the other.
fn is_same_login(one: &Session, other: &Session) -> bool {
    let state = |session: &Session| {
        session.refreshable().map(|it| (it.token.expose_secret().to_owned(), it.schedule.confirm_by()))
    };
    state(one) == state(other)
}

/// What is known already.
fn ready<'s, T: Send + 's>(value: T) -> StoreFuture<'s, T> {
    Box::pin(std::future::ready(Ok(value)))
}

impl<B: Backend> SessionStore for CachedStore<B> {
    fn cached(&self, token: &SessionToken) -> Option<Arc<Session>> {
        let cache = &self.cache;
        let session = cache.sessions.get(&token.key()).filter(|session| !cache.revocations.covers(session))?;
        if B::IS_SHARED {
            // One that ended as far as this process knows, another one may have seen used.
            return Some(session).filter(|it| it.lives(cache.world.now()) && self.backend.ensure_fresh().is_ok());
        }
        Some(session)
    }

    fn load<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>> {
        match self.cached(token) {
            None if B::KEEPS_RECORDS => Box::pin(self.find(token)),
            known => ready(known),
        }
    }

    fn save<'s>(&'s self, token: &'s SessionToken, session: Arc<Session>) -> StoreFuture<'s, ()> {
        Box::pin(async move {
            let (key, record) = (token.key(), self.record(token, &session)?);
            // An order that comes later, by any clock, means it.
            self.cache.world.saw(session.began_at);
            self.backend.put(key, record, &session).await
        })
    }

    fn remove<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>> {
        Box::pin(async move {
            let Some((stored, known)) = self.backend.remove(token.key()).await? else { return Ok(None) };
            let session = match known {
                Some(known) if !B::IS_SHARED => Some(known),
                // Another process may have refreshed it: the record is what counts.
                known => self.cache.open(token, stored).or(known),
            };
            Ok(session.filter(|session| !self.cache.revocations.covers(session)))
        })
    }

    fn begin_refresh<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, LeaseAnswer> {
        Box::pin(self.lease(token))
    }

    fn finish_refresh<'s>(
        &'s self,
        token: &'s SessionToken,
        lease: &'s Lease,
        finished: Finished,
    ) -> StoreFuture<'s, bool> {
        Box::pin(async move {
            let record = match &finished {
                Finished::Renewed(session) => self.record(token, session)?,
                Finished::Untouched | Finished::Unanswered => Vec::new(),
            };
            self.backend.finish_refresh(token.key(), lease, finished, record).await
        })
    }

    fn revoke<'s>(&'s self, revocation: &'s Revocation<'s>) -> StoreFuture<'s, bool> {
        Box::pin(self.backend.revoke(revocation))
    }

    fn end(&self, id: SessionKey) -> StoreFuture<'_, Option<SessionOutline>> {
        Box::pin(async move {
            let removed = self.backend.remove(id).await?;
            Ok(removed.and_then(|(stored, known)| self.cache.shown(id, &stored, known.as_deref())))
        })
    }

    fn outline(&self, id: SessionKey) -> StoreFuture<'_, Option<SessionOutline>> {
        Box::pin(async move {
            let stored = self.backend.get(id).await?;
            Ok(stored.and_then(|stored| self.cache.shown(id, &stored, self.cache.sessions.get(&id).as_deref())))
        })
    }

    fn page(&self, at: Option<String>) -> StoreFuture<'_, Option<Page>> {
        Box::pin(async move {
            let Some(records) = self.backend.page(at).await? else { return Ok(None) };
            let mut sessions = Vec::with_capacity(records.found.len());
            for some in records.found.chunks(SHOWN_AT_ONCE) {
                let shown = |(key, stored): &(SessionKey, Stored)| {
                    self.cache.shown(*key, stored, self.cache.sessions.get(key).as_deref())
                };
                sessions.extend(some.iter().filter_map(shown));
                tokio::task::yield_now().await;
            }
            Ok(Some(Page { sessions, next: records.next }))
        })
    }

    fn reclaim(&self, now: UnixTime) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let cache = &self.cache;
            cache.sessions.reclaim(|session| !session.lives(now) || cache.revocations.covers(session)).await;
            self.backend.reclaim(now).await
        })
    }

    fn count(&self) -> u64 {
        self.backend.count()
    }

    fn is_up(&self) -> bool {
        self.backend.is_up()
    }

    fn is_durable(&self) -> bool {
        self.backend.is_durable()
    }
}
