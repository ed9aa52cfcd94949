//! What a check costs, end to end, beside what nginx and hyper need to say nothing: `cargo bench --bench load`.
//!
//! Forepost, nginx and a plain hyper server run at once on one core, the client on another. Each gets a slice of load in turn;
//! compared is the processor time that the kernel counts for them, per request, within each turn of all. Every answer is
//! looked at.

mod chart;
mod client;
mod connection;
mod cpu;
mod disturber;
mod door;
mod duel;
mod expected;
mod fresh;
mod gateway;
mod hello;
mod http2;
mod machine;
mod nginx;
mod options;
mod parts;
mod report;
mod request;
mod servers;
mod sessions;
mod stage;
mod start;
mod stats;
mod storm;
mod traefik;

#[expect(dead_code, reason = "the demo and the tests use the rest")]
#[path = "../../examples/demo/provider/mod.rs"]
mod provider;
#[path = "../../examples/demo/web.rs"]
mod web;

use std::error::Error;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use clap::Parser as _;

use self::machine::Machine;
use self::options::{Options, Part};
use self::report::Report;
use self::servers::Place;
use self::stage::Stage;

/// Whatever stands in the way; all of it ends the benchmark.
type Mistake = Box<dyn Error + Send + Sync>;

/// A result of something that ends the benchmark when it fails.
type Fallible<T> = Result<T, Mistake>;

fn main() -> ExitCode {
    // "cargo test" runs benchmarks, too, with whatever arguments its tests have.
    if !std::env::args().any(|argument| argument == "--bench") {
        stats::self_check();
        return ExitCode::SUCCESS;
    }
    match start(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(options: &Options) -> Fallible<()> {
    if options.disturber {
        return disturber::serve();
    }
    match (options.hello, options.servers_core) {
        (Some(address), _) => hello::serve(address, &fs::read_to_string(&options.headers)?),
        (None, Some(core)) => run(options, core),
        (None, None) => {
            let (client, servers) = machine::cores()?;
            let mut command = Command::new("sh");
            // A thousand logins at once need some thousand descriptors.
            command.args(["-c", "ulimit -n \"$(ulimit -Hn)\"; exec taskset -c \"$@\"", "sh", &client.to_string()]);
            command.arg(std::env::current_exe()?).args(std::env::args_os().skip(1));
            command.args(["--servers-core", &servers.to_string()]);
            // Returns only when it fails.
            Err(format!("sh: {}", command.exec()).into())
        }
    }
}

fn run(options: &Options, core: usize) -> Fallible<()> {
    let machine = Machine::look()?;
    let folder = tempfile::tempdir()?;
    let mut stage = Stage::set(options, Place { folder: folder.path().to_owned(), core })?;
    let log = options.log.display();
    let load = machine.load();
    let mut method = vec![
        format!("Load average before: {load}; what others compute meanwhile blurs everything, latencies most."),
        format!("{}.", stage.lengths),
        format!("{} slices of 100 ms each; forepost's log goes to {log}.", options.cycles()),
        "Payload of a session: its twelve header values, each counted once, and a key of 32 bytes.".to_owned(),
    ];
    if !options.set.is_empty() {
        method.push(format!("Settings that are not the defaults: {}.", options.set.join(", ")));
    }
    let mut report = Report::new(machine, method);
    let say = |part: &str| eprintln!("load: {part} …");
    if options.wants(Part::Loop) {
        say("closed loop");
        parts::closed_loop(&stage, options, &mut report)?;
    }
    if options.wants(Part::Rate) {
        say("fixed rates");
        parts::rates(&stage, options, &mut report)?;
    }
    if options.wants(Part::Connections) {
        say("new connections");
        parts::connections(&stage, options, &mut report)?;
    }
    if options.wants(Part::Http2) {
        say("HTTP/2");
        parts::http2(&stage, options, &mut report)?;
    }
    if options.wants(Part::Gateway) {
        say("through real proxies");
        gateway::measure(&stage, options, &mut report)?;
    }
    if options.wants(Part::Memory) || options.wants(Part::Sessions) {
        for count in options.growth() {
            let (before, began) = (stage.logins.known.len(), tokio::time::Instant::now());
            stage.grow(*count)?;
            let (logins, seconds) = (count - before, began.elapsed().as_secs());
            say(&format!("{count} sessions, the last {logins} in {seconds} s"));
        }
        parts::memory(&stage, &mut report);
    }
    if options.wants(Part::Sessions) {
        say("working set");
        parts::sessions(&stage, options, &mut report)?;
    }
    if options.wants(Part::Start) {
        say("starts");
        start::measure(&stage, options, &mut report)?;
    }
    // The last part: its logins are not among the stage's.
    if options.wants(Part::Storm) {
        say("storms");
        storm::measure(&stage, options, &mut report)?;
    }
    println!("{}", report.table());
    write(&options.json, &format!("{:#}\n", report.json()))?;
    write(&options.chart, &chart::draw(&report))
}

fn write(path: &Path, text: &str) -> Fallible<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()).into())
}
