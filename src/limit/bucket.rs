use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How often something may happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    /// So often at once.
    burst: u32,
    /// So often more after each interval, and never more than `burst` at once.
    refill: u32,
    interval: Duration,
}

impl Quota {
    /// `burst` times at once, and once more after each `interval`.
    pub(crate) const fn steady(burst: u32, interval: Duration) -> Self {
        Self { burst, refill: 1, interval }
    }

    /// `burst` times in a window of this length, which begins with the first time.
    pub(crate) const fn window(burst: u32, interval: Duration) -> Self {
        Self { burst, refill: burst, interval }
    }

    /// How long an empty bucket takes to be full.
    fn time_to_fill(&self) -> Duration {
        self.interval.saturating_mul(self.burst.div_ceil(self.refill.max(1)))
    }
}

/// A token bucket: it begins full, each take needs a token, and tokens come back with time.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    quota: Quota,
    left: u32,
    /// Up to when `left` has grown.
    grown: Instant,
}

impl TokenBucket {
    pub(crate) const fn new(quota: Quota, now: Instant) -> Self {
        Self { quota, left: quota.burst, grown: now }
    }

    /// Takes a token; `false` when there is none.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let Quota { burst, refill, interval } = self.quota;
        let intervals = now.saturating_duration_since(self.grown).as_nanos() / interval.as_nanos().max(1);
        let earned = u32::try_from(intervals).ok().and_then(|intervals| intervals.checked_mul(refill));
        match earned.filter(|earned| self.left.saturating_add(*earned) < burst) {
            Some(earned) => {
                self.left += earned;
                self.grown += interval * (earned / refill.max(1));
            }
            None => *self = Self::new(self.quota, now),
        }
        let taken = self.left > 0;
        self.left = self.left.saturating_sub(1);
        taken
    }

    /// Gives a token back that was taken.
    pub(crate) fn put_back(&mut self) {
        self.left = self.left.saturating_add(1).min(self.quota.burst);
    }
}

/// A token bucket for each key. A bucket is forgotten once it is full again, or to make room for others.
pub(crate) struct TokenBuckets<K> {
    quota: Quota,
    buckets: Cache<K, Arc<Mutex<TokenBucket>>>,
}

/// No bucket is kept longer that is not used; the cache takes no times without bound.
const LONGEST_KEPT: Duration = Duration::from_hours(24 * 31);

impl<K: Eq + Hash + Send + Sync + 'static> TokenBuckets<K> {
    /// Buckets for `most` keys.
    pub(crate) fn new(quota: Quota, most: u64) -> Self {
        let kept = quota.time_to_fill().min(LONGEST_KEPT);
        Self { quota, buckets: Cache::builder().max_capacity(most).time_to_idle(kept).build() }
    }

    /// Takes a token from the bucket of `key`, and hands out the bucket; `None` when it has no token.
    pub(crate) fn take(&self, key: K, now: Instant) -> Option<Arc<Mutex<TokenBucket>>> {
        let bucket = self.buckets.get_with(key, || Arc::new(Mutex::new(TokenBucket::new(self.quota, now))));
        let taken = bucket.lock().take(now);
        taken.then_some(bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes as (milliseconds since the beginning, how many tries, how many of them get a token).
    #[track_caller]
    fn check(quota: Quota, takes: &[(u64, usize, usize)]) {
        let begin = Instant::now();
        let mut bucket = TokenBucket::new(quota, begin);
        for (at, tries, expected) in takes {
            let now = begin + Duration::from_millis(*at);
            let taken = (0..*tries).filter(|_| bucket.take(now)).count();
            assert_eq!(taken, *expected, "{quota:?} at {at}");
        }
    }

    #[test]
    fn tokens_come_back_one_after_the_other() {
        let quota = Quota::steady(100, Duration::from_millis(100));
        check(
            quota,
            &[
                (0, 1000, 100),
                (99, 1000, 0),
                (100, 1000, 1),
                (1000, 1000, 9),
                (1050, 1000, 0),
                (1100, 1, 1),
                (5000, 5, 5),
                (5000, 1000, 34),
                (1_000_000, 1000, 100),
                (u64::MAX >> 24, 1000, 100),
            ],
        );
        assert_eq!(quota.time_to_fill(), Duration::from_secs(10));
    }

    #[test]
    fn a_window_begins_with_the_first_take() {
        let quota = Quota::window(3, Duration::from_secs(1));
        check(quota, &[(500, 2, 2), (1499, 5, 1), (1500, 5, 3), (2499, 1, 0), (10_000, 5, 3), (10_999, 1, 0)]);
        assert_eq!(quota.time_to_fill(), Duration::from_secs(1));
        let now = Instant::now();
        let mut bucket = TokenBucket::new(quota, now);
        for _ in 0..10 {
            assert!(bucket.take(now));
            bucket.put_back();
        }
    }

    #[test]
    fn each_key_has_a_bucket() {
        let buckets = TokenBuckets::new(Quota::window(2, Duration::MAX), 10);
        let now = Instant::now();
        let got = ["a", "a", "a", "b"].map(|key| buckets.take(key, now).is_some());
        assert_eq!(got, [true, true, false, true]);
    }
}
