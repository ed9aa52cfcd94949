//! Counting by running this program again under valgrind, whose CPU is the same everywhere.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::RUN;
use super::case::CHECK;
use super::stage::Failure;
use super::table::Counts;

/// Checks in the two runs whose difference counts, so that whatever happens once does not.
const FEW: usize = 1024;
const MANY: usize = 3072;

/// What one check of a case costs; `folder` is for files that pass between processes.
pub(crate) fn count(case: &str, folder: &Path) -> Result<Counts, Failure> {
    let instructions = per_check(|times| callgrind(case, times, folder))?;
    let [allocations, bytes] = {
        let (few, many) = (dhat(case, FEW, folder)?, dhat(case, MANY, folder)?);
        [(few.blocks, many.blocks), (few.bytes, many.bytes)].map(|(few, many)| difference(few, many))
    };
    Ok(Counts { instructions, allocations, bytes })
}

fn per_check(run: impl Fn(usize) -> Result<u64, Failure>) -> Result<f64, Failure> {
    Ok(difference(run(FEW)?, run(MANY)?))
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn difference(few: u64, many: u64) -> f64 {
    many.saturating_sub(few) as f64 / (MANY - FEW) as f64
}

/// Instructions that all checks together execute outside of the kernel.
///
/// Set-up is left out by name: collecting the first entropy takes longer than all checks, and never quite as long again.
fn callgrind(case: &str, times: usize, folder: &Path) -> Result<u64, Failure> {
    let out = folder.join("callgrind.out");
    let out_option = format!("--callgrind-out-file={}", out.display());
    let only = format!("--toggle-collect={CHECK}*");
    run(&["--tool=callgrind", &out_option, &only], case, times, folder)?;
    let profile = fs::read_to_string(&out).map_err(|error| format!("callgrind wrote no profile: {error}"))?;
    let total = profile.lines().rev().find_map(|line| line.strip_prefix("totals: ")).unwrap_or("0");
    match total.trim().parse()? {
        0 => Err(format!("callgrind met no function {CHECK}").into()),
        total => Ok(total),
    }
}

struct Heap {
    blocks: u64,
    bytes: u64,
}

/// What the whole process allocates on the heap.
fn dhat(case: &str, times: usize, folder: &Path) -> Result<Heap, Failure> {
    let out_option = format!("--dhat-out-file={}", folder.join("dhat.out").display());
    let log = run(&["--tool=dhat", &out_option], case, times, folder)?;
    let unknown = || format!("dhat says nothing that is known here: {log}");
    // ==1== Total:     1,234,567 bytes in 8,901 blocks
    let total = log.lines().find_map(|line| line.split_once("Total:")).ok_or_else(unknown)?.1;
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
