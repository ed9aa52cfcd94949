//! Rules.

use std::time::Duration;

use http::Method;
use ipnet::IpNet;

use super::{Email, Expression, HostPattern, PathPattern};
use crate::identity::{ClaimPath, WantedClaims};

/// The claims with an e-mail address and its flag.
const EMAIL_AND_ITS_FLAG: [&str; 2] = ["email", "email_verified"];

/// A rule: conditions on a request, which must all hold, and an action.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Any of these; empty: every host.
    pub hosts: Vec<HostPattern>,
    /// Any of these; empty: every path.
    pub paths: Vec<PathPattern>,
    /// Any of these; empty: every method.
    pub methods: Vec<Method>,
    /// The client's address is in any of these; empty: every address.
    pub networks: Vec<IpNet>,
    /// An expression, for conditions that the other keys cannot express.
    pub when: Option<Expression>,
    /// The action.
    pub action: Action,
}

impl Rule {
    /// Whether it looks at the client's address, which trusted proxies name.
    #[must_use]
    pub(crate) fn looks_at_client(&self) -> bool {
        !self.networks.is_empty() || self.when.as_ref().is_some_and(Expression::looks_at_client)
    }

    /// Adds the claims that the rule looks at.
    pub(crate) fn add_wanted_claims(&self, wanted: &mut WantedClaims) {
        if let Action::Require(requirements) = &self.action {
            for requirement in requirements {
                requirement.add_wanted_claims(wanted);
            }
        }
        if self.when.as_ref().is_some_and(Expression::looks_at_email) {
            for name in EMAIL_AND_ITS_FLAG {
                wanted.add(&ClaimPath::new(name));
            }
        }
        if self.when.as_ref().is_some_and(Expression::looks_at_claims) {
            wanted.add_all();
        }
    }

    /// Whether the rule opens every path.
    #[must_use]
    pub(crate) fn opens_everything(&self) -> bool {
        let Self { hosts, paths, methods, networks, when, action } = self;
        let lists = [hosts.is_empty(), paths.is_empty(), methods.is_empty(), networks.is_empty()];
        matches!(action, Action::Public) && lists == [true; 4] && when.is_none()
    }
}

/// The action of a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Lets the request in without a login.
    Public,
    /// Denies the request for every user.
    Deny,
    /// Lets users in who meet one of these requirements, of which there is at least one.
    Require(Vec<Requirement>),
}

/// Requirements on a user. All that are given must be met; the default has none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Requirement {
    /// In one of these groups.
    pub groups_any: Vec<String>,
    /// In each of these groups.
    pub groups_all: Vec<String>,
    /// One of these user names, as applications see them.
    pub users: Vec<String>,
    /// One of these e-mail addresses.
    pub emails: Vec<Email>,
    /// An e-mail address in one of these domains.
    pub email_domains: Vec<HostPattern>,
    /// Each of these claims is, or contains, one of its texts.
    pub claims: Vec<(ClaimPath, Vec<String>)>,
    /// All of these, in the claim `scope` or `scp`.
    pub scopes: Vec<String>,
    /// One of these in the claim `acr`.
    pub acr: Vec<String>,
    /// The largest time since the provider authenticated the user, by the claim `auth_time`.
    pub max_auth_age: Option<Duration>,
}

impl Requirement {
    /// Adds the claims that the requirement looks at.
    fn add_wanted_claims(&self, wanted: &mut WantedClaims) {
        self.claims.iter().for_each(|(path, _)| wanted.add(path));
        let names: [(bool, &[&str]); 4] = [
            (self.looks_at_email(), &EMAIL_AND_ITS_FLAG),
            (!self.scopes.is_empty(), &["scope", "scp"]),
            (!self.acr.is_empty(), &["acr"]),
            (self.max_auth_age.is_some(), &["auth_time"]),
        ];
        let names = names.iter().filter(|(wanted, _)| *wanted).flat_map(|(_, names)| *names);
        names.for_each(|name| wanted.add(&ClaimPath::new(name)));
    }
}
