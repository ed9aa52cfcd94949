use std::sync::Arc;

use super::FileError;
use super::database::Database;
use super::list::List;
use crate::session::map::{Evicted, SessionMap};
use crate::session::record::RecordKeys;
use crate::session::revocation::Revocations;
use crate::session::{Session, SessionKey, SessionOutline, SessionToken, StoreError};
use crate::telemetry::Rarely;
use crate::world::World;

/// What the writer and the readers have in common.
pub(super) struct Shared {
    pub(super) database: Database,
    pub(super) cache: SessionMap,
    pub(super) keys: RecordKeys,
    pub(super) revocations: Revocations,
    pub(super) world: World,
    pub(super) unreadable: Rarely,
    /// To read the list of revocations with.
    pub(super) list: List,
}

impl Shared {
    /// Looks a session up in the file, and takes it into memory.
    pub(super) fn find(&self, token: &SessionToken) -> Result<(Option<Arc<Session>>, Evicted), FileError> {
        let key = token.key();
        loop {
            let since = self.cache.writes(&key);
            let Some(record) = self.database.get(&key)? else { return Ok((None, Vec::new())) };
            let counts = |session: &Session| session.lives(self.world.now()) && !self.revocations.cover(session);
            let found = self.open(token, &record).filter(counts);
            let Some(session) = found else { return Ok((None, Vec::new())) };
            // Where it was removed or replaced in the meantime, the file is asked again.
            if let Some((session, evicted)) = self.cache.adopt(key, Arc::new(session), since) {
                self.world.saw(session.began_at);
                return Ok((Some(session), evicted));
            }
        }
    }

    /// What does not open counts as absent: nobody can be let in with it.
    pub(super) fn open(&self, token: &SessionToken, record: &[u8]) -> Option<Session> {
        let session = self.keys.open(token, record, |application| self.revocations.issuer(application));
        if session.is_none() {
            self.unreadable();
        }
        session
    }

    pub(super) fn unreadable(&self) {
        if let Some(further) = self.unreadable.due() {
            let path = self.database.path().display();
            tracing::warn!(%path, further, "a session cannot be read and counts as absent");
        }
    }

    /// Writes down `session`; the record and what it is found by.
    pub(super) fn record(&self, token: &SessionToken, session: &Session) -> Result<Vec<u8>, StoreError> {
        let issuer = self.revocations.issuer(session.application());
        self.keys.seal(&self.world, token, session, issuer).map_err(|error| StoreError(error.to_string()))
    }

    pub(super) fn shown(&self, key: SessionKey, record: &[u8], cached: Option<&Session>) -> Option<SessionOutline> {
        self.keys.shown(key, record, cached, &self.revocations, self.world.now())
    }
}
