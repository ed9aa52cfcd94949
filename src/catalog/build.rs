//! From declarations to a catalogue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::further_hosts::Joined;
use super::hosts::Hosts;
use super::names::Names;
use super::{Catalog, Declaration, Declared};
use crate::app::{Application, DeclaredApplication, DeclaredHost, Shared};
use crate::host::Host;
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
    /// Domains of which only hosts answer that an application has by name, and none because it is under a cookie domain
    /// (`docker.domains`).
    pub named_only: Vec<Host<'static>>,
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
    /// A host is declared for an application that there is not, or whose cookie domain it is not under.
    #[error("host {host}: there is no application {application} with a cookie domain that the host is under")]
    NoDomain {
        /// The host.
        host: String,
        /// What it is declared for.
        application: String,
    },
    /// An earlier application, or one of its hosts, has the same slug, host or cookie domain.
    #[error("application {application}: {key} {value} is that of application {other} too, from {other_origin}")]
    Taken {
        /// The application.
        application: String,
        /// `slug`, `external_host`, `cookie_domain` or `host`.
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
    /// which. No other application answers for the hosts of one that is left out.
    #[must_use]
    pub fn build(&self, previous: &Catalog, declared: &[Declaration]) -> (Catalog, Vec<Conflict>) {
        let Joined { declared, origins: of_hosts, mut conflicts } = Joined::new(declared);
        let mut conflict =
            |origin: &Arc<str>, problem| conflicts.push(Conflict { origin: Arc::clone(origin), problem });
        let mut providers = BTreeMap::new();
        for Declaration { origin, declared } in &*declared {
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
        let mut names = Names::default();
        let mut applications: Vec<Arc<Application>> = Vec::new();
        let mut origins = BTreeMap::new();
        let mut named_only = self.named_only.clone();
        for Declaration { origin, declared } in &*declared {
            if let Declared::Application(declared) = declared {
                let family = names
                    .check(declared)
                    .and_then(|()| self.family(&providers, previous, declared))
                    .inspect(|_| names.add(declared, origin));
                let family = family.unwrap_or_else(|problem| {
                    let is_taken = matches!(problem, Problem::Taken { .. });
                    conflict(origin, problem);
                    let kept = kept(previous, &mut names, origin, &providers, &declared.slug).to_vec();
                    if !is_taken {
                        // Another application must not answer for its hosts, by other rules.
                        let of_kept: Vec<_> = kept.iter().flat_map(|app| app.shared.declared.all_names()).collect();
                        named_only.extend(declared.all_names().filter(|name| !of_kept.contains(name)).cloned());
                    }
                    kept
                });
                let origin = |id: &str| Arc::clone(of_hosts.get(id).unwrap_or(origin));
                origins.extend(family.iter().map(|app| (app.id.clone(), origin(app.id.as_str()))));
                applications.extend(family);
            }
        }
        let providers = providers.into_values().collect();
        let hosts = Hosts::new(&applications, self.any_host, &named_only);
        let catalog = Catalog::new(previous.revision + 1, hosts, applications, providers);
        (Catalog { origins, ..catalog }, conflicts)
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

    /// The application and those of its hosts. What is declared as before is the same.
    fn family(
        &self,
        providers: &BTreeMap<String, Arc<Provider>>,
        previous: &Catalog,
        declared: &DeclaredApplication,
    ) -> Result<Vec<Arc<Application>>, Problem> {
        let provider = providers.get(&declared.identity_provider).ok_or_else(|| Problem::UnknownProvider {
            application: declared.slug.clone(),
            provider: declared.identity_provider.clone(),
        })?;
        let before = previous.family(&declared.slug);
        let known = before.first().map(|app| &app.shared).filter(|it| it.is_of(declared, provider));
        let shared = if let Some(known) = known {
            Arc::clone(known)
        } else {
            let token_issuers = self.token_issuers(before.first(), declared)?;
            Arc::new(Shared::new(declared, Arc::clone(provider), token_issuers))
        };
        let as_before = |slug: &str, host: Option<&DeclaredHost>| {
            let is_same = |it: &&Arc<Application>| Arc::ptr_eq(&it.shared, &shared) && it.host.as_deref() == host;
            previous.application(slug).filter(is_same).map(Arc::clone)
        };
        let new = |slug: &str, own_host: &Host<'_>, host| {
            let metrics = self.metrics.application(slug, own_host.as_str());
            Arc::new(Application::new(&shared, host, &self.outpost_name, metrics))
        };
        let slug = declared.slug.as_str();
        let first = as_before(slug, None).unwrap_or_else(|| new(slug, &declared.external_host.host, None));
        let hosts = declared.hosts.iter().map(|host| {
            as_before(&host.slug, Some(&**host)).unwrap_or_else(|| new(&host.slug, &host.host, Some(host)))
        });
        Ok(std::iter::once(first).chain(hosts).collect())
    }

    fn token_issuers(
        &self,
        before: Option<&Arc<Application>>,
        declared: &DeclaredApplication,
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

/// The application and those of its hosts as they were before, where nothing that is declared now speaks against them.
fn kept<'p>(
    previous: &'p Catalog,
    names: &mut Names,
    origin: &Arc<str>,
    providers: &BTreeMap<String, Arc<Provider>>,
    slug: &str,
) -> &'p [Arc<Application>] {
    let family = previous.family(slug);
    let Some(shared) = family.first().map(|app| &app.shared) else { return &[] };
    let hosts = family.iter().filter_map(|app| app.host.clone()).collect();
    let declared = DeclaredApplication { hosts, ..shared.declared.clone() };
    let has_provider = providers.get(shared.provider.name()).is_some_and(|it| Arc::ptr_eq(it, &shared.provider));
    if !has_provider || names.check(&declared).is_err() {
        return &[];
    }
    names.add(&declared, origin);
    family
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
