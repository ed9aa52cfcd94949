//! Rules.

use std::time::Duration;

use http::Method;
use ipnet::IpNet;

use super::{Email, Expression, HostPattern, PathPattern};
use crate::identity::ClaimPath;

/// A rule: conditions on a request, which must all hold, and an action.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Any of these; empty: every host.
    pub(crate) hosts: Vec<HostPattern>,
    /// Any of these; empty: every path.
    pub(crate) paths: Vec<PathPattern>,
    /// Any of these; empty: every method.
    pub(crate) methods: Vec<Method>,
    /// The client's address is in any of these; empty: every address.
    pub(crate) networks: Vec<IpNet>,
    /// An expression, for conditions that the other keys cannot express.
    pub(crate) when: Option<Expression>,
    /// The action.
    pub(crate) action: Action,
}

impl Rule {
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
    pub(crate) groups_any: Vec<String>,
    /// In each of these groups.
    pub(crate) groups_all: Vec<String>,
    /// One of these user names, as applications see them.
    pub(crate) users: Vec<String>,
    /// One of these e-mail addresses.
    pub(crate) emails: Vec<Email>,
    /// An e-mail address in one of these domains.
    pub(crate) email_domains: Vec<HostPattern>,
    /// Each of these claims is, or contains, one of its texts.
    pub(crate) claims: Vec<(ClaimPath, Vec<String>)>,
    /// All of these, in the claim `scope` or `scp`.
    pub(crate) scopes: Vec<String>,
    /// One of these in the claim `acr`.
    pub(crate) acr: Vec<String>,
    /// The largest time since the provider authenticated the user, by the claim `auth_time`.
    pub(crate) max_auth_age: Option<Duration>,
}
