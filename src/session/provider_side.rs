//! What ties a session to the provider's own session.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{Refreshable, Schedule};
use crate::identity::Assurance;
use crate::world::UnixTime;

/// A provider may name another session of its own at each refresh; the login's and this many of the newest are remembered.
const MOST_EARLIER_SESSIONS: usize = 8;

/// What a session knows of the provider's own session.
#[derive(Debug, Default)]
pub struct ProviderSide {
    /// `sid`.
    pub session_id: Option<String>,
    /// Earlier values of `session_id`, the login's first; `None`: there was none. An order against one of them means this
    /// session too.
    pub earlier_session_ids: Vec<Option<String>>,
    /// Where there is no `sid`: when the provider authenticated the user (`auth_time`, in seconds), at this login and at
    /// earlier ones in this browser.
    pub auth_times: Vec<u64>,
    /// What the login is refreshed with.
    pub refreshable: Option<Refreshable>,
    /// When the browser is sent to the provider and back: where the login cannot be refreshed, or refreshes do not prove
    /// enough.
    pub silent_login: Option<Schedule>,
    /// The assurance that the login was asked for.
    pub asked: Assurance,
    /// The names of the claims that userinfo had: where userinfo later leaves one out, an older ID token does not replace it.
    pub userinfo_claims: Names,
}

impl ProviderSide {
    /// Whether the provider confirmed the user in time, or can still be asked.
    pub(super) fn may_vouch(&self, now: UnixTime) -> bool {
        let spent = self.refreshable.as_ref().filter(|it| !it.is_usable()).map(|it| &it.schedule);
        ![spent, self.silent_login.as_ref()].into_iter().flatten().any(|schedule| schedule.is_over(now))
    }

    /// Takes over from `before` what a refresh does not change: the provider's earlier sessions, and when the browser is sent
    /// there.
    pub(super) fn follow(&mut self, before: Option<&Self>) {
        self.silent_login = before.and_then(|it| it.silent_login.as_ref()).map(Schedule::unchanged);
        let (last, earlier) = before.map_or((&None, &[][..]), |it| (&it.session_id, &it.earlier_session_ids));
        self.earlier_session_ids = earlier.to_vec();
        self.auth_times = before.map_or_else(Vec::new, |before| before.auth_times.clone());
        if *last != self.session_id && !earlier.contains(last) {
            if earlier.len() == MOST_EARLIER_SESSIONS {
                self.earlier_session_ids.remove(1);
            }
            self.earlier_session_ids.push(last.clone());
        }
    }

    pub(super) fn boxed(self) -> Option<Box<Self>> {
        let says_anything = self.session_id.is_some() || self.refreshable.is_some() || self.silent_login.is_some();
        let says_anything = says_anything || !self.asked.is_none() || !self.earlier_session_ids.is_empty();
        let says_anything = says_anything || !self.auth_times.is_empty();
        says_anything.then(|| Box::new(self))
    }
}

/// Sorted names without repetition. Sessions with the same names share them, as most sessions of one provider do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Arc<[String]>);

impl Names {
    /// The names.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl From<Vec<String>> for Names {
    fn from(mut names: Vec<String>) -> Self {
        /// The number of lists that are shared at most.
        const MOST_SHARED: usize = 16;
        static SHARED: Mutex<Vec<Names>> = Mutex::new(Vec::new());
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Self::default();
        }
        let mut shared = SHARED.lock();
        if let Some(same) = shared.iter().find(|it| *it.0 == *names) {
            return same.clone();
        }
        let new = Self(names.into());
        if shared.len() == MOST_SHARED {
            shared.remove(0);
        }
        shared.push(new.clone());
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_names_are_shared() {
        let names = |names: &[&str]| Names::from(names.iter().map(ToString::to_string).collect::<Vec<_>>());
        let (one, other) = (names(&["of a test", "and another"]), names(&["and another", "of a test", "of a test"]));
        assert_eq!(one.as_slice(), ["and another", "of a test"]);
        assert!(Arc::ptr_eq(&one.0, &other.0));
        assert_eq!(names(&[]), Names::default());
        for number in 0..40 {
            assert_eq!(names(&[&number.to_string()]).as_slice(), [number.to_string()]);
        }
    }
}
