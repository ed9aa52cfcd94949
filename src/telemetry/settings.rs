//! The settings of `[log]`.

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub(crate) format: LogFormat,
    /// A `tracing` filter: `info`, `forepost=debug`.
    pub(crate) level: String,
    /// Which routine checks are logged.
    pub(crate) routine_checks: RoutineChecks,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Text at a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// Text for people.
    Human,
}

/// Which routine checks are logged: those with outcome `allow`, `pass` or `challenge`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoutineChecks {
    /// Each.
    All,
    /// One in this many, which is at least 2.
    OneIn(u32),
    /// None.
    Off,
}
