//! From the labels of a container to applications.

use std::collections::BTreeMap;

use super::engine::Container;
use super::traefik;
use crate::app::DeclaredApplication;
use crate::host::Host;
use crate::settings::{LABEL_PREFIX, LabelContext, LabelledHost, OfLabels, declared_by_labels};

/// Routers in the labels of one container, and hosts of it.
const MOST_HOSTS: usize = 50;
/// Bytes of a name of a container that are shown.
const LONGEST_NAME: usize = 64;

const ROUTERS: &str = "traefik.http.routers.";

/// What labels declare, and the label that names its host.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Labelled {
    pub(super) label: String,
    pub(super) declared: OfLabels,
}

/// The name of a container, without the slash that engines write before it.
pub(super) fn name(container: &Container) -> String {
    let names = container.names.iter().flatten().map(|name| name.trim_start_matches('/'));
    // A name with a slash is that of a link.
    let name = names.filter(|name| !name.is_empty()).min_by_key(|name| name.contains('/'));
    let name = name.or(container.id.get(..12)).unwrap_or(&container.id);
    name.chars().take(LONGEST_NAME).flat_map(char::escape_debug).collect()
}

/// Whether labels of the container are forepost's, and are not switched off.
pub(super) fn concern(container: &Container) -> bool {
    let enable = labels(container).find(|(name, _)| *name == "enable");
    labels(container).next().is_some() && enable.is_none_or(|(_, value)| switch(value) != Some(false))
}

fn labels(container: &Container) -> impl Iterator<Item = (&str, &str)> {
    let labels = container.labels.iter().flatten();
    labels.filter_map(|(name, value)| Some((name.strip_prefix(LABEL_PREFIX)?, value.as_str())))
}

