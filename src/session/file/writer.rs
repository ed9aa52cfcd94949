use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use super::database::State;
use super::tables::Tables;
use super::unwritten::Unwritten;
use super::{FileError, Session, SessionKey, Shared, StoreError};
use crate::session::map::Keyed;
use crate::session::revocation::Entries;
use crate::telemetry::LogThrottle;
use crate::world::UnixTime;

/// The number of requests in one transaction, so that the next one begins soon.
const MOST_AT_ONCE: usize = 256;

/// The number of sessions that one transaction frees.
const FREED_AT_ONCE: usize = 256;

/// A change to the file.
pub(super) enum Change {
    Save {
        key: SessionKey,
        record: Vec<u8>,
        session: Arc<Session>,
    },
    Remove(SessionKey),
    BeginRefresh(SessionKey),
    /// With the session that replaces the one before, where the refresh brought one.
    EndRefresh(SessionKey, Option<(Vec<u8>, Arc<Session>)>),
    Revoke(Entries),
    /// Writes the last uses of these sessions.
    Use(Vec<Keyed>),
    /// Frees some of the sessions that had ended by then.
    Reclaim(UnixTime),
    /// Opens the file again where it failed, and tries to write to it.
    Reopen,
}

/// The result of a change.
pub(super) enum Reply {
    /// The removed record, and the session that memory had.
    Removed(Option<(Vec<u8>, Option<Arc<Session>>)>),
    /// Whether the change was made, or was not needed.
    Done(bool),
    /// Whether a refresh began, or had begun before; `None` without a session.
    Begun(Option<bool>),
    /// The session is in memory only.
    Unwritten,
    /// The number of sessions that were changed.
    Count(u64),
}

/// A change, and who waits for it.
pub(super) struct Request {
    pub(super) change: Change,
    pub(super) reply: oneshot::Sender<Result<Reply, StoreError>>,
}

/// What was done in a transaction; memory takes it over once it is durable.
enum Done {
    Saved(SessionKey, Arc<Session>),
    Removed(SessionKey, Option<Vec<u8>>),
    Begun(Option<bool>),
    Unwritten,
    /// Whether the session was there, and what replaces it.
    Refreshed(SessionKey, bool, Option<Arc<Session>>),
    Revoked(Option<Entries>),
    Used(Vec<(Arc<Session>, u64)>),
    Freed(usize),
    Nothing,
}

/// Starts the thread that writes; it ends when all senders are gone.
pub(super) fn spawn(shared: Arc<Shared>, requests: mpsc::Receiver<Request>) -> std::io::Result<JoinHandle<()>> {
    let writer = Writer { shared, failed: LogThrottle::default(), unwritten: Unwritten::default() };
    thread::Builder::new().name("sessions".to_owned()).spawn(move || writer.run(requests))
}

struct Writer {
    shared: Arc<Shared>,
    failed: LogThrottle,
    unwritten: Unwritten,
}

