//! The catalogue: which applications and identity providers there are, replaced as a whole.
//!
//! A request takes one snapshot and keeps it to its end. A catalogue is built from declarations and the one before it;
//! what did not change is the same in both.

mod build;
mod declaration;
mod further_hosts;
mod hosts;
mod names;
mod publication;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

pub use build::{Builder, Conflict, Problem};
pub use declaration::{Declaration, Declared};
pub use publication::{Difference, Publication, ReloadRequest, SourceState};

use crate::app::Application;
use crate::application_id::ApplicationId;
use crate::host::Host;
use crate::oidc::Provider;
use hosts::Hosts;

/// Applications and identity providers that belong together.
#[derive(Default)]
pub struct Catalog {
    revision: u64,
    hosts: Hosts,
    /// In the order of their declarations; those of hosts follow the one whose sessions they share.
    applications: Vec<Arc<Application>>,
    /// Where each is among them.
    places: BTreeMap<ApplicationId, usize>,
    providers: Vec<Arc<Provider>>,
    /// Beside the applications and not in them: one that moves to another file is the same.
    origins: BTreeMap<ApplicationId, Arc<str>>,
}

impl Catalog {
    /// `providers` are in the order of their names.
    fn new(revision: u64, hosts: Hosts, applications: Vec<Arc<Application>>, providers: Vec<Arc<Provider>>) -> Self {
        let places = applications.iter().enumerate().map(|(place, app)| (app.id.clone(), place)).collect();
        Self { revision, hosts, applications, places, providers, origins: BTreeMap::new() }
    }

    /// How many catalogues were built before this one.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The application of `host`: the one that has it as external host or as `application.host`, else the one with the longest cookie
    /// domain that contains it.
    #[must_use]
    pub fn find(&self, host: &Host<'_>) -> Option<&Arc<Application>> {
        self.hosts.find(host)
    }

    /// Whether browsers ask for an application at `host`.
    ///
    /// At the external host of a cookie domain they need find nothing but forepost's own pages, and proxies may know it by
    /// that name.
    #[must_use]
    pub fn serves_browsers(&self, host: &Host<'_>) -> bool {
        self.hosts.serves_browsers(host)
    }

    /// All applications, in the order of their declarations, each followed by those of its hosts.
    #[must_use]
    pub fn applications(&self) -> &[Arc<Application>] {
        &self.applications
    }

    /// The application with this slug.
    #[must_use]
    pub fn application(&self, id: &str) -> Option<&Arc<Application>> {
        self.applications.get(*self.places.get(id)?)
    }

    /// The application with this slug, and those of its hosts; none for the slug of a host.
    fn family(&self, id: &str) -> &[Arc<Application>] {
        let from = self.places.get(id).map_or(&[][..], |place| &self.applications[*place..]);
        let others = from.iter().position(|app| *app.realm.application != *id).unwrap_or(from.len());
        &from[..others]
    }

    /// Where this application was declared.
    #[must_use]
    pub fn origin(&self, id: &ApplicationId) -> Option<&Arc<str>> {
        self.origins.get(id)
    }

    /// All identity providers, in the order of their names.
    #[must_use]
    pub fn providers(&self) -> &[Arc<Provider>] {
        &self.providers
    }

    /// The identity provider with this name.
    #[must_use]
    pub fn provider(&self, name: &str) -> Option<&Arc<Provider>> {
        let found = self.providers.binary_search_by(|provider| provider.name().cmp(name));
        self.providers.get(found.ok()?)
    }

    /// The identity provider with this issuer; of several, the last one in the order of names.
    #[must_use]
    pub fn provider_of_issuer(&self, issuer: &str) -> Option<&Arc<Provider>> {
        self.providers.iter().rfind(|provider| provider.settings().issuer == issuer)
    }

    /// The further issuers of tokens of all applications.
    pub fn token_issuers(&self) -> impl Iterator<Item = &Arc<Provider>> {
        // Those of hosts are the same.
        self.applications.iter().filter(|app| app.host.is_none()).flat_map(|app| &app.token_issuers)
    }

    /// Whether an application has this provider asked about tokens (RFC 7662).
    #[must_use]
    pub fn introspects(&self, provider: &Arc<Provider>) -> bool {
        let mut its = self.applications.iter().filter(|app| Arc::ptr_eq(&app.provider, provider));
        its.any(|app| app.tokens.as_ref().is_some_and(|tokens| tokens.needs_introspection()))
    }
}

/// The catalogue that counts now.
#[derive(Default)]
pub struct CurrentCatalog {
    catalog: ArcSwap<Catalog>,
    publication: ArcSwap<Publication>,
}

impl CurrentCatalog {
    /// Publishes the first catalogue.
    #[must_use]
    pub fn new(catalog: Catalog) -> Self {
        Self { catalog: ArcSwap::from_pointee(catalog), publication: ArcSwap::default() }
    }

    /// The catalogue that counts now, for a request from its beginning to its end.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Catalog>> {
        self.catalog.load()
    }

    /// The same, for what lives longer than a request.
    #[must_use]
    pub fn load_full(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// Replaces the catalogue, and returns the one before it.
    pub fn publish(&self, catalog: Arc<Catalog>) -> Arc<Catalog> {
        self.catalog.swap(catalog)
    }

    /// What operators are told of the last reading of a source.
    #[must_use]
    pub fn publication(&self) -> Arc<Publication> {
        self.publication.load_full()
    }

    /// Replaces what operators are told.
    pub fn set_publication(&self, publication: Publication) {
        self.publication.store(Arc::new(publication));
    }
}
