//! Logs: each event is one line on standard error, in JSON or as text.
//!
//! A value from a client or a provider cannot end a line or control the terminal: control characters are written as escapes.
//! Tokens, cookies, codes and queries are not logged; `RequestLine` has no field for them.

mod cut;
mod flood;

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use prometheus_client::metrics::counter::Counter;
use tracing::field::{self, Field};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::fmt::format::{self, Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use self::cut::{Cutting, MOST, cut_json};
use self::flood::{FLOOD, Flood, Limited};
use crate::telemetry::{Log, LogFormat, RoutineChecks};

/// The target of the lines about requests, for filters: `info,forepost::access=off`.
pub(crate) const ACCESS: &str = "forepost::access";

/// The outcomes that `log.routine_checks` samples.
const SAMPLED: [&str; 3] = ["allow", "pass", "challenge"];

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is invalid.
    #[error("{part:?} is neither a level (off, error, warn, info, debug, trace) nor target=level")]
    Level {
        /// The part of the filter that is wrong.
        part: String,
    },
    /// Logging was set up before.
    #[error("logging is set up already")]
    AlreadySet,
}

/// Sends the events of the whole process to standard error.
///
/// JSON lines are flat: `timestamp`, `level`, `message`, the event's own fields, `target`. Lines of frequent events are left out
/// (`tell_left_out`). A panic is one line.
///
/// # Errors
///
/// If the level is invalid, or if logging was set up before.
pub fn init(log: &Log) -> Result<(), LogError> {
    let terminal = io::stderr().is_terminal();
    let style = match log.format {
        LogFormat::Json => Style::Json,
        LogFormat::Auto if !terminal => Style::Json,
        // https://no-color.org
        LogFormat::Auto | LogFormat::Human => {
            Style::Human { color: terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) }
        }
    };
    let dispatch = dispatch(style, filter(&log.level)?, io::stderr, &FLOOD);
    tracing::dispatcher::set_global_default(dispatch).map_err(|_| LogError::AlreadySet)?;
    std::panic::set_hook(Box::new(tell_panic));
    Ok(())
}

/// Reports the events of which lines were left out since the last report. To be called at intervals, and at the end.
pub(crate) fn tell_left_out() {
    FLOOD.tell();
}

/// The number of lines that were left out in this process.
pub(super) fn left_out() -> Counter {
    FLOOD.left_out.clone()
}

/// Logs a panic as one line in the form of all others. The code that catches the panic reports what failed.
fn tell_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let cause = panic.payload_as_str().unwrap_or("unknown");
    let thread = std::thread::current();
    let location = panic.location().map(field::display);
    tracing::error!(thread = thread.name(), location, error = cause, "a thread panicked");
}

#[derive(Clone, Copy)]
enum Style {
    Json,
    Human { color: bool },
}

fn dispatch<W>(style: Style, filter: EnvFilter, writer: W, flood: &'static Flood) -> tracing::Dispatch
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    match style {
        Style::Json => builder
            .fmt_fields(JsonFields::new())
            .event_format(Limited(OneLine(format::format().json().flatten_event(true)), flood))
            .with_writer(writer)
            .into(),
        Style::Human { color } => {
            let builder = builder.with_ansi(color).map_event_format(|format| Limited(format, flood));
            builder.fmt_fields(format::debug_fn(human_field).delimited(" ")).with_writer(writer).into()
        }
    }
}

/// Checks that `text` is a filter for [`init`].
///
/// # Errors
///
/// The first part that is invalid.
pub(crate) fn check_level(text: &str) -> Result<(), LogError> {
    filter(text).map(drop)
}

/// Parses a filter strictly: `tracing` reads a misspelt level as a target, and would then log almost nothing.
fn filter(text: &str) -> Result<EnvFilter, LogError> {
    let wrong = |part: &str| LogError::Level { part: part.into() };
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    for part in &parts {
        let level = part.rsplit_once('=').map_or(*part, |(_, level)| level);
        level.parse::<LevelFilter>().map_err(|_| wrong(part))?;
        part.parse::<Directive>().map_err(|_| wrong(part))?;
    }
    EnvFilter::builder().parse(parts.join(",")).map_err(|_| wrong(text))
}

