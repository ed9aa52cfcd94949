//! Up to when all was heard that others revoke and remove.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Shared;
use crate::session::redis::Follower;
use crate::session::revocation::Entry;
use crate::session::{SessionKey, StoreError};

/// Up to when all revocations and removals were heard.
pub(super) struct Freshness {
    began: Instant,
    /// Milliseconds after `began`, and one; 0: never yet, or no longer known.
    heard: AtomicU64,
    news: Notify,
}

impl Default for Freshness {
    fn default() -> Self {
        Self { began: Instant::now(), heard: AtomicU64::new(0), news: Notify::new() }
    }
}

impl Freshness {
    fn is_within(&self, staleness: Duration) -> bool {
        let heard = self.heard.load(Ordering::Acquire);
        let age = || self.began.elapsed().saturating_sub(Duration::from_millis(heard - 1));
        heard > 0 && age() <= staleness
    }

    fn hear(&self, at: Instant) {
        let millis = at.saturating_duration_since(self.began).as_millis();
        self.heard.store(u64::try_from(millis).unwrap_or(u64::MAX - 1) + 1, Ordering::Release);
        self.news.notify_waiters();
    }

    fn doubt(&self) {
        self.heard.store(0, Ordering::Release);
    }
}

impl Shared {
    pub(super) fn is_fresh(&self) -> bool {
        self.freshness.is_within(self.staleness)
    }

    pub(super) fn stale(&self) -> StoreError {
        let seconds = self.staleness.as_secs_f32();
        StoreError(format!("what was revoked in the last {seconds} s is not known: Redis is away"))
    }

    /// Waits where everything is being heard anew: after the start, or where something may have been missed.
    pub(super) async fn until_fresh(&self) -> Result<(), StoreError> {
        let fresh = async {
            loop {
                let news = self.freshness.news.notified();
                if self.is_fresh() {
                    return;
                }
                news.await;
            }
        };
        if self.is_fresh() {
            return Ok(());
        }
        if self.freshness.heard.load(Ordering::Acquire) > 0 {
            return Err(self.stale());
        }
        tokio::time::timeout(self.patience, fresh).await.map_err(|_| self.stale())
    }
}

impl Follower for Shared {
    fn revoked(&self, entry: &[u8]) {
        // Nobody else writes there; what is no entry means nobody.
        if let Some(entry) = Entry::read(entry) {
            self.revocations.add(entry);
        }
    }

    fn removed(&self, key: &[u8; 32]) {
        self.cache.remove(&SessionKey::from_bytes(*key));
    }

    fn current(&self, at: Instant) {
        self.freshness.hear(at);
    }

    fn gap(&self) {
        self.freshness.doubt();
        self.cache.clear();
    }
}
