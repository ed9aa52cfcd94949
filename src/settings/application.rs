//! `[[application]]`, and the rules that applications must meet together.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::address::{external_host, origin, target};
use super::mistakes::{Complaint, complaint, shown};
use super::reader::Table;
use super::values::{is_slug, slugified};
use super::{application_host, header, public_path, rule, tokens};
use crate::access::{Cors, HostPattern, PublicPathRule, Rule};
use crate::app::DeclaredApplication;
use crate::host::{CookieDomain, Host, InvalidCookieDomain};

/// The name and slug of an application without a table of its own.
type DefaultName = Option<&'static str>;

/// The applications of a configuration.
#[derive(Default)]
pub(super) struct Applications {
    /// Those without mistakes.
    pub(super) usable: Vec<DeclaredApplication>,
    /// Those that were left out because of mistakes of their own, as far as they could be read.
    pub(super) refused: Vec<DeclaredApplication>,
    /// The number of the mistakes of `refused`.
    pub(super) of_refused: usize,
}

/// Reads all applications, and notes in `origins` where each was declared.
pub(super) fn read_all(
    tables: Vec<(Table<'_>, DefaultName)>,
    providers: &[String],
    origins: &mut BTreeMap<String, Arc<str>>,
) -> Applications {
    let mut seen = Seen::default();
    let mut all = Applications::default();
    for (mut table, default_name) in tables {
        let (report, before) = (table.report(), table.report().mistakes());
        let application = read(&mut table, default_name, providers);
        let origin = table.origin();
        let mistakes = |table: Table<'_>| {
            table.finish();
            report.mistakes() - before
        };
        let Some((application, places)) = application else {
            mistakes(table);
            continue;
        };
        // Which of two with one name is the wrong one, forepost cannot know: that is not a mistake of one application.
        let clashes = seen.check(&table, &application, &places);
        let mistakes = mistakes(table);
        origins.insert(application.slug.clone(), origin);
        if mistakes == 0 {
            all.usable.push(application);
        } else {
            all.of_refused += mistakes - clashes;
            all.refused.push(application);
        }
    }
    all
}

/// The hosts and slugs of the applications before, with the paths of their keys for mistakes.
#[derive(Default)]
struct Seen(BTreeMap<String, String>);

/// Why two applications, or hosts, cannot have the same.
const OWN_SLUG: &str = "give each application and each host its own slug";
const OWN_HOST: &str = "the host alone decides which application answers, not port or path: join the two";
const OWN_DOMAIN: &str =
    "one application answers for all hosts of a domain: give the other hosts as single applications, or as its hosts";

impl Seen {
    /// Reports what another application, or host, has too, and returns the number of mistakes; `places` are those of the hosts in
    /// their list.
    fn check(&mut self, table: &Table<'_>, application: &DeclaredApplication, places: &[usize]) -> usize {
        let mut clashes = 0;
        let domain = application.cookie_domain.as_ref().map(ToString::to_string);
        let external_host = application.external_host.host.to_string();
        let keys = [
            ("slug", "slug", Some(application.slug.clone()), OWN_SLUG),
            ("host", "external_host", Some(external_host), OWN_HOST),
            ("cookie_domain", "cookie_domain", domain, OWN_DOMAIN),
        ];
        for (kind, key, value, hint) in keys {
            let Some(value) = value else { continue };
            if let Some(complaint) = self.note(kind, &value, table.key_path(key), hint) {
                table.wrong(key, complaint);
                clashes += 1;
            }
        }
        for (place, host) in places.iter().zip(&application.hosts) {
            let keys = [("slug", host.slug.clone(), OWN_SLUG), ("host", host.host.to_string(), OWN_HOST)];
            for (key, value, hint) in keys {
                let path = format!("{}[{place}].{key}", table.key_path("host"));
                if let Some(complaint) = self.note(key, &value, path, hint) {
                    table.wrong_in_element("host", *place, key, complaint);
                    clashes += 1;
                }
            }
        }
        clashes
    }