impl Writer {
    fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut waiting = Vec::with_capacity(MOST_AT_ONCE);
        // What arrives during a transaction makes up the next one.
        while requests.blocking_recv_many(&mut waiting, MOST_AT_ONCE) > 0 {
            let batch = std::mem::take(&mut waiting);
            for request in &batch {
                if let Change::Reclaim(now) = request.change {
                    self.unwritten.reclaim(now);
                }
            }
            self.write_unwritten();
            match self.commit(&batch) {
                Ok(done) => {
                    for (request, done) in batch.into_iter().zip(done) {
                        // The requester may be gone.
                        let _ = request.reply.send(Ok(self.take_over(done)));
                    }
                }
                Err(error) => {
                    let text = error.to_string();
                    let full = matches!(error, FileError::Full { .. });
                    for Request { change, reply } in batch {
                        let done = if full { self.without_room(change) } else { None };
                        let _ = reply.send(done.ok_or_else(|| StoreError(text.clone())));
                    }
                }
            }
        }
        self.note_latest();
    }

    /// Writes down the latest moment for the next process, so that its orders also mean logins that are under way now.
    fn note_latest(&self) {
        let database = &self.shared.database;
        if database.state() == State::Writable && database.latest() < self.shared.cache.world.latest() {
            // Without it, the file is as after a crash.
            let _ = database.probe();
        }
    }

    /// Makes all changes in one transaction; after an error the file is opened again, and none of them counts.
    fn commit(&self, batch: &[Request]) -> Result<Vec<Done>, FileError> {
        self.reopen()?;
        let database = &self.shared.database;
        let committed =
            database.write(|tables| batch.iter().map(|request| self.apply(&request.change, tables)).collect());
        if let Err(error) = &committed {
            if let Some(further) = self.failed.admit() {
                tracing::error!(%error, further, "the session file failed");
            }
            // Where this fails too, the next transaction tries again and reports its own error.
            let _ = self.reopen();
        }
        committed
    }

    /// Opens the file again where that is needed.
    fn reopen(&self) -> Result<(), FileError> {
        let shared = &self.shared;
        if shared.database.reopen()? {
            // An order whose transaction failed may be in the file all the same, and a repetition of it would not take effect.
            // Nothing is written before that is known.
            let known = shared.database.read_list(&shared.list, 0).and_then(|known| {
                let path = shared.database.path();
                known.map_err(|_| FileError::damaged(path, "its list of revocations is another one"))
            });
            for entry in known.inspect_err(|_| shared.database.mark_broken())? {
                shared.cache.revocations.add(entry);
            }
        }
        Ok(())
    }

    /// Writes the sessions that had no room before, as far as there is room now.
    fn write_unwritten(&mut self) {
        while let Some(part) = self.unwritten.part() {
            let written = self.reopen().and_then(|()| {
                self.shared.database.write(|tables| part.iter().try_for_each(|(key, record)| tables.put(key, record)))
            });
            if written.is_err() {
                break;
            }
            for (key, _) in &part {
                self.unwritten.forget(key);
            }
        }
    }

    /// Makes in memory a change for which the file has no room; `None` where that is not safe.
    ///
    /// A session that is in memory alone ends with the process, so what ends it need not be durable.
    fn without_room(&mut self, change: Change) -> Option<Reply> {
        match change {
            Change::Save { key, record, session } => self.unwritten.keep(key, record, &session).then(|| {
                // The file has no room for the last uses of others either.
                drop(self.shared.cache.sessions.insert(key, session));
                Reply::Count(1)
            }),
            Change::Remove(key) => {
                let record = self.unwritten.forget(&key)?;
                Some(Reply::Removed(Some((record, self.shared.cache.sessions.remove(&key)))))
            }
            _ => None,
        }
    }

    fn apply(&self, change: &Change, tables: &mut Tables<'_>) -> Result<Done, redb::Error> {
        match change {
            Change::Save { key, record, session } => {
                tables.put(key, record)?;
                Ok(Done::Saved(*key, Arc::clone(session)))
            }
            Change::Remove(key) => Ok(Done::Removed(*key, tables.remove(key)?)),
            Change::BeginRefresh(key) if self.unwritten.has(key) => Ok(Done::Unwritten),
            Change::BeginRefresh(key) => Ok(Done::Begun(tables.begin_refresh(key)?)),
            Change::EndRefresh(key, renewed) => end_refresh(key, renewed.as_ref(), tables),
            Change::Revoke(entries) => Ok(Done::Revoked(tables.revoke(entries)?.then(|| entries.clone()))),
            Change::Use(uses) => {
                let mut used = Vec::with_capacity(uses.len());
                for (key, session) in uses {
                    let check = session.last_check();
                    if self.save_use(key, session, tables)? {
                        used.push((Arc::clone(session), check));
                    }
                }
                Ok(Done::Used(used))
            }
            Change::Reclaim(now) => self.free(*now, tables).map(Done::Freed),
            Change::Reopen => tables.probe().map(|()| Done::Nothing),
        }
    }

    /// Frees some of the sessions that had ended by `now`; returns how many it looked at.
    fn free(&self, now: UnixTime, tables: &mut Tables<'_>) -> Result<usize, redb::Error> {
        let ended = tables.ended(now.as_secs(), FREED_AT_ONCE)?;
        for (end, key) in &ended {
            // Memory may know of a later use.
            let alive = key.and_then(|key| Some((key, self.shared.cache.sessions.get(&key)?)));
            let kept = match alive.filter(|(_, session)| session.lives(now)) {
                Some((key, session)) => self.save_use(&key, &session, tables)?,
                None => false,
            };
            if !kept {
                key.map_or(Ok(None), |key| tables.remove(&key))?;
                tables.forget_end(*end)?;
            }
        }
        // Revocations count as long as there is a record that they could mean.
        if ended.len() < FREED_AT_ONCE {
            tables.forget_revocations(now)?;
        }
        Ok(ended.len())
    }

    /// Writes the last use of `session`; returns whether it has a record.
    fn save_use(&self, key: &SessionKey, session: &Session, tables: &mut Tables<'_>) -> Result<bool, redb::Error> {
        let Some(record) = tables.get(key)? else { return Ok(false) };
        match self.shared.cache.with_use(key, &record, session) {
            Ok(Some(record)) => tables.put(key, &record).map(|()| true),
            Ok(None) => {
                self.shared.cache.note_unreadable();
                Ok(false)
            }
            Err(error) => Err(redb::Error::Io(std::io::Error::other(error))),
        }
    }

    /// Memory follows in this thread and before the answer: the requester may be gone, and memory must not lag behind the file.
    fn take_over(&mut self, done: Done) -> Reply {
        let shared = Arc::clone(&self.shared);
        let cache = &shared.cache;
        match done {
            Done::Saved(key, session) => {
                self.save_uses_of(cache.insert(key, session));
                Reply::Count(1)
            }
            Done::Removed(key, record) => {
                let record = record.or(self.unwritten.forget(&key));
                let cached = cache.sessions.remove(&key);
                Reply::Removed(record.map(|record| (record, cached)))
            }
            Done::Begun(begun) => Reply::Begun(begun),
            Done::Unwritten => Reply::Unwritten,
            Done::Refreshed(key, there, session) => {
                if let Some(session) = session {
                    self.save_uses_of(cache.insert(key, session));
                }
                Reply::Done(there)
            }
            Done::Revoked(entries) => {
                for entry in entries.iter().flat_map(|entries| &entries.revoked) {
                    cache.revocations.add(*entry);
                }
                Reply::Done(entries.is_some())
            }
            Done::Used(used) => {
                for (session, check) in &used {
                    session.note_saved_use(*check);
                }
                Reply::Count(used.len() as u64)
            }
            Done::Freed(count) => Reply::Count(count as u64),
            Done::Nothing => Reply::Count(0),
        }
    }

    /// Writes the last uses of sessions that memory has dropped.
    fn save_uses_of(&mut self, evicted: Vec<Keyed>) {
        if evicted.is_empty() {
            return;
        }
        let (reply, _) = oneshot::channel();
        // The error is in the log already; without the write these sessions end a little earlier.
        if let Ok(done) = self.commit(&[Request { change: Change::Use(evicted), reply }]) {
            for done in done {
                self.take_over(done);
            }
        }
    }
}

fn end_refresh(
    key: &SessionKey,
    renewed: Option<&(Vec<u8>, Arc<Session>)>,
    tables: &mut Tables<'_>,
) -> Result<Done, redb::Error> {
    if tables.get(key)?.is_none() {
        return Ok(Done::Refreshed(*key, false, None));
    }
    tables.end_refresh(key)?;
    if let Some((record, _)) = renewed {
        tables.put(key, record)?;
    }
    Ok(Done::Refreshed(*key, true, renewed.map(|(_, session)| Arc::clone(session))))
}
