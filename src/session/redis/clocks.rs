//! Compares the clock of this process with that of Redis.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::world::UnixTime;

/// A larger difference is written to the log.
const MOST: Duration = Duration::from_secs(2);

/// One of this many comparisons that find a difference is written to the log: they are made once a minute.
const TOLD_SHARE: u64 = 60;

/// Compares clocks: sessions and logins end by the clock of the process.
#[derive(Default)]
pub(super) struct Clocks {
    /// The number of differences in a row.
    differed: AtomicU64,
}

impl Clocks {
    /// Compares the server's time with this process's time before and after the request.
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

/// The smallest possible difference: when the server read its clock between the two is not known.
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
        // The clock was set back meanwhile.
        check(9000, 5000, 1000, 4000);
    }
}
