//! From a host to its application.

use std::collections::HashMap;
use std::sync::Arc;

use crate::app::Application;
use crate::host::Host;

/// From a host to its application.
#[derive(Default)]
pub(super) struct Hosts {
    /// By hosts and by cookie domains. Both are the operator's: a client can only ask for one.
    names: HashMap<Box<str>, Named>,
    any_host: Option<Arc<Application>>,
    /// Whether any name is one that hosts need a name of their own under.
    some_need_names: bool,
}

/// What has a name.
#[derive(Default)]
struct Named {
    /// The application whose external host or `application.host` it is.
    host: Option<Arc<Application>>,
    /// The application whose cookie domain it is.
    domain: Option<Arc<Application>>,
    /// Whether it answers, and each host under it, only where an application has that host.
    needs_names: bool,
}

impl Hosts {
    /// Indexes `applications`; with `any_host` the only one answers for every host, but for those that its hosts have.
    ///
    /// The `named_only` and the hosts under them answer where an application has that very host, and not because they are under its
    /// cookie domain.
    pub(super) fn new(applications: &[Arc<Application>], any_host: bool, named_only: &[Host<'_>]) -> Self {
        let mut names: HashMap<Box<str>, Named> = HashMap::with_capacity(applications.len());
        for app in applications {
            names.entry(app.own_host().as_str().into()).or_default().host = Some(Arc::clone(app));
            if let (None, Some(domain)) = (&app.host, &app.cookie_domain) {
                names.entry(domain.as_str().into()).or_default().domain = Some(Arc::clone(app));
            }
        }
        let mut declared = applications.iter().filter(|app| app.host.is_none());
        let any_host = match (declared.next(), declared.next()) {
            (Some(only), None) if any_host => Some(Arc::clone(only)),
            _ => None,
        };
        for domain in named_only {
            names.entry(domain.as_str().into()).or_default().needs_names = true;
        }
        Self { names, any_host, some_need_names: !named_only.is_empty() }
    }

    /// The application of `host`: the one that has it, else the one with the longest cookie domain that contains it.
    pub(super) fn find(&self, host: &Host<'_>) -> Option<&Arc<Application>> {
        let exact = self.names.get(host.as_str());
        if let Some(named) = exact.and_then(|named| named.host.as_ref()) {
            return Some(named);
        }
        if self.some_need_names && self.needs_a_name(host) {
            return None;
        }
        let found = exact.and_then(|named| named.domain.as_ref());
        found.or_else(|| self.by_domain_above(host)).or(self.any_host.as_ref())
    }

    fn needs_a_name(&self, host: &Host<'_>) -> bool {
        let mut names = std::iter::successors(Some(host.as_str()), |name| name.split_once('.').map(|(_, above)| above));
        names.any(|name| self.names.get(name).is_some_and(|named| named.needs_names))
    }

    /// Whether browsers ask for an application at `host`; at the external host of a cookie domain they need not.
    pub(super) fn serves_browsers(&self, host: &Host<'_>) -> bool {
        match self.names.get(host.as_str()) {
            Some(Named { host: Some(app), .. }) => app.host.is_some() || app.cookie_domain.is_none(),
            Some(Named { domain: Some(_), .. }) => true,
            Some(_) | None => self.by_domain_above(host).is_some(),
        }
    }

    /// The application with the longest cookie domain that `host` is under.
    fn by_domain_above(&self, host: &Host<'_>) -> Option<&Arc<Application>> {
        let names = std::iter::successors(Some(host.as_str()), |name| name.split_once('.').map(|(_, above)| above));
        let mut found = names.skip(1).filter_map(|name| self.names.get(name)?.domain.as_ref());
        found.find(|app| app.owns(host))
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
        Hosts::new(&apps.map(Arc::new), any_host, &[])
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
    fn a_host_of_a_domain_answers_for_itself_alone() {
        let (home, wiki) = samples::with_host("https://auth.example.com", "example.com", "wiki.example.com");
        let nested = samples::domain("https://auth.dev.example.com", "dev.example.com");
        for any_host in [false, true] {
            let (home, wiki) = samples::with_host("https://auth.example.com", "example.com", "wiki.example.com");
            let hosts = Hosts::new(&[home, wiki].map(Arc::new), any_host, &[]);
            let found = hosts.find(&Host::parse("stranger.test").unwrap()).map(|app| app.id.to_string());
            assert_eq!(found.as_deref(), any_host.then_some("auth-example-com"), "the host is not an application more");
        }
        let hosts = Hosts::new(&[nested, home, wiki].map(Arc::new), false, &[]);
        for (host, id, serves_browsers) in [
            ("wiki.example.com", "wiki-example-com", true),
            ("WIKI.example.com.", "wiki-example-com", true),
            ("x.wiki.example.com", "auth-example-com", true),
            ("other.example.com", "auth-example-com", true),
            ("example.com", "auth-example-com", true),
            ("auth.example.com", "auth-example-com", false),
            ("wiki.dev.example.com", "auth-dev-example-com", true),
        ] {
            let host = Host::parse(host).unwrap();
            assert_eq!(*hosts.find(&host).unwrap().id, *id, "{host}");
            assert_eq!(hosts.serves_browsers(&host), serves_browsers, "{host}");
        }
    }

    #[test]
    fn under_a_domain_of_labels_a_host_needs_an_application_of_its_own() {
        let (home, wiki) = samples::with_host("https://auth.example.com", "example.com", "wiki.example.com");
        let nested = samples::domain("https://auth.dev.example.com", "dev.example.com");
        let single = samples::single("https://app.example.net");
        let apps = [home, wiki, nested, single].map(Arc::new);
        let check = |domains: &[&str], host: &str, expected: Option<&str>| {
            let domains: Vec<_> = domains.iter().map(|domain| Host::parse(domain).unwrap()).collect();
            let hosts = Hosts::new(&apps, false, &domains);
            let found = hosts.find(&Host::parse(host).unwrap()).map(|app| app.id.as_str());
            assert_eq!(found, expected, "{domains:?} {host}");
        };
        for domains in [&["example.com", "example.net"][..], &["com", "net"]] {
            for host in ["auth.example.com", "wiki.example.com", "auth.dev.example.com", "app.example.net"] {
                check(domains, host, Some(&host.replace('.', "-")));
            }
            for host in ["tv.example.com", "example.com", "x.wiki.example.com", "tv.dev.example.com", "dev.example.com"]
            {
                check(domains, host, None);
            }
        }
        check(&["apps.example.com"], "tv.apps.example.com", None);
        check(&["apps.example.com"], "apps.example.com", None);
        check(&["apps.example.com"], "evilapps.example.com", Some("auth-example-com"));
        check(&["apps.example.com"], "tv.example.com", Some("auth-example-com"));
        check(&["dev.example.com"], "tv.dev.example.com", None);
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
        let only = Hosts::new(&[Arc::new(samples::single("https://app.example.com"))], true, &[]);
        assert!(!only.serves_browsers(&Host::parse("forepost").unwrap()));
    }

    #[test]
    fn the_only_application_answers_for_any_host_when_told_so() {
        let stranger = Host::parse("stranger.test").unwrap();
        let only = [Arc::new(samples::single("https://app.example.com"))];
        assert!(Hosts::new(&only, true, &[]).find(&stranger).is_some());
        assert!(Hosts::new(&only, false, &[]).find(&stranger).is_none());
        assert!(hosts(true).find(&stranger).is_none());
    }
}
