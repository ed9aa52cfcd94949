//! The kernel's own account of processes: processor time and memory.

use std::fs;
use std::path::{Path, PathBuf};

use super::Fallible;

/// `pid` and its children, theirs included.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut at = 0;
    while at < all.len() {
        for task in tasks(all[at]) {
            let children = fs::read_to_string(task.join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        at += 1;
    }
    all
}

fn tasks(pid: u32) -> Vec<PathBuf> {
    // A process that has just ended has none.
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// Nanoseconds on a processor so far, of `pid` and its children; up to date once they sleep.
pub(crate) fn nanoseconds(pid: u32) -> Fallible<u64> {
    let mut sum = 0;
    for task in family(pid).into_iter().flat_map(tasks) {
        sum += on_processor(&task)?;
    }
    Ok(sum)
}

fn on_processor(task: &Path) -> Fallible<u64> {
    let text = fs::read_to_string(task.join("schedstat"))?;
    let first = text.split(' ').next().unwrap_or_default();
    Ok(first.parse()?)
}

/// Nanoseconds for which this thread was ready and others had its processor.
pub(crate) fn waited() -> Fallible<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').nth(1).ok_or("schedstat has changed its form")?.parse()?)
}

/// What a process holds, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Everything that lies in memory now.
    pub(crate) resident: u64,
    /// Of that, what is not part of a file: heap and stacks.
    pub(crate) anonymous: u64,
}

impl Memory {
    /// Of `pid` and its children.
    pub(crate) fn of(pid: u32) -> Fallible<Self> {
        let mut memory = Self { resident: 0, anonymous: 0 };
        for pid in family(pid) {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            memory.resident += kilobytes(&text, "Rss:")?;
            memory.anonymous += kilobytes(&text, "Anonymous:")?;
        }
        Ok(memory)
    }
}

fn kilobytes(text: &str, name: &str) -> Fallible<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or("smaps_rollup has changed its form")?;
    let number = line.trim().trim_end_matches(" kB");
    Ok(number.parse::<u64>()? * 1024)
}
