//! What a rule is.

use std::time::Duration;

use http::Method;
use ipnet::IpNet;

use super::{Email, Expression, HostPattern, PathPattern};
use crate::identity::ClaimPath;

/// What to do with the requests that it is for; all conditions that are given must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Any of these; empty: every host.
    pub hosts: Vec<HostPattern>,
    /// Any of these; empty: every path.
    pub paths: Vec<PathPattern>,
    /// Any of these; empty: every method.
    pub methods: Vec<Method>,
    /// Any of these has the client; empty: wherever it is.
    pub networks: Vec<IpNet>,
    /// What the other keys cannot say.
    pub when: Option<Expression>,
    /// What is done.
    pub action: Action,
}

impl Rule {
    /// Whether it lets everybody in, whatever is asked for.
    #[must_use]
    pub fn opens_everything(&self) -> bool {
        let Self { hosts, paths, methods, networks, when, action } = self;
        let lists = [hosts.is_empty(), paths.is_empty(), methods.is_empty(), networks.is_empty()];
        matches!(action, Action::Public) && lists == [true; 4] && when.is_none()
    }
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Lets everybody in, signed in or not.
    Public,
    /// Lets nobody in, whoever it is.
    Deny,
    /// Lets those in who are signed in and meet one of these, of which there is one at least.
    Require(Vec<Requirement>),
}

/// What a signed-in user must be; all that is given, and nothing at all where nothing is.
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
    /// Each claim is, or holds, one of its texts.
    pub claims: Vec<(ClaimPath, Vec<String>)>,
    /// All of these, in the claim `scope` or `scp`.
    pub scopes: Vec<String>,
    /// One of these in the claim `acr`.
    pub acr: Vec<String>,
    /// So long ago at most the provider saw the user itself, by the claim `auth_time`.
    pub max_auth_age: Option<Duration>,
}
