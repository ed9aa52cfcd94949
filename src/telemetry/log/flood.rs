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
use crate::limit::{Quota, TokenBucket};
use crate::telemetry::audit::AUDIT;

/// The first hundred lines of an event at any rate, and ten in a second after those.
const QUOTA: Quota = Quota::steady(100, Duration::from_millis(100));

/// The target of the lines that say how many were left out; they are not limited.
const TELLS: &str = "forepost::log";

/// The limit of the process, as there is one log.
pub(super) static FLOOD: LazyLock<Flood> = LazyLock::new(Flood::default);

/// Counts the lines of each event.
#[derive(Default)]
pub(super) struct Flood {
    events: Mutex<HashMap<Key, Lines>>,
    pub(super) left_out: Counter,
}

/// The call site of an event, and the outcome of a request; both are constants of the program.
#[derive(PartialEq, Eq, Hash)]
struct Key(Identifier, String);

struct Lines {
    name: String,
    bucket: TokenBucket,
    /// The lines that were left out since the last report.
    left_out: u64,
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
        let lines = events.entry(key).or_insert_with_key(|Key(_, outcome)| {
            let mut names = Names::default();
            event.record(&mut names);
            let name = if outcome.is_empty() { names.message } else { format!("{} ({outcome})", names.message) };
            Lines { name, bucket: TokenBucket::new(QUOTA, now), left_out: 0 }
        });
        let admits = lines.bucket.take(now);
        lines.left_out += u64::from(!admits);
        drop(events);
        if !admits {
            self.left_out.inc();
        }
        admits
    }

    /// Reports the events of which lines were left out since the last report.
    pub(super) fn tell(&self) {
        let mut told = Vec::new();
        for lines in self.events.lock().values_mut() {
            let left_out = std::mem::take(&mut lines.left_out);
            if left_out > 0 {
                told.push((lines.name.clone(), left_out));
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
