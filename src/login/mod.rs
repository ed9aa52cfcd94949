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
mod refresh;
mod revalidation;
mod start;
mod target;
mod used;
mod visitor;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

pub use callback::{CallbackError, CallbackOutcome, Destination};
pub use params::{CallbackParams, has_marker};
pub use refresh::Confirmed;
pub use start::{
    Begun, Interaction, StartError, Wish, assured_login_url, login_url, other_login_url, silent_login_url,
};
pub use target::{ReturnTarget, requested_target};
pub use visitor::Visitor;

use crate::cookie::Sealer;
use crate::limit::{Cooldowns, SingleFlight};
use crate::logout::Revoker;
use crate::session::Revalidation;
use crate::session::{SessionKey, SessionStore};
use crate::telemetry::LogThrottle;
use crate::telemetry::metrics::Metrics;
use crate::world::World;
use guard::LoopGuard;
use refresh::{Endings, Outcome, RETRY, UNANSWERED};
use used::UsedAttempts;

/// What logins need.
pub struct Logins {
    world: World,
    sealer: Sealer,
    store: Arc<dyn SessionStore>,
    metrics: Arc<Metrics>,
    lifetime: Duration,
    idle_timeout: Option<Duration>,
    revalidation: Revalidation,
    guard: LoopGuard,
    used: UsedAttempts,
    refreshes: SingleFlight<SessionKey, Outcome>,
    tasks: TaskTracker,
    /// Providers that did not answer a moment ago.
    unanswered: Cooldowns<String>,
    endings: Endings,
    /// Failures that the audit log has: while a request waits, a session fails once a second.
    audited_failures: Cooldowns<(SessionKey, &'static str)>,
    revoker: Arc<Revoker>,
    refresh_failure_log: LogThrottle,
    store_failure_log: LogThrottle,
    nameless_user_log: LogThrottle,
    unusable_claims_log: LogThrottle,
    token_end_log: LogThrottle,
}

/// What [`Logins`] is made of.
pub struct LoginParts {
    /// Time and randomness.
    pub world: World,
    /// For states and attempt cookies.
    pub sealer: Sealer,
    /// Where new sessions go.
    pub store: Arc<dyn SessionStore>,
    /// Where refreshes are counted.
    pub metrics: Arc<Metrics>,
    /// Of a session.
    pub lifetime: Duration,
    /// Of a session.
    pub idle_timeout: Option<Duration>,
    /// How providers are asked whether they still vouch for users.
    pub revalidation: Revalidation,
    /// Takes refresh tokens back.
    pub revoker: Arc<Revoker>,
}

impl Logins {
    /// Puts the parts to work.
    #[must_use]
    pub fn new(parts: LoginParts) -> Self {
        Self {
            world: parts.world,
            sealer: parts.sealer,
            store: parts.store,
            metrics: parts.metrics,
            lifetime: parts.lifetime,
            idle_timeout: parts.idle_timeout,
            revalidation: parts.revalidation,
            guard: LoopGuard::new(),
            used: UsedAttempts::new(),
            refreshes: SingleFlight::default(),
            tasks: TaskTracker::new(),
            unanswered: Cooldowns::new(UNANSWERED),
            endings: Endings::default(),
            audited_failures: Cooldowns::new(RETRY),
            revoker: parts.revoker,
            refresh_failure_log: LogThrottle::default(),
            store_failure_log: LogThrottle::default(),
            nameless_user_log: LogThrottle::default(),
            unusable_claims_log: LogThrottle::default(),
            token_end_log: LogThrottle::default(),
        }
    }
}
