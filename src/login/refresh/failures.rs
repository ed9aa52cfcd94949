use std::collections::HashMap;

use parking_lot::Mutex;

use super::RETRY;
use crate::session::SessionKey;
use crate::world::UnixTime;

/// Failures of refreshes that were told a moment ago: while somebody waits, a session fails once a second.
#[derive(Default)]
pub(in crate::login) struct Failures(Mutex<Told>);

#[derive(Default)]
struct Told {
    /// Up to when each is old news.
    until: HashMap<(SessionKey, &'static str), UnixTime>,
    /// When all that is over was forgotten for the last time.
    swept: UnixTime,
}

impl Failures {
    /// Whether this was not told in the last pause between two tries; if so, it is told now.
    pub(super) fn is_new(&self, key: SessionKey, reason: &'static str, now: UnixTime) -> bool {
        let mut told = self.0.lock();
        if told.swept + RETRY <= now {
            told.until.retain(|_, until| now < *until);
            told.swept = now;
        }
        let until = told.until.entry((key, reason)).or_default();
        let is_new = *until <= now;
        if is_new {
            *until = now + RETRY;
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::session::SessionToken;
    use crate::world::World;

    #[test]
    fn each_failure_is_told_once_in_a_while() {
        let (failures, begin) = (Failures::default(), UnixTime::from_secs(1000));
        let keys = [(); 3].map(|()| SessionToken::generate(&World::system()).unwrap().key());
        for (second, session, reason, expected) in [
            (0, 0, "refused", true),
            (0, 0, "refused", false),
            (0, 0, "unreachable", true),
            (29, 1, "refused", true),
            (29, 0, "refused", false),
            (30, 0, "refused", true),
            (58, 1, "refused", false),
            (59, 1, "refused", true),
            (1000, 2, "refused", true),
        ] {
            let now = begin + Duration::from_secs(second);
            assert_eq!(failures.is_new(keys[session], reason, now), expected, "{second} {session} {reason}");
        }
        assert_eq!(failures.0.lock().until.len(), 1, "what is old is forgotten");
    }
}
