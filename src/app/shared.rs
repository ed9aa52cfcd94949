//! What an application has in common with the applications of its hosts.

use std::sync::Arc;

use super::{DeclaredApplication, DeclaredHost};
use crate::access::{Policy, Rule};
use crate::identity::{ClaimNames, FurtherHeaders, WantedClaims};
use crate::oidc::Provider;

/// What an application and those of its hosts share, because they share its sessions.
pub struct Shared {
    /// The declaration of the application, without its hosts.
    pub(crate) declared: DeclaredApplication,
    /// Its identity provider.
    pub(crate) provider: Arc<Provider>,
    /// Further issuers of tokens, in the order of [`AcceptedTokens::issuers`](super::AcceptedTokens::issuers).
    pub(crate) token_issuers: Vec<Arc<Provider>>,
    /// The claims that any of them looks at: a session must be good for all.
    pub(crate) wanted_claims: Arc<WantedClaims>,
    /// Whether any of them gets the ID token, so that a session has to say until when.
    pub(crate) sends_id_token: bool,
    /// The policy without that of a host.
    pub(super) policy: Policy,
}

impl Shared {
    /// Derives it from what is declared.
    ///
    /// `provider` is the one that the declaration names, and `token_issuers` are its further issuers, in the same order.
    #[must_use]
    pub fn new(declared: &DeclaredApplication, provider: Arc<Provider>, token_issuers: Vec<Arc<Provider>>) -> Self {
        let policy = Policy::new(
            declared.declared_rules(),
            declared.danger_unverified_email,
            &declared.external_host.base_path,
            declared.cors.clone(),
            declared.show_required,
        );
        Self {
            policy,
            wanted_claims: Arc::new(declared.wanted_claims(&provider)),
            sends_id_token: declared.sends_id_token(),
            declared: declared.without_hosts(),
            provider,
            token_issuers,
        }
    }

    /// Whether the same would be derived from `declared` and `provider`, so that this can be used again.
    #[must_use]
    pub fn is_of(&self, declared: &DeclaredApplication, provider: &Arc<Provider>) -> bool {
        Arc::ptr_eq(&self.provider, provider)
            && self.declared == declared.without_hosts()
            && self.sends_id_token == declared.sends_id_token()
            && self.wanted_claims.is_same(&declared.wanted_claims(provider))
    }
}

impl DeclaredApplication {
    /// Whether sessions of the application are good for another host as they are: it looks at no claim, and gets no ID token, that the
    /// application and its hosts do not. `names` are those of the identity provider.
    #[must_use]
    pub(crate) fn suits(&self, host: &DeclaredHost, names: &ClaimNames) -> bool {
        let mut wanted = WantedClaims::of(names);
        host.rules.iter().for_each(|rule| rule.add_wanted_claims(&mut wanted));
        FurtherHeaders::new(host.further_headers.clone(), None).add_wanted_claims(&mut wanted);
        let sends_id_token = host.jwt == Some(true) && !self.sends_id_token();
        self.wanted_of(names).covers(&wanted) && !sends_id_token
    }

    /// The claims that the application or one of its hosts looks at.
    fn wanted_claims(&self, provider: &Provider) -> WantedClaims {
        self.wanted_of(&provider.settings().claims)
    }

    fn wanted_of(&self, names: &ClaimNames) -> WantedClaims {
        let mut wanted = WantedClaims::of(names);
        self.all_rules().for_each(|rule| rule.add_wanted_claims(&mut wanted));
        let further = FurtherHeaders::new(self.further_headers.clone(), self.basic_auth.clone());
        further.add_wanted_claims(&mut wanted);
        for host in &self.hosts {
            FurtherHeaders::new(host.further_headers.clone(), None).add_wanted_claims(&mut wanted);
        }
        wanted
    }

    /// The rules of the application and of its hosts.
    fn all_rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().chain(self.hosts.iter().flat_map(|host| &host.rules))
    }

    /// Whether a rule looks at the client's address, which trusted proxies name.
    #[must_use]
    pub(crate) fn looks_at_client(&self) -> bool {
        self.all_rules().any(Rule::looks_at_client)
    }

    fn sends_id_token(&self) -> bool {
        self.headers.jwt || self.hosts.iter().any(|host| host.jwt == Some(true))
    }

    fn without_hosts(&self) -> Self {
        Self { hosts: Vec::new(), ..self.clone() }
    }
}
