//! The configuration: layers, a reader for each table, mistakes.
//!
//! [`load()`] layers defaults, file, environment and flags, and reports all mistakes at once.

mod address;
mod application;
mod application_host;
mod docker;
mod header;
#[cfg(any(test, fuzzing))]
pub(crate) mod invariants;
mod item;
mod labels;
mod layers;
mod load;
mod mistakes;
mod provider;
mod public_path;
mod reader;
mod redis;
mod restart;
mod rule;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod tokens;
mod typed;
mod values;

pub(crate) use address::is_loopback;
pub use docker::{Docker, Endpoint};
pub(crate) use header::FurtherNames;
pub(crate) use labels::{LabelContext, LabelledHost, OfLabels};
pub(crate) use labels::{PREFIX as LABEL_PREFIX, declared as declared_by_labels};
pub use layers::Layers;
pub(crate) use load::Attempt;
pub(crate) use load::admin;
pub use load::load;
pub use mistakes::Mistakes;

pub use session::{Session, Store};

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::app::{DeclaredApplication, TokenIssuer};
use crate::catalog;
use crate::oidc::IdentityProvider;
use crate::serve::Server;
use crate::telemetry::Log;

/// The whole configuration, after all layers were read and checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[server]`.
    pub server: Server,
    /// The identity providers, by the names of their tables.
    pub identity_providers: BTreeMap<String, IdentityProvider>,
    /// The applications. Each has hosts of its own and names a provider that exists.
    pub applications: Vec<DeclaredApplication>,
    /// `[docker]`; `None`: off.
    pub docker: Option<Docker>,
    /// `[session]`.
    pub session: Session,
    /// `[log]`.
    pub log: Log,
    /// Where identity providers and applications were declared.
    pub(crate) origins: Origins,
}

/// Where identity providers and applications were declared: files, environment variables or flags.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    /// By the names of the providers.
    providers: BTreeMap<String, Arc<str>>,
    /// By the slugs of the applications.
    applications: BTreeMap<String, Arc<str>>,
}

impl Settings {
    /// The `danger_` options that are on, as paths of keys; they are logged at start.
    #[must_use]
    pub(crate) fn dangers(&self) -> Vec<String> {
        let mut dangers = Vec::new();
        if self.server.danger_any_host {
            dangers.push("server.danger_any_host".to_owned());
        }
        for net in &self.server.trusted_proxies {
            if net.prefix_len() == 0 {
                dangers.push(format!("server.trusted_proxies ({net} is everybody)"));
            }
        }
        for (name, provider) in &self.identity_providers {
            if provider.danger_http_issuer {
                dangers.push(format!("identity_provider.{name}.danger_http_issuer"));
            }
        }
        for application in self.applications.iter().filter(|application| application.danger_unverified_email) {
            dangers.push(format!("application.{}.danger_unverified_email", application.slug));
        }
        for (app, issuer) in self.token_issuers() {
            if issuer.danger_http_issuer {
                dangers.push(format!("application.{}.token_issuer.{}.danger_http_issuer", app.slug, issuer.name));
            }
        }
        dangers
    }

    /// Whether the operator named the proxies that are trusted, which rules for networks need.
    #[must_use]
    pub(crate) fn names_proxies(&self) -> bool {
        self.server.trusted_proxies != server::private_networks()
    }

    /// What can change while forepost runs: identity providers and applications.
    #[must_use]
    pub fn declarations(&self) -> Vec<catalog::Declaration> {
        let providers = self.identity_providers.iter().map(|(name, registration)| catalog::Declaration {
            origin: origin(&self.origins.providers, name),
            declared: catalog::Declared::Provider { name: name.clone(), registration: Box::new(registration.clone()) },
        });
        let applications = self
            .applications
            .iter()
            .map(|app| catalog::Declaration::application(origin(&self.origins.applications, &app.slug), app.clone()));
        providers.chain(applications).collect()
    }

    /// All further token issuers, with their applications.
    pub(crate) fn token_issuers(&self) -> impl Iterator<Item = (&DeclaredApplication, &TokenIssuer)> {
        self.applications.iter().flat_map(|app| {
            let issuers = app.tokens.as_ref().map_or(&[][..], |tokens| &tokens.issuers);
            issuers.iter().map(move |issuer| (app, issuer))
        })
    }
}

fn origin(origins: &BTreeMap<String, Arc<str>>, name: &str) -> Arc<str> {
    origins.get(name).cloned().unwrap_or_else(|| "the configuration".into())
}
