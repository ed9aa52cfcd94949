use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use redb::backends::FileBackend;
use redb::{
    Builder, DatabaseError, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, StorageBackend,
    TableDefinition,
};

use super::SessionKey;
use super::directory::{FileError, open_private};
use crate::session::record::Head;
use crate::session::revocation::{Entries, Entry, Tag};
use crate::world::UnixTime;

/// Records by the name of the session.
const SESSIONS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("sessions");
/// The second at which a session ends, and its name.
const ENDS: TableDefinition<'_, &[u8; 40], ()> = TableDefinition::new("ends");
/// The names of sessions whose refresh was begun and not ended.
const REFRESHES: TableDefinition<'_, &[u8; 32], ()> = TableDefinition::new("refreshes");
/// Revocations: the tag, then until when it counts and what it is about, both in milliseconds.
const REVOCATIONS: TableDefinition<'_, &[u8; 16], (u64, u64)> = TableDefinition::new("revocations");
/// The longest lifetime that sessions in the file may have, in milliseconds.
const LIFETIME: TableDefinition<'_, (), u64> = TableDefinition::new("lifetime");

/// Sessions are in memory of our own already; the rest is left to the system's page cache.
const CACHE_BYTES: usize = 16 << 20;

/// The file, and what is in it.
///
/// After an error of the disk the file is opened again: redb does nothing with a file that failed once.
pub(super) struct Database {
    path: PathBuf,
    opener: Opener,
    /// `None` where it could not be opened again.
    opened: RwLock<Option<redb::Database>>,
    count: AtomicU64,
}

/// Opens the file at a path.
pub(super) type Opener = fn(&Path) -> Result<redb::Database, FileError>;

/// The tables of a transaction that is being made.
pub(super) struct Tables<'t> {
    sessions: redb::Table<'t, &'static [u8; 32], &'static [u8]>,
    ends: redb::Table<'t, &'static [u8; 40], ()>,
    refreshes: redb::Table<'t, &'static [u8; 32], ()>,
    revocations: redb::Table<'t, &'static [u8; 16], (u64, u64)>,
    lifetime: redb::Table<'t, (), u64>,
    changed: bool,
}

impl Database {
    /// Opens the file, and makes it where there is none.
    pub(super) fn open(path: PathBuf) -> Result<Self, FileError> {
        Self::open_with(path, open)
    }

