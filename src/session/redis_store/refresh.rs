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
const LEASE_RENEWALS: u32 = 4;

impl RedisStore {
    pub(super) async fn begin_refresh(&self, token: &SessionToken) -> Result<Begun, StoreError> {
        let Some(session) = self.load(token).await? else { return Ok(Begun::Gone) };
        let (shared, key) = (&self.shared, token.key());
        let owner: [u8; 16] = shared.world.random().map_err(|error| StoreError(error.to_string()))?;
        let reusable = session.refreshable().is_some_and(Refreshable::is_reusable);
        let begun = shared.redis.begin_refresh(key.as_bytes(), &owner, shared.lease, reusable).await;
        match begun.inspect_err(|_| self.give_back(key, owner, session.expires_at())).map_err(failed)? {
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
