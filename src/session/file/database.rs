use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use redb::backends::FileBackend;
use redb::{Builder, DatabaseError, ReadableDatabase as _, ReadableTableMetadata as _, StorageBackend};

use super::SessionKey;
use super::checked::Checked;
use super::directory::{FileError, open_private};
use super::list::List;
use super::tables::{NUMBERS, OtherSecret, RECORDS, Tables};
use crate::session::revocation::Entry;
use crate::world::UnixTime;

/// The cache of redb: sessions have a cache of their own, and the system has its page cache.
const CACHE_BYTES: usize = 16 << 20;

/// The file.
///
/// After an I/O error the file is opened again, because redb does not use a file that failed once.
pub(super) struct Database {
    path: PathBuf,
    opener: Opener,
    /// `None` where the file could not be opened again.
    opened: RwLock<Option<redb::Database>>,
    /// What is known of the list of revocations; `None` until it was read.
    list: Mutex<Option<List>>,
    count: AtomicU64,
    /// Whether the file has to be opened again before redb does anything.
    broken: AtomicBool,
    state: AtomicU8,
}

/// What the last write says of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    /// The file can be written.
    Writable,
    /// There was no room.
    Full,
    /// The file could not be written, or not be opened again.
    Failed,
}

/// Opens the file at a path.
pub(super) type Opener = Box<dyn Fn(&Path, Missing) -> Result<redb::Database, FileError> + Send + Sync>;

/// What to do where there is no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Make one.
    Create,
    /// Fail: the file is on a disk that is away.
    Fail,
}

impl Database {
    /// Opens the file, and makes one where there is none.
    pub(super) fn open(path: PathBuf) -> Result<Self, FileError> {
        Self::open_with(path, Box::new(open))
    }

