//! When a session's identity is to be confirmed by the provider, and who does it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio_util::task::AbortOnDropHandle;

use super::{Session, SessionKey};
use crate::world::UnixTime;

/// How long a process may take for a refresh before it counts as having died over it.
const LONGEST_REFRESH: Duration = Duration::from_mins(10);

/// In this time a browser is sent to the provider so many times without an answer. People are slower; what is faster is a
/// crowd of tabs, or goes round. Browsers give up after twenty redirects, and each time takes three or four.
const BURST: Duration = Duration::from_secs(10);
const MOST_IN_BURST: u64 = 4;

/// Between two tries to confirm a session that somebody waits for.
const CONFIRMATION_PAUSE: Duration = Duration::from_secs(1);

/// When the provider is to be asked whether it still vouches for a user.
#[derive(Debug)]
pub struct Schedule {
    /// When it is asked again, without anybody waiting for it; in milliseconds.
    due_at: AtomicU64,
    /// From then on the session counts only once it was asked.
    confirm_by: UnixTime,
    /// Not before then is it asked while somebody waits; in milliseconds.
    confirm_again: AtomicU64,
    /// Whether there is nothing to ask with.
    given_up: AtomicBool,
    /// Whether the last answer did not vouch for the user.
    refused: AtomicBool,
    /// Whether the last answer brought no ID token.
    no_token: AtomicBool,
    /// The second in which a burst of trips of the browser began, times 256, and how many they are.
    burst: AtomicU64,
}

impl Schedule {
    /// To be asked at `due_at`; without an answer, the session is not to be used from `confirm_by` on.
    #[must_use]
    pub const fn new(due_at: UnixTime, confirm_by: UnixTime) -> Self {
        let due_at = AtomicU64::new(due_at.as_millis());
        Self {
            due_at,
            confirm_by,
            confirm_again: AtomicU64::new(0),
            given_up: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            no_token: AtomicBool::new(false),
            burst: AtomicU64::new(0),
        }
    }

    /// The same once more, for a session that takes another's place.
    pub(super) fn unchanged(&self) -> Self {
        let burst = AtomicU64::new(self.burst.load(Ordering::Relaxed));
        Self { burst, ..Self::new(self.due_at(), self.confirm_by) }
    }

    /// The same after a failure that left another token to ask with: to be asked at `due_at`, and while somebody waits no sooner
    /// than with the one before.
    #[must_use]
    pub fn after_failure(&self, due_at: UnixTime) -> Self {
        let confirm_again = AtomicU64::new(self.confirm_again.load(Ordering::Relaxed));
        let refused = AtomicBool::new(self.was_refused());
        Self { confirm_again, refused, ..Self::new(due_at, self.confirm_by) }
    }

