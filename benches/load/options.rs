//! What can be asked of the benchmark, and what it tells itself when it starts itself again.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// What a check costs, end to end, beside what nginx and hyper need to say nothing.
#[derive(Clone, Debug, Parser)]
#[command(name = "load")]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of a command line")]
pub(crate) struct Options {
    /// Slices of a tenth of a second that each party of a comparison gets.
    #[arg(long)]
    cycles: Option<usize>,

    /// Less than a minute: few cycles, ten thousand sessions in place of a hundred thousand.
    #[arg(long)]
    quick: bool,

    /// Only these parts.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,

    /// A million sessions in the end: takes a quarter of an hour and several gigabytes.
    #[arg(long)]
    million: bool,

    /// A setting of forepost that differs from the defaults, as its own --set takes it; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,

    /// Where forepost's log goes.
    #[arg(long, value_name = "FILE", default_value = "/dev/null")]
    pub(crate) log: PathBuf,

    /// Where the chart goes.
    #[arg(long, value_name = "FILE", default_value = "target/bench/load.svg")]
    pub(crate) chart: PathBuf,

    /// Where the numbers go.
    #[arg(long, value_name = "FILE", default_value = "target/bench/load.json")]
    pub(crate) json: PathBuf,

    /// Cargo's own.
    #[arg(long, hide = true)]
    bench: bool,

    /// The core of the servers; this process runs on another one already.
    #[arg(long, hide = true)]
    pub(crate) servers_core: Option<usize>,

    /// Be the process that disturbs checks.
    #[arg(long, hide = true)]
    pub(crate) disturber: bool,

    /// Be the server that says the same to everybody.
    #[arg(long, hide = true)]
    pub(crate) hello: Option<SocketAddr>,

    /// The headers that it says.
    #[arg(long, hide = true, default_value = "/dev/null")]
    pub(crate) headers: PathBuf,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Closed loop: allowed, denied, public.
    Loop,
    /// Latency at fixed rates.
    Rate,
    /// A new connection for each request.
    Connections,
    /// HTTP/2 without TLS.
    Http2,
    /// A page behind nginx and Traefik, with and without forepost.
    Gateway,
    /// Memory, and the processor time of logins.
    Memory,
    /// One session, a thousand, a hundred thousand.
    Sessions,
    /// From the start to the first answer.
    Start,
    /// Checks beside logins, new keys and TLS handshakes; a thousand logins at once.
    Storm,
}

impl Options {
    /// Slices of each party.
    pub(crate) fn cycles(&self) -> usize {
        self.cycles.unwrap_or(if self.quick { 5 } else { 36 }).max(1)
    }

    /// Turns of all storms.
    pub(crate) fn storms(&self) -> usize {
        self.cycles().div_ceil(4)
    }

    /// How often a server is started.
    pub(crate) const fn starts(&self) -> usize {
        if self.quick { 5 } else { 15 }
    }

    /// Session counts at which memory is read; the last one is also the large working set.
    pub(crate) const fn growth(&self) -> &'static [usize] {
        match (self.quick, self.million) {
            (true, _) => &[10_000],
            (false, false) => &[10_000, 100_000],
            (false, true) => &[10_000, 100_000, 1_000_000],
        }
    }

    /// Whether `part` is wanted.
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}
