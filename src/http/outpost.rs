use std::sync::Arc;

use super::failure;
use super::request::Visit;
use super::visited::Visited;
use crate::app::Application;
use crate::catalog::CurrentCatalog;
use crate::credentials::CredentialVerifier;
use crate::forwarded::TrustedProxies;
use crate::login::Logins;
use crate::logout::Logouts;
use crate::refresh::Refresher;
use crate::session::{SessionStore, StoreError};
use crate::telemetry::log::Sampler;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{LogThrottle, RequestId, RequestIds};
use crate::world::World;

/// The outpost: answers proxies and browsers.
pub struct Outpost {
    pub(super) catalog: Arc<CurrentCatalog>,
    pub(super) logins: Arc<Logins>,
    pub(super) refresher: Arc<Refresher>,
    pub(super) logouts: Logouts,
    pub(super) credentials: CredentialVerifier,
    pub(super) store: Arc<dyn SessionStore>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) sampler: Sampler,
    pub(super) world: World,
    pub(super) trusted: TrustedProxies,
    pub(super) ids: RequestIds,
    pub(super) refused_logouts: RefusedLogouts,
    pub(super) misaddressed: LogThrottle,
    store_failures: LogThrottle,
}

/// Limits the log lines about refused logouts, which any client can cause.
#[derive(Default)]
pub(super) struct RefusedLogouts {
    pub(super) back_channel: LogThrottle,
    pub(super) front_channel: LogThrottle,
    pub(super) asked_about: LogThrottle,
}

/// What an [`Outpost`] is made of.
pub struct OutpostParts {
    /// Applications and identity providers.
    pub catalog: Arc<CurrentCatalog>,
    /// Login.
    pub logins: Arc<Logins>,
    /// Refreshes of sessions.
    pub refresher: Arc<Refresher>,
    /// Logout.
    pub logouts: Logouts,
    /// What programs show.
    pub credentials: CredentialVerifier,
    /// Sessions.
    pub store: Arc<dyn SessionStore>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Which checks are logged.
    pub sampler: Sampler,
    /// Time and randomness.
    pub world: World,
    /// Who may speak for a client.
    pub trusted: TrustedProxies,
}

impl Outpost {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: OutpostParts) -> Self {
        Self {
            ids: RequestIds::new(&parts.world),
            catalog: parts.catalog,
            logins: parts.logins,
            refresher: parts.refresher,
            logouts: parts.logouts,
            credentials: parts.credentials,
            store: parts.store,
            metrics: parts.metrics,
            sampler: parts.sampler,
            world: parts.world,
            store_failures: LogThrottle::default(),
            refused_logouts: RefusedLogouts::default(),
            misaddressed: LogThrottle::default(),
            trusted: parts.trusted,
        }
    }

    /// Answers a browser while the store does not answer.
    pub(super) fn visited_while_store_is_away(
        &self,
        app: &Application,
        error: &StoreError,
        visit: &Visit<'_>,
    ) -> Visited {
        self.note_store_failure(app, error, visit.request_id);
        Visited::new(failure::store(app, visit.html, visit.request_id), "store_away")
    }

    /// Says every now and then that the store does not answer, and why; each request has a line of its own.
    pub(super) fn note_store_failure(&self, app: &Application, error: &StoreError, request_id: RequestId) {
        if let Some(further) = self.store_failures.admit() {
            tracing::error!(%request_id, application = %app.id, %error, further, "sessions cannot be looked up");
        }
    }
}

/// A login that begins while nothing can be kept would end in nothing.
pub(super) fn store_is_down() -> StoreError {
    StoreError("it was not there a moment ago either".to_owned())
}
