use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use super::{Session, SessionKey, SessionStore, SessionToken, StoreFuture};

/// Sessions in this process, bounded in number; they end with it.
pub struct MemoryStore {
    sessions: Cache<SessionKey, Arc<Session>>,
}

impl MemoryStore {
    /// Keeps at most `max_sessions`, the least used going first, each for `lifetime` at most.
    ///
    /// The lifetime here only frees memory: what counts is the session's own expiry.
    #[must_use]
    pub fn new(max_sessions: u64, lifetime: Duration) -> Self {
        let sessions = Cache::builder().max_capacity(max_sessions).time_to_live(lifetime).build();
        Self { sessions }
    }
}

impl SessionStore for MemoryStore {
    fn load<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>> {
        let found = self.sessions.get(&token.key());
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

    fn count(&self) -> u64 {
        self.sessions.run_pending_tasks();
        self.sessions.entry_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::store::contract;

    #[tokio::test]
    async fn keeps_the_contract() {
        contract(MemoryStore::new(1000, Duration::from_hours(1))).await;
    }

    #[tokio::test]
    async fn is_bounded() {
        use crate::app::samples::single;
        use crate::session::samples::alice;
        use crate::world::World;

        let world = World::system();
        let app = single("https://app.example.com");
        let store = MemoryStore::new(10, Duration::from_hours(1));
        for _ in 0..200 {
            let session = Arc::new(alice(&app, world.now(), Duration::from_secs(60), None));
            let token = SessionToken::generate(&world).unwrap();
            store.save(&token, session).await.unwrap();
        }
        assert!(store.count() <= 10);
    }
}
