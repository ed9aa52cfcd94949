use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

const INTERVAL: Duration = Duration::from_mins(1);

/// Tells about something that may happen often, without filling the log.
#[derive(Default)]
pub(crate) struct Rarely(Mutex<Told>);

#[derive(Default)]
struct Told {
    last: Option<Instant>,
    unsaid: u64,
}

impl Rarely {
    /// Whether to tell of it now, with how many were left out since the last time.
    pub(crate) fn due(&self) -> Option<u64> {
        let mut told = self.0.lock();
        if told.last.is_some_and(|last| last.elapsed() < INTERVAL) {
            told.unsaid += 1;
            return None;
        }
        told.last = Some(Instant::now());
        Some(std::mem::take(&mut told.unsaid))
    }
}

/// Writes a warning at most once a minute, with how many were left out; all others are written at level debug.
///
/// For what anybody can cause.
macro_rules! warn_rarely {
    ($rarely:expr, $($line:tt)+) => {
        match $rarely.due() {
            Some(further) => tracing::warn!(further, $($line)+),
            None => tracing::debug!($($line)+),
        }
    };
}
pub(crate) use warn_rarely;
