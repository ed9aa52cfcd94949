//! What an operator is told of one thing that was looked at.

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As it must be.
    Good,
    /// For the operator to know.
    Note,
    /// May surprise.
    Warning,
    /// A login would break.
    Failure,
}

impl Level {
    /// The mark before a line.
    #[must_use]
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Good => "[ok]",
            Self::Note => "[note]",
            Self::Warning => "[warn]",
            Self::Failure => "[FAIL]",
        }
    }

    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at.
    pub check: &'static str,
    /// What was found, and what to do.
    pub message: String,
}

impl Finding {
    /// A finding about `check`.
    #[must_use]
    pub fn new(level: Level, check: &'static str, message: impl Into<String>) -> Self {
        Self { level, check, message: message.into() }
    }

    pub(super) fn judged(good: bool, otherwise: Level, check: &'static str, message: impl Into<String>) -> Self {
        Self::new(if good { Level::Good } else { otherwise }, check, message)
    }
}
