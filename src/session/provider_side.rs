//! What ties a session to the provider's own.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Refreshable, Schedule};
use crate::identity::Assurance;
use crate::world::UnixTime;

/// A provider may name another session of its own at each refresh; beside the login's, so many of the newest are remembered.
const MOST_EARLIER_SESSIONS: usize = 8;

/// What a session knows of the provider's own.
#[derive(Debug, Default)]
pub struct ProviderSide {
    /// `sid`.
    pub session_id: Option<String>,
    /// What `session_id` was before, the login's first; `None`: there was none. Orders against these mean it too.
    pub earlier_session_ids: Vec<Option<String>>,
    /// Where there is no `sid`: when the provider asked who it is (`auth_time`, in seconds), at this login and at those before
    /// it in this browser.
    pub auth_times: Vec<u64>,
    /// How the login is refreshed.
    pub refreshable: Option<Refreshable>,
    /// When the browser is sent to the provider and back: where the login cannot be refreshed, and where refreshes are not
    /// proof enough.
    pub silent_login: Option<Schedule>,
    /// How the login was asked to come about.
    pub asked: Assurance,
    /// Names of claims that userinfo named: where userinfo leaves one out later, an older ID token no longer speaks of it.
    pub userinfo_claims: Names,
}

impl ProviderSide {
    /// Whether the provider vouches for the user, or can still be asked.
    pub(super) fn may_vouch(&self, now: UnixTime) -> bool {
        let spent = self.refreshable.as_ref().filter(|it| !it.is_usable()).map(|it| &it.schedule);
        ![spent, self.silent_login.as_ref()].into_iter().flatten().any(|schedule| schedule.is_over(now))
    }

    /// Takes over what a refresh does not change from `before`: in which sessions of the provider the session was, and when
    /// the browser is sent there.
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

/// Names in their order, each once; sessions with the same ones share them, as all of one provider mostly have.
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
        /// So many lists are shared at once.
        const MOST_SHARED: usize = 16;
        static SHARED: Mutex<Vec<Names>> = Mutex::new(Vec::new());
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Self::default();
        }
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
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
