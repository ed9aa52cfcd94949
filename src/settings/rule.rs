//! `[[application.rule]]`: who gets in.

use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use super::mistakes::{Complaint, complaint, shown};
use super::public_path::Opens;
use super::reader::Table;
use super::{address, public_path, server};
use crate::access::Expression;
use crate::access::{Action, Email, HostPattern, Requirement, Rule};
use crate::identity::ClaimPath;

/// Values of `max_auth_age`. With less than a minute, a login could be too old at its first request; no session is older than the
/// upper bound.
const AUTH_AGES: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(400 * 24);

/// Parses a host, or `*.` and the host that others are below.
fn host_pattern(text: &str) -> Result<HostPattern, Complaint> {
    match text.strip_prefix("*.") {
        Some(above) => {
            let above = address::host(above)?;
            if above.is_address() {
                return Err(complaint(
                    format!("{} is not a pattern of hosts", shown(text)),
                    "nothing is below an address",
                ));
            }
            Ok(HostPattern::Below(above))
        }
        None => address::host(text).map(HostPattern::Exact),
    }
}

/// Reads the rules of an application or of one of its hosts in their order, and leaves out those with mistakes.
pub(super) fn read_all(table: &mut Table<'_>, base_path: &str) -> Vec<Rule> {
    let mut tables = table.tables("rule").unwrap_or_default();
    let last = tables.pop();
    let mut restricts = false;
    let mut rules = Vec::new();
    for table in tables {
        rules.extend(read(table, base_path, &mut restricts, Stands::BeforeOthers));
    }
    rules.extend(last.and_then(|last| {
        let stands = if restricts { Stands::AfterARestriction } else { Stands::Alone };
        read(last, base_path, &mut restricts, stands)
    }));
    check_default(table, &rules);
    rules
}

/// The place of a rule that opens every path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    BeforeOthers,
    /// Last, and no rule before it denies or requires anything.
    Alone,
    /// Last, after one that denies or requires.
    AfterARestriction,
}

/// Reports `required_groups` beside a rule that opens every path, because the groups would have no effect.
fn check_default(table: &Table<'_>, rules: &[Rule]) {
    if table.was_given("required_groups") && rules.iter().any(Rule::opens_everything) {
        let problem = "has no effect: the last rule opens all that the others leave";
        table.wrong(
            "required_groups",
            complaint(problem, "remove that rule, or require the groups in a rule before it"),
        );
    }
}

/// Reads a rule. Sets `restricts` if it denies or requires something, also if the rule has mistakes.
fn read(mut table: Table<'_>, base_path: &str, restricts: &mut bool, stands: Stands) -> Option<Rule> {
    let empty = table.empty_lists(&["hosts", "paths", "methods", "networks"]);
    let public = table.boolean("public", false);
    let deny = table.boolean("deny", false);
    let require = requirements(&mut table);
    let hosts = table.each("hosts", &[',', ' '], |item| host_pattern(item.text()?)).unwrap_or_default();
    let opens = if public { Opens::Yes } else { Opens::No };
    let mut paths = Vec::new();
    for mut path in table.tables_or_texts("paths", Some("path")).unwrap_or_default() {
        paths.extend(public_path::pattern(&mut path, base_path, opens));
        path.finish();
    }
    let methods = table.each("methods", &[',', ' '], |item| public_path::method(item.text()?)).unwrap_or_default();
    let networks: Vec<IpNet> =
        table.each("networks", &[',', ' '], |item| server::network(item.text()?)).unwrap_or_default();
    let when = table.read("when", |item| expression(item.raw_text()?));
    for key in empty {
        // An empty list can mean that nothing matches or that everything does.
        table.wrong(key, complaint("is empty", "remove the key, or say what the rule is for"));
    }
    let actions = usize::from(public) + usize::from(deny) + usize::from(table.was_given("require"));
    if actions != 1 {
        let problem = if actions == 0 { "does nothing" } else { "does more than one thing" };
        table.wrong_whole(complaint(problem, "give exactly one of public = true, deny = true, require = { … }"));
    }
    if public {
        check_public(&table, &networks, stands);
    }
    *restricts |= deny || table.was_given("require");
    table.finish();
    let action = match (public, deny) {
        (true, _) => Action::Public,
        (_, true) => Action::Deny,
        _ => Action::Require(require?),
    };
    Some(Rule { hosts, paths, methods, networks, when, action })
}

