//! When a provider is to be asked whether it still vouches for a user.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::world::UnixTime;

/// In this time a browser is sent to the provider so many times without an answer. People are slower; what is faster is a
/// crowd of tabs, or goes round. Browsers give up after twenty redirects, and each time takes three or four.
const BURST: Duration = Duration::from_secs(10);
const MOST_IN_BURST: u64 = 4;

/// Between two tries to confirm a session that somebody waits for.
const CONFIRMATION_PAUSE: Duration = Duration::from_secs(1);

/// When the provider is to be asked whether it still vouches for a user.
#[derive(Debug)]
pub struct Schedule {
    /// When it is asked again, without anybody waiting for it; in milliseconds.
    pub(super) due_at: AtomicU64,
    /// From then on the session counts only once it was asked.
    confirm_by: UnixTime,
    /// Not before then is it asked while somebody waits; in milliseconds.
    confirm_again: AtomicU64,
    /// Whether there is nothing to ask with.
    pub(super) given_up: AtomicBool,
    /// Whether the last answer did not vouch for the user.
    refused: AtomicBool,
    /// Whether the last answer brought no ID token.
    pub(super) no_token: AtomicBool,
    /// The second in which a burst of trips of the browser began, times 256, and how many they are.
    burst: AtomicU64,
}

impl Schedule {
    /// To be asked at `due_at`; without an answer, the session is not to be used from `confirm_by` on.
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

    /// The same once more, for a session that takes another's place.
    pub(super) fn unchanged(&self) -> Self {
        let burst = AtomicU64::new(self.burst.load(Ordering::Relaxed));
        Self { burst, ..Self::new(self.due_at(), self.confirm_by) }
    }

    /// The same after a failure that left another token to ask with: to be asked at `due_at`, and while somebody waits no sooner
    /// than with the one before.
    #[must_use]
    pub fn after_failure(&self, due_at: UnixTime) -> Self {
        let confirm_again = AtomicU64::new(self.confirm_again.load(Ordering::Relaxed));
        let refused = AtomicBool::new(self.was_refused());
        Self { confirm_again, refused, ..Self::new(due_at, self.confirm_by) }
    }

    /// Takes the turn to ask where that is due: of all who want it at once, one gets it. The next turn is at `again`.
    #[must_use]
    pub fn take_turn(&self, now: UnixTime, again: UnixTime) -> bool {
        let due = self.due_at.load(Ordering::Relaxed);
        due <= now.as_millis()
            && self.due_at.compare_exchange(due, again.as_millis(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Sends the browser on a trip to the provider where that is due. It stays due until [`Schedule::postpone`], as nobody knows
    /// whether an answer will come; only a burst of trips is stopped.
    #[must_use]
    pub fn take_trip(&self, now: UnixTime) -> bool {
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

    /// Notes that the provider answered, so that the next question is not due before `again`.
    pub fn postpone(&self, again: UnixTime) {
        self.due_at.fetch_max(again.as_millis(), Ordering::Relaxed);
    }

    /// Takes the turn to ask while somebody waits: of all who want it within a second, one gets it.
    #[must_use]
    pub fn take_confirmation(&self, now: UnixTime) -> bool {
        let again = self.confirm_again.load(Ordering::Relaxed);
        let next = (now + CONFIRMATION_PAUSE).as_millis();
        again <= now.as_millis()
            && self.confirm_again.compare_exchange(again, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Whether a turn could be taken.
    #[must_use]
    pub fn is_due(&self, now: UnixTime) -> bool {
        self.due_at.load(Ordering::Relaxed) <= now.as_millis()
    }

    /// Whether the session counts only once the provider was asked.
    #[must_use]
    pub fn is_over(&self, now: UnixTime) -> bool {
        self.confirm_by <= now
    }

    /// Notes whether the provider answered and did not vouch for the user; otherwise it did not answer.
    pub fn note_failure(&self, refused: bool) {
        self.refused.store(refused, Ordering::Relaxed);
    }

    /// Whether the last answer did not vouch for the user, as far as this process knows; without an answer since, `false`.
    #[must_use]
    pub fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// From when on the session counts only once the provider was asked.
    #[must_use]
    pub const fn confirm_by(&self) -> UnixTime {
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
