//! What a check costs, end to end, beside what nginx and hyper need to say nothing: `cargo bench --bench load`.

mod client;
mod cpu;
mod duel;
mod expected;
mod hello;
mod request;
mod servers;
mod sessions;
mod stats;

#[expect(dead_code, reason = "the demo and the tests use the rest")]
#[path = "../../examples/demo/provider/mod.rs"]
mod provider;
#[path = "../../examples/demo/web.rs"]
mod web;

use std::error::Error;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use self::client::{Askers, Lane, Target};
use self::duel::Party;
use self::expected::Expected;
use self::request::{Question, Request};
use self::servers::Place;
use self::sessions::Logins;

/// Whatever stands in the way; all of it ends the benchmark.
type Mistake = Box<dyn Error + Send + Sync>;

/// A result of something that ends the benchmark when it fails.
type Fallible<T> = Result<T, Mistake>;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match start(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &[String]) -> Fallible<()> {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--bench", "--hello", address, headers] => hello::serve(address.parse()?, &std::fs::read_to_string(headers)?),
        ["--bench", "--pinned", ..] => run(),
        ["--bench", ..] => {
            let mut command = Command::new("taskset");
            command.args(["-c", "0"]).arg(std::env::current_exe()?).args(["--bench", "--pinned"]);
            Err(command.exec().into())
        }
        // "cargo test" runs benchmarks, too, without saying what it wants.
        _ => {
            stats::self_check();
            Ok(())
        }
    }
}

fn run() -> Fallible<()> {
    let folder = tempfile::tempdir()?;
    let place = Place { folder: folder.path().to_owned(), core: 1 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let provider = runtime.block_on(sessions::start_provider())?;
    let forepost = place.forepost(provider.issuer(), Path::new("/dev/null"))?.listening()?;
    let mut logins = Logins::new(forepost.address, provider.address());
    runtime.block_on(logins.possible())?;
    let began = tokio::time::Instant::now();
    let before = forepost.cpu()?;
    runtime.block_on(logins.up_to(1000))?;
    println!(
        "{} us wall, {} us cpu per login",
        began.elapsed().as_micros() / 1000,
        (forepost.cpu()? - before) / 1_000_000
    );
    let known = &logins.known[..];
    let request = Request::new(Question::Allowed, &logins.cookie_name);
    let answer = client::sample(forepost.address, &request, Some(&known[0]))?;
    println!("{}\n{}", String::from_utf8_lossy(&request.bytes), String::from_utf8_lossy(&answer));
    let headers: String = String::from_utf8_lossy(&answer)
        .lines()
        .filter(|line| line.starts_with("x-authentik-"))
        .map(|line| format!("{line}\n"))
        .collect();
    let hello = place.hello(&headers)?.listening()?;
    let nginx = place.nginx(&headers)?.listening()?;
    let mut parties = Vec::new();
    for (name, server, of) in
        [("forepost", &forepost, Some(&known[0])), ("nginx", &nginx, None), ("hello", &hello, None)]
    {
        let answer = client::sample(server.address, &request, Some(&known[0]))?;
        println!("{name}: {} bytes to {}", answer.len(), request.bytes.len());
        let expected = Expected::like(&answer, of)?;
        let mut lane =
            Lane::open(Target { address: server.address, request: request.clone(), expected, askers: Askers(known) })?;
        parties.push(Party { name, server, load: Box::new(move || lane.closed_loop(Duration::from_millis(100))) });
    }
    let slices = duel::run(&mut parties, 24)?;
    for name in ["forepost", "nginx", "hello"] {
        let ratio = slices.ratio(name, "nginx", |slice| slice.cpu)?;
        println!(
            "| {name} | {:.3} [{:.3}–{:.3}] | {:.0} ns | {:.0}/s |",
            ratio.median,
            ratio.low,
            ratio.high,
            slices.median(name, |slice| slice.cpu)?,
            slices.median(name, |slice| slice.rate)?
        );
    }
    println!("forepost ÷ hello {:?}", slices.ratio("forepost", "hello", |slice| slice.cpu)?);
    Ok(())
}
