//! From declarations to a catalogue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::hosts::Hosts;
use super::{Catalog, Declaration, Declared};
use crate::app::{self, Application};
use crate::application_id::ApplicationId;
use crate::oidc::{IdentityProvider, KeyRefresh, Observer, Operation, Provider};
use crate::telemetry::WithCauses;
use crate::telemetry::metrics::Metrics;
use crate::tls::TlsError;
use crate::world::World;

/// What catalogues are built with, besides declarations.
pub struct Builder {
    /// Time and randomness, for providers.
    pub world: World,
    /// Where applications and providers are counted.
    pub metrics: Arc<Metrics>,
    /// The daemon's own name (`server.name`).
    pub outpost_name: String,
    /// Whether an only application answers for every host (`server.danger_any_host`).
    pub any_host: bool,
}

/// A declaration that is not in the catalogue, and why.
#[derive(Debug, thiserror::Error)]
#[error("{problem} (from {origin})")]
pub struct Conflict {
    /// Where it was declared.
    pub origin: Arc<str>,
    /// Why it cannot be used.
    #[source]
    pub problem: Problem,
}

/// Why a declaration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// An earlier identity provider has the same name.
    #[error("identity_provider.{name} is declared twice")]
    RepeatedProvider {
        /// The provider.
        name: String,
    },
    /// A provider's CA file cannot be used.
    #[error("identity_provider.{name}.ca_file: {}", WithCauses(source))]
    Provider {
        /// The provider.
        name: String,
        /// What is wrong.
        source: TlsError,
    },
    /// The CA file of an issuer of tokens cannot be used.
    #[error("application.token_issuer {name}: ca_file: {}", WithCauses(source))]
    TokenIssuer {
        /// The application, and the issuer.
        name: String,
        /// What is wrong.
        source: TlsError,
    },
    /// An application names a provider that there is not.
    #[error("application {application}: there is no identity provider {provider}")]
    UnknownProvider {
        /// The application.
        application: String,
        /// What it names.
        provider: String,
    },
    /// An earlier application has the same slug, host or cookie domain.
    #[error("application {application}: {key} {value} is that of application {other} too, from {other_origin}")]
    Taken {
        /// The application.
        application: String,
        /// `slug`, `external_host` or `cookie_domain`.
        key: &'static str,
        /// What both have.
        value: String,
        /// The earlier application.
        other: String,
        /// Where that one was declared.
        other_origin: Arc<str>,
    },
}

impl Builder {
    /// Builds the catalogue after `previous`, without a network.
    ///
    /// What is declared as before is the same in both, with all that is known of it. Of what cannot be used the form before
    /// stays, where there is one and it does not conflict with what is declared now; else it is left out. The conflicts say
    /// which.
    #[must_use]
    pub fn build(&self, previous: &Catalog, declared: &[Declaration]) -> (Catalog, Vec<Conflict>) {
        let mut conflicts = Vec::new();
        let mut conflict =
            |origin: &Arc<str>, problem| conflicts.push(Conflict { origin: Arc::clone(origin), problem });
        let mut providers = BTreeMap::new();
        for Declaration { origin, declared } in declared {
            if let Declared::Provider { name, registration } = declared {
                match self.provider(&providers, previous, name, registration) {
                    Ok(provider) => drop(providers.insert(name.clone(), provider)),
                    Err(problem) => {
                        conflict(origin, problem);
                        if let (false, Some(before)) = (providers.contains_key(name), previous.provider(name)) {
                            providers.insert(name.clone(), Arc::clone(before));
                        }
                    }
                }
            }
        }
        let mut applications: Vec<Arc<Application>> = Vec::new();
        let mut origins = BTreeMap::new();
        for Declaration { origin, declared } in declared {
            if let Declared::Application(declared) = declared {
                let application = not_taken(&applications, &origins, declared)
                    .and_then(|()| self.application(&providers, previous, declared));
                let application = application.map_or_else(
                    |problem| {
                        conflict(origin, problem);
                        kept(previous, &applications, &origins, &providers, &declared.slug)
                    },
                    Some,
                );
                if let Some(application) = application {
                    origins.insert(application.id.clone(), Arc::clone(origin));
                    applications.push(application);
                }
            }
        }
        let hosts = Hosts::new(applications.clone(), self.any_host);
        let providers = providers.into_values().collect();
        (Catalog { revision: previous.revision + 1, hosts, applications, providers, origins }, conflicts)
    }

