//! When providers are asked whether they still vouch for users.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use super::Logins;
use super::answered::Answered;
use crate::app::Application;
use crate::oidc::OidcError;
use crate::session::{Revalidation, Schedule, Session};
use crate::telemetry::WithCauses;
use crate::world::UnixTime;

/// However short tokens live, a provider is not asked more often about one session.
const SHORTEST_PAUSE: Duration = Duration::from_secs(10);

impl Logins {
    /// When to ask about a session that was confirmed `now`, and whose tokens end at `ends`; `None`: never.
    ///
    /// Tokens are renewed when a fifth of their time is left, so that an application gets none that is over.
    pub(super) fn schedule(&self, now: UnixTime, ends: [Option<UnixTime>; 2]) -> Option<Schedule> {
        let pause = pause(self.revalidation.after?, now, ends);
        Some(Schedule::new(now + pause, now + self.revalidation.within))
    }

    /// When to send a browser to the provider and back that signed in `now`; `None`: never.
    ///
    /// Where refreshes vouch for a user meanwhile, the session goes on for `revalidate_within` after that is due.
    pub(super) fn silent_schedule(&self, now: UnixTime, is_refreshed: bool) -> Option<Schedule> {
        let Revalidation { after, within, silent_login, reauthorize_after } = self.revalidation;
        let instead = after.filter(|_| silent_login && !is_refreshed).map(|after| (after, within));
        let besides = reauthorize_after.map(|after| (after, after + within));
        let (after, within) = [instead, besides].into_iter().flatten().min()?;
        Some(Schedule::new(now + after, now + within))
    }

    /// Whether a browser, whose request has these `headers`, is to be sent to the provider and back `now`.
    ///
    /// Until the provider answers, each of its pages is: one that denies on a page of its own never sends anybody back.
    #[must_use]
    pub fn wants_silent_login(&self, app: &Application, session: &Session, headers: &HeaderMap, now: UnixTime) -> bool {
        let Some(schedule) = session.silent_login().filter(|it| it.is_due(now)) else { return false };
        if let Some(until) = Answered::until(app, session, headers, &self.sealer) {
            schedule.postpone(until);
        }
        schedule.take_trip(now)
    }

    /// Notes that the provider answered a silent login without ending the session: the next one is due after a pause.
    ///
    /// Another replica learns it from the cookie, which it sees with the browser's next request.
    pub(super) fn postpone_silent_login(
        &self,
        app: &Application,
        session: &Session,
        now: UnixTime,
        cookies: &mut Vec<HeaderValue>,
    ) {
        let Some(schedule) = session.silent_login().filter(|it| it.is_due(now)) else { return };
        let Some(pause) = self.revalidation.after.or(self.revalidation.reauthorize_after) else { return };
        schedule.postpone(now + pause);
        cookies.extend(Answered::cookie(app, session, now + pause, pause, &self.sealer, &self.world));
    }

    /// Says that a silent login ended with an error of the provider, once a minute.
    pub(super) fn tell_of_silence(&self, app: &Application, error: &OidcError) {
        if let Some(further) = self.refresh_failure_log.admit() {
            tracing::warn!(
                application = %app.id,
                identity_provider = app.provider.name(),
                error = %WithCauses(error),
                further,
                "a silent login failed; the session goes on"
            );
        }
    }
}

/// From `now` to the next question: `after`, or a fifth before the first of `ends`.
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
