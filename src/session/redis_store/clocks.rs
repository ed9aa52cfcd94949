//! Whether the clock of this process and that of Redis agree.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::world::UnixTime;

/// More than that is told.
const MOST: Duration = Duration::from_secs(2);

/// Of so many comparisons that find a difference, one is told: they are made once a minute.
const TOLD_SHARE: u64 = 60;

/// Compares clocks: an order to end sessions means those that began before it, by the clock of who gave it.
#[derive(Default)]
pub(super) struct Clocks {
    /// How often in a row they differed.
    differed: AtomicU64,
}

impl Clocks {
    /// Compares the server's time with ours before and after it was asked for.
    pub(super) fn compare(&self, before: UnixTime, server: UnixTime, after: UnixTime) {
        let difference = difference(before, server, after);
        if difference <= MOST {
            self.differed.store(0, Ordering::Relaxed);
            return;
        }
        if self.differed.fetch_add(1, Ordering::Relaxed).is_multiple_of(TOLD_SHARE) {
            let seconds = difference.as_secs();
            tracing::warn!(seconds, "the clocks of this host and of Redis differ");
        }
    }
}

/// At least so much they differ: when the server looked at its clock between the two is not known.
fn difference(before: UnixTime, server: UnixTime, after: UnixTime) -> Duration {
    before.since(server).max(server.since(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(before: u64, server: u64, after: u64, expected: u64) {
        let at = UnixTime::from_millis;
        assert_eq!(difference(at(before), at(server), at(after)), Duration::from_millis(expected));
    }

    #[test]
    fn what_the_way_takes_is_no_difference() {
        check(1000, 1000, 1000, 0);
        check(1000, 4000, 9000, 0);
        check(1000, 9500, 9000, 500);
        check(4000, 1000, 9000, 3000);
        // The clock was put back meanwhile.
        check(9000, 5000, 1000, 4000);
    }
}
