//! Counts what one check costs, in instructions and in heap allocations: the same on any busy machine.
//!
//! `cargo counts` compares with `expected.txt` and fails when a count is off by more than 3 %, in either direction; with
//! `FOREPOST_WRITE_COUNTS=1` before it the same command writes the table anew. Needs valgrind.
//!
//! The command is an alias (`.cargo/config.toml`): it optimises forepost alone, and takes the dependencies that the tests use, of
//! which those that a check uses most are optimised too (`Cargo.toml`). So it compiles in a quarter of the time of a release.
//! Its counts are for comparison; those of a release are lower, and `cargo run --release --example counts` prints them.
//!
//! Cargo builds and links the daemon for each bench, and not for an example: hence an example.

mod case;
#[path = "../stage/mod.rs"]
mod stage;
mod table;
mod valgrind;

use std::env;
use std::fs;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;

use self::case::{CASES, KEPT};
use self::stage::Failure;
use self::table::Rows;

/// The argument with which this program runs a case so many times, to be counted from outside.
const RUN: &str = "run-case";

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/counts/expected.txt");

/// Set: the table is written instead of compared.
const WRITE: &str = "FOREPOST_WRITE_COUNTS";

/// Processes at a time.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [RUN, case, times] => run(case, times),
        [] => compare(),
        _ => Err("takes no arguments".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("counts: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(case: &str, times: &str) -> Result<(), Failure> {
    if case == KEPT {
        return case::keep(times.parse()?);
    }
    let case = CASES.iter().find(|it| it.name == case).ok_or("there is no such case")?;
    case.run(times.parse()?)
}

fn compare() -> Result<(), Failure> {
    let counted = count_all()?;
    let text = table::write(&counted);
    print!("{text}");
    if !cfg!(debug_assertions) {
        println!("These are the counts of a release; the table has those of `cargo counts`.");
        return Ok(());
    }
    if env::var_os(WRITE).is_some() {
        return Ok(fs::write(TABLE, text)?);
    }
    if !cfg!(target_arch = "x86_64") {
        println!("The table is for x86-64; there is nothing to compare with here.");
        return Ok(());
    }
    let expected = table::read(&fs::read_to_string(TABLE)?)?;
    let changes = table::changes(&expected, &counted);
    if changes.is_empty() {
        return Ok(());
    }
    let changes = changes.join("\n  ");
    Err(format!("what a check costs has changed:\n  {changes}\nOn purpose? Then: {WRITE}=1 cargo counts").into())
}

/// Counts all cases, a few at a time.
fn count_all() -> Result<Rows, Failure> {
    let waiting = Mutex::new(CASES.iter());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || -> Result<Rows, Failure> {
        let folder = tempfile::tempdir()?;
        let mut rows = Rows::new();
        while let Some(case) = next() {
            rows.push((case.name.to_owned(), valgrind::count(case.name, folder.path())?));
        }
        Ok(rows)
    };
    let mut rows = thread::scope(|scope| {
        let workers = [(); WORKERS].map(|()| scope.spawn(work));
        let results = workers.map(|worker| worker.join().unwrap_or_else(|_| Err("a worker panicked".into())));
        results.into_iter().try_fold(Rows::new(), |mut all, rows| {
            all.extend(rows?);
            Ok::<_, Failure>(all)
        })
    })?;
    rows.sort_by_key(|(name, _)| CASES.iter().position(|case| case.name == name));
    rows.push((KEPT.to_owned(), valgrind::count_kept(tempfile::tempdir()?.path())?));
    Ok(rows)
}
