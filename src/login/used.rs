use moka::sync::Cache;

use super::attempt;

/// Completed attempts that are remembered.
const MOST_REMEMBERED: u64 = 100_000;

/// Attempts whose code was redeemed, so that none completes twice.
pub(super) struct UsedAttempts(Cache<String, ()>);

impl UsedAttempts {
    /// None yet.
    pub(super) fn new() -> Self {
        Self(Cache::builder().max_capacity(MOST_REMEMBERED).time_to_live(attempt::LIFETIME).build())
    }

    /// Whether the attempt was used before.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    /// Uses the attempt; `false` when another request has, also at this moment.
    pub(super) fn claim(&self, id: &str) -> bool {
        // `or_insert` would look first and then insert, which two can do at once.
        self.0.entry_by_ref(id).or_insert_with(|| ()).is_fresh()
    }

    /// Gives a claimed attempt back.
    pub(super) fn release(&self, id: &str) {
        self.0.invalidate(id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn of_all_who_come_at_once_one_gets_it() {
        const MANY: usize = 4;
        let used = UsedAttempts::new();
        for attempt in 0..500 {
            let (id, gate) = (attempt.to_string(), Barrier::new(MANY));
            let claim = || {
                gate.wait();
                used.claim(&id)
            };
            let claims: Vec<bool> = thread::scope(|scope| {
                let threads: Vec<_> = (0..MANY).map(|_| scope.spawn(claim)).collect();
                threads.into_iter().map(|it| it.join().unwrap()).collect()
            });
            assert_eq!(claims.iter().filter(|got| **got).count(), 1);
            assert!(used.contains(&id));
            used.release(&id);
            assert!(used.claim(&id), "given back");
        }
    }
}
