use std::sync::Arc;
use std::time::Duration;

use super::map::SessionMap;
use super::record::Outline;
use super::refresh::{Leases, Turn};
use super::revocation::{LATE, Revocations};
use super::{
    Begun, Finished, Lease, Page, Revocation, Session, SessionKey, SessionOutline, SessionStore, SessionToken,
    StoreFuture, StoreParts,
};
use crate::world::{UnixTime, World};

/// Sessions in this process, bounded in number; they end with it.
///
/// When there is no more room, those that were not used for the longest time go first.
pub struct MemoryStore {
    sessions: SessionMap,
    revocations: Revocations,
    leases: Leases,
    lifetime: Duration,
    world: World,
}

impl MemoryStore {
    /// A store without sessions.
    #[must_use]
    pub fn new(parts: StoreParts<'_>) -> Self {
        Self {
            sessions: SessionMap::new(parts.max_sessions),
            revocations: Revocations::new(parts.secret, parts.issuers),
            leases: Leases::default(),
            lifetime: parts.lifetime,
            world: parts.world,
        }
    }

    fn begin_refresh(&self, token: &SessionToken) -> Begun {
        let Some(session) = self.cached(token) else { return Begun::Gone };
        let reusable = session.refreshable().is_some_and(super::Refreshable::is_reusable);
        match self.leases.begin(token.key(), reusable, self.world.now()) {
            Turn::Lease(lease) => Begun::Lease(lease, session),
            Turn::Busy => Begun::Busy,
            Turn::Spent => Begun::Spent,
        }
    }

    fn finish_refresh(&self, token: &SessionToken, lease: &Lease, finished: Finished) -> bool {
        let key = token.key();
        if !self.leases.hold(&key, lease) {
            return false;
        }
        let replaced = match &finished {
            Finished::Renewed(session) => self.sessions.replace(&key, Arc::clone(session)),
            Finished::Untouched | Finished::Unanswered => true,
        };
        self.leases.finish(&key, lease, &finished) && replaced
    }

    fn revoke(&self, revocation: &Revocation<'_>) -> bool {
        let at = self.world.end_moment();
        let until = at.max(self.world.now()) + self.lifetime + LATE;
        self.revocations.follow(&self.revocations.entries(revocation, at, until))
    }

    fn forget(&self, key: &SessionKey) -> Option<Arc<Session>> {
        self.leases.forget(key);
        self.sessions.remove(key).filter(|session| !self.revocations.cover(session))
    }

    fn shown(&self, key: SessionKey, session: &Session) -> Option<SessionOutline> {
        let counts = session.lives(self.world.now()) && !self.revocations.cover(session);
        let issuer = self.revocations.issuer(session.application());
        counts.then(|| Outline::of(session, issuer).shown(key))
    }

    fn page(&self, at: Option<&str>) -> Option<Page> {
        let at = at.map_or(Ok(0), str::parse).ok()?;
        let part = self.sessions.part(at)?;
        let next = at + 1;
        Some(Page {
            sessions: part.iter().filter_map(|(key, session)| self.shown(*key, session)).collect(),
            next: self.sessions.part(next).map(|_| next.to_string()),
        })
    }
}

/// What is known already.
fn now<'s, T: Send + 's>(value: T) -> StoreFuture<'s, T> {
    Box::pin(std::future::ready(Ok(value)))
}

impl SessionStore for MemoryStore {
    fn cached(&self, token: &SessionToken) -> Option<Arc<Session>> {
        self.sessions.get(&token.key()).filter(|session| !self.revocations.cover(session))
    }

    fn load<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>> {
        now(self.cached(token))
    }

    fn save<'s>(&'s self, token: &'s SessionToken, session: Arc<Session>) -> StoreFuture<'s, ()> {
        self.world.saw(session.began_at);
        self.sessions.insert(token.key(), session);
        now(())
    }

    fn remove<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>> {
        now(self.forget(&token.key()))
    }

    fn begin_refresh<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Begun> {
        now(self.begin_refresh(token))
    }

    fn finish_refresh<'s>(
        &'s self,
        token: &'s SessionToken,
        lease: &'s Lease,
        finished: Finished,
    ) -> StoreFuture<'s, bool> {
        now(self.finish_refresh(token, lease, finished))
    }

    fn revoke<'s>(&'s self, revocation: &'s Revocation<'s>) -> StoreFuture<'s, bool> {
        now(self.revoke(revocation))
    }

    fn end(&self, id: SessionKey) -> StoreFuture<'_, Option<SessionOutline>> {
        now(self.forget(&id).and_then(|session| self.shown(id, &session)))
    }

    fn outline(&self, id: SessionKey) -> StoreFuture<'_, Option<SessionOutline>> {
        now(self.sessions.get(&id).and_then(|session| self.shown(id, &session)))
    }

    fn page(&self, at: Option<String>) -> StoreFuture<'_, Option<Page>> {
        now(self.page(at.as_deref()))
    }

    fn reclaim(&self, now: UnixTime) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.sessions.reclaim(|session| !session.lives(now) || self.revocations.cover(session)).await;
            self.leases.retain(now, |key| self.sessions.get(key).is_some());
            self.revocations.reclaim(now);
            Ok(())
        })
    }

    fn count(&self) -> u64 {
        self.sessions.count()
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
    use crate::app::samples::single;
    use crate::session::contract::{contract, parts};
    use crate::session::samples::alice;

    #[tokio::test]
    async fn keeps_the_contract() {
        contract(MemoryStore::new(parts(1000))).await;
    }

    fn token() -> SessionToken {
        SessionToken::generate(&World::system()).unwrap()
    }

    fn session(began: u64, seconds: u64) -> Arc<Session> {
        let app = single("https://app.example.com");
        Arc::new(alice(&app, UnixTime::from_secs(began), Duration::from_secs(seconds), None))
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