    /// Takes the turn to ask where that is due: of all who want it at once, one gets it. The next turn is at `again`.
    #[must_use]
    pub fn take_turn(&self, now: UnixTime, again: UnixTime) -> bool {
        let due = self.due_at.load(Ordering::Relaxed);
        due <= now.as_millis()
            && self.due_at.compare_exchange(due, again.as_millis(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Sends the browser on a trip to the provider where that is due. It stays due until [`Schedule::postpone`], as nobody knows
    /// whether an answer will come; only a burst of trips is stopped.
    #[must_use]
    pub fn take_trip(&self, now: UnixTime) -> bool {
        let trip = |burst: u64| {
            let (began, count) = (UnixTime::from_secs(burst >> 8), burst & 0xff);
            if now < began || began + BURST <= now {
                Some(now.as_secs() << 8 | 1)
            } else {
                (count < MOST_IN_BURST).then_some(burst + 1)
            }
        };
        self.is_due(now) && self.burst.fetch_update(Ordering::Relaxed, Ordering::Relaxed, trip).is_ok()
    }

    /// Notes that the provider answered, so that the next question is not due before `again`.
    pub fn postpone(&self, again: UnixTime) {
        self.due_at.fetch_max(again.as_millis(), Ordering::Relaxed);
    }

    /// Takes the turn to ask while somebody waits: of all who want it within a second, one gets it.
    #[must_use]
    pub fn take_confirmation(&self, now: UnixTime) -> bool {
        let again = self.confirm_again.load(Ordering::Relaxed);
        let next = (now + CONFIRMATION_PAUSE).as_millis();
        again <= now.as_millis()
            && self.confirm_again.compare_exchange(again, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Whether a turn could be taken.
    #[must_use]
    pub fn is_due(&self, now: UnixTime) -> bool {
        self.due_at.load(Ordering::Relaxed) <= now.as_millis()
    }

    /// Whether the session counts only once the provider was asked.
    #[must_use]
    pub fn is_over(&self, now: UnixTime) -> bool {
        self.confirm_by <= now
    }

    /// Notes whether the provider answered and did not vouch for the user; otherwise it did not answer.
    pub fn note_failure(&self, refused: bool) {
        self.refused.store(refused, Ordering::Relaxed);
    }

    /// Whether the last answer did not vouch for the user, as far as this process knows; without an answer since, `false`.
    #[must_use]
    pub fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// From when on the session counts only once the provider was asked.
    #[must_use]
    pub const fn confirm_by(&self) -> UnixTime {
        self.confirm_by
    }

    pub(super) fn due_at(&self) -> UnixTime {
        UnixTime::from_millis(self.due_at.load(Ordering::Relaxed))
    }
}

/// What a session can be refreshed with, and when it has to be.
pub struct Refreshable {
    /// The newest refresh token.
    pub token: SecretString,
    /// Whether the provider was seen to give a new one, at any refresh; `None` until it was asked.
    pub rotates: Option<bool>,
    /// When.
    pub schedule: Schedule,
}

impl Refreshable {
    /// Notes that the token may be spent: the session ends when it would have to be confirmed, unless the store, asked
    /// `again`, gives the right to send a token after all.
    pub fn give_up(&self, again: UnixTime) {
        self.schedule.due_at.store(again.as_millis(), Ordering::Relaxed);
        self.schedule.given_up.store(true, Ordering::Relaxed);
    }

    /// Notes that the store gave that right.
    pub fn take_up(&self) {
        self.schedule.given_up.store(false, Ordering::Relaxed);
    }

    /// Whether the token can still be used, as far as this process knows.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        !self.schedule.given_up.load(Ordering::Relaxed)
    }

    /// Notes that a refresh brought no ID token.
    pub fn note_no_token(&self) {
        self.schedule.no_token.store(true, Ordering::Relaxed);
    }

    /// Whether a refresh may bring an ID token, as far as this process knows.
    #[must_use]
    pub fn may_bring_token(&self) -> bool {
        self.is_usable() && !self.schedule.no_token.load(Ordering::Relaxed)
    }

    /// Whether the same token may be sent twice: the provider is known to leave it valid.
    #[must_use]
    pub const fn is_reusable(&self) -> bool {
        matches!(self.rotates, Some(false))
    }
}

impl fmt::Debug for Refreshable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refreshable").field("schedule", &self.schedule).finish_non_exhaustive()
    }
}

/// The right to refresh a session: nobody else has it, in this process or another.
///
/// It is given back by [`super::SessionStore::finish_refresh`]. Where that never happens, the refresh token counts as spent.
#[derive(Debug)]
pub struct Lease {
    /// Tells this lease from others of the same session.
    pub(super) owner: [u8; 16],
    /// Keeps it from running out.
    pub(super) _keeper: Option<AbortOnDropHandle<()>>,
}

/// What came of asking for the right to refresh.
#[derive(Debug)]
pub enum Begun {
    /// It was given, for this session: the newest that there is.
    Lease(Lease, Arc<Session>),
    /// Somebody else has it.
    Busy,
    /// Somebody had it, sent the refresh token, and never told what came of it: the token may be spent.
    Spent,
    /// There is no such session.
    Gone,
}

/// How a refresh ended.
#[derive(Clone, Debug)]
pub enum Finished {
    /// This takes the session's place.
    Renewed(Arc<Session>),
    /// The refresh token is as good as before.
    Untouched,
    /// It may be spent.
    Unanswered,
}

/// The leases of a process that shares its sessions with no other.
#[derive(Default)]
pub(super) struct Leases(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    given: u64,
    held: HashMap<SessionKey, Held>,
}

#[derive(Clone, Copy)]
enum Held {
    Lease { owner: [u8; 16], until: UnixTime },
    Spent,
}

/// What the leases say.
#[derive(Debug)]
pub(super) enum Turn {
    Lease(Lease),
    Busy,
    Spent,
}

impl Leases {
    /// Gives the right to refresh to the first who asks; a spent token only where it is `reusable`.
    pub(super) fn begin(&self, key: SessionKey, reusable: bool, now: UnixTime) -> Turn {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match inner.held.get(&key) {
            Some(Held::Lease { until, .. }) if now < *until => return Turn::Busy,
            Some(Held::Lease { .. } | Held::Spent) if !reusable => {
                inner.held.insert(key, Held::Spent);
                return Turn::Spent;
            }
            Some(Held::Lease { .. } | Held::Spent) | None => {}
        }
        inner.given += 1;
        let owner = u128::from(inner.given).to_be_bytes();
        inner.held.insert(key, Held::Lease { owner, until: now + LONGEST_REFRESH });
        Turn::Lease(Lease { owner, _keeper: None })
    }

    /// Whether `lease` still has the right.
    pub(super) fn hold(&self, key: &SessionKey, lease: &Lease) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_held(key, lease)
    }

    /// Takes the right back; `false` when it is no longer `lease`'s.
    pub(super) fn finish(&self, key: &SessionKey, lease: &Lease, finished: &Finished) -> bool {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !inner.is_held(key, lease) {
            return false;
        }
        match finished {
            Finished::Renewed(_) | Finished::Untouched => inner.held.remove(key),
            Finished::Unanswered => inner.held.insert(*key, Held::Spent),
        };
        true
    }

    /// Forgets what is not under way `now`, but for those of which `lives` holds.
    pub(super) fn retain(&self, now: UnixTime, lives: impl Fn(&SessionKey) -> bool) {
        let under_way = |held: &Held| matches!(held, Held::Lease { until, .. } if now < *until);
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.held.retain(|key, held| under_way(held) || lives(key));
    }

    /// Forgets what is known of one session.
    pub(super) fn forget(&self, key: &SessionKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).held.remove(key);
    }
}

