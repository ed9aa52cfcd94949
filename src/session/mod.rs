//! The record behind a session cookie, and where records are kept.

mod audited;
mod backend;
mod cache;
mod cached_store;
mod carried;
#[cfg(test)]
pub(crate) mod contract;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod invariants;
mod map;
mod memory;
mod outline;
mod provider_side;
mod realm;
mod record;
mod redis;
mod refresh;
mod revalidation;
mod revocation;
mod schedule;
mod session_token;
mod store;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use audited::Audited;
pub use cached_store::CachedStore;
pub use carried::CarriedSessions;
pub use file::{FileError, FileStore, StateDirectory};
pub use memory::MemoryStore;
pub use outline::{Page, SessionOutline};
pub use provider_side::{Names, ProviderSide};
pub use realm::Realm;
pub use redis::{RedisAddress, RedisMode, RedisSettings, RedisStore};
pub use refresh::{Finished, Lease, LeaseAnswer, Refreshable};
pub use revalidation::Revalidation;
pub use revocation::{Once, Origin, Revocation, Whom};
pub use schedule::Schedule;
pub use session_token::{SessionKey, SessionToken};
pub use store::{SessionStore, StoreError, StoreFuture};

use revocation::Revocable;

use crate::application_id::ApplicationId;
use crate::identity::{Assurance, PackedIdentity, WantedClaims};
use crate::world::{UnixTime, World};

/// What every store is made of.
#[derive(Debug)]
pub struct StoreParts<'p> {
    /// The secret that the keys of records and of revocation tags are derived from.
    pub secret: &'p [u8],
    /// The number of sessions in memory at most.
    pub max_sessions: u64,
    /// The longest lifetime of a session, of earlier ones too. Revocations are remembered for as long.
    pub lifetime: Duration,
    /// The longest time that a session lives without a check, earlier ones too; `None`: no limit.
    pub idle_timeout: Option<Duration>,
    /// Time and randomness.
    pub world: World,
}

/// A session that began further ahead of the clock than this does not count: the clock was wrong then, and the session
/// would outlive the longest lifetime.
const MOST_AHEAD: Duration = Duration::from_hours(1);

/// A store writes a use down when this share of the idle time-out has passed since the last use that was written down.
const SAVED_SHARE: u64 = 10;

/// What a login proved, kept on the server.
///
/// The fields that decide whether the session counts come first and lie together.
#[repr(C)]
pub struct Session {
    realm: Realm,
    expires_at: UnixTime,
    /// In milliseconds; the largest number when the session never ends for being idle.
    idle_timeout: u64,
    /// In milliseconds; 0 until the first check that counted.
    last_check: AtomicU64,
    created_at: UnixTime,
    identity: PackedIdentity,
    /// The last check that a store has written down.
    saved_check: AtomicU64,
    /// The moment at which the login began: a revocation with that moment or a later one ends the session.
    began_at: UnixTime,
    /// The length of the list of revocations when the session was last not on it.
    looked_up: AtomicU64,
    /// The id of the [`WantedClaims`](crate::identity::WantedClaims) of which the session is known to have all; 0: of none.
    knows_all_of: AtomicU64,
    provider: Option<Box<ProviderSide>>,
}

/// A last use is noted to the second, and to this share of the idle time-out where that is short.
const NOTE_GRAIN: u64 = 1000;
const NOTE_SHARE: u64 = 128;

/// What a new session is made of.
#[derive(Debug)]
pub struct NewSession {
    /// The session's application, and who vouches for the user.
    pub realm: Realm,
    /// The user, with the header block and the ID token.
    pub identity: PackedIdentity,
    /// The moment at which the login began ([`World::moment`]).
    pub began_at: UnixTime,
    /// The time from now to the end.
    pub lifetime: Duration,
    /// The longest time without a check.
    pub idle_timeout: Option<Duration>,
    /// What ties the session to the provider.
    pub provider: ProviderSide,
}

/// What a refresh proved.
#[derive(Debug)]
pub(crate) struct Renewal {
    /// The user, by the newest claims.
    pub(crate) identity: PackedIdentity,
    /// What ties the session to the provider from now on; [`Session::renewed`] fills in what came before.
    pub(crate) provider: ProviderSide,
}

