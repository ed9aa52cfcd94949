//! Sessions in a file of this machine: they survive the process, however it ends.

mod database;
mod directory;
mod rarely;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{Semaphore, mpsc, oneshot};

pub use directory::{FileError, StateDirectory};

use self::database::Database;
use self::rarely::Rarely;
use self::writer::{Outcome, Request, Work};
use super::map::{Evicted, SessionMap};
use super::record::RecordKeys;
use super::{Session, SessionKey, SessionStore, SessionToken, StoreError, StoreFuture};
use crate::world::{UnixTime, World};

/// Writes that may wait for the one under way; further ones wait for room.
const QUEUE: usize = 1024;

/// Threads that read at once, so that a flood of unknown cookies does not take all that there are.
const READERS: usize = 16;

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
}

/// What a [`FileStore`] is made of besides its directory.
#[derive(Debug)]
pub struct FileStoreParts<'p> {
    /// What the keys of the records are derived from.
    pub secret: &'p [u8],
    /// Sessions in memory at once; the file holds as many as there are.
    pub max_sessions: u64,
    /// The issuer of each application by its slug.
    pub issuers: HashMap<String, String>,
    /// Time and randomness.
    pub world: World,
}

/// What the writer and the readers have in common.
struct Shared {
    database: Database,
    cache: SessionMap,
    keys: RecordKeys,
    issuers: HashMap<String, String>,
    world: World,
    unreadable: Rarely,
}

impl FileStore {
    /// Keeps sessions in `directory`; nothing is loaded before it is asked for.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn new(directory: StateDirectory, parts: FileStoreParts<'_>) -> Result<Self, FileError> {
        let shared = Arc::new(Shared {
            cache: SessionMap::new(parts.max_sessions),
            keys: RecordKeys::new(parts.secret),
            issuers: parts.issuers,
            world: parts.world,
            unreadable: Rarely::default(),
            database: directory.into_database(),
        });
        let (queue, requests) = mpsc::channel(QUEUE);
        let writer = writer::spawn(Arc::clone(&shared), requests)
            .map_err(|cause| FileError::io(shared.database.path(), cause))?;
        Ok(Self { shared, queue: Some(queue), writer: Some(writer), readers: Arc::new(Semaphore::new(READERS)) })
    }

    /// Ends all sessions of `subject` at `issuer`, whatever application they are for, and says how many there were.
    ///
    /// # Errors
    ///
    /// When the file cannot be written; the sessions may still be there.
    pub async fn remove_subject(&self, issuer: &str, subject: &str) -> Result<u64, StoreError> {
        match self.write(Work::RemoveSubject(self.shared.keys.subject(issuer, subject))).await? {
            Outcome::Count(count) => Ok(count),
            Outcome::Removed(_) => Ok(0),
        }
    }

    async fn write(&self, work: Work) -> Result<Outcome, StoreError> {
        let (reply, answer) = oneshot::channel();
        let gone = |()| StoreError(format!("{}: nobody writes any more", self.shared.database.path().display()));
        let queue = self.queue.as_ref().ok_or(()).map_err(gone)?;
        queue.send(Request { work, reply }).await.map_err(|_| gone(()))?;
        answer.await.map_err(|_| gone(()))?
    }

    async fn find(&self, token: &SessionToken) -> Result<Option<Arc<Session>>, StoreError> {
        // Neither the semaphore nor the runtime's own threads end while a request is answered.
        let stopping = || StoreError("the process is stopping".to_owned());
        let permit = Arc::clone(&self.readers).acquire_owned().await.map_err(|_| stopping())?;
        let (shared, token) = (Arc::clone(&self.shared), token.clone());
        let found = tokio::task::spawn_blocking(move || {
            let found = shared.find(&token);
            drop(permit);
            found
        });
        match found.await {
            Ok(Ok((found, evicted))) => {
                self.keep_uses(evicted);
                Ok(found)
            }
            Ok(Err(error)) => {
                // Whoever waits for nothing cannot be told that there was no room.
                self.send(Work::Mend);
                Err(StoreError(error.to_string()))
            }
            // The database may be so damaged that it panics.
            Err(_) => Err(StoreError(FileError::damaged(self.shared.database.path(), "it cannot be read").to_string())),
        }
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
        self.shared.cache.reclaim(now).await;
        for unkept in self.shared.cache.find(Session::has_unkept_use) {
            for uses in unkept.chunks(USES_AT_ONCE) {
                self.write(Work::Use(uses.to_vec())).await?;
            }
        }
        while let Outcome::Count(1..) = self.write(Work::Reclaim(now)).await? {}
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
            let found = self.open(token, &record).filter(|session| session.lives(self.world.now()));
            let Some(session) = found else { return Ok((None, Vec::new())) };
            // Where it was removed or replaced in the meantime, the file is asked again.
            if let Some((session, evicted)) = self.cache.adopt(key, Arc::new(session), since) {
                return Ok((Some(session), evicted));
            }
        }
    }

    /// What does not open counts as absent: nobody can be let in with it.
    fn open(&self, token: &SessionToken, record: &[u8]) -> Option<Session> {
        let session = self.keys.open(token, record);
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
        let issuer = self.issuers.get(&*session.application).map_or("", String::as_str);
        let subject = self.keys.subject(issuer, session.identity.subject());
        self.keys.seal(&self.world, token, session, subject).map_err(|error| StoreError(error.to_string()))
    }
}

impl SessionStore for FileStore {
    fn cached(&self, token: &SessionToken) -> Option<Arc<Session>> {
        self.shared.cache.get(&token.key())
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
            match self.write(Work::Remove(token.key())).await? {
                Outcome::Removed(Some((record, cached))) => {
                    Ok(cached.or_else(|| self.shared.open(token, &record).map(Arc::new)))
                }
                Outcome::Removed(None) | Outcome::Count(_) => Ok(None),
            }
        })
    }

    /// Ends in small transactions, between which others are made.
    fn reclaim(&self, now: UnixTime) -> StoreFuture<'_, ()> {
        Box::pin(self.reclaim(now))
    }

    fn count(&self) -> u64 {
        self.shared.database.count()
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
