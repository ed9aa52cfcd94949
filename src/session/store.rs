use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::{Session, SessionToken};
use crate::world::UnixTime;

/// What an operation of a store gives.
pub type StoreFuture<'s, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 's>>;

/// The store could not answer; whether there is a session is not known.
#[derive(Debug, thiserror::Error)]
#[error("the session store does not answer: {0}")]
pub struct StoreError(pub String);

/// Where sessions are kept between requests.
///
/// A record is reachable only through the token that the browser holds. A store may forget a session early, and never
/// keeps one longer than it lives.
pub trait SessionStore: Send + Sync {
    /// The session behind `token`, where it is in memory; most checks are answered with it.
    fn cached(&self, token: &SessionToken) -> Option<Arc<Session>>;

    /// The session behind `token`; `None` when there is none.
    fn load<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>>;

    /// Keeps `session` behind `token`.
    fn save<'s>(&'s self, token: &'s SessionToken, session: Arc<Session>) -> StoreFuture<'s, ()>;

    /// Forgets what is behind `token`, and gives it back; from then on nothing loads it.
    fn remove<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>>;

    /// Frees what sessions hold that have ended by `now`; called every now and then.
    fn reclaim(&self, now: UnixTime) -> StoreFuture<'_, ()>;

    /// About how many sessions are kept, for metrics.
    fn count(&self) -> u64;
}

/// What every store must do; each implementation's tests call this.
#[cfg(test)]
pub(super) async fn contract<S: SessionStore>(store: S) {
    use crate::app::samples::single;
    use crate::session::samples::alice;
    use crate::world::World;
    use std::time::Duration;

    let world = World::system();
    let app = single("https://app.example.com");
    let session = |seconds| Arc::new(alice(&app, world.now(), Duration::from_secs(seconds), None));
    let token = || SessionToken::generate(&world).unwrap();
    let (one, other, unknown) = (token(), token(), token());

    assert!(store.load(&unknown).await.unwrap().is_none(), "an unknown token is never adopted");
    assert!(store.remove(&unknown).await.unwrap().is_none());

    store.save(&one, session(60)).await.unwrap();
    store.save(&other, session(120)).await.unwrap();
    let loaded = store.load(&one).await.unwrap().unwrap();
    let cached = store.cached(&one).expect("what was just loaded is in memory");
    assert!(Arc::ptr_eq(&loaded, &cached), "there is one of each");
    assert_eq!(loaded.identity().label(), "alice");
    assert!(loaded.is_valid_for(&app, world.now()));
    assert!(store.load(&unknown).await.unwrap().is_none());

    let replacement = session(240);
    store.save(&one, Arc::clone(&replacement)).await.unwrap();
    let loaded = store.load(&one).await.unwrap().unwrap();
    assert_eq!(loaded.expires_at(), replacement.expires_at(), "the last save wins");

    assert!(store.remove(&one).await.unwrap().is_some());
    assert!(store.cached(&one).is_none(), "removed is gone at once");
    assert!(store.load(&one).await.unwrap().is_none(), "removed is gone at once");
    assert!(store.remove(&one).await.unwrap().is_none(), "removed once");
    assert!(store.load(&other).await.unwrap().is_some(), "others stay");

    store.reclaim(world.now()).await.unwrap();
    assert!(store.load(&other).await.unwrap().is_some(), "what lives is not reclaimed");
    store.reclaim(world.now() + Duration::from_secs(121)).await.unwrap();
    assert_eq!(store.count(), 0, "what has ended is");
}
