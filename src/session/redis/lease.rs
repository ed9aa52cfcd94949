//! The lease for a refresh, which one process at a time has.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::Shared;
use crate::session::backend::LeaseReply;
use crate::session::redis::client::{BeginReply, Finish, RedisError};
use crate::session::{Finished, Lease, Refreshable, Session, SessionKey, StoreError};
use crate::world::UnixTime;

/// The time after which a lease runs out without a renewal.
pub(super) const LEASE: Duration = Duration::from_secs(15);

/// The number of renewals in that time.
pub(super) const LEASE_RENEWALS: u32 = 4;

impl Shared {
    pub(super) async fn begin_refresh(
        self: &Arc<Self>,
        key: SessionKey,
        session: &Session,
    ) -> Result<LeaseReply, StoreError> {
        let owner: [u8; 16] = self.cache.world.random()?;
        let may_retake = session.refreshable().is_some_and(Refreshable::is_reusable);
        let begun = self.redis.begin_refresh(key.as_bytes(), &owner, self.lease, may_retake).await;
        let lease = || {
            let keeper = tokio::spawn(keep_lease(Arc::clone(self), key, owner));
            Lease { owner, _keeper: Some(AbortOnDropHandle::new(keeper)) }
        };
        Ok(match begun.inspect_err(|_| self.give_back(key, owner, session.expires_at()))? {
            // A removed session has no lease.
            BeginReply::Taken(_) | BeginReply::Retaken(_) if self.was_removed(key) => LeaseReply::Gone,
            BeginReply::Taken(record) => LeaseReply::Lease(lease(), Some(record)),
            BeginReply::Retaken(record) => LeaseReply::Retaken(lease(), record),
            BeginReply::Busy => LeaseReply::Busy,
            BeginReply::Abandoned(record) => LeaseReply::Spent(Some(record)),
            BeginReply::Gone => LeaseReply::Gone,
        })
    }

    /// Gives back a lease whose answer was lost: it would run out as if the token had been sent.
    ///
    /// A Redis that stood still may take the lease after it was asked to release it, so it is asked several times.
    fn give_back(self: &Arc<Self>, key: SessionKey, owner: [u8; 16], ends_at: UnixTime) {
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let mut told = 0;
            while told < LEASE_RENEWALS && shared.cache.world.now() < ends_at {
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
        self: &Arc<Self>,
        key: SessionKey,
        lease: &Lease,
        finished: Finished,
        record: &[u8],
    ) -> Result<bool, RedisError> {
        let finish = match finished {
            Finished::Renewed(_) => Finish::Replace(record, self.ttl(record)),
            Finished::Untouched => Finish::Release,
            Finished::Unanswered => Finish::Keep,
        };
        let done = self.redis.finish_refresh(key.as_bytes(), &lease.owner, finish).await?;
        let Finished::Renewed(session) = finished else { return Ok(done) };
        let kept = done && !self.was_removed(key);
        if kept {
            self.cache.sessions.replace(&key, session);
        } else {
            // Whatever the record is now, it is not what is in memory.
            self.cache.sessions.remove(&key);
        }
        Ok(kept)
    }
}

/// Renews a lease until it is dropped or lost.
async fn keep_lease(shared: Arc<Shared>, key: SessionKey, owner: [u8; 16]) {
    loop {
        tokio::time::sleep(shared.lease / LEASE_RENEWALS).await;
        // While Redis does not answer, there is time for two more attempts.
        if let Ok(false) = shared.redis.renew_refresh(key.as_bytes(), &owner, shared.lease).await {
            return;
        }
    }
}
