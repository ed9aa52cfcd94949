//! Sessions in a file of this machine: they survive the process, however it ends.

mod checked;
mod database;
mod directory;
mod list;
mod tables;
#[cfg(test)]
mod tests;
mod unwritten;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use moka::sync::Cache as Moka;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

pub use directory::{FileError, StateDirectory};

use self::database::{Database, State};
use self::list::List;
use self::writer::{Change, Reply, Request};
use super::backend::{Backend, LeaseReply, Removed, Stored, StoredPage};
use super::cache::Cache;
use super::map::Keyed;
use super::refresh::Leases;
use super::revocation::Entry;
use super::{CachedStore, Finished, Lease, Refreshable, Revocation, Session, SessionKey, StoreError, StoreParts};
use crate::world::UnixTime;

/// The number of writes that may wait for the one under way; further ones wait for room.
const QUEUE: usize = 1024;

/// The number of threads that read at once, so that a flood of unknown cookies does not take all of the runtime's threads.
const READERS: usize = 16;

/// The number of records that operators get at once.
const PAGE: usize = 1000;

/// The number of uses that one transaction writes down.
const USES_AT_ONCE: usize = 256;

/// The time in which a record that could not be read is not read again, because each attempt may have the file opened again.
const UNREADABLE: Duration = Duration::from_secs(2);

/// The number of such records that are remembered.
const MOST_UNREADABLE: u64 = 1000;

/// The pause between two attempts to write to a file that failed, made when its state is asked for.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// Sessions in one file, with a bounded part of them in memory.
///
/// What was answered is durable. Concurrent writes share a transaction; lookups run beside it.
pub type FileStore = CachedStore<FileBackend>;

/// Keeps records in a file.
pub struct FileBackend {
    shared: Arc<Shared>,
    /// `None` while the backend is dropped, which ends the writer.
    queue: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
    readers: Arc<Semaphore>,
    leases: Leases,
    unreadable: Moka<SessionKey, ()>,
    /// The longest lifetime of a session in the file.
    longest_lifetime: Duration,
    began: Instant,
    /// When a write was last attempted for a file that failed, in milliseconds after `began`.
    probed: AtomicU64,
}

/// What the writer and the readers share.
struct Shared {
    database: Database,
    cache: Arc<Cache>,
    /// The key for the list of revocations.
    list: List,
}

impl FileStore {
    /// Keeps sessions in `directory`; loads none before it is asked for.
    ///
    /// # Errors
    ///
    /// When the file cannot be used, or the system gives no thread.
    pub fn new(directory: StateDirectory, parts: StoreParts<'_>) -> Result<Self, FileError> {
        let lifetime = u64::try_from(parts.lifetime.as_millis()).unwrap_or(u64::MAX);
        let list = List::new(parts.secret, parts.world.clone());
        let (database, entries) = with_list(directory.into_database(), &list, lifetime)?;
        let longest = database.list().map_or(lifetime, |list| list.lifetime());
        // From here on new logins and orders get later moments than all in the file, whatever the clock shows.
        parts.world.saw(database.latest());
        let cache = Cache::new(parts, Some(database.path().to_owned()));
        for entry in entries {
            cache.world.saw(entry.at);
            cache.revocations.add(entry);
        }
        let shared = Arc::new(Shared { database, cache: Arc::clone(&cache), list });
        let (queue, requests) = mpsc::channel(QUEUE);
        let writer = writer::spawn(Arc::clone(&shared), requests)
            .map_err(|cause| FileError::io(shared.database.path(), cause))?;
        let backend = FileBackend {
            shared,
            queue: Some(queue),
            writer: Some(writer),
            readers: Arc::new(Semaphore::new(READERS)),
            leases: Leases::default(),
            unreadable: Moka::builder().max_capacity(MOST_UNREADABLE).time_to_live(UNREADABLE).build(),
            longest_lifetime: Duration::from_millis(longest),
            began: Instant::now(),
            probed: AtomicU64::new(0),
        };
        Ok(Self { cache, backend })
    }
}

