use std::collections::HashMap;
use std::sync::Arc;

use crate::session::{Session, SessionKey};
use crate::world::UnixTime;

/// Sessions that are in memory alone, at most.
const MOST: usize = 10_000;

/// Of these, so many are written in one transaction.
const PART: usize = 256;

/// Sessions that the disk had no room for: in memory until it has, or until the process ends.
#[derive(Default)]
pub(super) struct Unwritten(HashMap<SessionKey, (Vec<u8>, Arc<Session>)>);

impl Unwritten {
    /// Remembers a session and its record; `false` when there are too many.
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

    /// Takes one out: it was written, or has ended.
    pub(super) fn forget(&mut self, key: &SessionKey) -> Option<Vec<u8>> {
        self.0.remove(key).map(|(record, _)| record)
    }

    /// Forgets those that have ended by `now`.
    pub(super) fn reclaim(&mut self, now: UnixTime) {
        self.0.retain(|_, (_, session)| session.lives(now));
    }

    /// Some of them, `None` when there are none.
    pub(super) fn part(&self) -> Option<Vec<(SessionKey, Vec<u8>)>> {
        let part: Vec<_> = self.0.iter().take(PART).map(|(key, (record, _))| (*key, record.clone())).collect();
        (!part.is_empty()).then_some(part)
    }
}
