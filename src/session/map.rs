use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use parking_lot::{RwLock, RwLockWriteGuard};

use super::{Session, SessionKey};

/// The number of locks, so that checks on several cores rarely meet at one.
const MOST_SHARDS: usize = 64;

/// A smaller shard would fill up by chance long before the others.
const LEAST_SESSIONS: usize = 256;

/// A full shard drops its size divided by this at once.
const EVICTED_SHARE: usize = 16;

type Sessions = HashMap<SessionKey, Arc<Session>, BuildHasherDefault<KeyHasher>>;

/// Sessions in memory, bounded in number.
///
/// When there is no more room, the least recently used ones go first.
pub(super) struct SessionMap {
    shards: Box<[RwLock<Shard>]>,
    most_in_shard: usize,
}

#[derive(Default)]
struct Shard {
    sessions: Sessions,
    writes: u64,
}

/// The number of writes to a shard by [`SessionMap::insert`], [`SessionMap::replace`], [`SessionMap::remove`] and
/// [`SessionMap::clear`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writes(u64);

/// A session and its key.
pub(super) type Keyed = (SessionKey, Arc<Session>);

/// Keys are the output of a hash over a secret, so an attacker cannot choose two that collide.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, bits: u64) {
        self.0 = bits;
    }
}

impl SessionMap {
    /// A map for at most `max_sessions`.
    pub(super) fn new(max_sessions: u64) -> Self {
        let most = usize::try_from(max_sessions).unwrap_or(usize::MAX);
        let shards = (most / LEAST_SESSIONS).clamp(1, MOST_SHARDS);
        Self { shards: (0..shards).map(|_| RwLock::default()).collect(), most_in_shard: most / shards }
    }

    fn shard(&self, key: &SessionKey) -> &RwLock<Shard> {
        // The hash table uses the low and the high bits.
        let bits = usize::try_from(key.bits() >> 32 & 0xffff).unwrap_or_default();
        &self.shards[bits % self.shards.len()]
    }

    /// The key's shard, for a write after which lookups that are under way are not adopted.
    fn shard_to_write(&self, key: &SessionKey) -> RwLockWriteGuard<'_, Shard> {
        let mut shard = self.shard(key).write();
        shard.writes += 1;
        shard
    }

    pub(super) fn get(&self, key: &SessionKey) -> Option<Arc<Session>> {
        self.shard(key).read().sessions.get(key).cloned()
    }

    /// Puts `session` in the place of what is there; returns the sessions that had to make room.
    pub(super) fn insert(&self, key: SessionKey, session: Arc<Session>) -> Vec<Keyed> {
        self.shard_to_write(&key).put(key, session, self.most_in_shard)
    }

    /// Puts `session` in the place of another one; `false` when there is none.
    pub(super) fn replace(&self, key: &SessionKey, session: Arc<Session>) -> bool {
        self.shard_to_write(key).sessions.get_mut(key).map(|place| *place = session).is_some()
    }

    pub(super) fn remove(&self, key: &SessionKey) -> Option<Arc<Session>> {
        self.shard_to_write(key).sessions.remove(key)
    }

    /// The state of the key's shard, read before a session is looked up elsewhere, for [`SessionMap::adopt`].
    pub(super) fn writes(&self, key: &SessionKey) -> Writes {
        Writes(self.shard(key).read().writes)
    }

    /// Takes in a session that was looked up elsewhere after `since`, and returns the one in the map: of two concurrent lookups
    /// the first one's session counts for both.
    ///
    /// `None` when the shard was written to meanwhile: the session may have been removed or replaced.
    pub(super) fn adopt(
        &self,
        key: SessionKey,
        session: Arc<Session>,
        since: Writes,
    ) -> Option<(Arc<Session>, Vec<Keyed>)> {
        let mut shard = self.shard(&key).write();
        if Writes(shard.writes) != since {
            return None;
        }
        if let Some(known) = shard.sessions.get(&key) {
            return Some((Arc::clone(known), Vec::new()));
        }
        let evicted = shard.put(key, Arc::clone(&session), self.most_in_shard);
        Some((session, evicted))
    }

    /// Removes what has `ended`; other threads wait for one shard at most, and only while something is removed from it.
    pub(super) async fn reclaim(&self, ended: impl Fn(&Session) -> bool) {
        for shard in &self.shards {
            reclaim(shard, &ended);
            tokio::task::yield_now().await;
        }
    }

    /// The sessions of shard `at`, counted from 0; `None` when there are fewer shards.
    pub(super) fn part(&self, at: usize) -> Option<Vec<Keyed>> {
        self.shards.get(at).map(|shard| shard.read().find(|_| true))
    }

    /// Removes all sessions; lookups that are under way are not adopted.
    pub(super) fn clear(&self) {
        for shard in &self.shards {
            let mut shard = shard.write();
            shard.writes += 1;
            let sessions = std::mem::take(&mut shard.sessions);
            // To free them takes longer than to take them out, and needs no lock.
            drop(shard);
            drop(sessions);
        }
    }

    /// The sessions that are `wanted`, shard by shard.
    pub(super) fn find(&self, wanted: impl Fn(&Session) -> bool) -> impl Iterator<Item = Vec<Keyed>> {
        self.shards.iter().map(move |shard| shard.read().find(&wanted))
    }

    pub(super) fn count(&self) -> u64 {
        self.shards.iter().map(|shard| shard.read().sessions.len() as u64).sum()
    }
}

