use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// Calls under way, by key: of all callers that need the value of a key at once, one does the work.
pub(crate) struct SingleFlight<K, V> {
    calls: Arc<Calls<K, V>>,
}

type Calls<K, V> = Mutex<HashMap<K, watch::Receiver<Option<V>>>>;

/// A call that was joined.
pub(crate) struct Call<K: Eq + Hash, V> {
    pub(crate) follower: Follower<V>,
    /// For the caller that has to do the work.
    pub(crate) leader: Option<Leader<K, V>>,
}

/// The caller that does the work. When it is dropped, the call is over.
pub(crate) struct Leader<K: Eq + Hash, V> {
    calls: Arc<Calls<K, V>>,
    key: K,
    sender: watch::Sender<Option<V>>,
    value: Option<V>,
}

/// A caller that waits for the value.
pub(crate) struct Follower<V>(watch::Receiver<Option<V>>);

impl<K: Clone + Eq + Hash, V: Clone> SingleFlight<K, V> {
    /// Joins the call for `key`. Where there is none, the caller leads a new one, unless `may_begin` forbids that.
    ///
    /// `may_begin` runs under a lock, so that of several callers one begins.
    pub(crate) fn join(&self, key: K, may_begin: impl FnOnce() -> bool) -> Option<Call<K, V>> {
        let mut calls = self.calls.lock();
        if let Some(call) = calls.get(&key) {
            return Some(Call { follower: Follower(call.clone()), leader: None });
        }
        if !may_begin() {
            return None;
        }
        let (sender, receiver) = watch::channel(None);
        calls.insert(key.clone(), receiver.clone());
        let leader = Leader { calls: Arc::clone(&self.calls), key, sender, value: None };
        Some(Call { follower: Follower(receiver), leader: Some(leader) })
    }

    /// The value of `work`, or that of another caller who does the work for `key` already.
    ///
    /// When that caller goes away before the end, one of those who wait does its own work.
    pub(crate) async fn run<F: Future<Output = V>>(&self, key: K, work: impl FnOnce() -> F) -> V {
        loop {
            let Some(Call { follower, leader }) = self.join(key.clone(), || true) else { continue };
            if let Some(leader) = leader {
                let value = work().await;
                leader.finish(value.clone());
                return value;
            }
            if let Some(value) = follower.value().await {
                return value;
            }
        }
    }

    /// Whether a call for `key` is under way.
    pub(crate) fn is_running(&self, key: &K) -> bool {
        self.calls.lock().contains_key(key)
    }
}

impl<K, V> Default for SingleFlight<K, V> {
    fn default() -> Self {
        Self { calls: Arc::default() }
    }
}

impl<K: Eq + Hash, V> Leader<K, V> {
    /// Ends the call with this value.
    pub(crate) fn finish(mut self, value: V) {
        self.value = Some(value);
    }
}

impl<K: Eq + Hash, V> Drop for Leader<K, V> {
    /// A caller that is woken up and calls again begins a new call.
    fn drop(&mut self) {
        self.calls.lock().remove(&self.key);
        if let Some(value) = self.value.take() {
            self.sender.send_replace(Some(value));
        }
    }
}

impl<V: Clone> Follower<V> {
    /// Waits for the end of the call; `None` when its leader went away without a value.
    pub(crate) async fn value(mut self) -> Option<V> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|value| value.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn callers_join_the_call_of_their_key() {
        let calls = SingleFlight::<&str, u32>::default();
        assert!(calls.join("one", || false).is_none());
        let Call { follower: first, leader } = calls.join("one", || true).unwrap();
        let Call { follower: second, leader: none } = calls.join("one", || unreachable!("it is under way")).unwrap();
        assert!(none.is_none());
        let Call { follower: other, leader: _leader } = calls.join("other", || true).unwrap();
        assert!(calls.is_running(&"one") && calls.is_running(&"other"));
        leader.unwrap().finish(7);
        assert!(!calls.is_running(&"one") && calls.is_running(&"other"));
        let Call { follower: third, leader } = calls.join("one", || true).unwrap();
        for follower in [first, second] {
            assert_eq!(follower.value().await, Some(7));
        }
        assert!(other.0.has_changed().is_ok_and(|it| !it), "under way");
        drop(leader);
        assert_eq!(third.value().await, None, "no value");
        assert!(!calls.is_running(&"one"));
    }

    #[tokio::test]
    async fn all_callers_get_the_value_of_one() {
        let (calls, runs) = (Arc::new(SingleFlight::<(), u32>::default()), Arc::new(AtomicU32::new(0)));
        let go = Arc::new(Notify::new());
        let mut callers: Vec<_> = (0..10)
            .map(|_| {
                let (calls, runs, go) = (Arc::clone(&calls), Arc::clone(&runs), Arc::clone(&go));
                tokio::spawn(async move {
                    let work = || async {
                        let run = runs.fetch_add(1, Ordering::Relaxed);
                        go.notified().await;
                        run
                    };
                    calls.run((), work).await
                })
            })
            .collect();
        tokio::task::yield_now().await;
        // The one that does the work goes away, and another one does it.
        let leader = callers.remove(0);
        leader.abort();
        assert!(leader.await.unwrap_err().is_cancelled());
        go.notify_one();
        let mut values = Vec::new();
        for caller in callers {
            values.push(caller.await.unwrap());
        }
        assert_eq!((values, runs.load(Ordering::Relaxed)), (vec![1; 9], 2));
    }
}