    pub(super) fn open_with(path: PathBuf, opener: Opener) -> Result<Self, FileError> {
        let opened = RwLock::new(Some(opener(&path)?));
        let database = Self { path, opener, opened, count: AtomicU64::new(0) };
        // So that all tables are there, and the disk has shown that it can be written.
        database.write(|tables| {
            tables.changed = true;
            Ok(())
        })?;
        Ok(database)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How many sessions are in the file.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The record of a session.
    pub(super) fn get(&self, key: &SessionKey) -> Result<Option<Vec<u8>>, FileError> {
        self.with(|database| {
            let sessions = database.begin_read()?.open_table(SESSIONS)?;
            Ok(sessions.get(key.as_bytes())?.map(|record| record.value().to_vec()))
        })
    }

    /// At most so many records, those after `after` in the order of their names, or the first ones.
    pub(super) fn records(
        &self,
        after: Option<&SessionKey>,
        most: usize,
    ) -> Result<Vec<(SessionKey, Vec<u8>)>, FileError> {
        let first = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_bytes()));
        self.with(|database| {
            let sessions = database.begin_read()?.open_table(SESSIONS)?;
            let records = sessions.range::<&[u8; 32]>((first, Bound::Unbounded))?.take(most);
            records
                .map(|entry| {
                    let (key, record) = entry?;
                    Ok((SessionKey::from_bytes(*key.value()), record.value().to_vec()))
                })
                .collect()
        })
    }

    /// Makes the changes that `change` makes, all or none; once this is answered, they are on the disk.
    pub(super) fn write<T>(
        &self,
        change: impl FnOnce(&mut Tables<'_>) -> Result<T, redb::Error>,
    ) -> Result<T, FileError> {
        self.with(|database| {
            let mut transaction = database.begin_write()?;
            // After a crash the file is used at once, however large it is.
            transaction.set_quick_repair(true);
            let mut tables = Tables {
                sessions: transaction.open_table(SESSIONS)?,
                ends: transaction.open_table(ENDS)?,
                refreshes: transaction.open_table(REFRESHES)?,
                revocations: transaction.open_table(REVOCATIONS)?,
                lifetime: transaction.open_table(LIFETIME)?,
                changed: false,
            };
            let made = change(&mut tables)?;
            let (changed, count) = (tables.changed, tables.sessions.len()?);
            drop(tables);
            if changed {
                transaction.commit()?;
                self.count.store(count, Ordering::Relaxed);
            } else {
                transaction.abort()?;
            }
            Ok(made)
        })
    }

    /// Closes the file and opens it again, once nobody reads any more.
    pub(super) fn reopen(&self) -> Result<(), FileError> {
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        // Closed first: the new one would find it in use. Whatever closing has to say, was said before.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(opened.take())));
        *opened = Some((self.opener)(&self.path)?);
        Ok(())
    }

    /// Whether the last attempt to open it again went well.
    pub(super) fn is_open(&self) -> bool {
        self.opened.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// A damaged file can make redb panic, which must end neither a thread nor the process.
    fn with<T>(&self, work: impl FnOnce(&redb::Database) -> Result<T, redb::Error>) -> Result<T, FileError> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = &*opened else {
            return Err(FileError::damaged(&self.path, "it could not be opened again"));
        };
        match catch_unwind(AssertUnwindSafe(|| work(database))) {
            Ok(result) => result.map_err(|error| explained(&self.path, error)),
            Err(_) => Err(FileError::damaged(&self.path, "its parts do not fit together")),
        }
    }
}

