//! Up to when this process has heard all revocations and removals of others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Shared;
use crate::session::StoreError;

/// Up to when all revocations and removals were heard.
pub(super) struct Freshness {
    began: Instant,
    /// Milliseconds after `began`, plus one; 0: never yet, or not known any more.
    heard: AtomicU64,
    news: Notify,
    /// The number of times that something may have been missed.
    gaps: AtomicU64,
}

/// That the server was known, at some time, to be the one that all processes follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proof {
    gaps: u64,
}

impl Default for Freshness {
    fn default() -> Self {
        Self { began: Instant::now(), heard: AtomicU64::new(0), news: Notify::new(), gaps: AtomicU64::new(0) }
    }
}

impl Freshness {
    fn is_within(&self, staleness: Duration) -> bool {
        let heard = self.heard.load(Ordering::Acquire);
        let age = || self.began.elapsed().saturating_sub(Duration::from_millis(heard - 1));
        heard > 0 && age() <= staleness
    }

    pub(super) fn note(&self, at: Instant) {
        let millis = at.saturating_duration_since(self.began).as_millis();
        self.heard.store(u64::try_from(millis).unwrap_or(u64::MAX - 1) + 1, Ordering::Release);
        self.news.notify_waiters();
    }

    pub(super) fn invalidate(&self) {
        self.gaps.fetch_add(1, Ordering::AcqRel);
        self.heard.store(0, Ordering::Release);
    }

    pub(super) fn gaps(&self) -> u64 {
        self.gaps.load(Ordering::Acquire)
    }
}

impl Shared {
    pub(super) fn is_fresh(&self) -> bool {
        self.freshness.is_within(self.staleness)
    }

    pub(super) fn ensure_fresh(&self) -> Result<(), StoreError> {
        if self.is_fresh() { Ok(()) } else { Err(self.stale()) }
    }

    fn stale(&self) -> StoreError {
        let seconds = self.staleness.as_secs_f32();
        StoreError(format!("what was revoked in the last {seconds} s is not known: Redis is away"))
    }

    /// Waits while the streams are read anew: after the start, or after something may have been missed.
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
        tokio::time::timeout(self.timeout, fresh).await.map_err(|_| self.stale())
    }

    /// To be taken before a write that must not be lost, for [`Shared::stands`].
    ///
    /// # Errors
    ///
    /// When the server is not known. What ends sessions is written all the same: each process that hears of it denies them.
    pub(super) async fn proof(&self) -> Result<Proof, StoreError> {
        self.until_fresh().await?;
        Ok(Proof { gaps: self.freshness.gaps() })
    }

    /// Whether a write since `proof` may be acknowledged.
    ///
    /// # Errors
    ///
    /// Where another server may have taken the place of the one that was written to.
    pub(super) fn stands(&self, proof: Result<Proof, StoreError>) -> Result<(), StoreError> {
        if proof?.gaps == self.freshness.gaps() { self.ensure_fresh() } else { Err(self.stale()) }
    }
}
