//! When a provider is to be asked whether it still vouches for a user.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::world::UnixTime;

/// The browser is sent to the provider at most this often in this time without an answer. People are slower; what is faster is
/// many tabs or a loop. Browsers give up after twenty redirects, and one trip takes three or four.
const BURST: Duration = Duration::from_secs(10);
const MOST_IN_BURST: u64 = 4;

/// The pause between two attempts to confirm a session while requests wait.
const CONFIRMATION_PAUSE: Duration = Duration::from_secs(1);

/// When the provider is to be asked whether it still vouches for a user.
#[derive(Debug)]
pub struct Schedule {
    /// When the provider is asked while no request waits, in milliseconds.
    pub(super) due_at: AtomicU64,
    /// From then on the session counts only after the provider was asked.
    confirm_by: UnixTime,
    /// When the provider may be asked again while requests wait, in milliseconds.
    confirm_again: AtomicU64,
    /// Whether the refresh token may be spent.
    pub(super) given_up: AtomicBool,
    /// Whether the last answer did not confirm the user.
    refused: AtomicBool,
    /// Whether the last answer brought no ID token.
    pub(super) no_token: AtomicBool,
    /// The second in which a burst of trips began, times 256, plus the number of trips.
    burst: AtomicU64,
}

impl Schedule {
    /// The provider is asked at `due_at`; without an answer, the session does not count from `confirm_by` on.
    #[must_use]
    pub const fn new(due_at: UnixTime, confirm_by: UnixTime) -> Self {
        let due_at = AtomicU64::new(due_at.as_millis());
        Self {
            due_at,
            confirm_by,
            confirm_again: AtomicU64::new(0),
            given_up: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            no_token: AtomicBool::new(false),
            burst: AtomicU64::new(0),
        }
    }

    /// A copy for a session that replaces another one.
    pub(super) fn unchanged(&self) -> Self {
        let burst = AtomicU64::new(self.burst.load(Ordering::Relaxed));
        Self { burst, ..Self::new(self.due_at(), self.confirm_by) }
    }

    /// A copy after a failure that left another token: the provider is asked at `due_at`, and while requests wait no sooner
    /// than before.
    pub(crate) fn after_failure(&self, due_at: UnixTime) -> Self {
        let confirm_again = AtomicU64::new(self.confirm_again.load(Ordering::Relaxed));
        let refused = AtomicBool::new(self.was_refused());
        Self { confirm_again, refused, ..Self::new(due_at, self.confirm_by) }
    }

    /// Takes the turn to ask, where one is due: one of several callers gets it. The next turn is at `again`.
    pub(crate) fn take_turn(&self, now: UnixTime, again: UnixTime) -> bool {
        let due = self.due_at.load(Ordering::Relaxed);
        due <= now.as_millis()
            && self.due_at.compare_exchange(due, again.as_millis(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Sends the browser to the provider, where that is due. It stays due until [`Schedule::postpone`], because an answer may
    /// never come; only a burst of trips is stopped.
    pub(crate) fn take_trip(&self, now: UnixTime) -> bool {
        let trip = |burst: u64| {
            let (began, count) = (UnixTime::from_secs(burst >> 8), burst & 0xff);
            if now < began || began + BURST <= now {
                Some(now.as_secs() << 8 | 1)
            } else {
                (count < MOST_IN_BURST).then_some(burst + 1)
            }
        };
        self.is_due(now) && self.burst.fetch_update(Ordering::Relaxed, Ordering::Relaxed, trip).is_ok()
    }

    /// Notes that the provider answered, so the next question is not due before `again`.
    pub(crate) fn postpone(&self, again: UnixTime) {
        self.due_at.fetch_max(again.as_millis(), Ordering::Relaxed);
    }

    /// Takes the turn to ask while requests wait: one of all callers within a second gets it.
    pub(crate) fn take_confirmation(&self, now: UnixTime) -> bool {
        let again = self.confirm_again.load(Ordering::Relaxed);
        let next = (now + CONFIRMATION_PAUSE).as_millis();
        again <= now.as_millis()
            && self.confirm_again.compare_exchange(again, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Whether a turn is due.
    pub(crate) fn is_due(&self, now: UnixTime) -> bool {
        self.due_at.load(Ordering::Relaxed) <= now.as_millis()
    }

    /// Whether the session counts only after the provider was asked.
    pub(crate) fn is_over(&self, now: UnixTime) -> bool {
        self.confirm_by <= now
    }

    /// Notes whether the provider answered without confirming the user; otherwise it did not answer.
    pub(crate) fn note_failure(&self, refused: bool) {
        self.refused.store(refused, Ordering::Relaxed);
    }

    /// Whether the last answer did not confirm the user, as far as this process knows; `false` without an answer since.
    pub(crate) fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// From when on the session counts only after the provider was asked.
    pub(crate) const fn confirm_by(&self) -> UnixTime {
        self.confirm_by
    }

    pub(super) fn due_at(&self) -> UnixTime {
        UnixTime::from_millis(self.due_at.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trip_stays_due_until_an_answer_comes() {
        let at = UnixTime::from_secs;
        let schedule = Schedule::new(at(100), at(200));
        assert!(!schedule.take_trip(at(99)));
        for second in [100, 100, 101, 109] {
            assert!(schedule.take_trip(at(second)), "{second}");
        }
        assert!(!schedule.take_trip(at(109)), "a burst");
        for second in [110, 130, 150, 155, 158, 159] {
            assert!(schedule.take_trip(at(second)), "{second}");
        }
        let schedule = schedule.unchanged();
        assert!(!schedule.take_trip(at(159)), "of the same session");
        assert!(schedule.take_trip(at(20 * 60)));
        schedule.postpone(at(30 * 60));
        schedule.postpone(at(25 * 60));
        assert!(!schedule.take_trip(at(30 * 60 - 1)) && schedule.take_trip(at(30 * 60)));
        assert!(schedule.take_trip(at(100 * 60)));
        let earlier = Schedule::new(at(0), at(200));
        assert!(earlier.take_trip(at(1000)) && earlier.take_trip(at(500)), "a clock that was set back");
    }
}
