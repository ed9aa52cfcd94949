//! How often a credential may be wrong: failures cost the client that causes them, and not the provider.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use icu_normalizer::ComposingNormalizerBorrowed;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::forwarded::network_of;
use crate::limit::{Quota, TokenBucket, TokenBuckets};
use crate::unicode::{is_control, is_ignorable};

/// In which failures are counted, from the first one.
const WINDOW: Duration = Duration::from_mins(1);

/// Failures of one client, and for one user, in a window.
const MOST_FAILURES: u32 = 10;

/// Failures of all clients at one provider in a window.
const MOST_FAILURES_AT_PROVIDER: u32 = 600;

/// Clients and users that are counted at once; a few MiB.
const MOST_REMEMBERED: u64 = 50_000;

/// Counts failures of clients, of users and at providers.
pub(super) struct FailureLimits {
    clients_and_users: TokenBuckets<Party>,
    providers: TokenBuckets<String>,
}

/// For whom failures are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Party {
    /// An IPv4 address, or the network of an IPv6 address; `None`: all clients whose address is not known.
    Client(Option<IpAddr>),
    /// A canonical name, at a provider.
    User(String, String),
}

/// A verification that counts as failed until it is released.
pub(super) struct Reservation(Vec<Arc<Mutex<TokenBucket>>>);

impl FailureLimits {
    pub(super) fn new() -> Self {
        let quota = |most| Quota::window(most, WINDOW);
        Self {
            clients_and_users: TokenBuckets::new(quota(MOST_FAILURES), MOST_REMEMBERED),
            providers: TokenBuckets::new(quota(MOST_FAILURES_AT_PROVIDER), MOST_REMEMBERED),
        }
    }

    /// The right to one verification at `provider`; `None` when too many have failed.
    ///
    /// It is counted before its outcome is known, so that many at once are not more than one after the other.
    pub(super) fn reserve(
        &self,
        provider: &str,
        user: Option<&str>,
        client: Option<IpAddr>,
        now: Instant,
    ) -> Option<Reservation> {
        let mut reservation = Reservation(Vec::with_capacity(3));
        let user = user.map(|user| Party::User(provider.to_owned(), canonical(user)));
        let parties = [Some(Party::Client(client.map(network_of))), user].into_iter().flatten();
        let buckets = parties.map(|party| self.clients_and_users.take(party, now));
        for bucket in buckets.chain(std::iter::once_with(|| self.providers.take(provider.to_owned(), now))) {
            let Some(bucket) = bucket else {
                reservation.release();
                return None;
            };
            reservation.0.push(bucket);
        }
        Some(reservation)
    }
}

impl Reservation {
    /// It did not fail: the credential is good, or whether it is could not be found out.
    pub(super) fn release(self) {
        for bucket in self.0 {
            bucket.lock().put_back();
        }
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

    #[track_caller]
    fn same(names: &[&str]) {
        for name in names {
            assert_eq!(canonical(name), canonical(names[0]), "{name:?}");
        }
    }

    /// SECURITY: 49, 50
    #[test]
    fn a_name_has_one_spelling() {
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
        let (limits, now) = (FailureLimits::new(), Instant::now());
        for _ in 0..MOST_FAILURES {
            assert!(limits.reserve("idp", Some("alice"), client("192.0.2.1"), now).is_some());
        }
        assert!(limits.reserve("idp", Some("bob"), client("192.0.2.1"), now).is_none(), "the client");
        assert!(limits.reserve("idp", Some("ALICE"), client("192.0.2.2"), now).is_none(), "the user");
        assert!(limits.reserve("idp", Some("bob"), client("192.0.2.2"), now).is_some());
        assert!(limits.reserve("idp", Some("alice"), client("192.0.2.1"), now + WINDOW).is_some());
    }

    #[test]
    fn what_was_none_does_not_count() {
        let (limits, now) = (FailureLimits::new(), Instant::now());
        for _ in 0..100 {
            limits.reserve("idp", Some("alice"), client("192.0.2.1"), now).unwrap().release();
        }
    }

    #[test]
    fn a_network_is_one_client_and_a_provider_has_a_limit() {
        let (limits, now) = (FailureLimits::new(), Instant::now());
        for last in 0..MOST_FAILURES {
            assert!(limits.reserve("idp", None, client(&format!("2001:db8::{last:x}")), now).is_some());
        }
        assert!(limits.reserve("idp", None, client("2001:db8::ffff"), now).is_none());
        for last in MOST_FAILURES..MOST_FAILURES_AT_PROVIDER {
            assert!(limits.reserve("idp", None, client(&format!("2001:db8:{last:x}::1")), now).is_some());
        }
        assert!(limits.reserve("idp", None, client("198.51.100.1"), now).is_none());
        assert!(limits.reserve("other", None, client("198.51.100.1"), now).is_some());
    }
}
