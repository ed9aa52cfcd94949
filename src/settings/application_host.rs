//! `[[application.host]]`: hosts of a cookie domain that are applications of their own.

use std::sync::Arc;

use super::application::{check_rule_hosts, name_and_slug, public_paths};
use super::mistakes::{Complaint, complaint};
use super::reader::Table;
use super::{address, header, rule};
use crate::access::Rule;
use crate::app::{DeclaredApplication, DeclaredHost};
use crate::host::CookieDomain;

/// Reads the hosts of an application with this cookie domain, and leaves out those with mistakes. With each is its place in the list.
///
/// `base_path` is the path of the application's address, and `application_rules` are its rules.
pub(super) fn read_all(
    table: &mut Table<'_>,
    cookie_domain: Option<&CookieDomain>,
    base_path: &str,
    application_rules: &[Rule],
) -> Vec<(usize, Arc<DeclaredHost>)> {
    let tables = table.tables("host").unwrap_or_default();
    if !tables.is_empty() && cookie_domain.is_none() && !table.was_given("cookie_domain") {
        let hint = "give the application a cookie_domain, or make each host an [[application]] of its own";
        table.wrong("host", complaint("is for an application with a cookie domain", hint));
    }
    let hosts = tables.into_iter().enumerate().filter_map(|(place, mut table)| {
        let host = read(&mut table, cookie_domain, base_path, application_rules);
        table.finish();
        Some((place, Arc::new(host?)))
    });
    hosts.collect()
}

/// Reads one host of `application`, out of a table of its own.
pub(super) fn read_alone(mut table: Table<'_>, application: &DeclaredApplication) -> Option<DeclaredHost> {
    let DeclaredApplication { cookie_domain, external_host, rules, .. } = application;
    let host = read(&mut table, cookie_domain.as_ref(), &external_host.base_path, rules);
    table.finish();
    host
}

/// Reads one host.
fn read(
    table: &mut Table<'_>,
    cookie_domain: Option<&CookieDomain>,
    base_path: &str,
    application_rules: &[Rule],
) -> Option<DeclaredHost> {
    let host = table.read("host", |item| address::host(item.text()?));
    table.missing("host", "a host under the cookie domain: wiki.example.com");
    if let (Some(host), Some(domain)) = (&host, cookie_domain)
        && !domain.contains(host)
    {
        let problem = format!("\"{host}\" is outside the cookie domain \"{domain}\"");
        table.wrong("host", complaint(problem, "make it an [[application]] of its own, or correct it"));
    }
    let required_groups = table.each("required_groups", &[','], |item| item.text().map(str::to_owned));
    if required_groups.is_some() && application_rules.iter().any(Rule::opens_everything) {
        table.wrong("required_groups", opened_by_the_application());
    }
    let public_paths = public_paths(table, base_path);
    let rules = rule::read_all(table, base_path);
    let (jwt, mut further_headers) = header::switches_of_host(table.table("headers"));
    further_headers.extend(header::read_all(table.tables("header").unwrap_or_default()));
    header::check_names(table, &further_headers);
    let named = name_and_slug(table, None);
    let host = host?;
    let (name, slug) = named.for_host(&host);
    check_rule_hosts(table, "this host", &public_paths, &rules, |pattern| pattern.matches(&host));
    Some(DeclaredHost {
        host,
        name,
        slug,
        public_paths,
        rules,
        required_groups: required_groups.unwrap_or_default(),
        jwt,
        further_headers,
    })
}

fn opened_by_the_application() -> Complaint {
    complaint(
        "has no effect: the last rule of the application opens all that the others leave",
        "require the groups in a rule of this host, or remove that rule",
    )
}
