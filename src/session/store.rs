use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::{Begun, Finished, Lease, Page, Revocation, Session, SessionKey, SessionOutline, SessionToken};
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
/// keeps one longer than it lives. What was revoked is never given out.
pub trait SessionStore: Send + Sync {
    /// The session behind `token`, where it is in memory; most checks are answered with it.
    fn cached(&self, token: &SessionToken) -> Option<Arc<Session>>;

    /// The session behind `token`; `None` when there is none.
    fn load<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>>;

    /// Keeps `session` behind `token`.
    fn save<'s>(&'s self, token: &'s SessionToken, session: Arc<Session>) -> StoreFuture<'s, ()>;

    /// Forgets what is behind `token`, and gives it back; from then on nothing loads it.
    fn remove<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>>;

    /// Asks for the right to refresh what is behind `token`, before its refresh token is sent to anybody.
    fn begin_refresh<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Begun>;

    /// Says how a refresh ended; `false` when the right to it was lost meanwhile or the session is gone, and then nothing
    /// is changed.
    fn finish_refresh<'s>(
        &'s self,
        token: &'s SessionToken,
        lease: &'s Lease,
        finished: Finished,
    ) -> StoreFuture<'s, bool>;

    /// Ends sessions, those in this store and those whose login is under way; `false` when the order was followed before.
    ///
    /// Once this is answered, they are denied, also after a restart.
    fn revoke<'s>(&'s self, revocation: &'s Revocation<'s>) -> StoreFuture<'s, bool>;

    /// Ends one session by its name, and gives back what an operator may see of it.
    fn end(&self, id: SessionKey) -> StoreFuture<'_, Option<SessionOutline>>;

    /// What an operator may see of one session.
    fn outline(&self, id: SessionKey) -> StoreFuture<'_, Option<SessionOutline>>;

    /// A part of all sessions, the first one or that at `next` of the one before; `None` for a place that is none.
    ///
    /// What begins or ends meanwhile may be missing or stand in two parts.
    fn page(&self, at: Option<String>) -> StoreFuture<'_, Option<Page>>;

    /// Frees what sessions hold that have ended by `now`; called every now and then.
    fn reclaim(&self, now: UnixTime) -> StoreFuture<'_, ()>;

    /// About how many sessions are kept, for metrics; those that were revoked may be among them until they would have ended.
    fn count(&self) -> u64;

    /// Whether it answers, as far as is known.
    fn is_up(&self) -> bool;

    /// Whether a session that begins now outlives the process, as far as is known.
    fn is_durable(&self) -> bool {
        self.is_up()
    }
}
