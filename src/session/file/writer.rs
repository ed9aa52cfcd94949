use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use super::database::Tables;
use super::{FileError, Session, SessionKey, Shared, StoreError};
use crate::session::map::Evicted;
use crate::session::revocation::Entries;
use crate::telemetry::Rarely;
use crate::world::UnixTime;

/// What one transaction holds at most, so that nobody waits long for the next one.
const MOST_AT_ONCE: usize = 256;

/// Sessions that one transaction frees at most.
const FREED_AT_ONCE: usize = 256;

/// What is to be done with the file.
pub(super) enum Work {
    Save {
        key: SessionKey,
        record: Vec<u8>,
        session: Arc<Session>,
    },
    Remove(SessionKey),
    BeginRefresh(SessionKey),
    /// With what takes the session's place, where the refresh brought that.
    EndRefresh(SessionKey, Option<(Vec<u8>, Arc<Session>)>),
    Revoke(Entries),
    /// Write down when these were used last.
    Use(Vec<(SessionKey, Arc<Session>)>),
    /// Free what had ended by then, a part of it.
    Reclaim(UnixTime),
    /// Open the file again where it failed.
    Mend,
}

/// What came of it.
pub(super) enum Outcome {
    /// The record that was removed, and the session where it was in memory.
    Removed(Option<(Vec<u8>, Option<Arc<Session>>)>),
    /// Whether it was done, or needed not to be.
    Done(bool),
    /// How many sessions it was done to.
    Count(u64),
}

/// Work, and who waits for it.
pub(super) struct Request {
    pub(super) work: Work,
    pub(super) reply: oneshot::Sender<Result<Outcome, StoreError>>,
}

/// What was done in a transaction; it counts, and is taken over into memory, once that is durable.
enum Done {
    Saved(SessionKey, Arc<Session>),
    Removed(SessionKey, Option<Vec<u8>>),
    Begun(bool),
    /// Whether the session was there, and what is in its place.
    Refreshed(SessionKey, bool, Option<Arc<Session>>),
    Revoked(Option<Entries>),
    Used(Vec<(Arc<Session>, u64)>),
    Freed(usize),
    Nothing,
}

/// Starts the one thread that writes; it ends when nobody can ask any more.
pub(super) fn spawn(shared: Arc<Shared>, requests: mpsc::Receiver<Request>) -> std::io::Result<JoinHandle<()>> {
    let writer = Writer { shared, failed: Rarely::default() };
    thread::Builder::new().name("sessions".to_owned()).spawn(move || writer.run(requests))
}

struct Writer {
    shared: Arc<Shared>,
    failed: Rarely,
}

impl Writer {
    fn run(self, mut requests: mpsc::Receiver<Request>) {
        let mut waiting = Vec::with_capacity(MOST_AT_ONCE);
        // What comes while a transaction is made is the next one.
        while requests.blocking_recv_many(&mut waiting, MOST_AT_ONCE) > 0 {
            let batch = std::mem::take(&mut waiting);
            match self.commit(&batch) {
                Ok(done) => {
                    for (request, done) in batch.into_iter().zip(done) {
                        // Whoever no longer waits does not need to know.
                        let _ = request.reply.send(Ok(self.take_over(done)));
                    }
                }
                Err(error) => {
                    let text = error.to_string();
                    for request in batch {
                        let _ = request.reply.send(Err(StoreError(text.clone())));
                    }
                }
            }
        }
    }

    /// Does all of it in one transaction; after an error nothing of it is done, and the file is opened again.
    fn commit(&self, batch: &[Request]) -> Result<Vec<Done>, FileError> {
        let database = &self.shared.database;
        if !database.is_open() || batch.iter().any(|request| matches!(request.work, Work::Mend)) {
            database.reopen()?;
        }
        let committed =
            database.write(|tables| batch.iter().map(|request| self.apply(&request.work, tables)).collect());
        if let Err(error) = &committed {
            if let Some(further) = self.failed.due() {
                tracing::error!(%error, further, "the session file failed");
            }
            // Where this fails too, the next one tries again, and tells its own error to whoever waits.
            let _ = database.reopen();
        }
        committed
    }

    fn apply(&self, work: &Work, tables: &mut Tables<'_>) -> Result<Done, redb::Error> {
        match work {
            Work::Save { key, record, session } => {
                tables.put(key, record)?;
                Ok(Done::Saved(*key, Arc::clone(session)))
            }
            Work::Remove(key) => Ok(Done::Removed(*key, tables.remove(key)?)),
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
            Work::Mend => Ok(Done::Nothing),
        }
    }

    /// Frees a few of the sessions that had ended by `now`, and says how many it looked at.
    fn free(&self, now: UnixTime, tables: &mut Tables<'_>) -> Result<usize, redb::Error> {
        let ended = tables.ended(now.as_secs(), FREED_AT_ONCE)?;
        for key in &ended {
            // In memory it may have been used since.
            let alive = self.shared.cache.get(key).filter(|session| session.lives(now));
            let kept = match alive {
                Some(session) => self.keep_use(key, &session, tables)?,
                None => false,
            };
            if !kept && tables.remove(key)?.is_none() {
                tables.forget_end(now.as_secs(), key)?;
            }
        }
        tables.forget_revocations(now)?;
        Ok(ended.len())
    }

    /// Writes down when `session` was used last; whether there is a record of it.
    fn keep_use(&self, key: &SessionKey, session: &Session, tables: &mut Tables<'_>) -> Result<bool, redb::Error> {
        let Some(record) = tables.get(key)? else { return Ok(false) };
        match self.shared.keys.with_use(&self.shared.world, key, &record, session) {
            Ok(Some(record)) => tables.put(key, &record).map(|()| true),
            Ok(None) => {
                self.shared.unreadable();
                Ok(false)
            }
            Err(error) => Err(redb::Error::Io(std::io::Error::other(error))),
        }
    }

    /// In this thread, and before anybody is told: whoever asked may be gone, and then memory would not follow.
    fn take_over(&self, done: Done) -> Outcome {
        let cache = &self.shared.cache;
        match done {
            Done::Saved(key, session) => {
                self.keep_evicted(cache.insert(key, session));
                Outcome::Count(1)
            }
            Done::Removed(key, record) => {
                let cached = cache.remove(&key);
                Outcome::Removed(record.map(|record| (record, cached)))
            }
            Done::Begun(first) => Outcome::Done(first),
            Done::Refreshed(key, there, session) => {
                if let Some(session) = session {
                    self.keep_evicted(cache.insert(key, session));
                }
                Outcome::Done(there)
            }
            Done::Revoked(entries) => {
                for entry in entries.iter().flat_map(|entries| &entries.revoked) {
                    self.shared.revocations.add(*entry);
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

    fn keep_evicted(&self, evicted: Evicted) {
        let unkept: Evicted = evicted.into_iter().filter(|(_, session)| session.has_unkept_use()).collect();
        if unkept.is_empty() {
            return;
        }
        let (reply, _) = oneshot::channel();
        // An error was told already; these sessions are idle a little earlier.
        if let Ok(done) = self.commit(&[Request { work: Work::Use(unkept), reply }]) {
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
