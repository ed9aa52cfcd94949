//! Login: to the provider, and back.
//!
//! Nothing is kept on the server before a login succeeds: an attempt lives in its sealed state and a sealed cookie.

mod answered;
mod attempt;
mod callback;
mod claims;
mod guard;
#[cfg(any(test, fuzzing))]
pub(crate) mod invariants;
mod params;
mod silent;
mod start;
mod target;
mod used;
mod visitor;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

pub use callback::{CallbackError, CallbackOutcome, Destination};
pub use params::{CallbackParams, has_marker};
pub use start::{
    Interaction, LoginRedirect, StartError, Wish, assured_login_url, login_url, other_login_url, silent_login_url,
};
pub use target::{ReturnTarget, requested_target};
pub use visitor::Visitor;

use crate::cookie::Sealer;
use crate::logout::Revoker;
use crate::refresh::Refresher;
use crate::session::{Revalidation, SessionStore};
use crate::telemetry::LogThrottle;
use crate::world::World;
use guard::LoopGuard;
use used::UsedAttempts;

/// Begins and completes logins.
pub struct Logins {
    world: World,
    sealer: Sealer,
    store: Arc<dyn SessionStore>,
    refresher: Arc<Refresher>,
    lifetime: Duration,
    idle_timeout: Option<Duration>,
    revalidation: Revalidation,
    guard: LoopGuard,
    used: UsedAttempts,
    revoker: Arc<Revoker>,
    background: TaskTracker,
    silent_failure_log: LogThrottle,
    nameless_user_log: LogThrottle,
    unusable_claims_log: LogThrottle,
}

/// The parts of [`Logins`].
pub struct LoginParts {
    /// Time and randomness.
    pub world: World,
    /// Seals states and attempt cookies.
    pub sealer: Sealer,
    /// Stores new sessions.
    pub store: Arc<dyn SessionStore>,
    /// Refreshes new sessions.
    pub refresher: Arc<Refresher>,
    /// The lifetime of a session.
    pub lifetime: Duration,
    /// The idle time-out of a session.
    pub idle_timeout: Option<Duration>,
    /// When sessions need to be confirmed by the provider.
    pub revalidation: Revalidation,
    /// Revokes refresh tokens.
    pub revoker: Arc<Revoker>,
    /// Tasks that go on when their request ends.
    pub background: TaskTracker,
}

impl Logins {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: LoginParts) -> Self {
        Self {
            world: parts.world,
            sealer: parts.sealer,
            store: parts.store,
            refresher: parts.refresher,
            lifetime: parts.lifetime,
            idle_timeout: parts.idle_timeout,
            revalidation: parts.revalidation,
            guard: LoopGuard::new(),
            used: UsedAttempts::new(),
            revoker: parts.revoker,
            background: parts.background,
            silent_failure_log: LogThrottle::default(),
            nameless_user_log: LogThrottle::default(),
            unusable_claims_log: LogThrottle::default(),
        }
    }
}
