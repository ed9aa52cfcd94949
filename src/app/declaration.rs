//! What a source of configuration says of an application.

use std::iter;
use std::sync::Arc;

use super::{AcceptedTokens, DeclaredHost, ExternalHost};
use crate::access::{Cors, DeclaredRules, PublicPathRule, Rule};
use crate::host::{CookieDomain, Host};
use crate::identity::{BasicAuth, FurtherHeader, HeaderSwitches};

/// What a proxy protects.
#[derive(Clone, Debug, PartialEq)]
pub struct DeclaredApplication {
    /// The name that pages and logs show.
    pub name: String,
    /// The short name, sent as `X-authentik-meta-app`; unique.
    pub slug: String,
    /// Where browsers reach the application, or the host that logins of a whole domain come back to.
    pub external_host: ExternalHost,
    /// Set: every host under this domain is this application, with one login for all.
    pub cookie_domain: Option<CookieDomain>,
    /// The name of its `identity_provider` table.
    pub identity_provider: String,
    /// What needs no login.
    pub public_paths: Vec<PublicPathRule>,
    /// Who gets in: the first that matches decides, after `public_paths` and before `required_groups`.
    pub rules: Vec<Rule>,
    /// Groups of which one is required where no rule decides; empty: any authenticated user.
    pub required_groups: Vec<String>,
    /// Whether rules for e-mail addresses count one that the provider did not verify.
    pub danger_unverified_email: bool,
    /// Whether people who may not enter are told which groups are needed.
    pub show_required: bool,
    /// Which headers are sent.
    pub headers: HeaderSwitches,
    /// Headers besides the contract's.
    pub further_headers: Vec<FurtherHeader>,
    /// For applications that know nothing but Basic authentication.
    pub basic_auth: Option<BasicAuth>,
    /// Pages of other origins that may call this application.
    pub cors: Cors,
    /// Where the provider sends the browser after its logout; `None`: our signed-out page.
    pub post_logout_redirect_uri: Option<String>,
    /// What programs may show in place of a session; `None`: nothing, and their `Authorization` is not looked at.
    pub tokens: Option<AcceptedTokens>,
    /// Hosts under the cookie domain that are applications of their own.
    pub hosts: Vec<Arc<DeclaredHost>>,
}

impl DeclaredApplication {
    /// Its external host, its cookie domain and its further hosts.
    pub(crate) fn all_names(&self) -> impl Iterator<Item = &Host<'static>> {
        let domain = self.cookie_domain.as_ref().map(CookieDomain::as_host);
        iter::once(&self.external_host.host).chain(domain).chain(self.hosts.iter().map(|it| &it.host))
    }

    pub(super) fn declared_rules(&self) -> DeclaredRules<'_> {
        DeclaredRules { public_paths: &self.public_paths, rules: &self.rules, required_groups: &self.required_groups }
    }
}
