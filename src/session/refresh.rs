//! What a session is refreshed with, and the lease for a refresh.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use secrecy::SecretString;
use tokio_util::task::AbortOnDropHandle;

use super::backend::LeaseReply;
use super::{Schedule, Session, SessionKey};
use crate::world::UnixTime;

/// A process that takes longer for a refresh counts as having failed during it.
const LONGEST_REFRESH: Duration = Duration::from_mins(10);

/// What a session can be refreshed with, and when.
pub struct Refreshable {
    /// The newest refresh token.
    pub token: SecretString,
    /// Whether the provider was seen to rotate refresh tokens; `None` until it was asked.
    pub rotates: Option<bool>,
    /// When the provider is asked.
    pub schedule: Schedule,
}

impl Refreshable {
    /// Notes that the token may be spent: the session ends when it has to be confirmed, unless the store, asked `again`,
    /// gives the lease after all.
    pub(crate) fn give_up(&self, again: UnixTime) {
        self.schedule.due_at.store(again.as_millis(), Ordering::Relaxed);
        self.schedule.given_up.store(true, Ordering::Relaxed);
    }

    /// Notes that the store gave the lease.
    pub(crate) fn take_up(&self) {
        self.schedule.given_up.store(false, Ordering::Relaxed);
    }

    /// Whether the token can still be used, as far as this process knows.
    pub(crate) fn is_usable(&self) -> bool {
        !self.schedule.given_up.load(Ordering::Relaxed)
    }

    /// Notes that a refresh brought no ID token.
    pub(crate) fn note_no_token(&self) {
        self.schedule.no_token.store(true, Ordering::Relaxed);
    }

    /// Whether a refresh may bring an ID token, as far as this process knows.
    pub(crate) fn may_bring_token(&self) -> bool {
        self.is_usable() && !self.schedule.no_token.load(Ordering::Relaxed)
    }

    /// Whether the same token may be sent twice: the provider is known not to rotate tokens.
    pub(crate) const fn is_reusable(&self) -> bool {
        matches!(self.rotates, Some(false))
    }
}

impl fmt::Debug for Refreshable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refreshable").field("schedule", &self.schedule).finish_non_exhaustive()
    }
}

/// The lease for a refresh: no other task or process has it at the same time.
///
/// [`super::SessionStore::finish_refresh`] gives it back. Where it is not given back, the refresh token counts as spent.
#[derive(Debug)]
pub struct Lease {
    /// Distinguishes this lease from others of the same session.
    pub(super) owner: [u8; 16],
    /// Renews the lease until it is dropped.
    pub(super) _keeper: Option<AbortOnDropHandle<()>>,
}

/// The store's answer to a request for a lease.
#[derive(Debug)]
pub enum LeaseAnswer {
    /// The caller has the lease, for this session, which is the newest there is.
    Lease(Lease, Arc<Session>),
    /// Another task or process has the lease.
    Busy,
    /// A holder sent the refresh token and never reported the result: the token may be spent.
    Spent,
    /// There is no such session.
    Gone,
}

/// How a refresh ended.
#[derive(Clone, Debug)]
pub enum Finished {
    /// This session replaces the one before.
    Renewed(Arc<Session>),
    /// The refresh token is still valid.
    Untouched,
    /// The refresh token may be spent.
    Unanswered,
}

/// The leases of a process that shares its sessions with no other process.
#[derive(Default)]
pub(super) struct Leases(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    given: u64,
    held: HashMap<SessionKey, LeaseState>,
}

#[derive(Clone, Copy)]
enum LeaseState {
    Held { owner: [u8; 16], until: UnixTime },
    Spent,
}

impl Leases {
    /// Gives the lease to the first that asks; for a token that may be spent only where it is `reusable`.
    pub(super) fn begin(&self, key: SessionKey, reusable: bool, now: UnixTime) -> LeaseReply {
        let mut inner = self.0.lock();
        match inner.held.get(&key) {
            Some(LeaseState::Held { until, .. }) if now < *until => return LeaseReply::Busy,
            Some(LeaseState::Held { .. } | LeaseState::Spent) if !reusable => {
                inner.held.insert(key, LeaseState::Spent);
                return LeaseReply::Spent(None);
            }
            Some(LeaseState::Held { .. } | LeaseState::Spent) | None => {}
        }
        inner.given += 1;
        let owner = u128::from(inner.given).to_be_bytes();
        inner.held.insert(key, LeaseState::Held { owner, until: now + LONGEST_REFRESH });
        LeaseReply::Lease(Lease { owner, _keeper: None }, None)
    }

    /// Whether `lease` is still held.
    pub(super) fn hold(&self, key: &SessionKey, lease: &Lease) -> bool {
        self.0.lock().is_held(key, lease)
    }

    /// Takes the lease back; `false` when `lease` no longer holds it.
    pub(super) fn finish(&self, key: &SessionKey, lease: &Lease, finished: &Finished) -> bool {
        let mut inner = self.0.lock();
        if !inner.is_held(key, lease) {
            return false;
        }
        match finished {
            Finished::Renewed(_) | Finished::Untouched => inner.held.remove(key),
            Finished::Unanswered => inner.held.insert(*key, LeaseState::Spent),
        };
        true
    }

    /// Forgets leases that are not held at `now`, except those for which `lives` is true.
    pub(super) fn retain(&self, now: UnixTime, lives: impl Fn(&SessionKey) -> bool) {
        let under_way = |held: &LeaseState| matches!(held, LeaseState::Held { until, .. } if now < *until);
        let mut inner = self.0.lock();
        inner.held.retain(|key, held| under_way(held) || lives(key));
    }

    /// Forgets the lease of one session.
    pub(super) fn forget(&self, key: &SessionKey) {
        self.0.lock().held.remove(key);
    }
}

impl Inner {
    fn is_held(&self, key: &SessionKey, lease: &Lease) -> bool {
        matches!(self.held.get(key), Some(LeaseState::Held { owner, .. }) if *owner == lease.owner)
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
    fn given(turn: LeaseReply) -> Lease {
        match turn {
            LeaseReply::Lease(lease, _) => lease,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_at_a_time_has_the_lease() {
        let leases = Leases::default();
        let lease = given(leases.begin(key(1), false, NOW));
        assert!(matches!(leases.begin(key(1), true, NOW), LeaseReply::Busy));
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
        assert!(matches!(leases.begin(key(1), false, NOW), LeaseReply::Spent(_)));
        let lost = given(leases.begin(key(1), true, NOW));
        assert!(
            matches!(leases.begin(key(1), false, NOW + LONGEST_REFRESH), LeaseReply::Spent(_)),
            "its holder died over it"
        );
        assert!(!leases.finish(&key(1), &lost, &Finished::Untouched), "too late");
        leases.retain(NOW, |_| true);
        assert!(matches!(leases.begin(key(1), false, NOW), LeaseReply::Spent(_)));
        leases.retain(NOW, |_| false);
        let under_way = given(leases.begin(key(1), false, NOW));
        leases.retain(NOW, |_| false);
        assert!(leases.hold(&key(1), &under_way), "memory may have let go of its session");
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
