//! When providers are asked whether they still vouch for users.

use std::time::Duration;

use super::Logins;
use crate::session::{Schedule, Session};
use crate::world::UnixTime;

/// However short tokens live, a provider is not asked more often about one session.
const SHORTEST_PAUSE: Duration = Duration::from_secs(10);

impl Logins {
    /// When to ask about a session that was confirmed `now`, and whose tokens end at `ends`; `None`: never.
    ///
    /// Tokens are renewed when a fifth of their time is left, so that an application gets none that is over.
    pub(super) fn schedule(&self, now: UnixTime, ends: [Option<UnixTime>; 2]) -> Option<Schedule> {
        let after = self.revalidation.after?;
        let ahead = |end: UnixTime| end.since(now).mul_f32(0.8);
        let pause = ends.into_iter().flatten().map(ahead).fold(after, Duration::min);
        Some(Schedule::new(now + pause.max(SHORTEST_PAUSE.min(after)), now + self.revalidation.within))
    }

    /// When to send a browser to the provider and back that signed in `now`; `None`: never.
    pub(super) fn silent_schedule(&self, now: UnixTime) -> Option<Schedule> {
        let after = self.revalidation.after.filter(|_| self.revalidation.silent_login)?;
        Some(Schedule::new(now + after, now + self.revalidation.within))
    }

    /// Whether a browser is to be sent to the provider and back `now`; of all who ask, one is.
    #[must_use]
    pub fn wants_silent_login(&self, session: &Session, now: UnixTime) -> bool {
        let after = self.revalidation.after.filter(|_| self.revalidation.silent_login);
        match (after, session.silent_login()) {
            (Some(after), Some(schedule)) => schedule.take_turn(now, now + after),
            _ => false,
        }
    }
}
