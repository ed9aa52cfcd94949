//! What a source of configuration says of one host of a cookie domain.

use super::DeclaredApplication;
use crate::access::{DeclaredRules, PublicPathRule, Rule};
use crate::host::Host;
use crate::identity::{FurtherHeader, HeaderSwitches};

/// One host of an application with a cookie domain: an application of its own, with the login of the domain.
#[derive(Clone, Debug, PartialEq)]
pub struct DeclaredHost {
    /// The host, which lies under the cookie domain.
    pub host: Host<'static>,
    /// The name that pages and logs show.
    pub name: String,
    /// The short name, sent as `X-authentik-meta-app`; unique among all applications and hosts.
    pub slug: String,
    /// What needs no login, before all rules of the application.
    pub public_paths: Vec<PublicPathRule>,
    /// Who gets in: the first that matches decides, after `public_paths` and before all rules of the application.
    pub rules: Vec<Rule>,
    /// Groups of which one is required where no rule decides, beside one of the application's.
    pub required_groups: Vec<String>,
    /// Whether `X-authentik-jwt` has the ID token; `None`: as the application says.
    pub jwt: Option<bool>,
    /// Headers besides the application's, or in the place of those with the same name.
    pub further_headers: Vec<FurtherHeader>,
}

impl DeclaredHost {
    pub(super) fn declared_rules(&self) -> DeclaredRules<'_> {
        DeclaredRules { public_paths: &self.public_paths, rules: &self.rules, required_groups: &self.required_groups }
    }

    /// The application's switches, or the host's own.
    pub(super) fn switches(&self, application: &DeclaredApplication) -> HeaderSwitches {
        HeaderSwitches { jwt: self.jwt.unwrap_or(application.headers.jwt), ..application.headers.clone() }
    }

    /// The application's headers, but for names that the host has too, and the host's own.
    pub(super) fn further_headers(&self, application: &DeclaredApplication) -> Vec<FurtherHeader> {
        let is_own = |header: &&FurtherHeader| self.further_headers.iter().any(|own| own.name == header.name);
        let others = application.further_headers.iter().filter(|header| !is_own(header));
        others.chain(&self.further_headers).cloned().collect()
    }
}
