//! The right to refresh a session, which one process at a time has.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio_util::task::AbortOnDropHandle;

use super::{RedisStore, Shared, failed};
use crate::session::redis::{self, Finish};
use crate::session::{Begun, Finished, Lease, Refreshable, Session, SessionKey, SessionToken, StoreError};
use crate::world::UnixTime;

/// The right to refresh runs out so long after its holder was heard of for the last time.
pub(super) const LEASE: Duration = Duration::from_secs(15);

/// The holder is heard of so many times in that time.
pub(super) const LEASE_RENEWALS: u32 = 4;

impl RedisStore {
    pub(super) async fn begin_refresh(&self, token: &SessionToken) -> Result<Begun, StoreError> {
        let Some(session) = self.load(token).await? else { return Ok(Begun::Gone) };
        let (shared, key) = (&self.shared, token.key());
        let owner: [u8; 16] = shared.world.random().map_err(|error| StoreError(error.to_string()))?;
        let is_reusable = |session: &Session| session.refreshable().is_some_and(Refreshable::is_reusable);
        let may_retake = is_reusable(&session);
        let begun = shared.redis.begin_refresh(key.as_bytes(), &owner, shared.lease, may_retake).await;
        match begun.inspect_err(|_| self.give_back(key, owner, session.expires_at())).map_err(failed)? {
            redis::Begun::Taken(record) => Ok(self.leased(token, owner, session, &record)),
            redis::Begun::Retaken(record) => {
                if shared.open(token, &record).as_ref().is_none_or(is_reusable) {
                    return Ok(self.leased(token, owner, session, &record));
                }
                // What is known here is older than the record: the provider gives a new token each time by now.
                shared.redis.finish_refresh(key.as_bytes(), &owner, Finish::Keep).await.map_err(failed)?;
                Ok(self.spent(token, &session, &record))
            }
            redis::Begun::Busy => Ok(Begun::Busy),
            redis::Begun::Abandoned(record) => Ok(self.spent(token, &session, &record)),
            redis::Begun::Gone => {
                shared.cache.remove(&key);
                Ok(Begun::Gone)
            }
        }
    }

    /// The lease is ours, and `record` the newest that there is.
    fn leased(&self, token: &SessionToken, owner: [u8; 16], session: Arc<Session>, record: &[u8]) -> Begun {
        let (shared, key) = (&self.shared, token.key());
        // A lease of what was removed goes with it.
        let Some(newest) = shared.open(token, record).filter(|_| !shared.was_removed(key)) else { return Begun::Gone };
        let keeper = tokio::spawn(keep_lease(Arc::clone(shared), key, owner));
        let lease = Lease { owner, _keeper: Some(AbortOnDropHandle::new(keeper)) };
        // What takes the record's place must not be older than the uses in it.
        session.kept(newest.last_check());
        if is_same_login(&session, &newest) {
            return Begun::Lease(lease, session);
        }
        let newest = Arc::new(newest);
        shared.replace(&key, &session, Arc::clone(&newest));
        Begun::Lease(lease, newest)
    }

    /// Nobody knows what became of the token in `record`.
    fn spent(&self, token: &SessionToken, session: &Session, record: &[u8]) -> Begun {
        let shared = &self.shared;
        // It may have been refreshed elsewhere before, and go on for longer than is known here.
        if let Some(newest) = shared.open(token, record).filter(|newest| !is_same_login(session, newest)) {
            shared.replace(&token.key(), session, Arc::new(newest));
        }
        Begun::Spent
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

    pub(super) async fn finish_refresh(
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
                let kept = kept && !shared.was_removed(key);
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
}

impl Shared {
    /// Puts what was written down in the place of what memory knows, which may know of later uses.
    fn replace(&self, key: &SessionKey, known: &Session, newest: Arc<Session>) {
        if known.was_checked() {
            newest.touch(known.last_use());
        }
        self.cache.replace(key, newest);
    }
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