impl FileBackend {
    async fn write(&self, change: Change) -> Result<Reply, StoreError> {
        let (reply, answer) = oneshot::channel();
        let gone = |()| StoreError(format!("{}: the writer has ended", self.shared.database.path().display()));
        let queue = self.queue.as_ref().ok_or(()).map_err(gone)?;
        queue.send(Request { change, reply }).await.map_err(|_| gone(()))?;
        answer.await.map_err(|_| gone(()))?
    }

    /// Reads from the file in a thread that may block.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Database) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, StoreError> {
        // The semaphore and the runtime's threads live longer than any request.
        let stopping = || StoreError("the process is stopping".to_owned());
        let permit = Arc::clone(&self.readers).acquire_owned().await.map_err(|_| stopping())?;
        let shared = Arc::clone(&self.shared);
        let found = tokio::task::spawn_blocking(move || {
            let found = read(&shared.database);
            drop(permit);
            found
        });
        match found.await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => {
                if self.shared.database.is_broken() {
                    self.send(Change::Reopen);
                }
                Err(error.into())
            }
            // The database may be so damaged that redb panics.
            Err(_) => Err(FileError::damaged(self.shared.database.path(), "it cannot be read").into()),
        }
    }

    /// The state of the file; where it is bad, another attempt to write is started, and not waited for.
    fn state(&self) -> State {
        let state = self.shared.database.state();
        if state != State::Writable {
            let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let last = self.probed.load(Ordering::Relaxed);
            let due = Duration::from_millis(now.saturating_sub(last)) >= PROBE_INTERVAL || last == 0;
            if due && self.probed.compare_exchange(last, now.max(1), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                self.send(Change::Reopen);
            }
        }
        state
    }

    fn send(&self, change: Change) {
        let (reply, _) = oneshot::channel();
        if let Some(queue) = &self.queue {
            // Where the queue is full, the file is busy with more important work.
            let _ = queue.try_send(Request { change, reply });
        }
    }
}

impl Backend for FileBackend {
    async fn get(&self, key: SessionKey) -> Result<Option<Stored>, StoreError> {
        if self.unreadable.contains_key(&key) {
            return Err(StoreError(format!("{}: it could not be read", self.shared.database.path().display())));
        }
        let found = self.read(move |database| database.get(&key)).await;
        Ok(found.inspect_err(|_| self.unreadable.insert(key, ()))?.map(Stored::Sealed))
    }

    async fn put(&self, key: SessionKey, record: Vec<u8>, session: &Arc<Session>) -> Result<(), StoreError> {
        self.write(Change::Save { key, record, session: Arc::clone(session) }).await.map(|_| ())
    }

    async fn remove(&self, key: SessionKey) -> Result<Option<Removed>, StoreError> {
        self.leases.forget(&key);
        match self.write(Change::Remove(key)).await? {
            Reply::Removed(removed) => Ok(removed.map(|(record, cached)| (Stored::Sealed(record), cached))),
            _ => Ok(None),
        }
    }

    /// Durable before it returns, so that after a crash the token is known to be possibly spent.
    async fn begin_refresh(&self, key: SessionKey, session: &Session) -> Result<LeaseReply, StoreError> {
        let reusable = session.refreshable().is_some_and(Refreshable::is_reusable);
        let lease = match self.leases.begin(key, reusable, self.shared.cache.world.now()) {
            LeaseReply::Lease(lease, _) => lease,
            turn => return Ok(turn),
        };
        let (turn, finished) = match self.write(Change::BeginRefresh(key)).await {
            Ok(Reply::Begun(Some(false))) if !reusable => (Ok(LeaseReply::Spent(None)), Finished::Unanswered),
            Ok(Reply::Begun(Some(_))) => return Ok(LeaseReply::Lease(lease, None)),
            Ok(Reply::Unwritten) => (Ok(LeaseReply::Busy), Finished::Untouched),
            Ok(_) => (Ok(LeaseReply::Gone), Finished::Untouched),
            Err(error) => (Err(error), Finished::Untouched),
        };
        self.leases.finish(&key, &lease, &finished);
        turn
    }