    pub(super) fn open_with(path: PathBuf, opener: Opener) -> Result<Self, FileError> {
        let opened = RwLock::new(Some(opener(&path, Missing::Create)?));
        let (count, broken, state) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU8::new(State::Writable as u8));
        let database = Self { path, opener, opened, list: Mutex::default(), count, broken, state };
        match database.probe() {
            // The sessions in the file can be served all the same.
            Err(error @ FileError::Full { .. }) => {
                database.reopen()?;
                let count = database.with(|opened| Ok(opened.begin_read()?.open_table(RECORDS)?.len()?));
                // A file without tables was never used.
                let Ok(count) = count else { return Err(error) };
                database.count.store(count, Ordering::Relaxed);
                tracing::error!(%error, "new sessions cannot be written down");
            }
            other => other?,
        }
        Ok(database)
    }

    /// Replaces the file, whose content is of no use, by a new one.
    pub(super) fn replace(self) -> Result<Self, FileError> {
        let Self { path, opener, opened, .. } = self;
        drop(opened);
        std::fs::remove_file(&path).map_err(|cause| FileError::io(&path, cause))?;
        Self::open_with(path, opener)
    }

    /// Writes something, and the head of the list of revocations with it.
    pub(super) fn probe(&self) -> Result<(), FileError> {
        self.write(|tables| {
            tables.probe()?;
            Ok(())
        })
    }

    /// Reads the whole list of revocations; `list` has the key, and nothing of the list yet.
    ///
    /// # Errors
    ///
    /// When the list is damaged; the inner error when it was written under another secret.
    pub(super) fn read_list(&self, list: &List, lifetime: u64) -> Result<Result<Vec<Entry>, OtherSecret>, FileError> {
        self.write(|tables| tables.read_list(list.clone(), lifetime))
    }

    /// What is known of the list of revocations.
    pub(super) fn list(&self) -> Option<List> {
        self.list.lock().clone()
    }

    /// The latest moment in the file.
    pub(super) fn latest(&self) -> UnixTime {
        self.list().map_or_else(UnixTime::default, |list| list.latest())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The number of sessions in the file.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The record of a session.
    pub(super) fn get(&self, key: &SessionKey) -> Result<Option<Vec<u8>>, FileError> {
        self.with(|database| {
            let reading = database.begin_read()?;
            let number = reading.open_table(NUMBERS)?.get(key.as_bytes())?.map(|number| number.value());
            let Some(number) = number else { return Ok(None) };
            let record = reading.open_table(RECORDS)?.get(number)?;
            Ok(record.map(|record| record.value().1.to_vec()))
        })
    }

    /// At most `most` records in the order of their numbers, after the number `after` or from the first one on.
    pub(super) fn records(
        &self,
        after: Option<u64>,
        most: usize,
    ) -> Result<Vec<(u64, SessionKey, Vec<u8>)>, FileError> {
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.with(|database| {
            let records = database.begin_read()?.open_table(RECORDS)?;
            let records = records.range::<u64>((first, Bound::Unbounded))?.take(most);
            records
                .map(|entry| {
                    let (number, entry) = entry?;
                    let (key, record) = entry.value();
                    Ok((number.value(), SessionKey::from_bytes(*key), record.to_vec()))
                })
                .collect()
        })
    }

    /// Makes all changes of `change` or none; they are on the disk once this returns.
    pub(super) fn write<T>(
        &self,
        change: impl FnOnce(&mut Tables<'_>) -> Result<T, redb::Error>,
    ) -> Result<T, FileError> {
        let written = self.with(|database| {
            let mut transaction = database.begin_write()?;
            // After a crash the file can be used at once, however large it is.
            transaction.set_quick_repair(true);
            let mut tables = Tables::open(&transaction, self.list())?;
            let made = change(&mut tables)?;
            let (changed, count) = (tables.have_changed(), tables.count()?);
            let list = tables.close()?;
            if changed {
                transaction.commit()?;
                self.count.store(count, Ordering::Relaxed);
                self.set_state(State::Writable);
            } else {
                transaction.abort()?;
            }
            *self.list.lock() = list;
            Ok(made)
        });
        match &written {
            Ok(_) => {}
            Err(FileError::Full { .. }) => self.set_state(State::Full),
            Err(_) => self.set_state(State::Failed),
        }
        written
    }

    /// Closes the file and opens it again, where that is needed and once all reads have ended; returns whether it did.
    ///
    /// The last transaction may have taken place although it failed, so the caller has to read the list again.
    pub(super) fn reopen(&self) -> Result<bool, FileError> {
        let mut opened = self.opened.write();
        if opened.is_some() && !self.broken.load(Ordering::Relaxed) {
            return Ok(false);
        }
        // redb must close the file first, or the second one finds it in use. It has reported its errors before.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(opened.take())));
        let again = (self.opener)(&self.path, Missing::Fail).inspect_err(|_| self.set_state(State::Failed))?;
        *opened = Some(again);
        self.broken.store(false, Ordering::Relaxed);
        Ok(true)
    }

    /// Has the file opened again, because the list in it could not be read.
    pub(super) fn mark_broken(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Whether the file has to be opened again.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// What the last write says of the file; does not block.
    pub(super) fn state(&self) -> State {
        let state = self.state.load(Ordering::Relaxed);
        [State::Writable, State::Full].into_iter().find(|it| *it as u8 == state).unwrap_or(State::Failed)
    }

    fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// A damaged file can make redb panic, which must end neither a thread nor the process.
    fn with<T>(&self, work: impl FnOnce(&redb::Database) -> Result<T, redb::Error>) -> Result<T, FileError> {
        let opened = self.opened.read();
        let Some(database) = &*opened else {
            return Err(FileError::damaged(&self.path, "it could not be opened again"));
        };
        let result = catch_unwind(AssertUnwindSafe(|| work(database)));
        if let Err(_) | Ok(Err(redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::LockPoisoned(_))) = &result {
            self.broken.store(true, Ordering::Relaxed);
        }
        match result {
            Ok(result) => result.map_err(|error| explained(&self.path, error)),
            Err(_) => Err(FileError::damaged(&self.path, "its parts do not fit together")),
        }
    }
}

fn open(path: &Path, missing: Missing) -> Result<redb::Database, FileError> {
    let file = open_private(path, missing).map_err(|cause| FileError::io(path, cause))?;
    open_backend(path, || FileBackend::new(file))
}

/// Opens the backend of the file at `path`.
pub(super) fn open_backend<B: StorageBackend>(
    path: &Path,
    backend: impl FnOnce() -> Result<B, DatabaseError>,
) -> Result<redb::Database, FileError> {
    let open = || Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(Checked(backend()?));
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(result) => result.map_err(|error| explained(path, error.into())),
        Err(_) => Err(FileError::damaged(path, "its parts do not fit together")),
    }
}

fn explained(path: &Path, error: redb::Error) -> FileError {
    match error {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
            FileError::InUse { path: path.to_owned() }
        }
        redb::Error::Io(cause) => FileError::io(path, cause),
        redb::Error::PreviousIo => FileError::io(path, std::io::Error::other("it failed a moment ago")),
        other => FileError::damaged(path, other),
    }
}
