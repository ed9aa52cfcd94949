use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use crate::session::Session;
use crate::world::UnixTime;

/// In which completed logins that lead nowhere are counted.
const WINDOW: Duration = Duration::from_secs(30);

/// The login that is stopped.
const STOPPED: u32 = 3;

const MOST_REMEMBERED: u64 = 10_000;

/// Notices a browser that completes login after login because its session cookie never comes back.
///
/// A login counts when its attempt began after the previous one of the same subject for the same application had
/// completed; many tabs that log in at once therefore are not a loop.
#[derive(Clone)]
pub(super) struct LoopGuard {
    last: Cache<(String, String), Arc<Completed>>,
}

struct Completed {
    count: u32,
    first_at: UnixTime,
    at: UnixTime,
    session: Arc<Session>,
}

/// What the guard says to a completed login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Go on.
    Proceed,
    /// Stop here and say why.
    Loop,
}

impl LoopGuard {
    /// A guard that has seen nothing.
    pub(super) fn new() -> Self {
        Self { last: Cache::builder().max_capacity(MOST_REMEMBERED).time_to_live(WINDOW).build() }
    }

    /// Counts a login of `session` for `application` whose attempt `began` then and completes `now`.
    pub(super) fn completed(
        &self,
        application: &str,
        session: &Arc<Session>,
        began: UnixTime,
        now: UnixTime,
    ) -> Verdict {
        let key = (application.to_owned(), session.identity().subject().to_owned());
        let (count, first_at) = match self.last.get(&key) {
            Some(last) if last.session.was_checked() || last.first_at + WINDOW <= now => (1, now),
            Some(last) if began < last.at => (last.count, last.first_at),
            Some(last) => (last.count + 1, last.first_at),
            None => (1, now),
        };
        if count >= STOPPED {
            self.last.invalidate(&key);
            return Verdict::Loop;
        }
        self.last.insert(key, Arc::new(Completed { count, first_at, at: now, session: Arc::clone(session) }));
        Verdict::Proceed
    }
}

impl Default for LoopGuard {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::samples::single;
    use crate::session::samples::alice;

    /// Logins as (began, completed, checked afterwards), in seconds.
    #[track_caller]
    fn check(logins: &[(u64, u64, bool)], expected: &[Verdict]) {
        let guard = LoopGuard::new();
        let app = single("https://app.example.com");
        let verdicts: Vec<_> = logins
            .iter()
            .map(|(began, completed, checked)| {
                let (began, now) = (UnixTime::from_secs(*began), UnixTime::from_secs(*completed));
                let session = Arc::new(alice(&app, now, Duration::from_secs(60), None));
                let verdict = guard.completed(&app.id, &session, began, now);
                if *checked {
                    session.touch(now);
                }
                verdict
            })
            .collect();
        assert_eq!(verdicts, expected, "{logins:?}");
    }

    #[test]
    fn the_third_login_without_a_check_is_stopped() {
        use Verdict::{Loop, Proceed};
        check(&[(0, 1, false), (2, 3, false), (4, 5, false)], &[Proceed, Proceed, Loop]);
        check(&[(0, 1, false), (2, 3, false), (4, 5, false), (6, 7, false)], &[Proceed, Proceed, Loop, Proceed]);
        check(&[(0, 1, true), (2, 3, true), (4, 5, true)], &[Proceed; 3]);
        check(&[(0, 1, false), (2, 3, true), (4, 5, false)], &[Proceed; 3]);
        check(&[(0, 1, false), (20, 21, false), (40, 41, false)], &[Proceed; 3]);
    }

    #[test]
    fn tabs_that_log_in_at_once_are_no_loop() {
        let logins: Vec<_> = (0..20).map(|tab| (0, 5 + tab / 4, false)).collect();
        check(&logins, &[Verdict::Proceed; 20]);
    }
}