/// Whether a character can end a line, move the cursor, or change the direction of the text.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Escapes characters that end a line or control a terminal, as `\u001b`; in JSON strings the escape has the same meaning.
#[must_use]
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    // Writing to a string cannot fail.
    let _ = Escaping(&mut escaped).write_str(text);
    escaped
}

/// Writes text with unsafe characters as `\u001b`, which is valid in a JSON string and readable in text.
struct Escaping<W>(W);

impl<W: fmt::Write> fmt::Write for Escaping<W> {
    fn write_str(&mut self, mut text: &str) -> fmt::Result {
        while let Some((at, found)) = text.char_indices().find(|(_, c)| is_unsafe(*c)) {
            self.0.write_str(&text[..at])?;
            // All of them are in the basic plane.
            write!(self.0, "\\u{:04x}", u32::from(found))?;
            text = &text[at + found.len_utf8()..];
        }
        self.0.write_str(text)
    }
}

/// Escapes characters in a JSON line that JSON allows and that can break a line or a terminal (DEL, C1, U+2028).
///
/// Such a character can only be inside a string, so the escape has the same meaning.
struct OneLine(Format<Json>);

impl<S, N> FormatEvent<S, N> for OneLine
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::with_capacity(512);
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        if line.len() > MOST {
            line = cut_json(&line);
        }
        Escaping(&mut writer).write_str(line.trim_end_matches('\n'))?;
        writer.write_char('\n')
    }
}

fn human_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    if field.name() != "message" {
        write!(writer, "{}=", field.name())?;
    }
    write!(Cutting::new(Escaping(writer)), "{value:?}")
}

/// Chooses the checks to log: the configured share of routine ones, and all others.
#[derive(Debug)]
pub struct Sampler {
    routine: RoutineChecks,
    seen: AtomicU64,
}

impl Sampler {
    /// A sampler that logs the first routine check.
    #[must_use]
    pub(crate) const fn new(routine: RoutineChecks) -> Self {
        Self { routine, seen: AtomicU64::new(0) }
    }

    /// Whether to log a check, `routine` or not.
    pub(crate) fn wants(&self, routine: bool) -> bool {
        match self.routine {
            _ if !routine => true,
            RoutineChecks::All => true,
            RoutineChecks::Off => false,
            RoutineChecks::OneIn(n) => {
                let seen = self.seen.fetch_add(1, Ordering::Relaxed);
                seen.is_multiple_of(u64::from(n.max(1)))
            }
        }
    }
}

/// The log line of a request: a check, or a request for one of the daemon's own paths.
#[derive(Clone, Copy)]
pub(crate) struct RequestLine<'a> {
    /// The id that the page or the answer shows too.
    pub(crate) request_id: &'a dyn fmt::Display,
    /// Slug of the application; `None` if no application has the host.
    pub(crate) application: Option<&'a str>,
    /// The daemon's route: `auth`, `callback`, `sign_out`.
    pub(crate) route: &'static str,
    /// The dialect of a check: `traefik`, `nginx`.
    pub(crate) dialect: Option<&'static str>,
    pub(crate) outcome: &'static str,
    pub(crate) status: u16,
    pub(crate) method: &'a Method,
    pub(crate) host: &'a str,
    /// Path of the request; a query after it is not written.
    pub(crate) path: &'a str,
    /// Address of the client, if it is known.
    pub(crate) client: Option<IpAddr>,
    /// User name, if it is known.
    pub(crate) user: Option<&'a str>,
    /// Time from the end of the request's header section to the answer.
    pub(crate) duration: Duration,
}

impl RequestLine<'_> {
    /// Writes the line at level info. If that is off, nothing is formatted.
    pub(crate) fn write(&self) {
        tracing::info!(
            target: ACCESS,
            request_id = field::display(self.request_id),
            application = self.application,
            route = self.route,
            dialect = self.dialect,
            outcome = self.outcome,
            status = self.status,
            method = self.method.as_str(),
            host = self.host,
            path = without_query(self.path),
            client = self.client.map(field::display),
            user = self.user,
            duration_ms = millis(self.duration),
            "request"
        );
    }
}

fn without_query(path: &str) -> &str {
    path.split_once('?').map_or(path, |(path, _)| path)
}

/// Milliseconds with three decimal places.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests;
