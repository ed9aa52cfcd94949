//! What is written about requests.

/// What is written about requests, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// A `tracing` filter: `info`, `forepost=debug`.
    pub level: String,
    /// Which of the checks that end as most do are written.
    pub routine_checks: RoutineChecks,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Human at a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Human,
}

/// Which of the checks that end as most do are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoutineChecks {
    /// Each.
    All,
    /// One in so many, two at least.
    OneIn(u32),
    /// None.
    Off,
}