    fn provider(
        &self,
        others: &BTreeMap<String, Arc<Provider>>,
        previous: &Catalog,
        name: &str,
        registration: &IdentityProvider,
    ) -> Result<Arc<Provider>, Problem> {
        if others.contains_key(name) {
            return Err(Problem::RepeatedProvider { name: name.to_owned() });
        }
        if let Some(before) = previous.provider(name).filter(|before| before.settings() == registration) {
            return Ok(Arc::clone(before));
        }
        self.metrics.add_provider(name);
        let observer: Arc<dyn Observer> = Arc::clone(&self.metrics) as _;
        let provider = Provider::new(name, registration.clone(), self.world.clone(), observer);
        provider.map(Arc::new).map_err(|source| Problem::Provider { name: name.to_owned(), source })
    }

    fn application(
        &self,
        providers: &BTreeMap<String, Arc<Provider>>,
        previous: &Catalog,
        declared: &app::DeclaredApplication,
    ) -> Result<Arc<Application>, Problem> {
        let provider = providers.get(&declared.identity_provider).ok_or_else(|| Problem::UnknownProvider {
            application: declared.slug.clone(),
            provider: declared.identity_provider.clone(),
        })?;
        let before = previous.application(&declared.slug);
        if let Some(before) = before.filter(|it| it.declared == *declared && Arc::ptr_eq(&it.provider, provider)) {
            return Ok(Arc::clone(before));
        }
        let token_issuers = self.token_issuers(before, declared)?;
        let metrics = self.metrics.application(&declared.slug, declared.external_host.host.as_str());
        let provider = Arc::clone(provider);
        Ok(Arc::new(Application::new(declared.clone(), provider, token_issuers, &self.outpost_name, metrics)))
    }

    fn token_issuers(
        &self,
        before: Option<&Arc<Application>>,
        declared: &app::DeclaredApplication,
    ) -> Result<Vec<Arc<Provider>>, Problem> {
        let issuers = declared.tokens.iter().flat_map(|tokens| &tokens.issuers).map(|issuer| {
            let (name, settings) = (format!("{}:{}", declared.slug, issuer.name), issuer.as_provider());
            let known = before.into_iter().flat_map(|app| &app.token_issuers);
            if let Some(known) = known.into_iter().find(|it| it.name() == name && *it.settings() == settings) {
                return Ok(Arc::clone(known));
            }
            self.metrics.add_provider(&name);
            let observer: Arc<dyn Observer> = Arc::clone(&self.metrics) as _;
            let provider = Provider::issuer_only(&name, settings, self.world.clone(), observer);
            provider.map(Arc::new).map_err(|source| Problem::TokenIssuer { name, source })
        });
        issuers.collect()
    }
}

type Origins = BTreeMap<ApplicationId, Arc<str>>;

/// Checks that no earlier application has what `declared` claims.
fn not_taken(
    earlier: &[Arc<Application>],
    origins: &Origins,
    declared: &app::DeclaredApplication,
) -> Result<(), Problem> {
    for other in earlier {
        let host = &declared.external_host.host;
        let domain = declared.cookie_domain.as_ref();
        let (key, value) = if *other.id == *declared.slug {
            ("slug", declared.slug.clone())
        } else if other.external_host.host == *host {
            ("external_host", host.to_string())
        } else if let Some(domain) = domain.filter(|domain| other.cookie_domain.as_ref() == Some(*domain)) {
            ("cookie_domain", domain.to_string())
        } else {
            continue;
        };
        return Err(Problem::Taken {
            application: declared.slug.clone(),
            key,
            value,
            other: other.id.to_string(),
            other_origin: origins.get(&other.id).cloned().unwrap_or_default(),
        });
    }
    Ok(())
}

/// The application as it was before, where nothing that is declared now speaks against it.
fn kept(
    previous: &Catalog,
    earlier: &[Arc<Application>],
    origins: &Origins,
    providers: &BTreeMap<String, Arc<Provider>>,
    slug: &str,
) -> Option<Arc<Application>> {
    let before = previous.application(slug)?;
    let has_provider = providers.get(before.provider.name()).is_some_and(|it| Arc::ptr_eq(it, &before.provider));
    (has_provider && not_taken(earlier, origins, &before.declared).is_ok()).then(|| Arc::clone(before))
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
