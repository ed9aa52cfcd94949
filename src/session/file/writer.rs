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
pub(super) enum Work {
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
    Mend,
}

/// The result of a change.
pub(super) enum Outcome {
    /// The removed record.
    Removed(Option<Vec<u8>>),
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
    pub(super) work: Work,
    pub(super) reply: oneshot::Sender<Result<Outcome, StoreError>>,
}

/// What was done in a transaction; memory takes it over once it is durable.
enum Done {
    Saved,
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
                if let Work::Reclaim(now) = request.work {
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
                    for Request { work, reply } in batch {
                        let done = if full { self.without_room(work) } else { None };
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
            let _ = database.prove();
        }
    }

    /// Makes all changes in one transaction; after an error the file is opened again, and none of them counts.
    fn commit(&self, batch: &[Request]) -> Result<Vec<Done>, FileError> {
        self.mend()?;
        let database = &self.shared.database;
        let committed =
            database.write(|tables| batch.iter().map(|request| self.apply(&request.work, tables)).collect());
        if let Err(error) = &committed {
            if let Some(further) = self.failed.admit() {
                tracing::error!(%error, further, "the session file failed");
            }
            // Where this fails too, the next transaction tries again and reports its own error.
            let _ = self.mend();
        }
        committed
    }

    /// Opens the file again where that is needed.
    fn mend(&self) -> Result<(), FileError> {
        let shared = &self.shared;
        if shared.database.reopen()? {
            // An order whose transaction failed may be in the file all the same, and a repetition of it would not take effect.
            // Nothing is written before that is known.
            let known = shared.database.read_list(&shared.list, 0).and_then(|known| {
                let path = shared.database.path();
                known.map_err(|_| FileError::damaged(path, "its list of revocations is another one"))
            });
            for entry in known.inspect_err(|_| shared.database.doubt())? {
                shared.cache.revocations.add(entry);
            }
        }
        Ok(())
    }

    /// Writes the sessions that had no room before, as far as there is room now.
    fn write_unwritten(&mut self) {
        while let Some(part) = self.unwritten.part() {
            let written = self.mend().and_then(|()| {
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
    fn without_room(&mut self, work: Work) -> Option<Outcome> {
        match work {
            Work::Save { key, record, session } => {
                self.unwritten.keep(key, record, &session).then_some(Outcome::Count(1))
            }
            Work::Remove(key) => {
                let record = self.unwritten.forget(&key)?;
                self.shared.cache.sessions.remove(&key);
                Some(Outcome::Removed(Some(record)))
            }
            _ => None,
        }
    }

    fn apply(&self, work: &Work, tables: &mut Tables<'_>) -> Result<Done, redb::Error> {
        match work {
            Work::Save { key, record, .. } => tables.put(key, record).map(|()| Done::Saved),
            Work::Remove(key) => Ok(Done::Removed(*key, tables.remove(key)?)),
            Work::BeginRefresh(key) if self.unwritten.has(key) => Ok(Done::Unwritten),
            Work::BeginRefresh(key) => Ok(Done::Begun(tables.begin_refresh(key)?)),
            Work::EndRefresh(key, renewed) => end_refresh(key, renewed.as_ref(), tables),
            Work::Revoke(entries) => Ok(Done::Revoked(tables.revoke(entries)?.then(|| entries.clone()))),
            Work::Use(uses) => {
                let mut used = Vec::with_capacity(uses.len());
                for (key, session) in uses {
                    let check = session.last_check();
                    if self.keep_use(key, session, tables)? {
                        used.push((Arc::clone(session), check));
                    }
                }
                Ok(Done::Used(used))
            }
            Work::Reclaim(now) => self.free(*now, tables).map(Done::Freed),
            Work::Mend => tables.prove().map(|()| Done::Nothing),
        }
    }

    /// Frees some of the sessions that had ended by `now`; returns how many it looked at.
    fn free(&self, now: UnixTime, tables: &mut Tables<'_>) -> Result<usize, redb::Error> {
        let ended = tables.ended(now.as_secs(), FREED_AT_ONCE)?;
        for (end, key) in &ended {
            // Memory may know of a later use.
            let alive = key.and_then(|key| Some((key, self.shared.cache.sessions.get(&key)?)));
            let kept = match alive.filter(|(_, session)| session.lives(now)) {
                Some((key, session)) => self.keep_use(&key, &session, tables)?,
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
    fn keep_use(&self, key: &SessionKey, session: &Session, tables: &mut Tables<'_>) -> Result<bool, redb::Error> {
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
    fn take_over(&mut self, done: Done) -> Outcome {
        let cache = &self.shared.cache;
        match done {
            Done::Saved => Outcome::Count(1),
            Done::Removed(key, record) => {
                cache.sessions.remove(&key);
                Outcome::Removed(record.or(self.unwritten.forget(&key)))
            }
            Done::Begun(begun) => Outcome::Begun(begun),
            Done::Unwritten => Outcome::Unwritten,
            Done::Refreshed(key, there, session) => {
                if let Some(session) = session {
                    cache.sessions.replace(&key, session);
                }
                Outcome::Done(there)
            }
            Done::Revoked(entries) => {
                for entry in entries.iter().flat_map(|entries| &entries.revoked) {
                    cache.revocations.add(*entry);
                }
                Outcome::Done(entries.is_some())
            }
            Done::Used(used) => {
                for (session, check) in &used {
                    session.kept(*check);
                }
                Outcome::Count(used.len() as u64)
            }
            Done::Freed(count) => Outcome::Count(count as u64),
            Done::Nothing => Outcome::Count(0),
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
