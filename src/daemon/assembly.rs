//! The parts of a daemon, put together from settings.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::{StartError, stores};
use crate::app::{Application, Registry};
use crate::forwarded::TrustedProxies;
use crate::http::{DIALECTS, Outpost, OutpostParts, VERDICTS};
use crate::login::{LoginParts, Logins};
use crate::logout::{LogoutParts, Logouts, Revoker};
use crate::oidc::{KeyRefresh, Observer, Operation, Provider};
use crate::session::SessionStore;
use crate::settings::Settings;
use crate::telemetry::log::Sampler;
use crate::telemetry::metrics::Metrics;
use crate::token::{TokenParts, Tokens};
use crate::world::World;

/// What a daemon consists of besides its listeners: made from settings, and still without a network.
pub struct Assembly {
    /// Answers proxies and browsers.
    pub outpost: Outpost,
    /// What is protected, in the order of the settings.
    pub applications: Vec<Arc<Application>>,
    /// All identity providers; nothing is known of them until [`Provider::refresh`] or [`Provider::keep_ready`].
    pub providers: Vec<Arc<Provider>>,
    /// Further issuers of tokens; the same holds of them, and no login waits for them.
    pub token_issuers: Vec<Arc<Provider>>,
    /// Logins, and their refreshes that go on beside requests.
    pub logins: Arc<Logins>,
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
        let metrics = Arc::new(metrics(&settings));
        let providers = providers(&settings, &world, &metrics)?;
        let applications = applications(&settings)?;
        let issuers = token_issuers(&settings, &world, &metrics)?;
        let (store, sealer) = stores::sessions(&settings, &world)?;
        let background = TaskTracker::new();
        let revoker = Revoker::new(background.clone());
        let logins = Arc::new(Logins::new(LoginParts {
            world: world.clone(),
            sealer,
            store: Arc::clone(&store),
            providers: providers.clone(),
            metrics: Arc::clone(&metrics),
            lifetime: settings.session.lifetime,
            idle_timeout: settings.session.idle_timeout,
            revalidation: settings.session.revalidation,
            revoker: Arc::clone(&revoker),
        }));
        let logouts = Logouts::new(LogoutParts {
            world: world.clone(),
            store: Arc::clone(&store),
            providers: providers.clone(),
            provider_names: provider_names(&applications),
            lifetime: settings.session.lifetime,
            everywhere: settings.session.sign_out_everywhere,
            revoker: Arc::clone(&revoker),
            background: background.clone(),
        });
        let token_issuers = issuers.values().flatten().map(Arc::clone).collect();
        let tokens = Tokens::new(TokenParts {
            world: world.clone(),
            providers: providers.clone(),
            issuers,
            metrics: Arc::clone(&metrics),
        });
        let outpost = Outpost::new(OutpostParts {
            tokens,
            registry: Registry::new(applications.clone(), settings.server.danger_any_host),
            logins: Arc::clone(&logins),
            logouts,
            store: Arc::clone(&store),
            metrics: Arc::clone(&metrics),
            sampler: Sampler::new(settings.log.routine_checks),
            world,
            trusted: TrustedProxies::new(settings.server.trusted_proxies),
        });
        let providers = providers.into_values().collect();
        Ok(Self { outpost, applications, providers, token_issuers, logins, store, metrics, revoker, background })
    }
}

fn metrics(settings: &Settings) -> Metrics {
    let issuers: Vec<_> =
        settings.token_issuers().map(|(app, issuer)| format!("{}:{}", app.slug, issuer.name)).collect();
    Metrics::new(
        &settings.server.name,
        settings.applications.iter().map(|app| (app.slug.as_str(), app.external_host.host.as_str())),
        settings.identity_providers.keys().map(String::as_str).chain(issuers.iter().map(String::as_str)),
        &DIALECTS,
        &VERDICTS,
    )
}

fn providers(
    settings: &Settings,
    world: &World,
    metrics: &Arc<Metrics>,
) -> Result<HashMap<String, Arc<Provider>>, StartError> {
    settings
        .identity_providers
        .iter()
        .map(|(name, provider)| {
            let observer: Arc<dyn Observer> = Arc::clone(metrics) as _;
            Provider::new(name, provider.clone(), world.clone(), observer)
                .map(|provider| (name.clone(), Arc::new(provider)))
                .map_err(|cause| StartError::Provider { name: name.clone(), cause })
        })
        .collect()
}

/// The further issuers of each application, by its number, in the order of its settings.
fn token_issuers(
    settings: &Settings,
    world: &World,
    metrics: &Arc<Metrics>,
) -> Result<HashMap<usize, Vec<Arc<Provider>>>, StartError> {
    let mut issuers: HashMap<usize, Vec<_>> = HashMap::new();
    for (number, app) in settings.applications.iter().enumerate() {
        for issuer in app.tokens.iter().flat_map(|tokens| &tokens.issuers) {
            let name = format!("{}:{}", app.slug, issuer.name);
            let observer: Arc<dyn Observer> = Arc::clone(metrics) as _;
            let provider = Provider::issuer_only(&name, issuer.as_provider(), world.clone(), observer);
            let provider = provider.map_err(|cause| StartError::TokenIssuer { name, cause })?;
            issuers.entry(number).or_default().push(Arc::new(provider));
        }
    }
    Ok(issuers)
}

fn applications(settings: &Settings) -> Result<Vec<Arc<Application>>, StartError> {
    let build = |(number, app): (usize, &crate::app::Declaration)| match settings
        .identity_providers
        .get(&app.identity_provider)
    {
        Some(provider) => Ok(Arc::new(Application::new(number, app.clone(), provider, &settings.server.name))),
        None => {
            Err(StartError::UnknownProvider { application: app.slug.clone(), provider: app.identity_provider.clone() })
        }
    };
    settings.applications.iter().enumerate().map(build).collect()
}

impl Observer for Metrics {
    fn request(&self, provider: &str, operation: Operation, answered: bool, elapsed: Duration) {
        let result = if answered { "answered" } else { "failed" };
        self.provider_request(provider, operation.as_str(), result, elapsed);
    }

    fn keys_refreshed(&self, provider: &str, reason: KeyRefresh, succeeded: bool) {
        self.jwks_refresh(provider, reason.as_str(), if succeeded { "success" } else { "failure" });
    }

    fn ready(&self, provider: &str, ready: bool) {
        self.set_provider_ready(provider, ready);
    }
}

/// The name of each application's identity provider, by its slug.
fn provider_names(applications: &[Arc<Application>]) -> HashMap<String, String> {
    applications.iter().map(|app| (app.slug.to_string(), app.identity_provider.clone())).collect()
}
