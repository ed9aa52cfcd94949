//! What came out: a table for people, a document for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::machine::Machine;
use super::stats::Estimate;

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Ratio,
    Bytes,
    Mebibytes,
    Microseconds,
    Milliseconds,
    Count,
    PerSecond,
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Ratio => "ratio",
            Self::Bytes => "bytes",
            Self::Mebibytes => "MiB",
            Self::Microseconds => "µs",
            Self::Milliseconds => "ms",
            Self::Count => "count",
            Self::PerSecond => "/s",
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::Ratio => format!("{value:.2}"),
            Self::Bytes | Self::Microseconds | Self::Count | Self::PerSecond => format!("{value:.0}"),
            Self::Mebibytes | Self::Milliseconds => format!("{value:.1}"),
        }
    }
}

/// What a value is to stay below.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    /// Above this it is a fault.
    pub(crate) must: f64,
    /// At this it is as good as we hope for.
    pub(crate) aim: f64,
}

impl Goal {
    /// Judged by the upper end, so that luck meets no goal; where only the median meets it, that is said.
    fn verdict(self, value: Estimate) -> &'static str {
        if value.high <= self.aim {
            "aim met"
        } else if value.high <= self.must {
            "must met"
        } else if value.median <= self.must {
            "must met by the median"
        } else {
            "missed"
        }
    }
}

/// A line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    what: String,
    /// What was measured.
    pub(crate) value: Estimate,
    unit: Unit,
    goal: Option<Goal>,
    /// Its name in the chart, where it is drawn.
    pub(crate) bar: Option<String>,
}

impl Row {
    pub(crate) fn new(what: &str, value: Estimate, unit: Unit) -> Self {
        Self { what: what.to_owned(), value, unit, goal: None, bar: None }
    }

    pub(crate) fn ratio(what: &str, value: Estimate) -> Self {
        Self::new(what, value, Unit::Ratio)
    }

    pub(crate) fn goal(self, goal: Goal) -> Self {
        Self { goal: Some(goal), ..self }
    }

    pub(crate) fn bar(self, name: &str) -> Self {
        Self { bar: Some(name.to_owned()), ..self }
    }

    fn line(&self) -> String {
        let Self { what, value, unit, goal, .. } = self;
        let show = |value| unit.show(value);
        let name = if matches!(unit, Unit::Ratio | Unit::Count) { String::new() } else { format!(" {}", unit.name()) };
        let interval =
            if value.is_exact() { String::new() } else { format!(" [{}–{}]", show(value.low), show(value.high)) };
        let (must, aim, verdict) = goal.map_or_else(Default::default, |goal| {
            (format!("≤ {}", show(goal.must)), format!("≤ {}", show(goal.aim)), goal.verdict(*value))
        });
        format!("| {what} | {}{interval}{name} | {must} | {aim} | {verdict} |", show(value.median))
    }

    fn json(&self) -> Value {
        let Self { what, value, unit, goal, .. } = self;
        json!({
            "what": what,
            "median": value.median,
            "low": value.low,
            "high": value.high,
            "unit": unit.name(),
            "must": goal.map(|goal| goal.must),
            "aim": goal.map(|goal| goal.aim),
            "verdict": goal.map(|goal| goal.verdict(*value)),
        })
    }
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// How it was measured.
    pub(crate) method: Vec<String>,
    pub(crate) rows: Vec<Row>,
    proportions: Vec<Proportion>,
}

/// What a party's request cost, which is not a result by itself: it depends on the machine and the moment.
#[derive(Debug)]
struct Proportion {
    part: String,
    party: &'static str,
    nanoseconds: f64,
    rate: f64,
}

impl Report {
    pub(crate) fn new(machine: Machine, method: Vec<String>) -> Self {
        Self { machine, method, rows: Vec::new(), proportions: Vec::new() }
    }

    /// Notes what a request of `party` cost in `part`.
    pub(crate) fn proportion(&mut self, part: &str, party: &'static str, nanoseconds: f64, rate: f64) {
        self.proportions.push(Proportion { part: part.to_owned(), party, nanoseconds, rate });
    }

    /// As Markdown.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{}\n\n", self.machine.line());
        for line in &self.method {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        }
        text.push_str("\n| | median [95 %] | must | aim | |\n|---|---|---|---|---|\n");
        for row in &self.rows {
            let _ = writeln!(text, "{}", row.line());
        }
        text.push_str("\nOnly the ratios are results; these show their proportions:\n\n");
        text.push_str("| part | party | CPU µs a request | requests/s |\n|---|---|---|---|\n");
        for Proportion { part, party, nanoseconds, rate } in &self.proportions {
            let _ = writeln!(text, "| {part} | {party} | {:.1} | {rate:.0} |", nanoseconds / 1000.0);
        }
        text
    }

    /// As JSON.
    pub(crate) fn json(&self) -> Value {
        let proportion = |it: &Proportion| {
            json!({
                "part": it.part,
                "party": it.party,
                "cpu_nanoseconds_per_request": it.nanoseconds,
                "requests_per_second": it.rate,
            })
        };
        json!({
            "machine": self.machine.json(),
            "method": self.method,
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "proportions": self.proportions.iter().map(proportion).collect::<Vec<_>>(),
        })
    }
}
