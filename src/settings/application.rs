//! `[[application]]`, and the rules that applications must meet together.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::address::{external_host, origin, target};
use super::mistakes::{Complaint, complaint, shown};
use super::reader::Table;
use super::values::{is_slug, slugified};
use super::{header, public_path, rule, tokens};
use crate::access::{Cors, HostPattern, PublicPathRule};
use crate::app::DeclaredApplication;
use crate::host::{CookieDomain, InvalidCookieDomain};

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
        let Some(application) = application else {
            mistakes(table);
            continue;
        };
        // Which of two with one name is the wrong one, forepost cannot know: that is not a mistake of one application.
        let clashes = seen.check(&table, &application);
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

impl Seen {
    /// Reports what another application has too, and returns the number of mistakes.
    fn check(&mut self, table: &Table<'_>, application: &DeclaredApplication) -> usize {
        let mut clashes = 0;
        let domain = application.cookie_domain.as_ref();
        let keys = [
            ("slug", Some(application.slug.clone()), "give each application its own slug"),
            (
                "external_host",
                Some(application.external_host.host.to_string()),
                "the host alone decides which application answers, not port or path: join the two",
            ),
            (
                "cookie_domain",
                domain.map(ToString::to_string),
                "one application answers for all hosts of a domain: give the other hosts as single applications",
            ),
        ];
        for (key, value, hint) in keys {
            let Some(value) = value else { continue };
            let path = table.key_path(key);
            if let Some(other) = self.0.get(&format!("{key} {value}")) {
                let problem = format!("{} is that of {other} too", shown(&value));
                table.wrong(key, complaint(problem, hint));
                clashes += 1;
            } else {
                self.0.insert(format!("{key} {value}"), path);
            }
        }
        clashes
    }
}

fn read(table: &mut Table<'_>, default_name: DefaultName, providers: &[String]) -> Option<DeclaredApplication> {
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
    let mut public_paths = Vec::new();
    for rule_table in table.tables_or_texts("public_paths", Some("path")).unwrap_or_default() {
        if let Some(rule) = public_path::read(rule_table, base_path) {
            public_paths.push(rule);
        }
    }
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

    let given_name = table.text("name");
    let given_slug = table.read("slug", |item| slug(item.text()?));
    let external_host = external_host?;
    let name = given_name
        .or_else(|| given_slug.clone())
        .or_else(|| default_name.map(str::to_owned))
        .unwrap_or_else(|| external_host.host.to_string());
    let slug = given_slug.unwrap_or_else(|| {
        let from_name = slugified(&name);
        match from_name.as_str() {
            "" => slugified(external_host.host.as_str()),
            _ => from_name,
        }
    });
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
    };
    check_rule_hosts(table, &application);
    Some(application)
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

/// Reports a rule for a host that is not one of the application's: the rule would have no effect.
fn check_rule_hosts(table: &Table<'_>, application: &DeclaredApplication) {
    let foreign = |rule: &&PublicPathRule| {
        rule.host.as_ref().is_some_and(|host| match &application.cookie_domain {
            Some(domain) => !domain.contains(host),
            None => *host != application.external_host.host,
        })
    };
    for rule in application.public_paths.iter().filter(foreign) {
        if let Some(host) = &rule.host {
            let problem = format!("has a rule for \"{host}\", which is not a host of this application");
            table.wrong("public_paths", complaint(problem, "remove host, or correct it"));
        }
    }
    let never = |pattern: &&HostPattern| match (pattern, &application.cookie_domain) {
        (HostPattern::Exact(host), Some(domain)) => !domain.contains(host),
        (HostPattern::Exact(host), None) => *host != application.external_host.host,
        (HostPattern::Below(above), Some(domain)) => {
            !domain.contains(above) && !pattern.matches(&application.external_host.host)
        }
        (HostPattern::Below(_), None) => !pattern.matches(&application.external_host.host),
    };
    for (number, rule) in application.rules.iter().enumerate() {
        for pattern in rule.hosts.iter().filter(never) {
            let problem = format!("names \"{pattern}\", which is not a host of this application");
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
