use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use super::Confirmed;
use crate::session::SessionKey;

pub(super) type Flight = watch::Receiver<Option<Confirmed>>;
pub(super) type Pilot = watch::Sender<Option<Confirmed>>;

/// Refreshes under way in this process, by session: whoever needs one joins it.
#[derive(Default)]
pub(in crate::login) struct Flights(Mutex<HashMap<SessionKey, Flight>>);

impl Flights {
    /// Joins the flight of `key`; where there is none, the sender for a new one, if one may begin.
    pub(super) fn join(&self, key: SessionKey, may_begin: impl FnOnce() -> bool) -> Option<(Flight, Option<Pilot>)> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&key) {
            return Some((flight.clone(), None));
        }
        if !may_begin() {
            return None;
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(key, receiver.clone());
        Some((receiver, Some(sender)))
    }

    pub(super) fn land(&self, key: &SessionKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
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
        let (mut first, pilot) = flights.join(one, || true).unwrap();
        let (mut second, none) = flights.join(one, || unreachable!("nobody begins another")).unwrap();
        assert!(none.is_none());
        let (mut panicked, fallen) = flights.join(other, || true).unwrap();
        flights.land(&one);
        pilot.unwrap().send_replace(Some(Confirmed::Ended));
        for flight in [&mut first, &mut second] {
            assert!(matches!(*flight.wait_for(Option::is_some).await.unwrap(), Some(Confirmed::Ended)));
        }
        assert!(flights.join(one, || true).unwrap().1.is_some(), "it has landed");
        drop(fallen);
        assert!(panicked.wait_for(Option::is_some).await.is_err());
    }
}
