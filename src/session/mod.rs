//! The record behind a session cookie, and where records are kept.

mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod invariants;
mod map;
mod memory;
mod record;
#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "no store stands on it yet"))]
mod redis;
mod store;
mod token;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use file::{FileError, FileStore, FileStoreParts, StateDirectory};
pub use memory::MemoryStore;
pub use store::{SessionStore, StoreError, StoreFuture};
pub use token::{SessionKey, SessionToken};

use crate::app::Application;
use crate::identity::PackedIdentity;
use crate::world::UnixTime;

/// A use is written down when the idle time-out divided by this has passed since the last one that was.
const KEPT_SHARE: u64 = 10;

/// What a login proved, kept on the server.
///
/// In this order, so that what decides whether it counts lies together.
#[repr(C)]
pub struct Session {
    application: Arc<str>,
    expires_at: UnixTime,
    /// In milliseconds; the largest number when the session may be idle for ever.
    idle_timeout: u64,
    /// In milliseconds; 0 until the first check that counted.
    last_check: AtomicU64,
    created_at: UnixTime,
    identity: PackedIdentity,
    /// The last check that a store has written down.
    kept_check: AtomicU64,
}

/// A last use is noted to the second, and where sessions end when idle for a short time to this part of it.
const NOTE_GRAIN: u64 = 1000;
const NOTE_SHARE: u64 = 128;

/// What a new session is made of.
#[derive(Debug)]
pub struct NewSession {
    /// The slug of the application it is for.
    pub application: Arc<str>,
    /// Who signed in, with the ready-made headers and the ID token.
    pub identity: PackedIdentity,
    /// From now to the end.
    pub lifetime: Duration,
    /// Without a check.
    pub idle_timeout: Option<Duration>,
}

impl Session {
    /// A session that begins `now`.
    #[must_use]
    pub fn new(new: NewSession, now: UnixTime) -> Self {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            application: new.application,
            identity: new.identity,
            expires_at: now + new.lifetime,
            idle_timeout: new.idle_timeout.map_or(u64::MAX, millis),
            last_check: AtomicU64::new(0),
            kept_check: AtomicU64::new(0),
            created_at: now,
        }
    }

    /// Whether the session is `app`'s and lives at `now`.
    #[must_use]
    pub fn is_valid_for(&self, app: &Application, now: UnixTime) -> bool {
        self.is_of(app) && self.lives(now)
    }

    /// Whether the session lives at `now`; the end is the first instant at which it does not.
    #[must_use]
    pub fn lives(&self, now: UnixTime) -> bool {
        now < self.ends_at()
    }

    /// When it ends if it is not used again.
    fn ends_at(&self) -> UnixTime {
        self.expires_at.min(self.last_use() + Duration::from_millis(self.idle_timeout))
    }

    /// Whether the session was made for `app`.
    #[must_use]
    pub fn is_of(&self, app: &Application) -> bool {
        self.application == app.slug
    }

    /// Notes that a check was answered with this session.
    pub fn touch(&self, now: UnixTime) {
        // Memory that is only read need not be written back, and cores do not take it from each other.
        let grain = NOTE_GRAIN.min(self.idle_timeout / NOTE_SHARE);
        let last = self.last_check.load(Ordering::Relaxed);
        if last == 0 || last.saturating_add(grain) < now.as_millis() {
            self.last_check.fetch_max(now.as_millis(), Ordering::Relaxed);
        }
    }

    /// Whether any check was answered with it; until then nobody knows whether its cookie came back.
    #[must_use]
    pub fn was_checked(&self) -> bool {
        self.last_check.load(Ordering::Relaxed) != 0
    }

    /// When the last check was answered with it, in milliseconds; 0: never.
    fn last_check(&self) -> u64 {
        self.last_check.load(Ordering::Relaxed)
    }

    /// Whether a store should write its last use down: a tenth of the idle time-out has passed since it last did.
    fn has_unkept_use(&self) -> bool {
        let since = self.last_check().saturating_sub(self.kept_use());
        self.idle_timeout != u64::MAX && since > 0 && since >= self.idle_timeout / KEPT_SHARE
    }

    fn kept_use(&self) -> u64 {
        self.created_at.as_millis().max(self.kept_check.load(Ordering::Relaxed))
    }

    /// Notes that the use up to `check` was written down.
    fn kept(&self, check: u64) {
        self.kept_check.fetch_max(check, Ordering::Relaxed);
    }

    /// When it was used for the last time: by a check, or when it began.
    #[must_use]
    pub fn last_use(&self) -> UnixTime {
        self.created_at.max(UnixTime::from_millis(self.last_check.load(Ordering::Relaxed)))
    }

    /// Who signed in.
    #[must_use]
    pub const fn identity(&self) -> &PackedIdentity {
        &self.identity
    }

    /// When it ends, whatever happens before.
    #[must_use]
    pub const fn expires_at(&self) -> UnixTime {
        self.expires_at
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("application", &self.application)
            .field("user", &self.identity.label())
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod samples;
