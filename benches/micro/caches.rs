//! Structures that sessions could be kept in: what one successful look costs, by how many there are.
//!
//! Threads matter: a structure that notes each look in one place makes all of them wait for it.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use std::time::Duration;

use divan::Bencher;
use forepost::session::{Session, SessionKey};

use super::{KEPT, SESSIONS, next};

static KEYS: LazyLock<Vec<SessionKey>> = LazyLock::new(|| KEPT.iter().map(|(token, _)| token.key()).collect());

trait Cache: Sync {
    fn put(&self, key: SessionKey, session: Arc<Session>);
    fn get(&self, key: &SessionKey) -> Option<Arc<Session>>;
}

impl<S: BuildHasher + Clone + Send + Sync + 'static> Cache for moka::sync::Cache<SessionKey, Arc<Session>, S> {
    fn put(&self, key: SessionKey, session: Arc<Session>) {
        self.insert(key, session);
    }

    fn get(&self, key: &SessionKey) -> Option<Arc<Session>> {
        Self::get(self, key)
    }
}

impl Cache for quick_cache::sync::Cache<SessionKey, Arc<Session>> {
    fn put(&self, key: SessionKey, session: Arc<Session>) {
        self.insert(key, session);
    }

    fn get(&self, key: &SessionKey) -> Option<Arc<Session>> {
        Self::get(self, key)
    }
}

/// Takes a key for its own hash: keys are uniformly random, and forepost alone chooses those that are kept.
#[derive(Default)]
struct KeyItself(u64);

impl Hasher for KeyItself {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }
}

const SHARDS: usize = 64;

/// Maps behind locks of their own, without a bound.
struct Sharded<S> {
    shards: [RwLock<HashMap<SessionKey, Arc<Session>, S>>; SHARDS],
    hasher: S,
}

impl<S: BuildHasher + Default> Sharded<S> {
    fn new() -> Self {
        Self { shards: std::array::from_fn(|_| RwLock::default()), hasher: S::default() }
    }

    fn shard(&self, key: &SessionKey) -> &RwLock<HashMap<SessionKey, Arc<Session>, S>> {
        // The map uses the lowest and the seven highest bits itself.
        let number = usize::try_from(self.hasher.hash_one(key) >> 48 & 0xff).unwrap_or_default();
        &self.shards[number % SHARDS]
    }
}

impl<S: BuildHasher + Default + Send + Sync> Cache for Sharded<S> {
    fn put(&self, key: SessionKey, session: Arc<Session>) {
        self.shard(&key).write().unwrap_or_else(PoisonError::into_inner).insert(key, session);
    }

    fn get(&self, key: &SessionKey) -> Option<Arc<Session>> {
        self.shard(key).read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }
}

fn run(bencher: Bencher, count: usize, cache: impl Cache) {
    for ((_, session), key) in KEPT.iter().zip(&*KEYS).take(count) {
        cache.put(*key, Arc::clone(session));
    }
    thread_local! {
        static AT: Cell<usize> = const { Cell::new(0) };
    }
    bencher.bench(|| {
        let session = cache.get(&KEYS[AT.get() % count]);
        AT.set(next(count, session.as_deref()));
    });
}

const BOUND: u64 = 1_000_000;
const LIFETIME: Duration = Duration::from_hours(1);

#[divan::bench(args = SESSIONS, threads = [1, 2], sample_size = 10_000)]
fn moka(bencher: Bencher, count: usize) {
    run(bencher, count, moka::sync::Cache::builder().max_capacity(BOUND).time_to_live(LIFETIME).build());
}

#[divan::bench(args = SESSIONS, threads = [1, 2], sample_size = 10_000)]
fn moka_key_itself(bencher: Bencher, count: usize) {
    let builder = moka::sync::Cache::builder().max_capacity(BOUND).time_to_live(LIFETIME);
    run(bencher, count, builder.build_with_hasher(BuildHasherDefault::<KeyItself>::default()));
}

#[divan::bench(args = SESSIONS, threads = [1, 2], sample_size = 10_000)]
fn quick_cache(bencher: Bencher, count: usize) {
    run(bencher, count, quick_cache::sync::Cache::new(1_000_000));
}

#[divan::bench(args = SESSIONS, threads = [1, 2], sample_size = 10_000)]
fn sharded(bencher: Bencher, count: usize) {
    run(bencher, count, Sharded::<RandomState>::new());
}

#[divan::bench(args = SESSIONS, threads = [1, 2], sample_size = 10_000)]
fn sharded_key_itself(bencher: Bencher, count: usize) {
    run(bencher, count, Sharded::<BuildHasherDefault<KeyItself>>::new());
}
