use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::backend::Stored;
use super::map::{Keyed, SessionMap};
use super::record::{Outline, RecordKeys};
use super::revocation::{Entries, LATE_LOGIN, Revocations};
use super::{Revocation, Session, SessionKey, SessionOutline, SessionToken, StoreError, StoreParts};
use crate::telemetry::LogThrottle;
use crate::world::{EntropyError, World};

/// What this process keeps in memory, whatever the backend is: sessions, what was revoked, and the keys of records.
///
/// The store and the tasks of its backend share it.
pub(super) struct Cache {
    pub(super) sessions: SessionMap,
    pub(super) revocations: Revocations,
    pub(super) world: World,
    keys: RecordKeys,
    unreadable: LogThrottle,
    /// Where records are, for the log.
    path: Option<PathBuf>,
}

impl Cache {
    /// An empty one for records at `path`, where they are in a file.
    pub(super) fn new(parts: StoreParts<'_>, path: Option<PathBuf>) -> Arc<Self> {
        Arc::new(Self {
            sessions: SessionMap::new(parts.max_sessions),
            revocations: Revocations::new(parts.secret),
            keys: RecordKeys::new(parts.secret, parts.lifetime, parts.idle_timeout),
            world: parts.world,
            unreadable: LogThrottle::default(),
            path,
        })
    }

    /// Whether `session` lives, and was not revoked.
    pub(super) fn counts(&self, session: &Session) -> bool {
        session.lives(self.world.now()) && !self.revocations.covers(session)
    }

    /// Takes `session` into memory; returns those that had to make room and whose last use is to be written down.
    pub(super) fn insert(&self, key: SessionKey, session: Arc<Session>) -> Vec<Keyed> {
        unsaved(self.sessions.insert(key, session))
    }

    /// The record of `session`.
    pub(super) fn seal(&self, token: &SessionToken, session: &Session) -> Result<Vec<u8>, EntropyError> {
        self.keys.seal(&self.world, token, session)
    }

    /// The session in `stored`. A record that does not open counts as absent: it lets no user in.
    pub(super) fn open(&self, token: &SessionToken, stored: Stored) -> Option<Arc<Session>> {
        let record = match stored {
            Stored::Sealed(record) => record,
            Stored::Open(session) => return Some(session),
        };
        let session = self.keys.open(token, &record);
        if session.is_none() {
            self.note_unreadable();
        }
        session.map(Arc::new)
    }

    /// Tells the log that a record does not open.
    pub(super) fn note_unreadable(&self) {
        if let Some(further) = self.unreadable.admit() {
            let path = self.path.as_ref().map(|path| tracing::field::display(path.display()));
            tracing::warn!(path, further, "a session cannot be read and counts as absent");
        }
    }

    /// The record under `key` with the last use of `session`; `None` when it is not this daemon's.
    pub(super) fn with_use(
        &self,
        key: &SessionKey,
        record: &[u8],
        session: &Session,
    ) -> Result<Option<Vec<u8>>, EntropyError> {
        self.keys.with_use(&self.world, key, record, session)
    }

    /// What an operator sees of `stored`, where its session counts; what memory knows of it is newer.
    pub(super) fn shown(&self, key: SessionKey, stored: &Stored, known: Option<&Session>) -> Option<SessionOutline> {
        let shown = match stored {
            Stored::Sealed(record) => self.keys.shown(key, record, known, &self.revocations, self.world.now()),
            Stored::Open(session) => self.counts(session).then(|| Outline::of(session).shown(key)),
        }?;
        // An order that follows means it.
        self.world.saw(shown.began_at);
        Some(shown)
    }

    /// An order as it is written down: it means logins up to now, of sessions that live for `lifetime` at most.
    pub(super) fn order(&self, revocation: &Revocation<'_>, lifetime: Duration) -> Entries {
        let at = self.world.end_moment();
        // By a clock that was ahead at the time, sessions may live for so much longer.
        let until = at.max(self.world.now()) + lifetime + LATE_LOGIN;
        self.revocations.entries(revocation, at, until)
    }

    /// The sessions whose last use is to be written down.
    pub(super) fn unsaved(&self) -> Vec<Keyed> {
        self.sessions.find(Session::has_unsaved_use).flatten().collect()
    }
}

/// Those of `sessions` whose last use is to be written down.
pub(super) fn unsaved(mut sessions: Vec<Keyed>) -> Vec<Keyed> {
    sessions.retain(|(_, session)| session.has_unsaved_use());
    sessions
}

impl From<EntropyError> for StoreError {
    fn from(error: EntropyError) -> Self {
        Self(error.to_string())
    }
}
