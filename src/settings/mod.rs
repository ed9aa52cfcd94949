//! What the operator decides: typed, validated, complete.
//!
//! [`load()`] layers defaults, file, environment and flags; every mistake is reported at once.

mod address;
mod application;
mod header;
#[cfg(any(test, fuzzing))]
pub(crate) mod invariants;
mod item;
mod load;
mod mistakes;
mod provider;
mod public_path;
mod reader;
mod redis;
mod rule;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod tokens;
mod typed;
mod values;

pub(crate) use address::is_loopback;
pub use header::FurtherNames;
pub use load::{Sources, admin, load};
pub use mistakes::{Mistake, Mistakes};
pub use session::{Session, Store};

use std::collections::BTreeMap;

use crate::app::{AcceptedTokens, Declaration, TokenIssuer};
use crate::oidc::IdentityProvider;
use crate::serve::Server;
use crate::telemetry::Log;

/// Everything that can be set, after all layers were read and checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Listeners, limits and whom to believe.
    pub server: Server,
    /// Identity providers by name.
    pub identity_providers: BTreeMap<String, IdentityProvider>,
    /// What is protected; no two share a host, and each names a provider that exists.
    pub applications: Vec<Declaration>,
    /// Lifetimes, cookies and where sessions are kept.
    pub session: Session,
    /// What is written about requests.
    pub log: Log,
}

impl Settings {
    /// The switches that weaken protection and are on, as key paths, to be logged at start.
    #[must_use]
    pub fn dangers(&self) -> Vec<String> {
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

    /// Whether an application has this identity provider asked about tokens (RFC 7662).
    #[must_use]
    pub fn introspects(&self, identity_provider: &str) -> bool {
        let mut its = self.applications.iter().filter(|app| app.identity_provider == identity_provider);
        its.any(|app| app.tokens.as_ref().is_some_and(AcceptedTokens::needs_introspection))
    }

    /// All further issuers of tokens, with their applications.
    pub fn token_issuers(&self) -> impl Iterator<Item = (&Declaration, &TokenIssuer)> {
        self.applications.iter().flat_map(|app| {
            let issuers = app.tokens.as_ref().map_or(&[][..], |tokens| &tokens.issuers);
            issuers.iter().map(move |issuer| (app, issuer))
        })
    }
}
