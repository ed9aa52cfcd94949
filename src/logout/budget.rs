//! How many orders count that nobody proves.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::forwarded::network_of;

/// Orders at once; an organisation that goes home at five.
const MOST_AT_ONCE: u32 = 10_000;

/// Further ones within the time that an order is remembered.
const MOST_LATER: u32 = 90_000;

/// The part of these that one client may take, so that no single one takes them from all others.
const SHARE: u32 = 10;

/// Clients that are counted at once; a few MiB.
const MOST_REMEMBERED: u64 = 50_000;

/// The longest that a client is remembered who asks for nothing.
const LONGEST_REMEMBERED: Duration = Duration::from_hours(24 * 31);

/// What all clients may ask for, and each one of them.
pub(super) struct Budgets {
    lifetime: Duration,
    all: Budget,
    /// `None`: clients that nobody knows are one.
    clients: Cache<Option<IpAddr>, Arc<Budget>>,
}

impl Budgets {
    /// For orders that are remembered for `lifetime`.
    pub(super) fn new(lifetime: Duration) -> Self {
        let clients = Cache::builder().max_capacity(MOST_REMEMBERED);
        Self {
            lifetime,
            all: Budget::new(lifetime, MOST_AT_ONCE, MOST_LATER),
            clients: clients.time_to_idle(lifetime.min(LONGEST_REMEMBERED)).build(),
        }
    }

    /// Whether an order of `client` counts; it is paid for then.
    pub(super) fn take(&self, client: Option<IpAddr>) -> bool {
        self.take_at(client, Instant::now())
    }

    fn take_at(&self, client: Option<IpAddr>, now: Instant) -> bool {
        let own = || Arc::new(Budget::new(self.lifetime, MOST_AT_ONCE / SHARE, MOST_LATER / SHARE));
        self.clients.get_with(client.map(network_of), own).take_at(now) && self.all.take_at(now)
    }
}

/// So many at once, and then one after each interval.
#[derive(Debug)]
struct Budget {
    at_once: u32,
    interval: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    left: u32,
    /// Up to when `left` has grown.
    grown: Instant,
}

impl Budget {
    /// For orders that are remembered for `lifetime`: so many at once, and so many more within that time.
    fn new(lifetime: Duration, at_once: u32, later: u32) -> Self {
        let interval = (lifetime / later).max(Duration::from_nanos(1));
        Self { at_once, interval, inner: Mutex::new(Inner { left: at_once, grown: Instant::now() }) }
    }

    fn take_at(&self, now: Instant) -> bool {
        let mut inner = self.inner.lock();
        let earned = now.saturating_duration_since(inner.grown).as_nanos() / self.interval.as_nanos();
        match u32::try_from(earned).ok().filter(|earned| inner.left.saturating_add(*earned) < self.at_once) {
            Some(earned) => {
                inner.left += earned;
                inner.grown += self.interval * earned;
            }
            None => *inner = Inner { left: self.at_once, grown: now },
        }
        let taken = inner.left > 0;
        inner.left = inner.left.saturating_sub(1);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn what_nobody_proves_is_bounded() {
        let budget = Budget::new(DAY, MOST_AT_ONCE, MOST_LATER);
        let mut now = Instant::now();
        let spend = |now| (0..200_000).take_while(|_| budget.take_at(now)).count();
        assert_eq!(spend(now), 10_000);
        now += Duration::from_secs(96);
        assert_eq!(spend(now), 100);
        let mut within_a_day = 10_100;
        for _ in 0..23 {
            now += Duration::from_mins(61);
            within_a_day += spend(now);
        }
        assert!((90_000..=100_000).contains(&within_a_day), "{within_a_day}");
        now += DAY * 400;
        assert_eq!(spend(now), 10_000, "no more is saved up");
    }

    #[test]
    fn nobody_takes_all_of_it() {
        let (budgets, now) = (Budgets::new(DAY), Instant::now());
        let spend = |client: &str| {
            let client = client.parse().ok();
            (0..20_000).take_while(|_| budgets.take_at(client, now)).count()
        };
        assert_eq!(spend("2001:db8::1"), 1000);
        assert_eq!(spend("2001:db8::ffff:2"), 0, "the same network");
        assert_eq!((spend("unknown"), spend("another one that is unknown")), (1000, 0));
        for number in 1..=8 {
            assert_eq!(spend(&format!("192.0.2.{number}")), 1000);
        }
        assert_eq!(spend("192.0.2.9"), 0, "together no more than before");
    }
}
