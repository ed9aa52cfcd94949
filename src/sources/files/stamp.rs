//! Whether files have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What tells whether files have changed, without reading them. Symbolic links are followed, so that a link to another file counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp(BTreeMap<PathBuf, Option<Entry>>);

/// A file, or a directory with the names in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// Device and inode.
    file: (u64, u64),
    length: u64,
    /// Seconds and nanoseconds. Unlike the time of the last change of the content, programs cannot set it.
    changed: (i64, i64),
    names: BTreeSet<PathBuf>,
}

impl Stamp {
    /// Looks at these files and directories; one that cannot be looked at counts as absent.
    pub(super) fn of(paths: &BTreeSet<PathBuf>) -> Self {
        let entry =
            |path: &PathBuf| (path.clone(), fs::metadata(path).ok().map(|metadata| Entry::new(path, &metadata)));
        Self(paths.iter().map(entry).collect())
    }
}

impl Entry {
    fn new(path: &Path, metadata: &Metadata) -> Self {
        let names = if metadata.is_dir() { fs::read_dir(path).ok() } else { None };
        Self {
            file: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            names: names.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect(),
        }
    }
}