    async fn finish_refresh(
        &self,
        key: SessionKey,
        lease: &Lease,
        finished: Finished,
        record: Vec<u8>,
    ) -> Result<bool, StoreError> {
        if !self.leases.hold(&key, lease) {
            return Ok(false);
        }
        let renewed = match &finished {
            Finished::Renewed(session) => Some((record, Arc::clone(session))),
            Finished::Untouched => None,
            // The mark of a refresh that was begun stays in the file.
            Finished::Unanswered => return Ok(self.leases.finish(&key, lease, &finished)),
        };
        let there = matches!(self.write(Change::EndRefresh(key, renewed)).await?, Reply::Done(true));
        Ok(self.leases.finish(&key, lease, &finished) && there)
    }

    async fn revoke(&self, revocation: &Revocation<'_>) -> Result<bool, StoreError> {
        let entries = self.shared.cache.order(revocation, self.longest_lifetime);
        Ok(matches!(self.write(Change::Revoke(entries)).await?, Reply::Done(true)))
    }

    async fn page(&self, at: Option<String>) -> Result<Option<StoredPage>, StoreError> {
        let Ok(after) = at.map(|at| at.parse()).transpose() else { return Ok(None) };
        let records = self.read(move |database| database.records(after, PAGE)).await?;
        let next = (records.len() == PAGE).then(|| records.last().map(|(number, ..)| number.to_string())).flatten();
        let found = records.into_iter().map(|(_, key, record)| (key, Stored::Sealed(record))).collect();
        Ok(Some(StoredPage { found, next }))
    }

    fn queue_uses(&self, uses: Vec<Keyed>) {
        self.send(Change::Use(uses));
    }

    /// Works in small transactions, between which others take place. Sessions that memory knows to be used stay.
    async fn reclaim(&self, now: UnixTime) -> Result<(), StoreError> {
        let cache = &self.shared.cache;
        for unsaved in cache.sessions.find(Session::has_unsaved_use) {
            for uses in unsaved.chunks(USES_AT_ONCE) {
                self.write(Change::Use(uses.to_vec())).await?;
            }
        }
        while let Reply::Count(1..) = self.write(Change::Reclaim(now)).await? {}
        // Only now there is no record left that they could be about.
        cache.revocations.reclaim(now);
        // A session that is gone takes its lease along; where memory had no room for it, the file has the mark.
        self.leases.retain(now, |key| cache.sessions.get(key).is_some());
        Ok(())
    }

    fn count(&self) -> u64 {
        self.shared.database.count()
    }

    /// Also without room on the disk: a session that begins then is in memory.
    fn is_up(&self) -> bool {
        self.state() != State::Failed
    }

    fn is_durable(&self) -> bool {
        self.state() == State::Writable
    }
}

/// The database and its list of revocations, read whole; a new database after a change of the secret.
fn with_list(database: Database, list: &List, lifetime: u64) -> Result<(Database, Vec<Entry>), FileError> {
    if let Ok(entries) = database.read_list(list, lifetime)? {
        return Ok((database, entries));
    }
    // Without the old secret no record opens, and its list would be missing if that secret came back.
    tracing::warn!(path = %database.path().display(), "session.secret is another one: all sessions have ended");
    let database = database.replace()?;
    let entries = database.read_list(list, lifetime)?;
    let entries = entries.map_err(|_| FileError::damaged(database.path(), "another process writes to it"))?;
    Ok((database, entries))
}

impl From<FileError> for StoreError {
    fn from(error: FileError) -> Self {
        Self(error.to_string())
    }
}

impl Drop for FileBackend {
    /// Waits for the writes under way, and closes the file.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // The writer does not panic; if it did, the file would be as after a crash.
            let _ = writer.join();
        }
    }
}
