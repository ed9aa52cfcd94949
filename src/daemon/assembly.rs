//! The parts of a daemon, put together from settings.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::{StartError, stores};
use crate::catalog::{Builder, Catalog, Conflict, CurrentCatalog};
use crate::credentials::CredentialVerifier;
use crate::forwarded::TrustedProxies;
use crate::http::{DIALECTS, Outpost, OutpostParts, VERDICTS};
use crate::login::{LoginParts, Logins};
use crate::logout::{LogoutParts, Logouts, Revoker};
use crate::refresh::Refresher;
use crate::session::SessionStore;
use crate::settings::Settings;
use crate::telemetry::log::Sampler;
use crate::telemetry::metrics::Metrics;
use crate::world::World;

/// What a daemon consists of besides its listeners: made from settings, and still without a network.
pub struct Assembly {
    /// Answers proxies and browsers.
    pub outpost: Outpost,
    /// Applications and identity providers; nothing is known of these until [`crate::oidc::Provider::refresh`] or
    /// [`crate::oidc::Provider::keep_ready`].
    pub catalog: Arc<CurrentCatalog>,
    /// Builds the catalogues after the first one.
    pub builder: Builder,
    /// Refreshes of sessions, which go on beside requests.
    pub refresher: Arc<Refresher>,
    /// Sessions.
    pub store: Arc<dyn SessionStore>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Refresh tokens that are still to be taken back.
    pub revoker: Arc<Revoker>,
    /// What is still to be done for requests that were answered.
    pub background: TaskTracker,
}

impl Assembly {
    /// Puts the parts together.
    ///
    /// # Errors
    ///
    /// When a provider's CA file or the directory for sessions cannot be used, and when there is no randomness for the
    /// secret.
    pub fn new(settings: Settings, world: World) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new(&settings.server.name, &DIALECTS, &VERDICTS));
        let builder = builder(&settings, world.clone(), Arc::clone(&metrics));
        let catalog = match builder.build(&Catalog::default(), &settings.declarations()) {
            (catalog, conflicts) if conflicts.is_empty() => Arc::new(CurrentCatalog::new(catalog)),
            (_, conflicts) => return Err(StartError::Conflicts(conflicts)),
        };
        let (store, sealer) = stores::sessions(&settings, &world)?;
        let background = TaskTracker::new();
        let revoker = Revoker::new(background.clone());
        let revalidation = settings.session.revalidation;
        let refresher = Arc::new(Refresher::new(
            world.clone(),
            Arc::clone(&store),
            Arc::clone(&metrics),
            revalidation,
            Arc::clone(&revoker),
        ));
        let logins = Logins::new(LoginParts {
            world: world.clone(),
            sealer,
            store: Arc::clone(&store),
            refresher: Arc::clone(&refresher),
            lifetime: settings.session.lifetime,
            idle_timeout: settings.session.idle_timeout,
            revalidation,
            revoker: Arc::clone(&revoker),
            background: background.clone(),
        });
        let logouts = Logouts::new(LogoutParts {
            world: world.clone(),
            store: Arc::clone(&store),
            lifetime: settings.session.lifetime,
            everywhere: settings.session.sign_out_everywhere,
            revoker: Arc::clone(&revoker),
            background: background.clone(),
        });
        let outpost = Outpost::new(OutpostParts {
            credentials: CredentialVerifier::new(world.clone()),
            catalog: Arc::clone(&catalog),
            logins: Arc::new(logins),
            refresher: Arc::clone(&refresher),
            logouts,
            store: Arc::clone(&store),
            metrics: Arc::clone(&metrics),
            sampler: Sampler::new(settings.log.routine_checks),
            world,
            trusted: TrustedProxies::new(settings.server.trusted_proxies),
        });
        Ok(Self { outpost, catalog, builder, refresher, store, metrics, revoker, background })
    }
}

/// The catalogue of these settings, for what looks at it without serving it, and what is missing in it.
#[must_use]
pub fn catalog(settings: &Settings, world: World) -> (Catalog, Vec<Conflict>) {
    let metrics = Arc::new(Metrics::new(&settings.server.name, &DIALECTS, &VERDICTS));
    builder(settings, world, metrics).build(&Catalog::default(), &settings.declarations())
}

fn builder(settings: &Settings, world: World, metrics: Arc<Metrics>) -> Builder {
    Builder {
        world,
        metrics,
        outpost_name: settings.server.name.clone(),
        any_host: settings.server.danger_any_host,
        named_only: settings.docker.as_ref().map_or_else(Vec::new, |docker| docker.domains.clone()),
    }
}
