//! The table of counts, and how far two of them may lie apart.

use std::fmt::Write as _;

use super::stage::Failure;

/// How far a count may be from the table's, in either direction: more than valgrind's noise, less than a mistake costs.
const TOLERANCE: f64 = 0.03;

/// What one check costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Counts {
    /// Executed outside of the kernel.
    pub(crate) instructions: f64,
    /// Blocks taken from the heap; one that moves or grows counts again.
    pub(crate) allocations: f64,
    /// Bytes of those blocks.
    pub(crate) bytes: f64,
}

/// The names of cases with their counts.
pub(crate) type Rows = Vec<(String, Counts)>;

/// The table as text, with a line for each case.
pub(crate) fn write(rows: &Rows) -> String {
    let mut text = format!("{:<32}{:>14}{:>14}{:>10}\n", "one check", "instructions", "allocations", "bytes");
    for (name, Counts { instructions, allocations, bytes }) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<32}{instructions:>14.0}{allocations:>14.1}{bytes:>10.0}");
    }
    text
}

/// Reads what [`write`] wrote.
pub(crate) fn read(text: &str) -> Result<Rows, Failure> {
    text.lines().skip(1).map(row).collect()
}

fn row(line: &str) -> Result<(String, Counts), Failure> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name @ .., instructions, allocations, bytes] = &words[..] else {
        return Err(format!("a line of the table lacks a count: {line}").into());
    };
    let counts =
        Counts { instructions: instructions.parse()?, allocations: allocations.parse()?, bytes: bytes.parse()? };
    Ok((name.join(" "), counts))
}

/// What has changed by more than noise, a sentence for each count.
pub(crate) fn changes(expected: &Rows, counted: &Rows) -> Vec<String> {
    let mut changes = Vec::new();
    for (name, new) in counted {
        let Some((_, old)) = expected.iter().find(|(it, _)| it == name) else {
            changes.push(format!("{name}: not in the table"));
            continue;
        };
        let columns = [
            ("instructions", old.instructions, new.instructions),
            ("allocations", old.allocations, new.allocations),
            ("bytes", old.bytes, new.bytes),
        ];
        for (what, old, new) in columns {
            if (new - old).abs() > old * TOLERANCE {
                let percent = (new / old - 1.0) * 100.0;
                changes.push(format!("{name}: {old:.1} → {new:.1} {what} ({percent:+.1} %)"));
            }
        }
    }
    let gone = expected.iter().filter(|(name, _)| counted.iter().all(|(it, _)| it != name));
    changes.extend(gone.map(|(name, _)| format!("{name}: not counted any more")));
    changes
}
