//! How often may be guessed: what fails costs whoever tries it, and not the provider.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use icu_normalizer::ComposingNormalizerBorrowed;
use moka::sync::Cache;
use parking_lot::Mutex;

use crate::forwarded::network_of;
use crate::unicode::{is_control, is_ignorable};
use crate::world::UnixTime;

/// In which failures are counted, from the first one.
pub(super) const WINDOW: Duration = Duration::from_mins(1);

/// Failures of one client, and for one user, in a window.
pub(super) const MOST_FAILURES: u32 = 10;

/// Failures of everybody at one provider in a window.
pub(super) const MOST_FAILURES_AT_PROVIDER: u32 = 600;

/// Who is counted at once; a few MiB.
const MOST_REMEMBERED: u64 = 50_000;

/// Counts of failures, by whom they are counted for.
pub(super) struct Guesses(Cache<Whom, Arc<Mutex<Count>>>);

/// For whom failures are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whom {
    /// An IPv4 address, or the network of an IPv6 address; `None`: clients that nobody knows are one.
    Client(Option<IpAddr>),
    /// A canonical name, at a provider.
    User(String, String),
    Provider(String),
}

#[derive(Debug, Default)]
struct Count {
    since: Option<UnixTime>,
    failures: u32,
}

/// A try; it counts as failed until it is forgiven.
pub(super) struct Guess(Vec<Arc<Mutex<Count>>>);

impl Guesses {
    pub(super) fn new() -> Self {
        Self(Cache::builder().max_capacity(MOST_REMEMBERED).time_to_live(2 * WINDOW).build())
    }

    /// A try at `provider`; `None` while there were too many that failed.
    ///
    /// It is counted before its outcome is known, so that many at once are not more than one after the other.
    pub(super) fn begin(
        &self,
        provider: &str,
        user: Option<&str>,
        client: Option<IpAddr>,
        now: UnixTime,
    ) -> Option<Guess> {
        let mut counted = vec![
            (Whom::Client(client.map(network_of)), MOST_FAILURES),
            (Whom::Provider(provider.to_owned()), MOST_FAILURES_AT_PROVIDER),
        ];
        if let Some(user) = user {
            counted.push((Whom::User(provider.to_owned(), canonical(user)), MOST_FAILURES));
        }
        let mut guess = Guess(Vec::with_capacity(counted.len()));
        for (whom, most) in counted {
            let count = self.0.get_with(whom, Arc::default);
            if !count.lock().add(most, now) {
                guess.forgive();
                return None;
            }
            guess.0.push(count);
        }
        Some(guess)
    }
}

impl Guess {
    /// It was none: the credential is good, or nobody could say.
    pub(super) fn forgive(self) {
        for count in self.0 {
            let mut count = count.lock();
            count.failures = count.failures.saturating_sub(1);
        }
    }
}

impl Count {
    fn add(&mut self, most: u32, now: UnixTime) -> bool {
        if self.since.is_none_or(|since| now >= since + WINDOW) {
            *self = Self { since: Some(now), failures: 0 };
        }
        let may = self.failures < most;
        self.failures += u32::from(may);
        may
    }
}

/// One spelling for all that look or fold alike.
fn canonical(user: &str) -> String {
    let mut name = folded(user);
    // Twice is enough for every name that is known; the bound is for those that are not.
    for _ in 0..3 {
        let again = folded(&name);
        if again == name {
            break;
        }
        name = again;
    }
    name
}

/// What one step can bring out, the next can fold: `I` with an invisible character before its dot.
fn folded(name: &str) -> String {
    let nfkc = const { ComposingNormalizerBorrowed::new_nfkc() };
    let visible: String = name.chars().filter(|it| !is_ignorable(*it) && !is_control(*it)).collect();
    // Upper case first: it joins what lower case alone leaves apart (ß and ss, σ and ς).
    let folded = nfkc.normalize(&visible).to_uppercase().to_lowercase();
    nfkc.normalize(folded.trim()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_000_000);

    #[track_caller]
    fn same(names: &[&str]) {
        for name in names {
            assert_eq!(canonical(name), canonical(names[0]), "{name:?}");
        }
    }

    #[test]
    fn case_049_050_a_name_has_one_spelling() {
        same(&["alice", "Alice", " alice", "ALICE\t", "ａｌｉｃｅ", "al\u{200b}ice", "alice\u{feff}"]);
        for ignorable in [
            "\u{ad}",
            "\u{34f}",
            "\u{61c}",
            "\u{115f}",
            "\u{180b}",
            "\u{202e}",
            "\u{2065}",
            "\u{3164}",
            "\u{fe0f}",
            "\u{e0041}",
            "\u{e01ef}",
        ] {
            same(&[
                "alice",
                &format!("al{ignorable}ice"),
                &format!("{ignorable} alice"),
                &format!("ALICE {ignorable}"),
            ]);
        }
        same(&["\u{e9}", "e\u{34f}\u{301}", "E\u{200d}\u{301}"]);
        same(&["straße", "STRASSE", "strasse"]);
        same(&["\u{e9}", "e\u{301}", "\u{c9}"]);
        assert_ne!(canonical("alice"), canonical("bob"));
    }

    proptest::proptest! {
        #[test]
        fn a_canonical_name_is_its_own(name in "[aAıİIσςßﬁ\u{301}\u{307}\u{34f}\u{200d}\u{3164}\u{1d173} \t]{0,8}|.{0,12}") {
            let once = canonical(&name);
            assert_eq!(canonical(&once), once);
            assert_eq!(canonical(&format!("\u{200b}{name}\u{2060}")), once);
        }
    }

    fn client(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    #[test]
    fn guessing_ends_after_a_few_failures() {
        let guesses = Guesses::new();
        for _ in 0..MOST_FAILURES {
            assert!(guesses.begin("idp", Some("alice"), client("192.0.2.1"), NOW).is_some());
        }
        assert!(guesses.begin("idp", Some("bob"), client("192.0.2.1"), NOW).is_none(), "the client");
        assert!(guesses.begin("idp", Some("ALICE"), client("192.0.2.2"), NOW).is_none(), "the user");
        assert!(guesses.begin("idp", Some("bob"), client("192.0.2.2"), NOW).is_some());
        assert!(guesses.begin("idp", Some("alice"), client("192.0.2.1"), NOW + WINDOW).is_some());
    }

    #[test]
    fn what_was_none_does_not_count() {
        let guesses = Guesses::new();
        for _ in 0..100 {
            guesses.begin("idp", Some("alice"), client("192.0.2.1"), NOW).unwrap().forgive();
        }
    }

    #[test]
    fn a_network_is_one_client_and_a_provider_has_a_limit() {
        let guesses = Guesses::new();
        for last in 0..MOST_FAILURES {
            assert!(guesses.begin("idp", None, client(&format!("2001:db8::{last:x}")), NOW).is_some());
        }
        assert!(guesses.begin("idp", None, client("2001:db8::ffff"), NOW).is_none());
        for last in MOST_FAILURES..MOST_FAILURES_AT_PROVIDER {
            assert!(guesses.begin("idp", None, client(&format!("2001:db8:{last:x}::1")), NOW).is_some());
        }
        assert!(guesses.begin("idp", None, client("198.51.100.1"), NOW).is_none());
        assert!(guesses.begin("other", None, client("198.51.100.1"), NOW).is_some());
    }
}
