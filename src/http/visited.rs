//! What came of a request for one of forepost's own paths.

use super::reply::Answer;

/// The answer, and what its log line tells.
pub(super) struct Visited {
    pub(super) answer: Answer,
    /// How the request ended, by the names that logs know.
    pub(super) ended_as: &'static str,
    pub(super) user: Option<String>,
}

impl Visited {
    pub(super) const fn new(answer: Answer, ended_as: &'static str) -> Self {
        Self { answer, ended_as, user: None }
    }

    /// The same, by this user.
    pub(super) fn by(self, user: Option<String>) -> Self {
        Self { user, ..self }
    }
}
