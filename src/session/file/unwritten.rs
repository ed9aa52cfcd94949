use std::collections::HashMap;
use std::sync::Arc;

use crate::session::{Session, SessionKey};
use crate::world::UnixTime;

/// The number of sessions that are in memory alone, at most.
const MOST: usize = 10_000;

/// The number of them that one transaction writes.
const PART: usize = 256;

/// Sessions for which the disk had no room: they are in memory until it has, or until the process ends.
#[derive(Default)]
pub(super) struct Unwritten(HashMap<SessionKey, (Vec<u8>, Arc<Session>)>);

impl Unwritten {
    /// Keeps a session and its record; `false` when there are too many.
    pub(super) fn keep(&mut self, key: SessionKey, record: Vec<u8>, session: &Arc<Session>) -> bool {
        let room = self.0.len() < MOST;
        if room {
            self.0.insert(key, (record, Arc::clone(session)));
        }
        room
    }

    pub(super) fn has(&self, key: &SessionKey) -> bool {
        self.0.contains_key(key)
    }

    /// Removes a session that was written or has ended, and returns its record.
    pub(super) fn forget(&mut self, key: &SessionKey) -> Option<Vec<u8>> {
        self.0.remove(key).map(|(record, _)| record)
    }

    /// Removes those that have ended by `now`.
    pub(super) fn reclaim(&mut self, now: UnixTime) {
        self.0.retain(|_, (_, session)| session.lives(now));
    }

    /// Some of them; `None` when there are none.
    pub(super) fn part(&self) -> Option<Vec<(SessionKey, Vec<u8>)>> {
        let part: Vec<_> = self.0.iter().take(PART).map(|(key, (record, _))| (*key, record.clone())).collect();
        (!part.is_empty()).then_some(part)
    }
}
