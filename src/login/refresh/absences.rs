use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::world::UnixTime;

/// So long a provider that made us wait for nothing is left alone.
const ABSENCE: Duration = Duration::from_secs(5);

/// Providers that did not answer a moment ago: asking for each of many sessions would take a time-out each.
#[derive(Default)]
pub(in crate::login) struct Absences(Mutex<HashMap<String, UnixTime>>);

impl Absences {
    pub(super) fn begin(&self, provider: &str, now: UnixTime) {
        self.0.lock().insert(provider.to_owned(), now + ABSENCE);
    }

    pub(super) fn lasts(&self, provider: &str, now: UnixTime) -> bool {
        self.0.lock().get(provider).is_some_and(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absence_is_of_one_provider_and_ends() {
        let (absences, now) = (Absences::default(), UnixTime::from_secs(100));
        absences.begin("one", now);
        for (provider, later, expected) in [("one", 0, true), ("one", 4, true), ("one", 5, false), ("other", 0, false)]
        {
            assert_eq!(absences.lasts(provider, now + Duration::from_secs(later)), expected, "{provider} {later}");
        }
        absences.begin("one", now + Duration::from_secs(4));
        assert!(absences.lasts("one", now + Duration::from_secs(8)));
    }
}
