//! Counting by running this program again under valgrind, whose CPU is the same everywhere.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::RUN;
use super::case::{CHECK, KEEP_ONE, KEPT};
use super::stage::Failure;
use super::table::Counts;

/// Checks in the two runs whose difference counts, so that whatever happens once does not.
const FEW: usize = 1024;
const MANY: usize = 3072;

/// Sessions kept in the two runs: so many that the maps are as full as they are in the middle between two growths.
const FEW_KEPT: usize = 10_240;
const MANY_KEPT: usize = 20_480;

/// What one check of a case costs; `folder` is for files that pass between processes.
pub(crate) fn count(case: &str, folder: &Path) -> Result<Counts, Failure> {
    count_between(case, CHECK, "Total:", [FEW, MANY], folder)
}

/// What making a session costs, and what it holds of the heap from then on.
pub(crate) fn count_kept(folder: &Path) -> Result<Counts, Failure> {
    count_between(KEPT, KEEP_ONE, "At t-end:", [FEW_KEPT, MANY_KEPT], folder)
}

fn count_between(case: &str, function: &str, heap: &str, times: [usize; 2], folder: &Path) -> Result<Counts, Failure> {
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    let each = |[few, many]: [u64; 2]| many.saturating_sub(few) as f64 / (times[1] - times[0]) as f64;
    let instructions = [callgrind(case, function, times[0], folder)?, callgrind(case, function, times[1], folder)?];
    let (few, many) = (dhat(case, heap, times[0], folder)?, dhat(case, heap, times[1], folder)?);
    Ok(Counts {
        instructions: each(instructions),
        allocations: each([few.blocks, many.blocks]),
        bytes: each([few.bytes, many.bytes]),
    })
}

/// Instructions that all calls of `function` together execute outside of the kernel.
///
/// Set-up is left out by name: collecting the first entropy takes longer than all checks, and never quite as long again.
fn callgrind(case: &str, function: &str, times: usize, folder: &Path) -> Result<u64, Failure> {
    let out = folder.join("callgrind.out");
    let out_option = format!("--callgrind-out-file={}", out.display());
    let only = format!("--toggle-collect={function}*");
    run(&["--tool=callgrind", &out_option, &only], case, times, folder)?;
    let profile = fs::read_to_string(&out).map_err(|error| format!("callgrind wrote no profile: {error}"))?;
    let total = profile.lines().rev().find_map(|line| line.strip_prefix("totals: ")).unwrap_or("0");
    match total.trim().parse()? {
        0 => Err(format!("callgrind met no function {function}").into()),
        total => Ok(total),
    }
}

struct Heap {
    blocks: u64,
    bytes: u64,
}

/// What the whole process has of the heap, by the `line` of dhat that says so: in all, or at its end.
fn dhat(case: &str, line: &str, times: usize, folder: &Path) -> Result<Heap, Failure> {
    let out_option = format!("--dhat-out-file={}", folder.join("dhat.out").display());
    let log = run(&["--tool=dhat", &out_option], case, times, folder)?;
    let unknown = || format!("dhat says nothing that is known here: {log}");
    // ==1== Total:     1,234,567 bytes in 8,901 blocks
    let total = log.lines().find_map(|it| it.split_once(line)).ok_or_else(unknown)?.1;
    let (bytes, blocks) = total.split_once(" bytes in ").ok_or_else(unknown)?;
    let number = |text: &str| text.trim().trim_end_matches(" blocks").replace(',', "").parse();
    Ok(Heap { blocks: number(blocks)?, bytes: number(bytes)? })
}

/// Runs a case under a tool and gives what valgrind itself says.
fn run(tool: &[&str], case: &str, times: usize, folder: &Path) -> Result<String, Failure> {
    let log = folder.join("valgrind.log");
    let status = Command::new("valgrind")
        .args(tool)
        .arg(format!("--log-file={}", log.display()))
        .arg(env::current_exe()?)
        .args([RUN, case, &times.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|error| format!("valgrind cannot be run: {error}"))?;
    let said = fs::read_to_string(&log).unwrap_or_else(|error| format!("valgrind wrote no log: {error}"));
    if status.success() { Ok(said) } else { Err(format!("{case}: {status}\n{said}").into()) }
}
