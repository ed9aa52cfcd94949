//! How many front-channel logouts count that come without a session: nothing proves them.

use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::forwarded::network_of;
use crate::limit::{Quota, TokenBucket, TokenBuckets};

/// Logouts at once; an organisation that goes home at five.
const MOST_AT_ONCE: u32 = 10_000;

/// Further ones within the time that a revocation is remembered.
const MOST_LATER: u32 = 90_000;

/// The part of these that one client may take, so that no single one takes them from all others.
const SHARE: u32 = 10;

/// Clients that are counted at once; a few MiB.
const MOST_CLIENTS: u64 = 50_000;

/// What all clients may ask for, and each one of them.
pub(super) struct RateLimit {
    all: Mutex<TokenBucket>,
    /// An IPv4 address, or the network of an IPv6 address; `None`: all clients whose address is not known.
    clients: TokenBuckets<Option<IpAddr>>,
}

impl RateLimit {
    /// For revocations that are remembered for `lifetime`.
    pub(super) fn new(lifetime: Duration) -> Self {
        Self {
            all: Mutex::new(TokenBucket::new(quota(lifetime, 1), Instant::now())),
            clients: TokenBuckets::new(quota(lifetime, SHARE), MOST_CLIENTS),
        }
    }

    /// Whether a logout that `client` asks for counts.
    pub(super) fn take(&self, client: Option<IpAddr>, now: Instant) -> bool {
        self.clients.take(client.map(network_of), now).is_some() && self.all.lock().take(now)
    }
}

fn quota(lifetime: Duration, share: u32) -> Quota {
    Quota::steady(MOST_AT_ONCE / share, lifetime / (MOST_LATER / share))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn unproven_logouts_are_bounded() {
        let mut now = Instant::now();
        let mut bucket = TokenBucket::new(quota(DAY, 1), now);
        let mut spend = |now| (0..200_000).take_while(|_| bucket.take(now)).count();
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
    fn a_client_cannot_take_all_of_it() {
        let (limit, now) = (RateLimit::new(DAY), Instant::now());
        let spend = |client: &str| {
            let client = client.parse().ok();
            (0..20_000).take_while(|_| limit.take(client, now)).count()
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
