use std::sync::Arc;

use super::map::SessionMap;
use super::{Session, SessionStore, SessionToken, StoreFuture};
use crate::world::UnixTime;

/// Sessions in this process, bounded in number; they end with it.
///
/// When there is no more room, those that were not used for the longest time go first.
pub struct MemoryStore {
    sessions: SessionMap,
}

impl MemoryStore {
    /// Keeps at most `max_sessions`.
    #[must_use]
    pub fn new(max_sessions: u64) -> Self {
        Self { sessions: SessionMap::new(max_sessions) }
    }
}

impl SessionStore for MemoryStore {
    fn cached(&self, token: &SessionToken) -> Option<Arc<Session>> {
        self.sessions.get(&token.key())
    }

    fn load<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>> {
        let found = self.cached(token);
        Box::pin(std::future::ready(Ok(found)))
    }

    fn save<'s>(&'s self, token: &'s SessionToken, session: Arc<Session>) -> StoreFuture<'s, ()> {
        self.sessions.insert(token.key(), session);
        Box::pin(std::future::ready(Ok(())))
    }

    fn remove<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>> {
        let removed = self.sessions.remove(&token.key());
        Box::pin(std::future::ready(Ok(removed)))
    }

    fn reclaim(&self, now: UnixTime) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.sessions.reclaim(now).await;
            Ok(())
        })
    }

    fn count(&self) -> u64 {
        self.sessions.count()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::app::samples::single;
    use crate::session::samples::alice;
    use crate::session::store::contract;
    use crate::world::World;

    #[tokio::test]
    async fn keeps_the_contract() {
        contract(MemoryStore::new(1000)).await;
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
        let store = MemoryStore::new(10_000);
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
