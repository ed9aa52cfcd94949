use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::limit::{Quota, TokenBucket};

/// One line a minute.
const QUOTA: Quota = Quota::window(1, Duration::from_mins(1));

/// Lets one line a minute into the log of an event that may happen often, and counts the others.
pub(crate) struct LogThrottle(Mutex<Lines>);

struct Lines {
    bucket: TokenBucket,
    left_out: u64,
}

impl LogThrottle {
    /// Whether to write a line now, with how many were left out since the last one.
    pub(crate) fn admit(&self) -> Option<u64> {
        let mut lines = self.0.lock();
        if !lines.bucket.take(Instant::now()) {
            lines.left_out += 1;
            return None;
        }
        Some(std::mem::take(&mut lines.left_out))
    }
}

impl Default for LogThrottle {
    fn default() -> Self {
        Self(Mutex::new(Lines { bucket: TokenBucket::new(QUOTA, Instant::now()), left_out: 0 }))
    }
}

/// Writes a warning at most once a minute, with how many were left out; all others are written at level debug.
///
/// For what any client can cause.
macro_rules! warn_throttled {
    ($throttle:expr, $($line:tt)+) => {
        match $throttle.admit() {
            Some(further) => tracing::warn!(further, $($line)+),
            None => tracing::debug!($($line)+),
        }
    };
}
pub(crate) use warn_throttled;
