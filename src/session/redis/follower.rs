//! Takes over what other processes revoke and remove, and writes again what the server lost.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Shared;
use super::lease::LEASE_RENEWALS;
use super::list::Listing;
use crate::session::SessionKey;
use crate::session::redis::client::{EntryId, Follower, ListState, RedisError};
use crate::session::revocation::{Entry, Tag};
use crate::world::UnixTime;

/// The number of entries or keys that are written or requested at once.
const CHUNK: usize = 500;

/// The list as it is read from its beginning; `None` when it is read on.
#[derive(Default)]
pub(super) struct Reread(Mutex<Option<HashMap<Tag, UnixTime>>>);

impl Reread {
    fn begin(&self) {
        *self.0.lock() = Some(HashMap::new());
    }

    fn note(&self, entry: Entry) {
        if let Some(read) = &mut *self.0.lock() {
            let at = read.entry(entry.tag).or_default();
            *at = entry.at.max(*at);
        }
    }

    /// The entries of `known` that were not read; `None` when the list is read on.
    fn lacking(&self, known: impl FnOnce() -> Vec<Entry>) -> Option<Vec<Entry>> {
        let read = self.0.lock().take()?;
        let lacks = |entry: &Entry| read.get(&entry.tag).is_none_or(|at| *at < entry.at);
        Some(known().into_iter().filter(lacks).collect())
    }
}

impl Shared {
    /// Writes again what the server lost when it took another one's place: the orders were acknowledged, and a process that
    /// starts later knows them only from the server.
    fn write_again(self: &Arc<Self>, lacking: Vec<Entry>) {
        let (shared, gaps) = (Arc::clone(self), self.freshness.gaps());
        tokio::spawn(async move {
            let mut told = false;
            // After another gap all of it is compared again.
            while shared.freshness.gaps() == gaps {
                told = told || shared.revoke_again(&lacking).await;
                if told && shared.remove_those_again().await {
                    return;
                }
                tokio::time::sleep(shared.lease / LEASE_RENEWALS).await;
            }
        });
    }

    async fn revoke_again(&self, lacking: &[Entry]) -> bool {
        for entries in lacking.chunks(CHUNK) {
            if self.put_on_list(Listing::Again(entries)).await.is_err() {
                return false;
            }
        }
        self.redis.note_latest(self.cache.world.latest().as_millis()).await.is_ok()
    }

    async fn remove_those_again(self: &Arc<Self>) -> bool {
        let keys: Vec<_> = self.removed.all().iter().map(|key| *key.as_bytes()).collect();
        for keys in keys.chunks(CHUNK) {
            let Ok(found) = self.redis.which_exist(keys).await else { return false };
            for key in found {
                if self.take_out(SessionKey::from_bytes(key)).await.is_err() {
                    return false;
                }
            }
        }
        true
    }
}

impl Follower for Arc<Shared> {
    fn revoked(&self, id: EntryId, entry: &[u8]) -> Result<(), RedisError> {
        for entry in self.list.pass(id, entry)? {
            self.cache.world.saw(entry.at);
            self.cache.revocations.add(entry);
            self.reread.note(entry);
        }
        Ok(())
    }

    fn removed(&self, key: &[u8; 32]) {
        let key = SessionKey::from_bytes(*key);
        // In this order, so that a concurrent lookup finds one of the two.
        self.removed.add(key);
        self.cache.sessions.remove(&key);
    }

    fn state(&self, state: &ListState) {
        self.note_state(state);
    }

    fn current(&self, at: Instant) -> Result<(), RedisError> {
        self.list.is_whole()?;
        if let Some(lacking) = self.reread.lacking(|| self.cache.revocations.effective(self.oldest(self.list.time()))) {
            self.write_again(lacking);
        }
        self.freshness.note(at);
        Ok(())
    }

    fn damaged(&self, what: &'static str) {
        self.freshness.invalidate();
        tokio::spawn(Self::clone(self).begin_list_anew(what));
    }

    fn gap(&self) {
        self.freshness.invalidate();
        self.list.read_anew();
        self.reread.begin();
        let unsaved = self.cache.unsaved();
        self.cache.sessions.clear();
        if !unsaved.is_empty() {
            let shared = Self::clone(self);
            tokio::spawn(async move { shared.save_uses(unsaved).await });
        }
    }
}
