//! `[[application.header]]`, `application.headers` and `[application.basic_auth]`: headers besides the twelve of the contract.

use std::collections::BTreeSet;

use http::HeaderName;
use http::header::AUTHORIZATION;

use super::mistakes::{Complaint, complaint, shown};
use super::reader::Table;
use super::typed::FlatList;
use crate::app::DeclaredApplication;
use crate::identity::{BasicAuth, ClaimPath, FurtherHeader, HeaderSource, HeaderSwitches, IdentityField};

/// Fields that proxies, browsers or forepost use for something else. A name with a dash at the end is a prefix.
const RESERVED: [&str; 44] = [
    "accept-",
    "access-control-",
    "authorization",
    "cache-control",
    "cf-connecting-ip",
    "client-ip",
    "connection",
    "content-",
    "cookie",
    "date",
    "etag",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "location",
    "origin",
    "proxy-",
    "range",
    "referer",
    "retry-after",
    "sec-",
    "server",
    "set-cookie",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "true-client-ip",
    "upgrade",
    "vary",
    "via",
    "www-authenticate",
    "x-authentik-",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forepost-",
    "x-http-method",
    "x-http-method-",
    "x-method-override",
    "x-original-",
    "x-request-id",
    "x-rewrite-",
    "x-script-name",
];

/// The `x-forwarded-` fields that do not describe the request.
const FORWARDED_FREE: [&str; 6] = [
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-name",
    "x-forwarded-roles",
];

/// The presets. The example configurations remove these headers from requests of clients, and copy them from forepost.
const PRESETS: [(&str, [(&str, IdentityField); 4]); 2] = {
    use IdentityField::{Email, Groups, Name, Username};
    [
        (
            "remote-user",
            [("remote-user", Username), ("remote-groups", Groups), ("remote-email", Email), ("remote-name", Name)],
        ),
        (
            "forwarded-user",
            [
                ("x-forwarded-user", Username),
                ("x-forwarded-groups", Groups),
                ("x-forwarded-email", Email),
                ("x-forwarded-preferred-username", Username),
            ],
        ),
    ]
};

/// The names of further headers of an application, or of a host. The proxy must remove them from requests of clients, because the application
/// believes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FurtherNames {
    /// The names of presets, which the example configurations remove from clients and copy from forepost.
    pub(crate) in_examples: Vec<HeaderName>,
    /// The names that the operator has to add to the configuration of the proxy, with `Authorization` if there is `basic_auth`.
    pub(crate) by_operator: Vec<HeaderName>,
}

impl FurtherNames {
    fn of(headers: &[FurtherHeader], basic_auth: Option<&BasicAuth>) -> Self {
        let names = headers.iter().map(|header| header.name.clone());
        let (in_examples, mut by_operator): (Vec<_>, Vec<_>) =
            names.partition(|name| PRESETS.iter().any(|(_, preset)| preset.iter().any(|(known, _)| name == known)));
        by_operator.extend(basic_auth.map(|_| AUTHORIZATION));
        Self { in_examples, by_operator }
    }
}

impl DeclaredApplication {
    /// The slug of the application and of each of its hosts, with the names of their own further headers.
    pub(crate) fn further_names(&self) -> impl Iterator<Item = (&str, FurtherNames)> {
        let own = FurtherNames::of(&self.further_headers, self.basic_auth.as_ref());
        let hosts = self.hosts.iter().map(|host| (&*host.slug, FurtherNames::of(&host.further_headers, None)));
        std::iter::once((&*self.slug, own)).chain(hosts)
    }
}

/// Reads `headers`.
pub(super) fn switches(mut table: Table<'_>) -> (HeaderSwitches, Vec<FurtherHeader>) {
    let switches = HeaderSwitches {
        jwt: table.boolean("jwt", true),
        warn_bytes: table.number("warn_bytes", 4096, 256..=1_048_576),
    };
    let sets = sets(&mut table);
    table.finish();
    (switches, sets)
}

/// Reads `headers` of a host: whether it has a `jwt` switch of its own, and its sets.
pub(super) fn switches_of_host(mut table: Table<'_>) -> (Option<bool>, Vec<FurtherHeader>) {
    let jwt = table.optional_boolean("jwt");
    let sets = sets(&mut table);
    table.finish();
    (jwt, sets)
}

/// Reads `presets` and `additional`.
fn sets(table: &mut Table<'_>) -> Vec<FurtherHeader> {
    let presets = table.each("presets", &[',', ' '], |item| preset(item.text()?)).unwrap_or_default();
    let additional = table.each("additional", &[',', ' '], |item| name(item.text()?)).unwrap_or_default();
    let additional = additional.into_iter().map(|name| FurtherHeader { name, source: HeaderSource::Attribute });
    presets.into_iter().flatten().chain(additional).collect()
}

/// Reads the entries of `header`, and leaves out those with mistakes.
pub(super) fn read_all(tables: Vec<Table<'_>>) -> Vec<FurtherHeader> {
    tables.into_iter().filter_map(read).collect()
}

