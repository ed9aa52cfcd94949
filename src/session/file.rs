//! Sessions in a file of this machine: they survive the process, however it ends.

mod database;
mod directory;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};

pub use directory::{FileError, StateDirectory};

use self::database::Database;
use self::writer::{Outcome, Request, Work};
use super::map::{Evicted, SessionMap};
use super::record::RecordKeys;
use super::refresh::{Leases, Turn};
use super::revocation::{LATE, Revocations};
use super::{
    Begun, Finished, Lease, Page, Refreshable, Revocation, Session, SessionKey, SessionOutline, SessionStore,
    SessionToken, StoreError, StoreFuture, StoreParts,
};
use crate::telemetry::Rarely;
use crate::world::{UnixTime, World};

/// Writes that may wait for the one under way; further ones wait for room.
const QUEUE: usize = 1024;

/// Threads that read at once, so that a flood of unknown cookies does not take all that there are.
const READERS: usize = 16;

/// Sessions that operators are shown at once.
const PAGE: usize = 1000;

/// Uses that are written down in one transaction.
const USES_AT_ONCE: usize = 256;

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
    /// Of any session that is in the file.
    longest_lifetime: Duration,
}

/// What the writer and the readers have in common.
struct Shared {
    database: Database,
    cache: SessionMap,
    keys: RecordKeys,
    revocations: Revocations,
    world: World,
    unreadable: Rarely,
}

impl FileStore {
    /// Keeps sessions in `directory`; none is loaded before it is asked for.
    ///
    /// # Errors
    ///
    /// When the file cannot be used, or the system gives no thread.
    pub fn new(directory: StateDirectory, parts: StoreParts<'_>) -> Result<Self, FileError> {
        let database = directory.into_database();
        let lifetime = u64::try_from(parts.lifetime.as_millis()).unwrap_or(u64::MAX);
        let longest = database.write(|tables| tables.longest_lifetime(lifetime))?;
        let revocations = Revocations::new(parts.secret, parts.issuers);
        for entry in database.write(|tables| tables.revocations())? {
            revocations.add(entry);
        }
        let shared = Arc::new(Shared {
            cache: SessionMap::new(parts.max_sessions),
            keys: RecordKeys::new(parts.secret),
            revocations,
            world: parts.world,
            unreadable: Rarely::default(),
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
            longest_lifetime: Duration::from_millis(longest),
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
        let token = token.clone();
        let (found, evicted) = self.read(move |shared| shared.find(&token)).await?;
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
                // Whoever waits for nothing cannot be told that there was no room.
                self.send(Work::Mend);
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
        let begun = self.write(Work::BeginRefresh(key)).await;
        match begun {
            Ok(Outcome::Done(false)) if !reusable => {
                self.leases.finish(&key, &lease, &Finished::Unanswered);
                Ok(Begun::Spent)
            }
            Ok(_) => Ok(Begun::Lease(lease, session)),
            Err(error) => {
                self.leases.finish(&key, &lease, &Finished::Untouched);
                Err(error)
            }
        }
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
        let until = revocation.at.max(self.shared.world.now()) + self.longest_lifetime + LATE;
        let entries = self.shared.revocations.entries(revocation, until);
        Ok(matches!(self.write(Work::Revoke(entries)).await?, Outcome::Done(true)))
    }

    async fn end(&self, id: SessionKey) -> Result<Option<SessionOutline>, StoreError> {
        self.leases.forget(&id);
        match self.write(Work::Remove(id)).await? {
            Outcome::Removed(Some((record, cached))) => Ok(self.shared.shown(id, &record, cached.as_deref())),
            Outcome::Removed(None) | Outcome::Done(_) | Outcome::Count(_) => Ok(None),
        }
    }

    async fn page(&self, at: Option<String>) -> Result<Option<Page>, StoreError> {
        let after = match at.as_deref().map(SessionKey::parse) {
            Some(None) => return Ok(None),
            Some(key) => key,
            None => None,
        };
        let page = self.read(move |shared| {
            let records = shared.database.records(after.as_ref(), PAGE)?;
            let next = (records.len() == PAGE).then(|| records.last().map(|(key, _)| key.to_string())).flatten();
            let shown =
                |(key, record): &(SessionKey, Vec<u8>)| shared.shown(*key, record, shared.cache.get(key).as_deref());
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
        shared.revocations.reclaim(now);
        for unkept in self.shared.cache.find(Session::has_unkept_use) {
            for uses in unkept.chunks(USES_AT_ONCE) {
                self.write(Work::Use(uses.to_vec())).await?;
            }
        }
        while let Outcome::Count(1..) = self.write(Work::Reclaim(now)).await? {}
        // Where the session is gone, so is what is known of its refresh; where memory had no room for it, the file knows.
        self.leases.retain(now, |key| shared.cache.get(key).is_some());
        Ok(())
    }
}

impl Shared {
    /// Looks a session up in the file, and takes it into memory.
    fn find(&self, token: &SessionToken) -> Result<(Option<Arc<Session>>, Evicted), FileError> {
        let key = token.key();
        loop {
            let since = self.cache.writes(&key);
            let Some(record) = self.database.get(&key)? else { return Ok((None, Vec::new())) };
            let counts = |session: &Session| session.lives(self.world.now()) && !self.revocations.cover(session);
            let found = self.open(token, &record).filter(counts);
            let Some(session) = found else { return Ok((None, Vec::new())) };
            // Where it was removed or replaced in the meantime, the file is asked again.
            if let Some((session, evicted)) = self.cache.adopt(key, Arc::new(session), since) {
                return Ok((Some(session), evicted));
            }
        }
    }

    /// What does not open counts as absent: nobody can be let in with it.
    fn open(&self, token: &SessionToken, record: &[u8]) -> Option<Session> {
        let session = self.keys.open(token, record, |application| self.revocations.issuer(application));
        if session.is_none() {
            self.unreadable();
        }
        session
    }

    fn unreadable(&self) {
        if let Some(further) = self.unreadable.due() {
            let path = self.database.path().display();
            tracing::warn!(%path, further, "a session cannot be read and counts as absent");
        }
    }

    /// Writes down `session`; the record and what it is found by.
    fn record(&self, token: &SessionToken, session: &Session) -> Result<Vec<u8>, StoreError> {
        let issuer = self.revocations.issuer(session.application());
        self.keys.seal(&self.world, token, session, issuer).map_err(|error| StoreError(error.to_string()))
    }

    fn shown(&self, key: SessionKey, record: &[u8], cached: Option<&Session>) -> Option<SessionOutline> {
        self.keys.shown(key, record, cached, &self.revocations, self.world.now())
    }
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
                Outcome::Removed(None) | Outcome::Done(_) | Outcome::Count(_) => Ok(None),
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

    fn is_up(&self) -> bool {
        self.shared.database.is_open()
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
