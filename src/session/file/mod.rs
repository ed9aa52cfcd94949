//! Sessions in a file of this machine: they survive the process, however it ends.

mod checked;
mod database;
mod directory;
mod list;
mod shared;
mod tables;
#[cfg(test)]
mod tests;
mod unwritten;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

pub use directory::{FileError, StateDirectory};

use self::database::{Database, State};
use self::list::List;
use self::shared::Shared;
use self::writer::{Outcome, Request, Work};
use super::map::{Evicted, SessionMap};
use super::record::RecordKeys;
use super::refresh::{Leases, Turn};
use super::revocation::{Entry, LATE, Revocations};
use super::{
    Begun, Finished, Lease, Page, Refreshable, Revocation, Session, SessionKey, SessionOutline, SessionStore,
    SessionToken, StoreError, StoreFuture, StoreParts,
};
use crate::telemetry::Rarely;
use crate::world::UnixTime;

/// Writes that may wait for the one under way; further ones wait for room.
const QUEUE: usize = 1024;

/// Threads that read at once, so that a flood of unknown cookies does not take all that there are.
const READERS: usize = 16;

/// Sessions that operators are shown at once.
const PAGE: usize = 1000;

/// Uses that are written down in one transaction.
const USES_AT_ONCE: usize = 256;

/// A record that could not be read is not read again for so long, as each try may have the file opened again.
const UNREADABLE: Duration = Duration::from_secs(2);

/// Of such records, so many are remembered.
const MOST_UNREADABLE: u64 = 1000;

/// A file that could not be written is tried again so often, where anybody asks for its state.
const PROOF_INTERVAL: Duration = Duration::from_secs(5);

/// Sessions in one file, with a bounded part of them in memory.
///
/// What was answered is durable. Writes that come together share a transaction; lookups read beside it.
pub struct FileStore {
    shared: Arc<Shared>,
    /// `None` once it is dropped, which ends the writer.
    queue: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
    readers: Arc<Semaphore>,
    leases: Leases,
    unreadable: Cache<SessionKey, ()>,
    /// Of any session that is in the file.
    longest_lifetime: Duration,
    began: Instant,
    /// When it was last tried whether the file can be written, in milliseconds after `began`.
    proven: AtomicU64,
}

impl FileStore {
    /// Keeps sessions in `directory`; none is loaded before it is asked for.
    ///
    /// # Errors
    ///
    /// When the file cannot be used, or the system gives no thread.
    pub fn new(directory: StateDirectory, parts: StoreParts<'_>) -> Result<Self, FileError> {
        let lifetime = u64::try_from(parts.lifetime.as_millis()).unwrap_or(u64::MAX);
        let (database, entries) = with_list(directory.into_database(), &parts, lifetime)?;
        let list = List::new(parts.secret, parts.world.clone());
        let longest = database.list().map_or(lifetime, |list| list.lifetime());
        // From here on, whatever the clock shows, new logins and orders come after all that are in the file.
        parts.world.saw(database.latest());
        let revocations = Revocations::new(parts.secret, parts.issuers);
        for entry in entries {
            parts.world.saw(entry.at);
            revocations.add(entry);
        }
        let shared = Arc::new(Shared {
            cache: SessionMap::new(parts.max_sessions),
            keys: RecordKeys::new(parts.secret, parts.lifetime, parts.idle_timeout),
            revocations,
            world: parts.world,
            unreadable: Rarely::default(),
            list,
            database,
        });
        let (queue, requests) = mpsc::channel(QUEUE);
        let writer = writer::spawn(Arc::clone(&shared), requests)
            .map_err(|cause| FileError::io(shared.database.path(), cause))?;
        Ok(Self {
            shared,
            queue: Some(queue),
            writer: Some(writer),
            readers: Arc::new(Semaphore::new(READERS)),
            leases: Leases::default(),
            unreadable: Cache::builder().max_capacity(MOST_UNREADABLE).time_to_live(UNREADABLE).build(),
            longest_lifetime: Duration::from_millis(longest),
            began: Instant::now(),
            proven: AtomicU64::new(0),
        })
    }

    async fn write(&self, work: Work) -> Result<Outcome, StoreError> {
        let (reply, answer) = oneshot::channel();
        let gone = |()| StoreError(format!("{}: nobody writes any more", self.shared.database.path().display()));
        let queue = self.queue.as_ref().ok_or(()).map_err(gone)?;
        queue.send(Request { work, reply }).await.map_err(|_| gone(()))?;
        answer.await.map_err(|_| gone(()))?
    }

    async fn find(&self, token: &SessionToken) -> Result<Option<Arc<Session>>, StoreError> {
        let (token, key) = (token.clone(), token.key());
        if self.unreadable.contains_key(&key) {
            return Err(StoreError(format!("{}: it could not be read", self.shared.database.path().display())));
        }
        let found = self.read(move |shared| shared.find(&token)).await;
        let (found, evicted) = found.inspect_err(|_| self.unreadable.insert(key, ()))?;
        self.keep_uses(evicted);
        Ok(found)
    }

