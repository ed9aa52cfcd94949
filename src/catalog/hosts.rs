//! From a host to its application.

use std::sync::Arc;

use crate::app::Application;
use crate::host::Host;

/// From a host to its application.
#[derive(Default)]
pub(super) struct Hosts {
    /// In the order of their external hosts: a search among a few beats a hash that strangers cannot break.
    by_host: Vec<Arc<Application>>,
    /// Longest cookie domain first, so that the most specific one is found first.
    by_domain: Vec<Arc<Application>>,
    any_host: Option<Arc<Application>>,
}

impl Hosts {
    /// Indexes `applications`; with `any_host` the only one answers for every host.
    pub(super) fn new(applications: Vec<Arc<Application>>, any_host: bool) -> Self {
        let any_host = match applications.as_slice() {
            [only] if any_host => Some(Arc::clone(only)),
            _ => None,
        };
        let mut by_host = applications.clone();
        by_host.sort_by(|one, other| one.external_host.host.cmp(&other.external_host.host));
        let mut by_domain: Vec<_> = applications.into_iter().filter(|app| app.cookie_domain.is_some()).collect();
        by_domain.sort_by_key(|app| std::cmp::Reverse(app.cookie_domain.as_ref().map_or(0, |it| it.as_str().len())));
        Self { by_host, by_domain, any_host }
    }

    /// The application of `host`: its own external host, else the longest cookie domain that contains it.
    pub(super) fn find(&self, host: &Host<'_>) -> Option<&Arc<Application>> {
        self.by_exact_host(host).or_else(|| self.by_domain.iter().find(|app| app.owns(host))).or(self.any_host.as_ref())
    }

    /// Whether browsers ask for an application at `host`; at the external host of a cookie domain they need not.
    pub(super) fn serves_browsers(&self, host: &Host<'_>) -> bool {
        match self.by_exact_host(host) {
            Some(app) => app.cookie_domain.is_none(),
            None => self.by_domain.iter().any(|app| app.owns(host)),
        }
    }

    fn by_exact_host(&self, host: &Host<'_>) -> Option<&Arc<Application>> {
        let found = self.by_host.binary_search_by(|app| app.external_host.host.as_str().cmp(host.as_str()));
        self.by_host.get(found.ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::samples;

    fn hosts(any_host: bool) -> Hosts {
        let apps = [
            samples::single("https://app.example.com"),
            samples::domain("https://auth.example.com", "example.com"),
            samples::domain("https://auth.dev.example.com", "dev.example.com"),
            samples::single("https://grafana.dev.example.com"),
        ];
        Hosts::new(apps.map(Arc::new).into(), any_host)
    }

    #[track_caller]
    fn check(host: &str, expected: Option<&str>) {
        let hosts = hosts(false);
        let found = hosts.find(&Host::parse(host).unwrap());
        assert_eq!(found.map(|app| app.external_host.host.as_str()), expected, "{host}");
    }

    #[test]
    fn the_most_specific_application_answers() {
        check("app.example.com", Some("app.example.com"));
        check("APP.Example.COM.", Some("app.example.com"));
        check("other.example.com", Some("auth.example.com"));
        check("example.com", Some("auth.example.com"));
        check("x.dev.example.com", Some("auth.dev.example.com"));
        check("dev.example.com", Some("auth.dev.example.com"));
        check("grafana.dev.example.com", Some("grafana.dev.example.com"));
        check("x.app.example.com", Some("auth.example.com"));
        check("evilexample.com", None);
        check("example.com.evil.test", None);
        check("localhost", None);
    }

    #[test]
    fn names_of_applications_are_told_from_those_of_forepost() {
        let hosts = hosts(false);
        for (host, expected) in [
            ("app.example.com", true),
            ("grafana.dev.example.com", true),
            ("wiki.example.com", true),
            ("x.dev.example.com", true),
            ("auth.example.com", false),
            ("auth.dev.example.com", false),
            ("forepost", false),
            ("127.0.0.1", false),
            ("forepost.identity.svc.cluster.local", false),
        ] {
            assert_eq!(hosts.serves_browsers(&Host::parse(host).unwrap()), expected, "{host}");
        }
        let only = Hosts::new(vec![Arc::new(samples::single("https://app.example.com"))], true);
        assert!(!only.serves_browsers(&Host::parse("forepost").unwrap()));
    }

    #[test]
    fn the_only_application_answers_for_any_host_when_told_so() {
        let stranger = Host::parse("stranger.test").unwrap();
        let only = || vec![Arc::new(samples::single("https://app.example.com"))];
        assert!(Hosts::new(only(), true).find(&stranger).is_some());
        assert!(Hosts::new(only(), false).find(&stranger).is_none());
        assert!(hosts(true).find(&stranger).is_none());
    }
}