impl Inner {
    fn is_held(&self, key: &SessionKey, lease: &Lease) -> bool {
        matches!(self.held.get(key), Some(Held::Lease { owner, .. }) if *owner == lease.owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_000_000);

    fn key(byte: u8) -> SessionKey {
        SessionKey::from_bytes([byte; 32])
    }

    #[track_caller]
    fn given(turn: Turn) -> Lease {
        match turn {
            Turn::Lease(lease) => lease,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_at_a_time_has_the_lease() {
        let leases = Leases::default();
        let lease = given(leases.begin(key(1), false, NOW));
        assert!(matches!(leases.begin(key(1), true, NOW), Turn::Busy));
        let other = given(leases.begin(key(2), false, NOW));
        assert!(!leases.finish(&key(1), &other, &Finished::Untouched), "not its lease");
        assert!(leases.finish(&key(1), &lease, &Finished::Untouched));
        assert!(!leases.finish(&key(1), &lease, &Finished::Untouched), "given back");
        given(leases.begin(key(1), false, NOW));
    }

    #[test]
    fn what_may_be_spent_is_not_used_again() {
        let leases = Leases::default();
        let lease = given(leases.begin(key(1), false, NOW));
        assert!(leases.finish(&key(1), &lease, &Finished::Unanswered));
        assert!(matches!(leases.begin(key(1), false, NOW), Turn::Spent));
        let lost = given(leases.begin(key(1), true, NOW));
        assert!(matches!(leases.begin(key(1), false, NOW + LONGEST_REFRESH), Turn::Spent), "its holder died over it");
        assert!(!leases.finish(&key(1), &lost, &Finished::Untouched), "too late");
        leases.retain(NOW, |_| true);
        assert!(matches!(leases.begin(key(1), false, NOW), Turn::Spent));
        leases.retain(NOW, |_| false);
        let under_way = given(leases.begin(key(1), false, NOW));
        leases.retain(NOW, |_| false);
        assert!(leases.hold(&key(1), &under_way), "memory may have let go of its session");
    }

    #[test]
    fn a_trip_stays_due_until_an_answer_comes() {
        let at = UnixTime::from_secs;
        let schedule = Schedule::new(at(100), at(200));
        assert!(!schedule.take_trip(at(99)));
        for second in [100, 100, 101, 109] {
            assert!(schedule.take_trip(at(second)), "{second}");
        }
        assert!(!schedule.take_trip(at(109)), "a burst");
        for second in [110, 130, 150, 155, 158, 159] {
            assert!(schedule.take_trip(at(second)), "{second}");
        }
        let schedule = schedule.unchanged();
        assert!(!schedule.take_trip(at(159)), "of the same session");
        assert!(schedule.take_trip(at(20 * 60)));
        schedule.postpone(at(30 * 60));
        schedule.postpone(at(25 * 60));
        assert!(!schedule.take_trip(at(30 * 60 - 1)) && schedule.take_trip(at(30 * 60)));
        assert!(schedule.take_trip(at(100 * 60)));
        let earlier = Schedule::new(at(0), at(200));
        assert!(earlier.take_trip(at(1000)) && earlier.take_trip(at(500)), "a clock that was set back");
    }

    #[test]
    fn one_of_many_takes_the_turn() {
        let at = UnixTime::from_secs;
        let schedule = Schedule::new(at(100), at(200));
        let refreshable = Refreshable { token: SecretString::from("token"), rotates: None, schedule };
        let schedule = &refreshable.schedule;
        assert!(!schedule.take_turn(at(99), at(300)));
        assert!(schedule.is_due(at(100)));
        assert!(schedule.take_turn(at(100), at(130)));
        assert!(!schedule.take_turn(at(100), at(130)));
        assert!(schedule.take_turn(at(130), at(160)));
        assert!(!schedule.is_over(at(199)) && schedule.is_over(at(200)));
        for (millis, expected) in [(200_000, true), (200_000, false), (200_999, false), (201_000, true)] {
            assert_eq!(schedule.take_confirmation(UnixTime::from_millis(millis)), expected, "{millis}");
        }
        refreshable.give_up(at(500));
        assert!(!refreshable.is_usable() && !schedule.is_due(at(499)) && schedule.is_due(at(500)));
        refreshable.take_up();
        assert!(refreshable.is_usable());
    }
}