    /// Reads from the file in a thread where that may take its time.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, StoreError> {
        // Neither the semaphore nor the runtime's own threads end while a request is answered.
        let stopping = || StoreError("the process is stopping".to_owned());
        let permit = Arc::clone(&self.readers).acquire_owned().await.map_err(|_| stopping())?;
        let shared = Arc::clone(&self.shared);
        let found = tokio::task::spawn_blocking(move || {
            let found = read(&shared);
            drop(permit);
            found
        });
        match found.await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => {
                if self.shared.database.is_broken() {
                    self.send(Work::Mend);
                }
                Err(StoreError(error.to_string()))
            }
            // The database may be so damaged that it panics.
            Err(_) => Err(StoreError(FileError::damaged(self.shared.database.path(), "it cannot be read").to_string())),
        }
    }

    /// In the file before it is answered, so that it is known after a crash that the token may be spent.
    async fn begin_refresh(&self, token: &SessionToken) -> Result<Begun, StoreError> {
        let Some(session) = self.load(token).await? else { return Ok(Begun::Gone) };
        let (key, reusable) = (token.key(), session.refreshable().is_some_and(Refreshable::is_reusable));
        let lease = match self.leases.begin(key, reusable, self.shared.world.now()) {
            Turn::Lease(lease) => lease,
            Turn::Busy => return Ok(Begun::Busy),
            Turn::Spent => return Ok(Begun::Spent),
        };
        let (begun, finished) = match self.write(Work::BeginRefresh(key)).await {
            Ok(Outcome::Begun(Some(false))) if !reusable => (Ok(Begun::Spent), Finished::Unanswered),
            Ok(Outcome::Begun(Some(_))) => return Ok(Begun::Lease(lease, session)),
            Ok(Outcome::Unwritten) => (Ok(Begun::Busy), Finished::Untouched),
            Ok(_) => (Ok(Begun::Gone), Finished::Untouched),
            Err(error) => (Err(error), Finished::Untouched),
        };
        self.leases.finish(&key, &lease, &finished);
        begun
    }

    async fn finish_refresh(
        &self,
        token: &SessionToken,
        lease: &Lease,
        finished: Finished,
    ) -> Result<bool, StoreError> {
        let key = token.key();
        if !self.leases.hold(&key, lease) {
            return Ok(false);
        }
        let renewed = match &finished {
            Finished::Renewed(session) => Some((self.shared.record(token, session)?, Arc::clone(session))),
            Finished::Untouched => None,
            // It stays in the file that a refresh was begun.
            Finished::Unanswered => return Ok(self.leases.finish(&key, lease, &finished)),
        };
        let there = matches!(self.write(Work::EndRefresh(key, renewed)).await?, Outcome::Done(true));
        Ok(self.leases.finish(&key, lease, &finished) && there)
    }

    async fn revoke(&self, revocation: &Revocation<'_>) -> Result<bool, StoreError> {
        let world = &self.shared.world;
        let at = world.end_moment();
        // By a clock that was ahead at the time, sessions may live for so much longer.
        let until = at.max(world.now()) + self.longest_lifetime + LATE;
        let entries = self.shared.revocations.entries(revocation, at, until);
        Ok(matches!(self.write(Work::Revoke(entries)).await?, Outcome::Done(true)))
    }

    async fn end(&self, id: SessionKey) -> Result<Option<SessionOutline>, StoreError> {
        self.leases.forget(&id);
        match self.write(Work::Remove(id)).await? {
            Outcome::Removed(Some((record, cached))) => Ok(self.shared.shown(id, &record, cached.as_deref())),
            _ => Ok(None),
        }
    }

    async fn page(&self, at: Option<String>) -> Result<Option<Page>, StoreError> {
        let Ok(after) = at.map(|at| at.parse()).transpose() else { return Ok(None) };
        let page = self.read(move |shared| {
            let records = shared.database.records(after, PAGE)?;
            let next = (records.len() == PAGE).then(|| records.last().map(|(number, ..)| number.to_string())).flatten();
            let shown = |(_, key, record): &(u64, SessionKey, Vec<u8>)| {
                shared.shown(*key, record, shared.cache.get(key).as_deref())
            };
            Ok(Page { sessions: records.iter().filter_map(shown).collect(), next })
        });
        page.await.map(Some)
    }

    /// Writes down when these were used last, without waiting for it.
    fn keep_uses(&self, evicted: Evicted) {
        let unkept: Evicted = evicted.into_iter().filter(|(_, session)| session.has_unkept_use()).collect();
        if !unkept.is_empty() {
            self.send(Work::Use(unkept));
        }
    }

    /// What is known of the file; where that is nothing good, it is tried anew beside whoever asks.
    fn state(&self) -> State {
        let state = self.shared.database.state();
        if state != State::Writable {
            let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let last = self.proven.load(Ordering::Relaxed);
            let due = Duration::from_millis(now.saturating_sub(last)) >= PROOF_INTERVAL || last == 0;
            if due && self.proven.compare_exchange(last, now.max(1), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                self.send(Work::Mend);
            }
        }
        state
    }

    fn send(&self, work: Work) {
        let (reply, _) = oneshot::channel();
        if let Some(queue) = &self.queue {
            // Where there is no room, the file has more important things to do.
            let _ = queue.try_send(Request { work, reply });
        }
    }

    async fn reclaim(&self, now: UnixTime) -> Result<(), StoreError> {
        let shared = &self.shared;
        shared.cache.reclaim(|session| !session.lives(now) || shared.revocations.cover(session)).await;
        for unkept in self.shared.cache.find(Session::has_unkept_use) {
            for uses in unkept.chunks(USES_AT_ONCE) {
                self.write(Work::Use(uses.to_vec())).await?;
            }
        }
        while let Outcome::Count(1..) = self.write(Work::Reclaim(now)).await? {}
        // Only now nothing is left that they could be about.
        shared.revocations.reclaim(now);
        // Where the session is gone, so is what is known of its refresh; where memory had no room for it, the file knows.
        self.leases.retain(now, |key| shared.cache.get(key).is_some());
        Ok(())
    }
}