impl Session {
    /// A session that begins `now`.
    #[must_use]
    pub fn new(new: NewSession, now: UnixTime) -> Self {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            realm: new.realm,
            identity: new.identity,
            expires_at: now + new.lifetime,
            idle_timeout: new.idle_timeout.map_or(u64::MAX, millis),
            last_check: AtomicU64::new(0),
            saved_check: AtomicU64::new(0),
            created_at: now,
            began_at: new.began_at,
            looked_up: AtomicU64::new(0),
            knows_all_of: AtomicU64::new(0),
            provider: new.provider.boxed(),
        }
    }

    /// The same session after a refresh: it keeps its times and the provider's sessions that it was in.
    pub(crate) fn renewed(&self, mut renewal: Renewal) -> Self {
        renewal.provider.follow(self.provider.as_deref());
        Self {
            realm: self.realm.clone(),
            expires_at: self.expires_at,
            idle_timeout: self.idle_timeout,
            last_check: AtomicU64::new(self.last_check()),
            created_at: self.created_at,
            identity: renewal.identity,
            saved_check: AtomicU64::new(self.last_check()),
            began_at: self.began_at,
            looked_up: AtomicU64::new(0),
            knows_all_of: AtomicU64::new(0),
            provider: renewal.provider.boxed(),
        }
    }

    /// Whether the session belongs to this realm and lives at `now`.
    pub(crate) fn is_valid_for(&self, realm: &Realm, now: UnixTime) -> bool {
        self.is_of(realm) && self.lives(now)
    }

    /// Whether the session lives at `now`; its end is the first instant at which it does not.
    ///
    /// A session that began more than an hour ahead of `now` does not live.
    #[must_use]
    pub fn lives(&self, now: UnixTime) -> bool {
        // Most checks follow another check so soon that the first comparison suffices.
        (now < self.last_use() + Duration::from_millis(self.idle_timeout) || now < self.end_after_use(self.saved_use()))
            && now < self.expires_at
            && self.created_at <= now + MOST_AHEAD
            && self.provider.as_ref().is_none_or(|provider| provider.may_vouch(now))
    }

    /// Whether the session has all claims that are `wanted`.
    ///
    /// Where a rule is newer than the provider's last answer, the answer to it is unknown, and the session does not count.
    pub(crate) fn knows_enough_for(&self, wanted: &WantedClaims) -> bool {
        if self.knows_all_of.load(Ordering::Relaxed) == wanted.id() {
            return true;
        }
        let knows = self.identity.kept().covers(wanted.kept());
        if knows {
            self.knows_all_of.store(wanted.id(), Ordering::Relaxed);
        }
        knows
    }

    /// Whether the session belongs to this realm, lives at `now`, and has all claims that are `wanted` or
    /// can get them by a refresh.
    pub(crate) fn may_count_for(&self, realm: &Realm, wanted: &WantedClaims, now: UnixTime) -> bool {
        self.is_valid_for(realm, now)
            && (self.knows_enough_for(wanted) || self.refreshable().is_some_and(Refreshable::is_usable))
    }

    /// Whether the session, where these claims are `wanted`, counts only after the provider was asked.
    pub(crate) fn needs_confirmation(&self, wanted: &WantedClaims, now: UnixTime) -> bool {
        self.refreshable().is_some_and(|it| it.schedule.is_over(now)) || !self.knows_enough_for(wanted)
    }

    /// Whether the ID token of the session has ended and a refresh may bring another one.
    pub(crate) fn wants_token(&self, now: UnixTime) -> bool {
        self.identity.lacks_token(now) && self.refreshable().is_some_and(Refreshable::may_bring_token)
    }

    /// When the browser is sent to the provider and back without a question to the user.
    pub(crate) fn silent_login(&self) -> Option<&Schedule> {
        self.provider.as_ref()?.silent_login.as_ref()
    }

    /// The names of the claims that userinfo had ([`ProviderSide::userinfo_claims`]).
    pub(crate) fn userinfo_claims(&self) -> &[String] {
        self.provider.as_ref().map_or(&[], |provider| provider.userinfo_claims.as_slice())
    }

    /// The assurance that the login was asked for; `None` where there was none.
    #[must_use]
    pub fn asked(&self) -> Option<&Assurance> {
        self.provider.as_ref().map(|provider| &provider.asked).filter(|asked| !asked.is_none())
    }

    /// What the login is refreshed with; `None` when it cannot be.
    pub(crate) fn refreshable(&self) -> Option<&Refreshable> {
        self.provider.as_ref()?.refreshable.as_ref()
    }

    /// The provider's name of its own session (`sid`).
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.provider.as_ref()?.session_id.as_deref()
    }

    /// Whether the session was made or renewed in the provider's session of that name.
    pub(crate) fn was_made_in(&self, session_id: &str) -> bool {
        self.session_id() == Some(session_id)
            || self.earlier_session_ids().iter().any(|earlier| earlier.as_deref() == Some(session_id))
    }

    /// When the provider authenticated the user, as far as that is known ([`ProviderSide::auth_times`]).
    pub(crate) fn auth_times(&self) -> &[u64] {
        self.provider.as_ref().map_or(&[], |provider| &provider.auth_times)
    }

    /// The provider's sessions in which the session was made and renewed.
    #[must_use]
    pub fn origin(&self) -> Origin {
        let mut session_ids = self.earlier_session_ids().to_vec();
        session_ids.push(self.session_id().map(str::to_owned));
        Origin { subject: self.identity.subject().to_owned(), session_ids, auth_times: self.auth_times().to_vec() }
    }

    fn earlier_session_ids(&self) -> &[Option<String>] {
        self.provider.as_ref().map_or(&[], |provider| &provider.earlier_session_ids)
    }

    /// The session's application.
    pub(crate) const fn application(&self) -> &ApplicationId {
        &self.realm.application
    }

    /// When the login was completed.
    pub(crate) const fn created_at(&self) -> UnixTime {
        self.created_at
    }

    fn revocable(&self) -> Revocable<'_> {
        Revocable {
            application: &self.realm.application,
            issuer: &self.realm.issuer,
            subject: self.identity.subject(),
            session_id: self.session_id(),
            earlier_session_ids: self.earlier_session_ids(),
            auth_times: self.auth_times(),
            began_at: self.began_at,
        }
    }

    /// When the session ends at the latest if `written` is the last use that was written down.
    ///
    /// Other processes, and this one after a restart, do not know of uses in the tenth of the idle time-out after that one. So
    /// a session does not end for lack of them.
    fn end_after_use(&self, written: UnixTime) -> UnixTime {
        let idle = self.idle_timeout.saturating_add(self.idle_timeout / SAVED_SHARE);
        self.expires_at.min(written + Duration::from_millis(idle))
    }

    /// Whether the session belongs to this realm.
    pub(crate) fn is_of(&self, realm: &Realm) -> bool {
        self.realm == *realm
    }

    /// Whether both sessions are of the same user and the same application.
    pub(crate) fn is_of_user_of(&self, other: &Self) -> bool {
        self.realm == other.realm && self.identity.subject() == other.identity.subject()
    }

    /// Notes that a check was answered with this session.
    pub(crate) fn touch(&self, now: UnixTime) {
        // Memory that is only read stays in the caches of all cores.
        let grain = NOTE_GRAIN.min(self.idle_timeout / NOTE_SHARE);
        let last = self.last_check.load(Ordering::Relaxed);
        if last == 0 || last.saturating_add(grain) < now.as_millis() {
            self.last_check.fetch_max(now.as_millis(), Ordering::Relaxed);
        }
    }

    /// Whether a check was answered with the session; before that it is not known whether the browser kept its cookie.
    #[must_use]
    pub fn was_checked(&self) -> bool {
        self.last_check.load(Ordering::Relaxed) != 0
    }

    /// When the last check was answered with the session, in milliseconds; 0: never.
    fn last_check(&self) -> u64 {
        self.last_check.load(Ordering::Relaxed)
    }

    /// Whether a store should write the last use down: a tenth of the idle time-out has passed since it last did.
    fn has_unsaved_use(&self) -> bool {
        let since = self.last_check().saturating_sub(self.saved_use().as_millis());
        self.idle_timeout != u64::MAX && since > 0 && since >= self.idle_timeout / SAVED_SHARE
    }

    /// The last use that was written down.
    fn saved_use(&self) -> UnixTime {
        self.created_at.max(UnixTime::from_millis(self.saved_check.load(Ordering::Relaxed)))
    }

    /// Notes that the use up to `check` was written down, by this process or another one.
    fn note_saved_use(&self, check: u64) {
        self.last_check.fetch_max(check, Ordering::Relaxed);
        self.saved_check.fetch_max(check, Ordering::Relaxed);
    }

    /// When the session was last used: by a check, or at its beginning.
    pub(crate) fn last_use(&self) -> UnixTime {
        self.created_at.max(UnixTime::from_millis(self.last_check.load(Ordering::Relaxed)))
    }

    /// The user who signed in.
    #[must_use]
    pub const fn identity(&self) -> &PackedIdentity {
        &self.identity
    }

    /// When the session ends at the latest.
    pub(crate) const fn expires_at(&self) -> UnixTime {
        self.expires_at
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("application", &self.realm.application)
            .field("user", &self.identity.label())
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
