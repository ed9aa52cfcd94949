use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Requirements on a login: forepost asks the provider for them, and checks the ID token for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assurance {
    /// The accepted values of `acr` (OIDC Core §2), the preferred one first; empty: any.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) acr: Vec<String>,
    /// The largest time since the provider authenticated the user, in whole seconds (`max_age`, OIDC Core §3.1.2.1).
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_age: Option<u64>,
}

impl Assurance {
    /// Whether there is no requirement.
    #[must_use]
    pub(crate) const fn is_none(&self) -> bool {
        self.acr.is_empty() && self.max_age.is_none()
    }

    /// Whether a login with these requirements had all requirements of `other`.
    #[must_use]
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let acr = other.acr.is_empty() || (!self.acr.is_empty() && self.acr.iter().all(|it| other.acr.contains(it)));
        let age = other.max_age.is_none_or(|other| self.max_age.is_some_and(|own| own <= other));
        acr && age
    }

    /// The requirements of both.
    #[must_use]
    pub(crate) fn with(mut self, other: Self) -> Self {
        if !other.acr.is_empty() {
            let common: Vec<_> = self.acr.iter().filter(|it| other.acr.contains(it)).cloned().collect();
            self.acr = if common.is_empty() { other.acr } else { common };
        }
        self.max_age = [self.max_age, other.max_age].into_iter().flatten().min();
        self
    }

    /// The requirements of a rule on the login.
    pub(crate) fn new(acr: &[String], max_age: Option<Duration>) -> Self {
        Self { acr: acr.to_vec(), max_age: max_age.map(|age| age.as_secs()) }
    }
}