    /// Notes the path of a value; a complaint if another one has it.
    fn note(&mut self, kind: &str, value: &str, path: String, hint: &str) -> Option<Complaint> {
        match self.0.entry(format!("{kind} {value}")) {
            Entry::Vacant(free) => {
                free.insert(path);
                None
            }
            Entry::Occupied(other) => Some(complaint(format!("{} is that of {} too", shown(value), other.get()), hint)),
        }
    }
}

/// Reads one application, with the places of its hosts in their list.
fn read(
    table: &mut Table<'_>,
    default_name: DefaultName,
    providers: &[String],
) -> Option<(DeclaredApplication, Vec<usize>)> {
    let external_host = table.read("external_host", |item| external_host(item.text()?));
    table.missing("external_host", "the address that browsers use: https://app.example.com");
    let cookie_domain = table.read("cookie_domain", |item| cookie_domain(item.text()?));
    if let (Some(external), Some(domain)) = (&external_host, &cookie_domain)
        && !domain.contains(&external.host)
    {
        let problem = format!("\"{}\" is outside the cookie domain \"{domain}\"", external.host);
        let hint = "logins of a domain come back to this host: choose one under the domain";
        table.wrong("external_host", complaint(problem, hint));
    }
    let identity_provider = identity_provider(table, providers);
    let required_groups = table.each("required_groups", &[','], |item| item.text().map(str::to_owned));
    let post_logout_redirect_uri = table.read("post_logout_redirect_uri", |item| target(item.text()?));

    let base_path = external_host.as_ref().map_or("", |host| &host.base_path);
    let public_paths = public_paths(table, base_path);
    let rules = rule::read_all(table, base_path);
    let danger_unverified_email = table.boolean("danger_unverified_email", false);
    let show_required = table.boolean("show_required", false);
    let (headers, mut further_headers) = header::switches(table.table("headers"));
    further_headers.extend(header::read_all(table.tables("header").unwrap_or_default()));
    header::check_names(table, &further_headers);
    let basic_auth = header::basic_auth(table.table("basic_auth"));
    let cors = cors(table.table("cors"));
    let token_issuers = table.tables("token_issuer");
    let tokens = tokens::read(table.table("tokens"), token_issuers);

    let named = name_and_slug(table, default_name);
    let hosts = application_host::read_all(table, cookie_domain.as_ref(), base_path, &rules);
    let external_host = external_host?;
    let (name, slug) = named.for_host(&external_host.host);
    let (places, hosts) = hosts.into_iter().unzip();
    let application = DeclaredApplication {
        name,
        slug,
        external_host,
        cookie_domain,
        identity_provider: identity_provider?,
        public_paths,
        rules,
        required_groups: required_groups.unwrap_or_default(),
        danger_unverified_email,
        show_required,
        headers,
        further_headers,
        basic_auth,
        cors,
        post_logout_redirect_uri,
        tokens,
        hosts,
    };
    let DeclaredApplication { external_host, cookie_domain, public_paths, rules, .. } = &application;
    check_rule_hosts(table, "a host of this application", public_paths, rules, |pattern| {
        match (pattern, cookie_domain) {
            (HostPattern::Exact(host), Some(domain)) => domain.contains(host),
            (HostPattern::Exact(host), None) => *host == external_host.host,
            (HostPattern::Below(above), Some(domain)) => domain.contains(above) || pattern.matches(&external_host.host),
            (HostPattern::Below(_), None) => pattern.matches(&external_host.host),
        }
    });
    Some((application, places))
}

/// The `name` and the `slug` of an application or of a host, as far as they are given.
pub(super) struct Named {
    name: Option<String>,
    slug: Option<String>,
}

impl Named {
    /// The name and the slug, where need be made from the host.
    pub(super) fn for_host(self, host: &Host<'_>) -> (String, String) {
        let name = self.name.unwrap_or_else(|| host.to_string());
        let slug = self.slug.unwrap_or_else(|| match slugified(&name) {
            from_name if from_name.is_empty() => slugified(host.as_str()),
            from_name => from_name,
        });
        (name, slug)
    }
}