impl Shard {
    fn find(&self, wanted: impl Fn(&Session) -> bool) -> Vec<Keyed> {
        let found = self.sessions.iter().filter(|(_, session)| wanted(session));
        found.map(|(key, session)| (*key, Arc::clone(session))).collect()
    }

    fn put(&mut self, key: SessionKey, session: Arc<Session>, most: usize) -> Vec<Keyed> {
        if most == 0 {
            return vec![(key, session)];
        }
        let full = self.sessions.len() >= most && !self.sessions.contains_key(&key);
        let evicted = if full { evict(&mut self.sessions) } else { Vec::new() };
        self.sessions.insert(key, session);
        evicted
    }
}

/// Searches under the shared lock, and takes the exclusive one only to remove.
fn reclaim(shard: &RwLock<Shard>, ended: impl Fn(&Session) -> bool) {
    let ended = shard.read().find(ended);
    if ended.is_empty() {
        return;
    }
    let mut shard = shard.write();
    let sessions = &mut shard.sessions;
    let removed: Vec<_> = ended.iter().filter_map(|(key, _)| sessions.remove(key)).collect();
    if sessions.capacity() > 4 * sessions.len().max(LEAST_SESSIONS) {
        sessions.shrink_to_fit();
    }
    // To free them takes longer than to take them out, and needs no lock.
    drop(shard);
    drop(removed);
}

/// Makes room for several sessions, so that not each insertion searches for the least recently used one.
fn evict(sessions: &mut Sessions) -> Vec<Keyed> {
    let mut used: Vec<_> = sessions.iter().map(|(key, session)| (session.last_use(), *key)).collect();
    let count = (used.len() / EVICTED_SHARE).max(1);
    if count < used.len() {
        used.select_nth_unstable_by_key(count, |(last_use, _)| *last_use);
    }
    used.iter().take(count).filter_map(|(_, key)| sessions.remove_entry(key)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::session::SessionToken;
    use crate::session::samples::{alice, app};
    use crate::world::{UnixTime, World};

    fn token() -> SessionToken {
        SessionToken::generate(&World::system()).unwrap()
    }

    fn session(began: u64, seconds: u64) -> Arc<Session> {
        Arc::new(alice(app(), UnixTime::from_secs(began), Duration::from_secs(seconds), None))
    }

    #[track_caller]
    fn bounded(most: u64, saved: usize) {
        let map = SessionMap::new(most);
        for _ in 0..saved {
            map.insert(token().key(), session(0, 60));
        }
        let count = map.count();
        assert!(count <= most, "{count} of {most}");
        assert!(count >= most.min(u64::try_from(saved).unwrap()) * 9 / 10, "{count} of {most}");
    }

    #[test]
    fn is_bounded() {
        bounded(0, 10);
        bounded(1, 10);
        bounded(10, 200);
        bounded(255, 1000);
        bounded(20_000, 40_000);
        bounded(20_000, 5_000);
    }

    #[test]
    fn the_longest_unused_go_first() {
        let map = SessionMap::new(32);
        let tokens: Vec<_> = (0..32).map(|_| token()).collect();
        for (began, token) in (100..).zip(&tokens) {
            map.insert(token.key(), session(began, 60));
        }
        for token in &tokens[..4] {
            map.get(&token.key()).unwrap().touch(UnixTime::from_secs(500));
        }
        map.insert(token().key(), session(600, 60));
        let kept: Vec<bool> = tokens.iter().map(|token| map.get(&token.key()).is_some()).collect();
        assert!(kept[..4].iter().all(|it| *it), "used a moment ago");
        assert_eq!(kept.iter().position(|it| !it), Some(4));
        assert_eq!(kept.iter().filter(|it| !**it).count(), 2);
        assert!(!kept[5], "the oldest of the unused");
    }

    #[test]
    fn saving_again_evicts_no_session() {
        let map = SessionMap::new(2);
        let (one, other) = (token(), token());
        for token in [&one, &other, &one, &one] {
            map.insert(token.key(), session(0, 60));
        }
        assert!(map.get(&one.key()).is_some() && map.get(&other.key()).is_some());
    }

    #[test]
    fn what_was_removed_in_the_meantime_is_not_adopted() {
        let map = SessionMap::new(10);
        let key = token().key();
        let since = map.writes(&key);
        let (first, _) = map.adopt(key, session(0, 60), since).unwrap();
        let (second, _) = map.adopt(key, session(0, 60), since).unwrap();
        assert!(Arc::ptr_eq(&first, &second), "there is one of each");
        map.remove(&key);
        assert!(map.adopt(key, session(0, 60), since).is_none());
        assert!(map.get(&key).is_none());
        let since = map.writes(&key);
        map.insert(key, session(0, 70));
        assert!(map.adopt(key, session(0, 60), since).is_none());
    }

    #[test]
    fn what_was_looked_up_before_all_was_forgotten_is_not_adopted() {
        let map = SessionMap::new(10);
        let key = token().key();
        map.insert(key, session(0, 60));
        let since = map.writes(&key);
        map.clear();
        assert!(map.get(&key).is_none() && map.count() == 0);
        assert!(map.adopt(key, session(0, 60), since).is_none());
    }
}
