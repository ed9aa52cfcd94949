use std::time::Duration;

use super::Refresher;
use crate::session::Schedule;
use crate::world::UnixTime;

/// The least pause between two refreshes of a session, however short its tokens live.
const SHORTEST_PAUSE: Duration = Duration::from_secs(10);

impl Refresher {
    /// When to refresh a session that was confirmed `now`, and whose tokens expire at `ends`; `None`: never.
    ///
    /// Tokens are renewed when a fifth of their lifetime is left, so that an application does not get an expired one.
    pub(crate) fn schedule(&self, now: UnixTime, ends: [Option<UnixTime>; 2]) -> Option<Schedule> {
        let pause = pause(self.revalidation.after?, now, ends);
        Some(Schedule::new(now + pause, now + self.revalidation.within))
    }
}

/// From `now` to the next refresh: `after`, or until a fifth is left of the time to the first of `ends`.
fn pause(after: Duration, now: UnixTime, ends: [Option<UnixTime>; 2]) -> Duration {
    let ahead = |end: UnixTime| end.since(now).mul_f32(0.8);
    let pause = ends.into_iter().flatten().map(ahead).fold(after, Duration::min);
    pause.max(SHORTEST_PAUSE.min(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    /// Ends are in seconds from now.
    #[track_caller]
    fn check(after: u64, ends: [Option<i64>; 2], expected: u64) {
        let end = |end: i64| UnixTime::from_secs(NOW.saturating_add_signed(end));
        let got = pause(Duration::from_secs(after), UnixTime::from_secs(NOW), ends.map(|it| it.map(end)));
        assert_eq!(got.as_millis().div_ceil(1000), u128::from(expected), "{after} {ends:?}");
    }

    #[test]
    fn tokens_that_end_early_are_renewed_early_and_never_all_the_time() {
        check(300, [None, None], 300);
        check(300, [Some(3600), Some(3600)], 300);
        check(300, [Some(200), Some(3600)], 160);
        check(300, [Some(3600), Some(200)], 160);
        check(300, [None, Some(200)], 160);
        check(300, [Some(375), None], 300);
        check(300, [Some(12), Some(5)], 10);
        check(300, [Some(0), None], 10);
        check(300, [Some(-60), Some(3600)], 10);
        check(300, [Some(i64::MAX), None], 300);
        check(1, [Some(3600), None], 1);
        check(1, [Some(0), None], 1);
        check(5, [Some(6), None], 5);
        check(86_400, [None, None], 86_400);
    }
}
