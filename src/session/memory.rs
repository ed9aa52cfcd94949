use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, PoisonError, RwLock};

use super::{Session, SessionKey, SessionStore, SessionToken, StoreFuture};
use crate::world::UnixTime;

/// Locks, so that checks on several cores rarely meet at one.
const MOST_SHARDS: usize = 64;

/// A smaller shard would be full by chance long before its neighbours.
const LEAST_SESSIONS: usize = 256;

/// What goes at once when a shard is full is its size divided by this.
const EVICTED_SHARE: usize = 16;

type Sessions = HashMap<SessionKey, Arc<Session>, BuildHasherDefault<KeyHasher>>;

/// Sessions in this process, bounded in number; they end with it.
///
/// When there is no more room, those that were not used for the longest time go first.
pub struct MemoryStore {
    shards: Box<[RwLock<Sessions>]>,
    most_in_shard: usize,
}

/// Keys are the output of a hash over a secret of ours already, so nobody can choose two that meet.
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

impl MemoryStore {
    /// Keeps at most `max_sessions`.
    #[must_use]
    pub fn new(max_sessions: u64) -> Self {
        let most = usize::try_from(max_sessions).unwrap_or(usize::MAX);
        let shards = (most / LEAST_SESSIONS).clamp(1, MOST_SHARDS);
        Self { shards: (0..shards).map(|_| RwLock::default()).collect(), most_in_shard: most / shards }
    }

    fn shard(&self, key: &SessionKey) -> &RwLock<Sessions> {
        // The map uses the low and the high bits.
        let bits = usize::try_from(key.bits() >> 32 & 0xffff).unwrap_or_default();
        &self.shards[bits % self.shards.len()]
    }

    fn get(&self, key: &SessionKey) -> Option<Arc<Session>> {
        read(self.shard(key), |sessions| sessions.get(key).cloned())
    }

    fn insert(&self, key: SessionKey, session: Arc<Session>) {
        if self.most_in_shard == 0 {
            return;
        }
        write(self.shard(&key), |sessions| {
            if sessions.len() >= self.most_in_shard && !sessions.contains_key(&key) {
                evict(sessions);
            }
            sessions.insert(key, session);
        });
    }
}

// A panic while a lock is held leaves a map as whole as any other moment does, so a poisoned lock is used on.

fn read<T>(shard: &RwLock<Sessions>, with: impl FnOnce(&Sessions) -> T) -> T {
    with(&shard.read().unwrap_or_else(PoisonError::into_inner))
}

fn write<T>(shard: &RwLock<Sessions>, with: impl FnOnce(&mut Sessions) -> T) -> T {
    with(&mut shard.write().unwrap_or_else(PoisonError::into_inner))
}

/// Looks with a lock that checks share, and takes the other one only to remove.
fn reclaim(shard: &RwLock<Sessions>, now: UnixTime) {
    let ended = |session: &Session| !session.lives(now);
    let keys: Vec<SessionKey> =
        read(shard, |sessions| sessions.iter().filter(|(_, it)| ended(it)).map(|(key, _)| *key).collect());
    if keys.is_empty() {
        return;
    }
    let removed: Vec<_> = write(shard, |sessions| {
        let removed = keys.iter().filter_map(|key| sessions.remove(key)).collect();
        if sessions.capacity() > 4 * sessions.len().max(LEAST_SESSIONS) {
            sessions.shrink_to_fit();
        }
        removed
    });
    // Freeing them takes longer than taking them out, and needs no lock.
    drop(removed);
}

/// Makes room for several, so that the search for the longest unused is not made for each.
fn evict(sessions: &mut Sessions) {
    let mut used: Vec<_> = sessions.iter().map(|(key, session)| (session.last_use(), *key)).collect();
    let count = (used.len() / EVICTED_SHARE).max(1);
    if count < used.len() {
        used.select_nth_unstable_by_key(count, |(last_use, _)| *last_use);
    }
    for (_, key) in used.iter().take(count) {
        sessions.remove(key);
    }
}