/// Reads `name` and `slug`; the slug is the name where only that is given.
pub(super) fn name_and_slug(table: &mut Table<'_>, default_name: DefaultName) -> Named {
    let name = table.text("name");
    let slug = table.read("slug", |item| slug(item.text()?));
    Named { name: name.or_else(|| slug.clone()).or_else(|| default_name.map(str::to_owned)), slug }
}

/// Reads `public_paths`, and leaves out those with mistakes.
pub(super) fn public_paths(table: &mut Table<'_>, base_path: &str) -> Vec<PublicPathRule> {
    let tables = table.tables_or_texts("public_paths", Some("path")).unwrap_or_default();
    tables.into_iter().filter_map(|table| public_path::read(table, base_path)).collect()
}

fn cookie_domain(text: &str) -> Result<CookieDomain, Complaint> {
    CookieDomain::parse(text).map_err(|error| match error {
        InvalidCookieDomain::PublicSuffix => complaint(
            format!("{} is a public suffix: browsers refuse a cookie for it", shown(text)),
            "give a domain of your own, like example.com",
        ),
        InvalidCookieDomain::NotADomain => {
            let hint = "write it like example.com, without scheme, port or *; international names in their xn-- form";
            complaint(format!("{} is not a domain name", shown(text)), hint)
        }
    })
}

fn slug(text: &str) -> Result<String, Complaint> {
    if is_slug(text) {
        return Ok(text.to_owned());
    }
    Err(complaint(format!("{} is not a slug", shown(text)), "letters, digits, - and _, at most 100"))
}

fn identity_provider(table: &mut Table<'_>, providers: &[String]) -> Option<String> {
    let known = || format!("configured: {}", providers.join(", "));
    let named = table.read("identity_provider", |item| {
        let text = item.text()?;
        if providers.iter().any(|name| name == text) || providers.is_empty() {
            Ok(text.to_owned())
        } else {
            Err(complaint(format!("{} is not a configured identity provider", shown(text)), known()))
        }
    });
    match providers {
        // If there is no provider at all, the reader of providers reports the mistake.
        [] => Some(String::new()),
        [only] if !table.was_given("identity_provider") => Some(only.clone()),
        _ => {
            table.missing("identity_provider", &known());
            // With some provider, the other checks of this application can go on.
            named.or_else(|| providers.first().cloned())
        }
    }
}

/// Reports a rule for a host that is not `what` it may be for: the rule would have no effect.
pub(super) fn check_rule_hosts(
    table: &Table<'_>,
    what: &str,
    public_paths: &[PublicPathRule],
    rules: &[Rule],
    may_match: impl Fn(&HostPattern) -> bool,
) {
    for host in public_paths.iter().filter_map(|rule| rule.host.clone()) {
        if !may_match(&HostPattern::Exact(host.clone())) {
            let problem = format!("has a rule for \"{host}\", which is not {what}");
            table.wrong("public_paths", complaint(problem, "remove host, or correct it"));
        }
    }
    for (number, rule) in rules.iter().enumerate() {
        for pattern in rule.hosts.iter().filter(|pattern| !may_match(pattern)) {
            let problem = format!("names \"{pattern}\", which is not {what}");
            table.wrong_element("rule", number, complaint(problem, "correct hosts"));
        }
    }
}

fn cors(mut table: Table<'_>) -> Cors {
    let allowed_origins = table.each("allowed_origins", &[',', ' '], |item| origin(item.text()?)).unwrap_or_default();
    let pass_preflight = table.boolean("pass_preflight", false);
    if pass_preflight && allowed_origins.is_empty() {
        table.wrong(
            "pass_preflight",
            complaint("has no effect without allowed_origins", "name the origins whose preflight requests may pass"),
        );
    }
    table.finish();
    Cors { allowed_origins, pass_preflight }
}
