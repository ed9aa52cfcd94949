//! Limits log lines, so that clients cannot fill the log: of each event the first lines are written, and then some in a second.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::{ACCESS, SAMPLED};
use crate::telemetry::audit::AUDIT;

/// The first lines of an event, which are written at any rate.
const FIRST: u64 = 100;

/// The lines in a second after those.
const A_SECOND: u64 = 10;

/// The target of the lines that say how many were left out; they are not limited.
const TELLS: &str = "forepost::log";

/// The limit of the process, as there is one log.
pub(super) static FLOOD: LazyLock<Flood> = LazyLock::new(Flood::default);

/// Counts the lines of each event.
#[derive(Default)]
pub(super) struct Flood {
    events: Mutex<HashMap<Key, Bucket>>,
    pub(super) left_out: Counter,
}

/// The call site of an event, and the outcome of a request; both are constants of the program.
#[derive(PartialEq, Eq, Hash)]
struct Key(Identifier, String);

struct Bucket {
    name: String,
    /// The lines that may be written now.
    room: u64,
    /// The time for which `room` was computed.
    since: Instant,
    /// The lines that were left out since the last report.
    left_out: u64,
}

impl Bucket {
    fn admits(&mut self, now: Instant) -> bool {
        let refill = now.saturating_duration_since(self.since).as_millis() * u128::from(A_SECOND) / 1000;
        if let Ok(refill @ 1..) = u64::try_from(refill) {
            self.room = self.room.saturating_add(refill).min(FIRST);
            self.since += Duration::from_millis(refill.saturating_mul(1000) / A_SECOND);
        }
        let admits = self.room > 0;
        self.room = self.room.saturating_sub(1);
        self.left_out += u64::from(!admits);
        admits
    }
}

/// The message of an event, and the outcome of its request.
#[derive(Default)]
struct Names {
    message: String,
    outcome: String,
}

impl Visit for Names {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "outcome" {
            value.clone_into(&mut self.outcome);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
}

impl Flood {
    /// Whether to write `event`.
    fn admits(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        let target = metadata.target();
        // Lines below info are there because the operator asks for them, and audit lines must be complete.
        if *metadata.level() > Level::INFO || target == AUDIT || target == TELLS {
            return true;
        }
        let mut names = Names::default();
        if target == ACCESS {
            event.record(&mut names);
            if SAMPLED.contains(&&*names.outcome) {
                return true;
            }
        }
        let now = Instant::now();
        let mut events = self.events.lock();
        let key = Key(metadata.callsite(), names.outcome);
        let bucket = events.entry(key).or_insert_with_key(|Key(_, outcome)| {
            let mut names = Names::default();
            event.record(&mut names);
            let name = if outcome.is_empty() { names.message } else { format!("{} ({outcome})", names.message) };
            Bucket { name, room: FIRST, since: now, left_out: 0 }
        });
        let admits = bucket.admits(now);
        drop(events);
        if !admits {
            self.left_out.inc();
        }
        admits
    }

    /// Reports the events of which lines were left out since the last report.
    pub(super) fn tell(&self) {
        let mut told = Vec::new();
        for bucket in self.events.lock().values_mut() {
            let left_out = std::mem::take(&mut bucket.left_out);
            if left_out > 0 {
                told.push((bucket.name.clone(), left_out));
            }
        }
        // Without the lock, because these are events too.
        for (event, lines) in told {
            tracing::warn!(target: TELLS, event, lines, "lines were left out of the log");
        }
    }
}

/// Passes the events on that are within the limit.
pub(super) struct Limited<F>(pub(super) F, pub(super) &'static Flood);

impl<S, N, F> FormatEvent<S, N> for Limited<F>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if self.1.admits(event) { self.0.format_event(ctx, writer, event) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_written_and_then_some_a_second() {
        let begin = Instant::now();
        let mut bucket = Bucket { name: String::new(), room: FIRST, since: begin, left_out: 0 };
        let mut admitted = |at: u64, lines: usize| {
            let now = begin + Duration::from_millis(at);
            (0..lines).filter(|_| bucket.admits(now)).count()
        };
        for (at, lines, expected) in [
            (0, 1000, 100),
            (99, 1000, 0),
            (100, 1000, 1),
            (1000, 1000, 9),
            (1050, 1000, 0),
            (1100, 1, 1),
            (5000, 5, 5),
            (5000, 1000, 34),
            (1_000_000, 1000, 100),
        ] {
            assert_eq!(admitted(at, lines), expected, "at {at}");
        }
        assert_eq!(bucket.left_out, 1000 * 7 + 6 - (100 + 1 + 9 + 1 + 5 + 34 + 100));
    }
}