impl Tables<'_> {
    /// Puts `record` in the place of what was there.
    pub(super) fn put(&mut self, key: &SessionKey, record: &[u8]) -> Result<(), redb::Error> {
        self.take(key)?;
        self.sessions.insert(key.as_bytes(), record)?;
        if let Some(head) = Head::read(record) {
            self.ends.insert(&end(head.ends_at, key), ())?;
        }
        self.changed = true;
        Ok(())
    }

    pub(super) fn get(&self, key: &SessionKey) -> Result<Option<Vec<u8>>, redb::Error> {
        Ok(self.sessions.get(key.as_bytes())?.map(|record| record.value().to_vec()))
    }

    /// Takes a record out with all that belongs to it, and gives it back.
    pub(super) fn remove(&mut self, key: &SessionKey) -> Result<Option<Vec<u8>>, redb::Error> {
        self.refreshes.remove(key.as_bytes())?;
        self.take(key)
    }

    fn take(&mut self, key: &SessionKey) -> Result<Option<Vec<u8>>, redb::Error> {
        let Some(record) = self.sessions.remove(key.as_bytes())?.map(|record| record.value().to_vec()) else {
            return Ok(None);
        };
        if let Some(head) = Head::read(&record) {
            self.ends.remove(&end(head.ends_at, key))?;
        }
        self.changed = true;
        Ok(Some(record))
    }

    /// At most so many sessions that had ended by `second`, those that ended first.
    pub(super) fn ended(&self, second: u64, most: usize) -> Result<Vec<SessionKey>, redb::Error> {
        let last = end(second, &SessionKey::from_bytes([0xff; 32]));
        let ended = self.ends.range::<&[u8; 40]>(..=&last)?.take(most);
        ended.map(|entry| Ok(key_of(entry?.0.value()))).collect()
    }

    /// Takes the entry out that says when a session ends, where no record says so.
    pub(super) fn forget_end(&mut self, second: u64, key: &SessionKey) -> Result<(), redb::Error> {
        self.changed = true;
        let first = end(0, &SessionKey::from_bytes([0; 32]));
        let last = end(second, &SessionKey::from_bytes([0xff; 32]));
        self.ends.retain_in::<&[u8; 40], _>(&first..=&last, |entry, ()| key_of(entry) != *key)?;
        Ok(())
    }

    /// Notes that a refresh begins; `false` when one was begun already and not ended.
    pub(super) fn begin_refresh(&mut self, key: &SessionKey) -> Result<bool, redb::Error> {
        self.changed = true;
        Ok(self.refreshes.insert(key.as_bytes(), ())?.is_none())
    }

    /// Notes that a refresh ended.
    pub(super) fn end_refresh(&mut self, key: &SessionKey) -> Result<(), redb::Error> {
        self.changed = true;
        self.refreshes.remove(key.as_bytes())?;
        Ok(())
    }

    /// Writes revocations down, unless the order was followed before.
    pub(super) fn revoke(&mut self, entries: &Entries) -> Result<bool, redb::Error> {
        if let Some(once) = &entries.once
            && self.revocations.get(&once.tag.0)?.is_some()
        {
            return Ok(false);
        }
        for entry in entries.revoked.iter().chain(&entries.once) {
            let known = self.revocations.get(&entry.tag.0)?.map_or((0, 0), |known| known.value());
            let newer = (known.0.max(entry.until.as_millis()), known.1.max(entry.at.as_millis()));
            self.revocations.insert(&entry.tag.0, newer)?;
        }
        self.changed = true;
        Ok(true)
    }

    /// All revocations.
    pub(super) fn revocations(&self) -> Result<Vec<Entry>, redb::Error> {
        let entries = self.revocations.iter()?;
        entries
            .map(|entry| {
                let (tag, times) = entry?;
                let [until, at] = <[u64; 2]>::from(times.value()).map(UnixTime::from_millis);
                Ok(Entry { tag: Tag(*tag.value()), at, until })
            })
            .collect()
    }

    /// Takes revocations out that count no longer.
    pub(super) fn forget_revocations(&mut self, now: UnixTime) -> Result<(), redb::Error> {
        let over = |(until, _): (u64, u64)| until <= now.as_millis();
        if self.revocations.iter()?.any(|entry| entry.is_ok_and(|(_, times)| over(times.value()))) {
            self.changed = true;
            self.revocations.retain(|_, times| !over(times))?;
        }
        Ok(())
    }

    /// Notes that sessions live for `lifetime` at most from now on; the longest that sessions in the file may have.
    pub(super) fn longest_lifetime(&mut self, lifetime: u64) -> Result<u64, redb::Error> {
        let known = self.lifetime.get(())?.map_or(0, |known| known.value());
        if lifetime > known {
            self.changed = true;
            self.lifetime.insert((), lifetime)?;
        }
        Ok(known.max(lifetime))
    }
}

fn end(second: u64, key: &SessionKey) -> [u8; 40] {
    let mut entry = [0; 40];
    entry[..8].copy_from_slice(&second.to_be_bytes());
    entry[8..].copy_from_slice(key.as_bytes());
    entry
}

/// The name at the end of an entry.
fn key_of(entry: &[u8]) -> SessionKey {
    SessionKey::from_bytes(entry.last_chunk().copied().unwrap_or_default())
}

fn open(path: &Path) -> Result<redb::Database, FileError> {
    let file = open_private(path).map_err(|cause| FileError::io(path, cause))?;
    open_backend(path, || FileBackend::new(file))
}

/// Opens what is behind a backend, which is in the file at `path`.
pub(super) fn open_backend<B: StorageBackend>(
    path: &Path,
    backend: impl FnOnce() -> Result<B, DatabaseError>,
) -> Result<redb::Database, FileError> {
    let open = || Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend()?);
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
