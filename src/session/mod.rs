//! The record behind a session cookie, and where records are kept.

mod memory;
mod store;
mod token;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use memory::MemoryStore;
pub use store::{SessionStore, StoreError, StoreFuture};
pub use token::{SessionKey, SessionToken};

use crate::app::Application;
use crate::identity::{HeaderBlock, Identity};
use crate::world::UnixTime;

/// What a login proved, kept on the server.
pub struct Session {
    application: String,
    identity: Identity,
    headers: HeaderBlock,
    id_token: String,
    expires_at: UnixTime,
    idle_timeout: Option<Duration>,
    /// In milliseconds; 0 until the first check that counted.
    last_check: AtomicU64,
    created_at: UnixTime,
}

/// What a new session is made of.
#[derive(Debug)]
pub struct NewSession {
    /// The slug of the application it is for.
    pub application: String,
    /// Who signed in.
    pub identity: Identity,
    /// The ready-made headers.
    pub headers: HeaderBlock,
    /// The ID token as received, for the hint at sign-out.
    pub id_token: String,
    /// From now to the end.
    pub lifetime: Duration,
    /// Without a check.
    pub idle_timeout: Option<Duration>,
}

impl Session {
    /// A session that begins `now`.
    #[must_use]
    pub fn new(new: NewSession, now: UnixTime) -> Self {
        Self {
            application: new.application,
            identity: new.identity,
            headers: new.headers,
            id_token: new.id_token,
            expires_at: now + new.lifetime,
            idle_timeout: new.idle_timeout,
            last_check: AtomicU64::new(0),
            created_at: now,
        }
    }

    /// Whether the session is `app`'s and lives at `now`; the end is the first instant at which it does not.
    #[must_use]
    pub fn is_valid_for(&self, app: &Application, now: UnixTime) -> bool {
        let last_sign_of_life = match self.last_check.load(Ordering::Relaxed) {
            0 => self.created_at,
            millis => UnixTime::from_millis(millis),
        };
        self.is_of(app) && now < self.expires_at && self.idle_timeout.is_none_or(|idle| now < last_sign_of_life + idle)
    }

    /// Whether the session was made for `app`.
    #[must_use]
    pub fn is_of(&self, app: &Application) -> bool {
        self.application == app.slug
    }

    /// Notes that a check was answered with this session.
    pub fn touch(&self, now: UnixTime) {
        self.last_check.fetch_max(now.as_millis(), Ordering::Relaxed);
    }

    /// Whether any check was answered with it; until then nobody knows whether its cookie came back.
    #[must_use]
    pub fn was_checked(&self) -> bool {
        self.last_check.load(Ordering::Relaxed) != 0
    }

    /// Who signed in.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The ready-made headers.
    #[must_use]
    pub const fn headers(&self) -> &HeaderBlock {
        &self.headers
    }

    /// The ID token, for `id_token_hint`.
    #[must_use]
    pub fn id_token(&self) -> &str {
        &self.id_token
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
