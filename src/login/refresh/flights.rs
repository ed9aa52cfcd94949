use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::session::SessionKey;

/// What came of a refresh for those who waited for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nobody vouches for the session any more.
    Ended,
    /// The store has what there is to know.
    Open,
}

/// A refresh that somebody waits for.
pub(super) type Flight = watch::Receiver<Outcome>;

/// Whoever has it flies; when it is dropped, the flight is over, well or not.
pub(super) type Pilot = watch::Sender<Outcome>;

/// Waits until a flight is over.
pub(super) async fn landed(mut flight: Flight) -> Outcome {
    while flight.changed().await.is_ok() {}
    *flight.borrow()
}

/// Refreshes under way in this process, by session: whoever needs one joins it.
#[derive(Default)]
pub(in crate::login) struct Flights(Mutex<HashMap<SessionKey, Flight>>);

impl Flights {
    /// Joins the flight of `key`; where there is none, the sender for a new one, if one may begin.
    pub(super) fn join(&self, key: SessionKey, may_begin: impl FnOnce() -> bool) -> Option<(Flight, Option<Pilot>)> {
        let mut flights = self.0.lock();
        if let Some(flight) = flights.get(&key) {
            return Some((flight.clone(), None));
        }
        if !may_begin() {
            return None;
        }
        let (sender, receiver) = watch::channel(Outcome::Open);
        flights.insert(key, receiver.clone());
        Some((receiver, Some(sender)))
    }

    /// Whether one of `key` is under way.
    pub(super) fn has(&self, key: &SessionKey) -> bool {
        self.0.lock().contains_key(key)
    }

    pub(super) fn land(&self, key: &SessionKey) {
        self.0.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::SessionToken;
    use crate::world::World;

    #[tokio::test]
    async fn whoever_comes_during_a_flight_joins_it() {
        let flights = Flights::default();
        let key = || SessionToken::generate(&World::system()).unwrap().key();
        let (one, other) = (key(), key());
        assert!(flights.join(one, || false).is_none());
        let (first, pilot) = flights.join(one, || true).unwrap();
        let (second, none) = flights.join(one, || unreachable!("nobody begins another")).unwrap();
        assert!(none.is_none());
        let (elsewhere, _pilot) = flights.join(other, || true).unwrap();
        assert!(flights.has(&one));
        flights.land(&one);
        assert!(!flights.has(&one) && flights.has(&other));
        let (third, next) = flights.join(one, || true).unwrap();
        assert!(next.is_some(), "it has landed");
        if let Some(pilot) = pilot {
            pilot.send_replace(Outcome::Ended);
        }
        for flight in [first, second] {
            assert_eq!(landed(flight).await, Outcome::Ended);
        }
        for flight in [elsewhere, third] {
            assert!(flight.has_changed().is_ok(), "under way");
        }
    }
}