fn switch(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Reads the applications of a container.
///
/// # Errors
///
/// All mistakes, each with its label and a remedy, on one line; then the container has no application.
pub(super) fn read(container: &Container, context: &LabelContext) -> Result<Vec<Labelled>, Vec<String>> {
    if let Some((_, value)) = labels(container).find(|(name, _)| *name == "enable")
        && switch(value).is_none()
    {
        return Err(vec![format!("label {LABEL_PREFIX}enable: is not true or false; write true")]);
    }
    let hosts = hosts(container)?;
    let own: BTreeMap<String, String> =
        labels(container).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let declared = declared_by_labels(&own, &hosts, context)?;
    let labelled = hosts.into_iter().zip(declared);
    Ok(labelled.map(|(host, declared)| Labelled { label: host.label, declared }).collect())
}

/// The hosts that `forepost.host` names, else those of the rules of Traefik's routers; never none.
fn hosts(container: &Container) -> Result<Vec<LabelledHost>, Vec<String>> {
    let own: Vec<_> = labels(container).filter(|(name, _)| ["host", "external_host"].contains(name)).collect();
    let remedy = format!("write {LABEL_PREFIX}host");
    let found = match own.as_slice() {
        [] => routed(container)?,
        [(name, value)] => {
            let label = format!("{LABEL_PREFIX}{name}");
            let hosts = value.split(',').map(str::trim).filter(|host| !host.is_empty());
            let hosts: Vec<_> =
                hosts.map(|host| LabelledHost { label: label.clone(), host: host.to_owned() }).collect();
            if hosts.is_empty() {
                return Err(vec![format!("label {label}: is empty; write a host, or remove the label")]);
            }
            hosts
        }
        _ => return Err(vec![format!("label {LABEL_PREFIX}external_host: says the same as label {LABEL_PREFIX}host")]),
    };
    match found.len() {
        0 => Err(vec![format!("label {LABEL_PREFIX}host: is missing, and no rule of a router names a host; {remedy}")]),
        1..=MOST_HOSTS => Ok(found),
        _ => Err(vec![format!("labels name more than {MOST_HOSTS} hosts; {remedy}")]),
    }
}

/// The hosts of all rules of Traefik's routers.
fn routed(container: &Container) -> Result<Vec<LabelledHost>, Vec<String>> {
    let rules = container.labels.iter().flatten().filter(|(label, _)| is_rule(label));
    let (mut found, mut mistakes): (Vec<LabelledHost>, Vec<String>) = (Vec::new(), Vec::new());
    for (label, rule) in rules.take(MOST_HOSTS + 1) {
        let label: String = label.chars().take(LONGEST_NAME + ROUTERS.len()).flat_map(char::escape_debug).collect();
        match traefik::hosts(rule) {
            Ok(hosts) => {
                for host in hosts.iter().map(ToString::to_string) {
                    if !found.iter().any(|it| it.host == host) {
                        found.push(LabelledHost { label: label.clone(), host });
                    }
                }
            }
            Err(error) => {
                let rule: String = rule.chars().take(80).collect();
                mistakes.push(format!("label {label}: {rule:?} {error}; write {LABEL_PREFIX}host"));
            }
        }
    }
    if mistakes.is_empty() { Ok(found) } else { Err(mistakes) }
}

/// Whether a label has the rule of a router: Traefik compares names of labels without regard to case.
fn is_rule(label: &str) -> bool {
    let lower = label.to_ascii_lowercase();
    let router = lower.strip_prefix(ROUTERS).and_then(|rest| rest.strip_suffix(".rule"));
    router.is_some_and(|router| !router.is_empty() && !router.contains('.'))
}

/// What is wrong with an application at a host that its label may not name: none of `domains`, or one that an application of
/// the `file` has.
pub(super) fn trespass(labelled: &Labelled, domains: &[Host<'static>], file: &[DeclaredApplication]) -> Option<String> {
    let Labelled { label, declared } = labelled;
    let host = declared.host();
    let allowed = |host: &str| domains.iter().any(|domain| covers(domain.as_str(), host));
    let list = || domains.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if host.is_address() || !allowed(host.as_str()) {
        return Some(format!("label {label}: {host} is outside docker.domains ({}); add its domain there", list()));
    }
    if let Some(domain) = declared.cookie_domain().filter(|domain| !allowed(domain.as_str())) {
        let problem = format!("{domain} is outside docker.domains ({})", list());
        return Some(format!("label {LABEL_PREFIX}cookie_domain: {problem}; add its domain there"));
    }
    file.iter().find_map(|owner| {
        let slug = &owner.slug;
        if owner.external_host.host == *host || names(owner, host) {
            return Some(format!(
                "label {label}: {host} belongs to the application {slug} of the file; remove the label"
            ));
        }
        if declared.slug() == slug || owner.hosts.iter().any(|host| host.slug == declared.slug()) {
            let problem = format!("{} is an application of the file", declared.slug());
            return Some(format!("label {LABEL_PREFIX}slug: {problem}; choose another slug"));
        }
        let domain = declared.cookie_domain()?;
        let theirs = owner.cookie_domain.as_ref();
        let either = |theirs: &str| covers(theirs, domain.as_str()) || covers(domain.as_str(), theirs);
        let overlap = domain.contains(&owner.external_host.host) || theirs.is_some_and(|it| either(it.as_str()));
        overlap.then(|| {
            let problem = format!("{domain} has hosts of the application {slug} of the file");
            format!("label {LABEL_PREFIX}cookie_domain: {problem}; remove the label")
        })
    })
}

/// Whether `host` is `domain` or below it, by whole label.
fn covers(domain: &str, host: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|below| below.is_empty() || below.ends_with('.'))
}

/// Whether the application has `host` as one of its own, or rules that name it.
fn names(application: &DeclaredApplication, host: &Host<'_>) -> bool {
    let in_rules = application.rules.iter().flat_map(|rule| &rule.hosts).any(|pattern| pattern.matches(host));
    let own = application.hosts.iter().any(|own| own.host == *host);
    own || in_rules || application.public_paths.iter().any(|rule| rule.host.as_ref() == Some(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::samples::declaration;

    fn container(labels: &[(&str, &str)]) -> Container {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Container { id: "0123456789abcdef".to_owned(), labels: Some(labels), ..Container::default() }
    }

    fn context() -> LabelContext {
        LabelContext { providers: vec!["default".to_owned()], names_proxies: false, ..LabelContext::default() }
    }

    fn url(labelled: &Labelled) -> String {
        match &labelled.declared {
            OfLabels::Application(application) => application.external_host.url(),
            OfLabels::Host { host, .. } => host.host.to_string(),
        }
    }

    #[track_caller]
    fn hosts(labels: &[(&str, &str)], expected: &[&str]) {
        let found = read(&container(labels), &context()).unwrap();
        let found: Vec<_> = found.iter().map(url).collect();
        let expected: Vec<_> = expected.iter().map(|host| format!("{host}/")).collect();
        assert_eq!(found, expected, "{labels:?}");
    }

    const ENABLE: (&str, &str) = ("forepost.enable", "true");

    #[test]
    fn hosts_are_those_of_the_label_or_of_all_routers() {
        hosts(&[("forepost.host", "a.test")], &["https://a.test"]);
        hosts(&[("forepost.host", "http://a.test:8080/x")], &["http://a.test:8080/x"]);
        hosts(&[("forepost.host", "a.test, b.test")], &["https://a.test", "https://b.test"]);
        hosts(&[("forepost.external_host", "a.test")], &["https://a.test"]);
        hosts(&[ENABLE, ("traefik.http.routers.a.rule", "Host(`a.test`)")], &["https://a.test"]);
        hosts(&[ENABLE, ("Traefik.HTTP.Routers.a.Rule", "Host(`a.test`)")], &["https://a.test"]);
        let two = ("traefik.http.routers.b.rule", "Host(`b.test`) || Host(`a.test`)");
        hosts(&[ENABLE, ("traefik.http.routers.a.rule", "Host(`a.test`)"), two], &["https://a.test", "https://b.test"]);
        // The label counts in the place of the rules.
        hosts(&[("forepost.host", "a.test"), ("traefik.http.routers.a.rule", "HostRegexp(`.*`)")], &["https://a.test"]);
        hosts(
            &[ENABLE, ("traefik.http.routers.a.rule", "Host(`a.test`)"), ("traefik.http.services.a.rule", "x")],
            &["https://a.test"],
        );
    }

    #[track_caller]
    fn wrong(labels: &[(&str, &str)], expected: &[&str]) {
        assert_eq!(read(&container(labels), &context()).unwrap_err(), expected, "{labels:?}");
    }

    #[test]
    fn what_names_no_host_plainly_is_a_mistake() {
        let missing = "label forepost.host: is missing, and no rule of a router names a host; write forepost.host";
        wrong(&[ENABLE], &[missing]);
        wrong(&[ENABLE, ("traefik.tcp.routers.a.rule", "HostSNI(`a.test`)")], &[missing]);
        wrong(
            &[
                ENABLE,
                ("traefik.http.routers.a.rule", "HostRegexp(`a`)"),
                ("traefik.http.routers.b.rule", "Host(`b.test`)"),
            ],
            &[
                "label traefik.http.routers.a.rule: \"HostRegexp(`a`)\" names hosts by a regular expression; write forepost.host",
            ],
        );
        wrong(
            &[ENABLE, ("traefik.http.routers.a\n.rule", "x")],
            &["label traefik.http.routers.a\\n.rule: \"x\" is not a rule that forepost can read; write forepost.host"],
        );
        wrong(&[("forepost.host", " , ")], &["label forepost.host: is empty; write a host, or remove the label"]);
        wrong(
            &[("forepost.host", "a.test"), ("forepost.external_host", "b.test")],
            &["label forepost.external_host: says the same as label forepost.host"],
        );
        wrong(
            &[("forepost.host", "*.test")],
            &[
                "label forepost.host: \"*.test\" is a pattern; give one host, and cookie_domain for all hosts of a domain",
            ],
        );
        wrong(&[("forepost.enable", "maybe")], &["label forepost.enable: is not true or false; write true"]);
        let many = vec!["a.test"; 51].join(",");
        wrong(&[("forepost.host", &many)], &["labels name more than 50 hosts; write forepost.host"]);
    }

    #[test]
    fn containers_without_labels_of_ours_are_left_alone() {
        for (labels, expected) in [
            (&[][..], false),
            (&[("traefik.http.routers.a.rule", "Host(`a.test`)"), ("forepost", "x")], false),
            (&[("forepost.groups", "a")], true),
            (&[ENABLE], true),
            (&[("forepost.enable", "false"), ("forepost.groups", "a")], false),
            (&[("forepost.enable", "maybe")], true),
        ] {
            assert_eq!(concern(&container(labels)), expected, "{labels:?}");
        }
    }

    #[track_caller]
    fn named(names: &[&str], expected: &str) {
        let names = Some(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(name(&Container { names, ..container(&[]) }), expected);
    }

    #[test]
    fn names_are_short_and_on_one_line() {
        named(&["/sonarr"], "sonarr");
        named(&["/web/sonarr", "/sonarr"], "sonarr");
        named(&[], "0123456789ab");
        named(&["/"], "0123456789ab");
        named(&["/a\nb"], "a\\nb");
        named(&[&"x".repeat(100)], &"x".repeat(64));
    }

    #[track_caller]
    fn strays(labels: &[(&str, &str)], expected: &[Option<&str>]) {
        let file = [
            declaration("https://app.example.com", None, "default", |_| ()),
            {
                let text = "issuer = \"https://id.test\"\nclient_id = \"a\"\nclient_secret = \"b\"\n[[application]]\n\
                            external_host = \"https://auth.my.lan\"\ncookie_domain = \"my.lan\"\n\
                            [[application.host]]\nhost = \"wiki.my.lan\"\nslug = \"wiki\"\n";
                crate::settings::Settings::from_toml(text).unwrap().applications.remove(0)
            },
            declaration("https://auth.example.net", Some("example.net"), "default", |app| {
                let text = "[[application]]\nexternal_host = \"https://auth.example.net\"\ncookie_domain = \"example.net\"\n\
                            public_paths = [{ path = \"/x\", host = \"open.example.net\" }]\n\
                            [[application.rule]]\nhosts = [\"bank.example.net\", \"*.hr.example.net\"]\ndeny = true\n";
                let quick = "issuer = \"https://id.test\"\nclient_id = \"a\"\nclient_secret = \"b\"\n";
                let read = crate::settings::Settings::from_toml(&format!("{quick}{text}")).unwrap();
                app.rules.clone_from(&read.applications[0].rules);
                app.public_paths.clone_from(&read.applications[0].public_paths);
            }),
        ];
        let domains = ["example.com", "example.net", "lan"].map(|domain| Host::parse(domain).unwrap());
        let found = read(&container(labels), &context()).unwrap();
        let found: Vec<_> = found.iter().map(|labelled| trespass(labelled, &domains, &file)).collect();
        assert_eq!(found.iter().map(Option::as_deref).collect::<Vec<_>>(), expected, "{labels:?}");
    }

    #[test]
    fn labels_stay_in_their_domains() {
        strays(&[("forepost.host", "tv.example.com, example.com, x.lan")], &[None, None, None]);
        let outside = |host: &str| {
            format!(
                "label forepost.host: {host} is outside docker.domains (example.com, example.net, lan); add its domain there"
            )
        };
        for host in ["evilexample.com", "example.com.evil.test", "com", "auth.example.org", "127.0.0.1", "[::1]"] {
            strays(&[("forepost.host", host)], &[Some(&outside(host))]);
        }
        strays(&[("forepost.host", "a.sub.example.com"), ("forepost.cookie_domain", "sub.example.com")], &[None]);
    }

    #[test]
    fn labels_take_nothing_from_the_file() {
        strays(
            &[("forepost.host", "APP.example.com.")],
            &[Some(
                "label forepost.host: app.example.com belongs to the application app-example-com of the file; remove the label",
            )],
        );
        let login = "label forepost.host: auth.example.net belongs to the application auth-example-net of the file; remove the label";
        strays(&[("forepost.host", "https://auth.example.net:444/x")], &[Some(login)]);
        for host in ["bank.example.net", "a.hr.example.net", "open.example.net"] {
            let theirs = format!(
                "label forepost.host: {host} belongs to the application auth-example-net of the file; remove the label"
            );
            strays(&[("forepost.host", host)], &[Some(&theirs)]);
        }
        strays(
            &[("forepost.host", "tv.example.com"), ("forepost.slug", "app-example-com")],
            &[Some("label forepost.slug: app-example-com is an application of the file; choose another slug")],
        );
        for (host, domain, slug) in [
            ("tv.example.com", "example.com", "app-example-com"),
            ("tv.example.net", "example.net", "auth-example-net"),
            ("a.tv.example.net", "tv.example.net", "auth-example-net"),
        ] {
            let theirs = format!(
                "label forepost.cookie_domain: {domain} has hosts of the application {slug} of the file; remove the label"
            );
            strays(&[("forepost.host", host), ("forepost.cookie_domain", domain)], &[Some(&theirs)]);
        }
        strays(
            &[("forepost.host", "wiki.my.lan")],
            &[Some(
                "label forepost.host: wiki.my.lan belongs to the application auth-my-lan of the file; remove the label",
            )],
        );
        strays(
            &[("forepost.host", "tv.my.lan"), ("forepost.slug", "wiki")],
            &[Some("label forepost.slug: wiki is an application of the file; choose another slug")],
        );
        // A host below the domain of an application of the file that no rule names.
        strays(&[("forepost.host", "tv.example.net")], &[None]);
    }
}
