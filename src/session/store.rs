use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::{Finished, Lease, LeaseAnswer, Page, Revocation, Session, SessionKey, SessionOutline, SessionToken};
use crate::world::UnixTime;

/// The result of a store's operation.
pub type StoreFuture<'s, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 's>>;

/// The store did not answer; whether there is a session is not known.
#[derive(Debug, thiserror::Error)]
#[error("the session store does not answer: {0}")]
pub struct StoreError(pub String);

/// Where sessions are kept between requests.
///
/// A record can be reached only with the token that the browser has. A store may forget a session early, and never keeps
/// one longer than it lives. It never gives out a revoked session.
pub trait SessionStore: Send + Sync {
    /// The session of `token`, where it is in memory; most checks are answered with it.
    fn cached(&self, token: &SessionToken) -> Option<Arc<Session>>;

    /// The session of `token`; `None` when there is none.
    fn load<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>>;

    /// Keeps `session` under `token`.
    fn save<'s>(&'s self, token: &'s SessionToken, session: Arc<Session>) -> StoreFuture<'s, ()>;

    /// Removes the session of `token`, and returns it; it cannot be loaded again.
    fn remove<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>>;

    /// Takes the lease for a refresh, before the refresh token is sent.
    fn begin_refresh<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, LeaseAnswer>;

    /// Ends a refresh; `false`, and nothing changes, when the lease was lost meanwhile or the session is gone.
    fn finish_refresh<'s>(
        &'s self,
        token: &'s SessionToken,
        lease: &'s Lease,
        finished: Finished,
    ) -> StoreFuture<'s, bool>;

    /// Ends sessions, also those whose login is under way; `false` when the same order was carried out before.
    ///
    /// Once this returns, they are denied, also after a restart.
    fn revoke<'s>(&'s self, revocation: &'s Revocation<'s>) -> StoreFuture<'s, bool>;

    /// Ends the session with this key, and returns its outline.
    fn end(&self, id: SessionKey) -> StoreFuture<'_, Option<SessionOutline>>;

    /// What an operator may see of one session.
    fn outline(&self, id: SessionKey) -> StoreFuture<'_, Option<SessionOutline>>;

    /// A page of all sessions: the first one, or the one that `next` of another page names; `None` for an unknown place.
    ///
    /// A session that begins or ends meanwhile may be missing or be on two pages.
    fn page(&self, at: Option<String>) -> StoreFuture<'_, Option<Page>>;

    /// Frees what sessions hold that have ended by `now`; the daemon calls it every now and then.
    fn reclaim(&self, now: UnixTime) -> StoreFuture<'_, ()>;

    /// The approximate number of sessions, for metrics; revoked ones may count until they would have ended.
    fn count(&self) -> u64;

    /// Whether the store answers, as far as is known.
    fn is_up(&self) -> bool;

    /// Whether a session that begins now outlives the process, as far as is known.
    fn is_durable(&self) -> bool {
        self.is_up()
    }
}
