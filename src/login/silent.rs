//! Silent logins: the browser goes to the provider and back, and the provider asks the user nothing.

use http::{HeaderMap, HeaderValue};

use super::Logins;
use super::answered::Answered;
use crate::app::Application;
use crate::oidc::OidcError;
use crate::session::{Revalidation, Schedule, Session};
use crate::telemetry::WithCauses;
use crate::world::UnixTime;

impl Logins {
    /// When a session that began `now` needs a silent login; `None`: never.
    ///
    /// When refreshes confirm the session meanwhile, it goes on for `revalidate_within` after that is due.
    pub(super) fn silent_schedule(&self, now: UnixTime, is_refreshed: bool) -> Option<Schedule> {
        let Revalidation { after, within, silent_login, reauthorize_after } = self.revalidation;
        let instead = after.filter(|_| silent_login && !is_refreshed).map(|after| (after, within));
        let besides = reauthorize_after.map(|after| (after, after + within));
        let (after, within) = [instead, besides].into_iter().flatten().min()?;
        Some(Schedule::new(now + after, now + within))
    }

    /// Whether the browser with these `headers` needs a silent login `now`.
    ///
    /// Each of its pages does, until the provider answers: a provider that denies on a page of its own does not redirect back.
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
    /// Another replica learns that from the cookie in the browser's next request.
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

    /// Warns, at most once in a minute, that a silent login ended with an error of the provider.
    pub(super) fn warn_of_silent_failure(&self, app: &Application, error: &OidcError) {
        if let Some(further) = self.silent_failure_log.admit() {
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