/// The database with the list of revocations in it, which was read whole; a new one after a change of the secret.
fn with_list(database: Database, parts: &StoreParts<'_>, lifetime: u64) -> Result<(Database, Vec<Entry>), FileError> {
    let list = List::new(parts.secret, parts.world.clone());
    if let Ok(entries) = database.read_list(&list, lifetime)? {
        return Ok((database, entries));
    }
    // Without the other secret nothing in it opens, and the list would be lacking when that one came back.
    tracing::warn!(path = %database.path().display(), "session.secret is another one: all sessions have ended");
    let database = database.replace()?;
    let entries = database.read_list(&list, lifetime)?;
    let entries = entries.map_err(|_| FileError::damaged(database.path(), "another process writes to it"))?;
    Ok((database, entries))
}

impl SessionStore for FileStore {
    fn cached(&self, token: &SessionToken) -> Option<Arc<Session>> {
        self.shared.cache.get(&token.key()).filter(|session| !self.shared.revocations.cover(session))
    }

    fn load<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>> {
        Box::pin(async move {
            match self.cached(token) {
                Some(session) => Ok(Some(session)),
                None => self.find(token).await,
            }
        })
    }

    fn save<'s>(&'s self, token: &'s SessionToken, session: Arc<Session>) -> StoreFuture<'s, ()> {
        Box::pin(async move {
            let record = self.shared.record(token, &session)?;
            self.shared.world.saw(session.began_at);
            self.write(Work::Save { key: token.key(), record, session }).await.map(|_| ())
        })
    }

    fn remove<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>> {
        Box::pin(async move {
            self.leases.forget(&token.key());
            match self.write(Work::Remove(token.key())).await? {
                Outcome::Removed(Some((record, cached))) => {
                    let removed = cached.or_else(|| self.shared.open(token, &record).map(Arc::new));
                    Ok(removed.filter(|session| !self.shared.revocations.cover(session)))
                }
                _ => Ok(None),
            }
        })
    }

    fn begin_refresh<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Begun> {
        Box::pin(self.begin_refresh(token))
    }

    fn finish_refresh<'s>(
        &'s self,
        token: &'s SessionToken,
        lease: &'s Lease,
        finished: Finished,
    ) -> StoreFuture<'s, bool> {
        Box::pin(self.finish_refresh(token, lease, finished))
    }

    fn revoke<'s>(&'s self, revocation: &'s Revocation<'s>) -> StoreFuture<'s, bool> {
        Box::pin(self.revoke(revocation))
    }

    fn end(&self, id: SessionKey) -> StoreFuture<'_, Option<SessionOutline>> {
        Box::pin(self.end(id))
    }

    fn outline(&self, id: SessionKey) -> StoreFuture<'_, Option<SessionOutline>> {
        Box::pin(self.read(move |shared| {
            let record = shared.database.get(&id)?;
            Ok(record.and_then(|record| shared.shown(id, &record, shared.cache.get(&id).as_deref())))
        }))
    }

    fn page(&self, at: Option<String>) -> StoreFuture<'_, Option<Page>> {
        Box::pin(self.page(at))
    }

    /// Ends in small transactions, between which others are made.
    fn reclaim(&self, now: UnixTime) -> StoreFuture<'_, ()> {
        Box::pin(self.reclaim(now))
    }

    fn count(&self) -> u64 {
        self.shared.database.count()
    }

    /// Also without room: what begins then is in memory.
    fn is_up(&self) -> bool {
        self.state() != State::Failed
    }

    fn is_durable(&self) -> bool {
        self.state() == State::Writable
    }
}

impl Drop for FileStore {
    /// Waits for the writes under way, and lets go of the file.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // It panics nowhere, and if it did, the file would be as after a crash.
            let _ = writer.join();
        }
    }
}