fn read(mut table: Table<'_>) -> Option<FurtherHeader> {
    let name = table.read("name", |item| name(item.text()?));
    table.missing("name", "the field that the application reads: X-WEBAUTH-ROLE");
    let claim = table.claim_path("claim", FlatList::Ambiguous).map(HeaderSource::Claim);
    let text = table.text("text").map(HeaderSource::Text);
    let groups = groups(&mut table);
    let default = table.text("default");
    let given = ["claim", "text", "groups"].into_iter().filter(|key| table.was_given(key)).count();
    if given != 1 {
        let problem = if given == 0 { "has no value" } else { "has more than one value" };
        table.wrong_whole(complaint(problem, "give exactly one of claim, text, groups"));
    }
    if default.is_some() && !table.was_given("groups") {
        table.wrong("default", complaint("is for groups only", "it is sent where none of them is the user's"));
    }
    table.finish();
    let groups = groups.map(|groups| HeaderSource::Groups { groups, default: default.unwrap_or_default() });
    Some(FurtherHeader { name: name?, source: claim.or(text).or(groups)? })
}

fn groups(table: &mut Table<'_>) -> Option<Vec<(String, String)>> {
    let pairs = table.tables("groups")?.into_iter().filter_map(|mut table| {
        let (group, value) = (table.text("group"), table.text("value"));
        table.missing("group", "the name of a group");
        table.missing("value", "what is sent for its members");
        table.finish();
        group.zip(value)
    });
    Some(pairs.collect())
}

/// Reads `[application.basic_auth]`.
pub(super) fn basic_auth(mut table: Table<'_>) -> Option<BasicAuth> {
    let given = table.first_key().is_some();
    let mut claim = |key| table.claim_path(key, FlatList::Ambiguous);
    let (username, password) = (claim("username"), claim("password"));
    if given {
        table.missing("password", "the claim that holds it: ak_proxy.user_attributes.app_password");
    }
    table.finish();
    let username = username.unwrap_or_else(|| ClaimPath::new("email"));
    password.map(|password| BasicAuth { username, password })
}

/// Reports headers that would be sent twice.
pub(super) fn check_names(table: &Table<'_>, headers: &[FurtherHeader]) {
    let mut seen = BTreeSet::new();
    for header in headers {
        if !seen.insert(header.name.as_str()) {
            let problem = format!("\"{}\" is given twice", header.name);
            table.wrong(
                "header",
                complaint(problem, "give it once, among header, headers.presets and headers.additional"),
            );
        }
    }
}

fn preset(text: &str) -> Result<Vec<FurtherHeader>, Complaint> {
    let Some((_, fields)) = PRESETS.iter().find(|(name, _)| *name == text) else {
        return Err(complaint(format!("{} is unknown", shown(text)), "one of remote-user, forwarded-user"));
    };
    let header = |(name, field): &(&'static str, IdentityField)| FurtherHeader {
        name: HeaderName::from_static(name),
        source: HeaderSource::Identity(*field),
    };
    Ok(fields.iter().map(header).collect())
}

fn name(text: &str) -> Result<HeaderName, Complaint> {
    let hint = "letters, digits and -, as in X-WEBAUTH-ROLE";
    let name =
        HeaderName::try_from(text).map_err(|_| complaint(format!("{} is not a field name", shown(text)), hint))?;
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        let problem = format!("{} has a character that proxies drop or take for a dash", shown(text));
        return Err(complaint(problem, hint));
    }
    if is_reserved(name.as_str()) {
        let problem = format!("{} is reserved: proxies, browsers or forepost use it", shown(text));
        return Err(complaint(problem, "choose another name; for Authorization there is basic_auth"));
    }
    Ok(name)
}

fn is_reserved(name: &str) -> bool {
    if name.starts_with("x-forwarded-") || name == "x-real-ip" {
        return !FORWARDED_FREE.contains(&name);
    }
    RESERVED.iter().any(|reserved| if reserved.ends_with('-') { name.starts_with(reserved) } else { name == *reserved })
        || name == "accept"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, usable: bool) {
        assert_eq!(name(text).is_ok(), usable, "{text}");
    }

    #[test]
    fn names_that_mean_something_else_are_not_given_away() {
        for text in ["X-WEBAUTH-ROLE", "Remote-User", "x-forwarded-user", "X-Auth-Token", "X-Role1"] {
            check(text, true);
        }
        for text in ["", "a b", "X_Role", "Röle", "X-Authentik-Username", "x-authentik-anything", "Set-Cookie", "HOST"]
        {
            check(text, false);
        }
        for text in ["X-Forwarded-For", "x-forwarded-host", "X-Real-IP", "Authorization", "Content-Length", "Accept"] {
            check(text, false);
        }
        for text in ["Proxy-Authorization", "Sec-Fetch-Mode", "X-Forepost-Action", "X-Original-URL", "Connection"] {
            check(text, false);
        }
        for text in ["X-Rewrite-URL", "X-HTTP-Method", "X-HTTP-Method-Override", "X-Script-Name", "True-Client-IP"] {
            check(text, false);
        }
    }
}