impl SessionStore for MemoryStore {
    fn cached(&self, token: &SessionToken) -> Option<Arc<Session>> {
        self.get(&token.key())
    }

    fn load<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>> {
        let found = self.get(&token.key());
        Box::pin(std::future::ready(Ok(found)))
    }

    fn save<'s>(&'s self, token: &'s SessionToken, session: Arc<Session>) -> StoreFuture<'s, ()> {
        self.insert(token.key(), session);
        Box::pin(std::future::ready(Ok(())))
    }

    fn remove<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>> {
        let key = token.key();
        let removed = write(self.shard(&key), |sessions| sessions.remove(&key));
        Box::pin(std::future::ready(Ok(removed)))
    }

    /// Checks wait for one shard at most, and only while what has ended is taken out of it.
    fn reclaim(&self, now: UnixTime) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            for shard in &self.shards {
                reclaim(shard, now);
                tokio::task::yield_now().await;
            }
            Ok(())
        })
    }

    fn count(&self) -> u64 {
        self.shards.iter().map(|shard| read(shard, |sessions| u64::try_from(sessions.len()).unwrap_or(u64::MAX))).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::app::samples::single;
    use crate::session::samples::alice;
    use crate::session::store::contract;
    use crate::world::World;

    #[tokio::test]
    async fn keeps_the_contract() {
        contract(MemoryStore::new(1000)).await;
    }

    fn token() -> SessionToken {
        SessionToken::generate(&World::system()).unwrap()
    }

    fn session(began: u64, seconds: u64) -> Arc<Session> {
        let app = single("https://app.example.com");
        Arc::new(alice(&app, UnixTime::from_secs(began), Duration::from_secs(seconds), None))
    }

    #[track_caller]
    fn bounded(most: u64, saved: usize) {
        let store = MemoryStore::new(most);
        for _ in 0..saved {
            store.insert(token().key(), session(0, 60));
        }
        let count = store.count();
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
        let store = MemoryStore::new(32);
        let tokens: Vec<_> = (0..32).map(|_| token()).collect();
        for (began, token) in (100..).zip(&tokens) {
            store.insert(token.key(), session(began, 60));
        }
        for token in &tokens[..4] {
            store.get(&token.key()).unwrap().touch(UnixTime::from_secs(500));
        }
        store.insert(token().key(), session(600, 60));
        let kept: Vec<bool> = tokens.iter().map(|token| store.cached(token).is_some()).collect();
        assert!(kept[..4].iter().all(|it| *it), "used a moment ago");
        assert_eq!(kept.iter().position(|it| !it), Some(4));
        assert_eq!(kept.iter().filter(|it| !**it).count(), 2);
        assert!(!kept[5], "the oldest of the unused");
    }

    #[test]
    fn saving_again_evicts_nobody() {
        let store = MemoryStore::new(2);
        let (one, other) = (token(), token());
        for token in [&one, &other, &one, &one] {
            store.insert(token.key(), session(0, 60));
        }
        assert!(store.cached(&one).is_some() && store.cached(&other).is_some());
    }

    #[tokio::test]
    async fn what_has_ended_is_reclaimed() {
        let store = MemoryStore::new(10_000);
        let (short, long) = (token(), token());
        for _ in 0..1000 {
            store.insert(token().key(), session(0, 60));
        }
        store.insert(short.key(), session(0, 100));
        store.insert(long.key(), session(0, 200));
        for (now, left) in [(59, 1002), (60, 2), (100, 1), (199, 1), (200, 0)] {
            store.reclaim(UnixTime::from_secs(now)).await.unwrap();
            assert_eq!(store.count(), left, "after {now} seconds");
            assert_eq!(store.cached(&long).is_some(), now < 200);
            assert_eq!(store.cached(&short).is_some(), now < 100);
        }
    }
}
