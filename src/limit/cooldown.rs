use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;

use crate::world::UnixTime;

/// For each key, whether something was done less than a period ago.
pub(crate) struct Cooldowns<K> {
    period: Duration,
    started: Mutex<Started<K>>,
}

struct Started<K> {
    ends: HashMap<K, UnixTime>,
    /// When those that are over were forgotten for the last time.
    swept: UnixTime,
}

impl<K: Eq + Hash> Cooldowns<K> {
    pub(crate) fn new(period: Duration) -> Self {
        Self { period, started: Mutex::new(Started { ends: HashMap::new(), swept: UnixTime::default() }) }
    }

    /// Begins a period for `key`, in place of one that is not over.
    pub(crate) fn start(&self, key: K, now: UnixTime) {
        let mut started = self.started.lock();
        started.sweep(self.period, now);
        started.ends.insert(key, now + self.period);
    }

    /// Begins a period for `key`, unless one is not over; says whether it did.
    pub(crate) fn try_start(&self, key: K, now: UnixTime) -> bool {
        let mut started = self.started.lock();
        started.sweep(self.period, now);
        let is_over = started.ends.get(&key).is_none_or(|end| *end <= now);
        if is_over {
            started.ends.insert(key, now + self.period);
        }
        is_over
    }

    /// Whether the period of `key` is not over.
    pub(crate) fn is_running<Q: Eq + Hash + ?Sized>(&self, key: &Q, now: UnixTime) -> bool
    where
        K: Borrow<Q>,
    {
        self.started.lock().ends.get(key).is_some_and(|end| now < *end)
    }
}

impl<K> Started<K> {
    fn sweep(&mut self, period: Duration, now: UnixTime) {
        if self.swept + period <= now {
            self.ends.retain(|_, end| now < *end);
            self.swept = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(30);

    #[test]
    fn a_period_is_of_one_key_and_ends() {
        let cooldowns = Cooldowns::new(PERIOD);
        let now = UnixTime::from_secs(1000);
        let after = |seconds| now + Duration::from_secs(seconds);
        cooldowns.start("one", now);
        for (key, later, expected) in [("one", 0, true), ("one", 29, true), ("one", 30, false), ("other", 0, false)] {
            assert_eq!(cooldowns.is_running(key, after(later)), expected, "{key} {later}");
        }
        cooldowns.start("one", after(20));
        assert!(cooldowns.is_running("one", after(49)), "begun anew");
    }

    #[test]
    fn of_many_tries_in_a_period_one_starts_it() {
        let cooldowns = Cooldowns::new(PERIOD);
        let begin = UnixTime::from_secs(1000);
        for (second, key, expected) in [
            (0, "one", true),
            (0, "one", false),
            (0, "two", true),
            (29, "three", true),
            (29, "one", false),
            (30, "one", true),
            (58, "three", false),
            (59, "three", true),
            (1000, "four", true),
        ] {
            let now = begin + Duration::from_secs(second);
            assert_eq!(cooldowns.try_start(key, now), expected, "{second} {key}");
        }
        assert_eq!(cooldowns.started.lock().ends.len(), 1, "what is over is forgotten");
    }
}