/// Checks a rule that is public without a condition. As the last rule after one that restricts it is one of two ways to write a
/// policy; otherwise it opens the whole application, which is a mistake.
fn check_public(table: &Table<'_>, networks: &[IpNet], stands: Stands) {
    let conditions = ["hosts", "paths", "methods", "networks", "when"];
    let is_for_everything = !conditions.into_iter().any(|key| table.was_given(key));
    let problem = match stands {
        Stands::BeforeOthers => "has no condition, so it would open everything, and no rule after it would count",
        Stands::Alone => "has no condition, and no rule before it denies or requires, so it would open everything",
        Stands::AfterARestriction => "",
    };
    if is_for_everything && !problem.is_empty() {
        let hint = "say what is public (hosts, paths, methods, networks, when), or put it last, after a rule that denies or requires";
        table.wrong_whole(complaint(problem, hint));
    }
    for network in networks.iter().filter(|network| network.prefix_len() == 0) {
        table.wrong("networks", complaint(format!("{network} is everybody"), "name networks that you know"));
    }
}

fn expression(text: &str) -> Result<Expression, Complaint> {
    Expression::parse(text).map_err(|error| complaint(format!("cannot be used: {error}"), ""))
}

/// Reads `require`: a table, or a list of tables of which the user must meet one.
fn requirements(table: &mut Table<'_>) -> Option<Vec<Requirement>> {
    let tables = table.table_or_tables("require")?;
    if tables.is_empty() {
        table.wrong("require", complaint("is an empty list, which no user meets", "to let no request in: deny = true"));
    }
    Some(tables.into_iter().map(requirement).collect())
}

fn requirement(mut table: Table<'_>) -> Requirement {
    let empty = table.empty_lists(&["groups_any", "groups_all", "users", "emails", "email_domains", "scopes", "acr"]);
    let mut texts = |key| table.each(key, &[','], |item| item.text().map(str::to_owned)).unwrap_or_default();
    let groups_any = texts("groups_any");
    let groups_all = texts("groups_all");
    let users = texts("users");
    let scopes = texts("scopes");
    let acr = texts("acr");
    let emails = table.each("emails", &[','], |item| {
        let text = item.text()?;
        let wrong = || complaint(format!("{} is not an e-mail address", shown(text)), "as \"alice@example.com\"");
        Email::parse(text).ok_or_else(wrong)
    });
    let email_domains = table.each("email_domains", &[',', ' '], |item| {
        let text = item.text()?;
        let hint = "as \"example.com\", or \"*.example.com\" for those below it";
        let wrong = || complaint(format!("{} is not a domain of e-mail addresses", shown(text)), hint);
        HostPattern::of_email(text).ok_or_else(wrong)
    });
    for key in empty {
        table.wrong(key, complaint("is empty", "remove the key, or name what is required"));
    }
    let claims = table.lists_by_name("claims");
    for (name, texts) in &claims {
        if texts.is_empty() {
            table.wrong_below("claims", name, complaint("is empty", "name what the claim may be"));
        }
    }
    let max_auth_age = table.read("max_auth_age", |item| {
        let age = item.duration()?.unwrap_or_default();
        let wrong = || complaint("is out of range", "from 1m to 400d");
        AUTH_AGES.contains(&age).then_some(age).ok_or_else(wrong)
    });
    table.finish();
    Requirement {
        groups_any,
        groups_all,
        users,
        emails: emails.unwrap_or_default(),
        email_domains: email_domains.unwrap_or_default(),
        claims: claims.into_iter().map(|(name, texts)| (ClaimPath::new(&name), texts)).collect(),
        scopes,
        acr,
        max_auth_age,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;

    #[track_caller]
    fn host(pattern: &str, host: &str, expected: bool) {
        let pattern = host_pattern(pattern).unwrap();
        assert_eq!(pattern.matches(&Host::parse(host).unwrap()), expected, "{pattern} {host}");
    }

    #[test]
    fn hosts_match_by_label() {
        host("app.example.com", "APP.example.com.", true);
        host("app.example.com", "x.app.example.com", false);
        host("*.example.com", "app.example.com", true);
        host("*.example.com", "a.b.example.com", true);
        host("*.example.com", "example.com", false);
        host("*.example.com", "evilexample.com", false);
        host("*.example.com", "app.example.com.evil.test", false);
    }
}
