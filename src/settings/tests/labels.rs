//! Labels say what the file says, or are mistakes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{MINIMAL, loaded};
use crate::app::DeclaredApplication;
use crate::settings::labels::{LabelContext, LabelledHost, OfLabels, declared};

fn read(labels: &[(&str, &str)], context: &LabelContext) -> Result<Vec<DeclaredApplication>, Vec<String>> {
    let labels: BTreeMap<_, _> = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let host = LabelledHost { label: "forepost.host".to_owned(), host: "https://app.example.com".to_owned() };
    declared(&labels, &[host], context).map(|found| found.into_iter().map(application).collect())
}

fn application(found: OfLabels) -> DeclaredApplication {
    match found {
        OfLabels::Application(application) => *application,
        OfLabels::Host { host, .. } => panic!("{host:?}"),
    }
}

fn context() -> LabelContext {
    LabelContext { providers: vec!["default".to_owned()], names_proxies: true, domains: Vec::new() }
}

/// The labels make the application that these lines of a file make.
#[track_caller]
fn same(labels: &[(&str, &str)], lines: &str) {
    let text = format!("{MINIMAL}{lines}\n[server]\ntrusted_proxies = [\"192.0.2.1\"]\n");
    match read(labels, &context()) {
        Ok(applications) => assert_eq!(applications, loaded(&text).applications, "{labels:?}"),
        Err(mistakes) => panic!("{labels:?}: {mistakes:#?}"),
    }
}

#[test]
fn labels_say_what_the_file_says() {
    same(&[("enable", "true")], "");
    same(&[("name", "Sonarr"), ("slug", "tv")], "name = \"Sonarr\"\nslug = \"tv\"");
    same(&[("groups", "media, admins")], "required_groups = [\"media\", \"admins\"]");
    same(&[("required_groups", "media")], "required_groups = [\"media\"]");
    same(&[("groups", "[\"a, b\"]")], "required_groups = [\"a, b\"]");
    same(&[("public", "/api, /ping")], "public_paths = [\"/api\", \"/ping\"]");
    same(
        &[("public.1.prefix", "/api"), ("public.1.methods", "GET")],
        "public_paths = [{ prefix = \"/api\", methods = [\"GET\"] }]",
    );
    same(&[("provider", "default"), ("show_required", "yes")], "identity_provider = \"default\"\nshow_required = true");
    same(&[("cookie_domain", "example.com")], "cookie_domain = \"example.com\"");
    same(
        &[("post_logout_redirect_uri", "https://www.example.com/")],
        "post_logout_redirect_uri = \"https://www.example.com/\"",
    );
    same(
        &[("headers.jwt", "false"), ("headers.presets", "remote-user")],
        "headers = { jwt = false, presets = [\"remote-user\"] }",
    );
    same(
        &[
            ("header.1.name", "X-Role"),
            ("header.1.claim", "roles"),
            ("header.2.name", "X-From"),
            ("header.2.text", "us"),
        ],
        "[[application.header]]\nname = \"X-Role\"\nclaim = \"roles\"\n[[application.header]]\nname = \"X-From\"\ntext = \"us\"",
    );
    same(&[("basic_auth.password", "secret")], "[application.basic_auth]\npassword = \"secret\"");
    same(
        &[("cors.allowed_origins", "https://b.example.com"), ("cors.pass_preflight", "true")],
        "[application.cors]\nallowed_origins = [\"https://b.example.com\"]\npass_preflight = true",
    );
    same(
        &[("tokens.bearer", "jwt"), ("tokens.scopes", "a b")],
        "[application.tokens]\nbearer = \"jwt\"\nscopes = [\"a\", \"b\"]",
    );
}

#[test]
fn rules_stand_in_the_order_of_their_numbers() {
    same(
        &[
            ("rule.10.deny", "true"),
            ("rule.10.prefix", "/admin"),
            ("rule.9.groups", "ops"),
            ("rule.9.path", "/admin/log"),
        ],
        "[[application.rule]]\npaths = [\"/admin/log\"]\nrequire = { groups_any = [\"ops\"] }\n\
         [[application.rule]]\npaths = [{ prefix = \"/admin\" }]\ndeny = true",
    );
    same(
        &[("rule.1.paths", "/a, /b"), ("rule.1.methods", "GET HEAD"), ("rule.1.public", "true")],
        "[[application.rule]]\npaths = [\"/a\", \"/b\"]\nmethods = [\"GET\", \"HEAD\"]\npublic = true",
    );
    same(
        &[("rule.1.regex", "/a|/b"), ("rule.1.prefix", "/c"), ("rule.1.deny", "on")],
        "[[application.rule]]\npaths = [{ prefix = \"/c\" }, { regex = \"/a|/b\" }]\ndeny = true",
    );
    same(
        &[
            ("rule.1.require.claims.realm_access.roles", "ops"),
            ("rule.1.require.max_auth_age", "15m"),
            ("rule.1.users", "bob"),
        ],
        "[[application.rule]]\nrequire = { claims = { \"realm_access.roles\" = \"ops\" }, max_auth_age = \"15m\", users = [\"bob\"] }",
    );
    same(
        &[("rule.1.require.1.users", "bob"), ("rule.1.require.2.groups_any", "ops")],
        "[[application.rule]]\nrequire = [{ users = [\"bob\"] }, { groups_any = [\"ops\"] }]",
    );
    same(
        &[
            ("rule.1.when", "identity != null"),
            ("rule.1.networks", "192.0.2.0/24"),
            ("rule.1.hosts", "app.example.com"),
            ("rule.1.deny", "1"),
        ],
        "[[application.rule]]\nwhen = \"identity != null\"\nnetworks = [\"192.0.2.0/24\"]\nhosts = [\"app.example.com\"]\ndeny = true",
    );
    same(
        &[("users", "alice, bob"), ("rule.1.deny", "true"), ("rule.1.prefix", "/x")],
        "[[application.rule]]\npaths = [{ prefix = \"/x\" }]\ndeny = true\n[[application.rule]]\nrequire = { users = [\"alice\", \"bob\"] }",
    );
}

/// The labels have these mistakes.
#[track_caller]
fn wrong(labels: &[(&str, &str)], expected: &[&str]) {
    match read(labels, &context()) {
        Ok(applications) => panic!("{labels:?}: {applications:?}"),
        Err(mistakes) => assert_eq!(mistakes, expected, "{labels:?}"),
    }
}

#[test]
fn mistakes_name_label_value_and_remedy() {
    wrong(&[("grups", "media")], &["label forepost.grups: is an unknown label; did you mean groups?"]);
    wrong(&[("Groups", "media")], &["label forepost.Groups: is an unknown label; did you mean groups?"]);
    wrong(&[("groups", " ")], &["label forepost.groups: is empty; give a value, or remove the label"]);
    wrong(&[("groups", "[\n]")], &["label forepost.groups: is empty; give a value, or remove the label"]);
    wrong(&[("groups", "[,#\n]")], &["label forepost.groups: cannot be read as a TOML value"]);
    wrong(&[("groups", "[#\n]")], &["label forepost.groups: names no group; give a value, or remove the label"]);
    wrong(&[("slug", "a b")], &["label forepost.slug: \"a b\" is not a slug; letters, digits, - and _, at most 100"]);
    wrong(
        &[("provider", "other")],
        &["label forepost.provider: \"other\" is not a configured identity provider; configured: default"],
    );
    wrong(&[("public", "api")], &["label forepost.public: \"api\" is not a path; begin it with /"]);
    wrong(
        &[("public.1.prefix", "/")],
        &[
            "label forepost.public.1.prefix: \"/\" would open everything; name what is public, as prefix = \"/static\"; an application \
           without logins needs no forepost",
        ],
    );
    wrong(
        &[("headers", "x")],
        &["label forepost.headers: is not a table; set its keys one by one: headers.KEY, or FOREPOST_HEADERS__KEY"],
    );
    wrong(&[("headers.jvt", "false")], &["label forepost.headers.jvt: is an unknown key; did you mean jwt?"]);
    wrong(&[("host.name", "x")], &["label forepost.host.name: is an unknown label; write forepost.host"]);
    wrong(
        &[("header.1.text", "x")],
        &["label forepost.header.1.name: is missing; the field that the application reads: X-WEBAUTH-ROLE"],
    );
}

#[test]
fn mistakes_in_rules_have_their_numbers() {
    let action = "give exactly one of public = true, deny = true, require = { … }";
    wrong(
        &[("rule.7.prefix", "/a"), ("rule.9.deny", "true")],
        &[&format!("label forepost.rule.7: does nothing; {action}")],
    );
    wrong(
        &[("rule.7.deny", "true"), ("rule.9.prefix", "a"), ("rule.9.deny", "true")],
        &["label forepost.rule.9.prefix: \"a\" is not a path; begin it with /"],
    );
    wrong(&[("rule.7.prefx", "/a")], &["label forepost.rule.7.prefx: is an unknown label; did you mean prefix?"]);
    for label in ["rule.deny", "rule.01.deny", "rule.x.deny", "rule.1", "rule", "rule.1000000000.deny", "rule.-1.deny"]
    {
        wrong(&[(label, "true")], &[&format!("label forepost.{label}: has no number; write forepost.rule.1.KEY")]);
    }
    wrong(
        &[("public.x.prefix", "/a")],
        &["label forepost.public.x.prefix: has no number; write forepost.public.1.KEY"],
    );
    wrong(
        &[("rule.1.groups", "a"), ("rule.1.require.groups_any", "b")],
        &["label forepost.rule.1.require.groups_any: says the same as label forepost.rule.1.groups; give one of them"],
    );
    wrong(
        &[("public", "/a"), ("public.1.path", "/b")],
        &["label forepost.public.1.path: says the same as label forepost.public; give one of them"],
    );
    wrong(
        &[("groups", "a"), ("users", "b")],
        &[
            "label forepost.users: has more than one reading beside forepost.groups; write rules: forepost.rule.1.users, \
         forepost.rule.2.groups and so on; the first that matches decides",
        ],
    );
}

#[test]
fn what_weakens_forepost_is_for_the_file_alone() {
    let file = "cannot be said by a label; set it in the configuration file";
    for label in ["danger_unverified_email", "rule.1.danger_x", "headers.danger_y", "danger_"] {
        wrong(&[(label, "true")], &[&format!("label forepost.{label}: {file}")]);
    }
    for label in ["token_issuer", "token_issuer.1.ca_file", "token_issuer.1.danger_http_issuer"] {
        let found = read(&[(label, "x"), ("tokens.bearer", "jwt")], &context()).unwrap_err();
        assert!(found.len() == 1 && found[0].contains("cannot be said by a label"), "{found:?}");
    }
    // Names of other keys cannot be smuggled in through the text of a table.
    for (label, text) in
        [("cors", "{ danger_x = true }"), ("rule.1.require", "{ danger_x = true }"), ("public", "[{ danger_x = 1 }]")]
    {
        assert!(read(&[(label, text)], &context()).is_err(), "{label}");
    }
}

#[test]
fn rules_for_networks_need_named_proxies() {
    let context = LabelContext { names_proxies: false, ..context() };
    for (label, text) in [("rule.1.networks", "192.0.2.0/24"), ("rule.1.when", "request.client != \"\"")] {
        let found = read(&[(label, text), ("rule.1.deny", "true")], &context).unwrap_err();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("server.trusted_proxies"), "{found:?}");
    }
}

#[test]
fn too_much_is_refused() {
    let many: Vec<_> = (0..101).map(|number| format!("rule.{number}.deny")).collect();
    let many: Vec<_> = many.iter().map(|label| (label.as_str(), "true")).collect();
    wrong(&many, &["labels forepost.*: are too many; 100 with 16384 bytes are read"]);
    wrong(&[("name", &"x".repeat(16_384))], &["labels forepost.*: are too many; 100 with 16384 bytes are read"]);
    let found = read(&[(&"x".repeat(5000), "true")], &context()).unwrap_err();
    assert!(found.len() == 1 && found[0].len() < 200 && found[0].contains("is too long"), "{found:?}");
    wrong(
        &[("cors.a\nb", "x")],
        &["label forepost.cors.a\\nb: has a character that no key has; letters, digits, _, - and dots"],
    );
}

#[test]
fn each_host_is_an_application_of_its_own() {
    let labels = BTreeMap::from([("name".to_owned(), "Media".to_owned()), ("groups".to_owned(), "media".to_owned())]);
    let host = |host: &str| LabelledHost { label: "forepost.host".to_owned(), host: host.to_owned() };
    let found = declared(&labels, &[host("tv.example.com"), host("http://music.example.com")], &context()).unwrap();
    let found: Vec<_> = found.into_iter().map(application).collect();
    let slugs: Vec<_> =
        found.iter().map(|app| (app.slug.as_str(), app.external_host.url(), app.required_groups.len())).collect();
    assert_eq!(
        slugs,
        [
            ("media", "https://tv.example.com/".to_owned(), 1),
            ("music-example-com", "http://music.example.com/".to_owned(), 1),
        ]
    );
}

/// An application of the file with a cookie domain, and what its provider calls claims.
const HOME: &str = r#"
[identity_provider.default]
issuer = "https://id.example.com/"
client_id = "forepost"
client_secret = "a secret"
[[application]]
slug = "home"
external_host = "https://auth.example.com/base"
cookie_domain = "example.com"
headers = { jwt = false }
[[application.rule]]
paths = [{ prefix = "/x" }]
require = { claims = { department = "it" } }
[[application.rule]]
deny = true
paths = [{ prefix = "/y" }]
"#;

fn of_host(labels: &[(&str, &str)], host: &str) -> Result<OfLabels, Vec<String>> {
    let mut home = loaded(HOME);
    let claims = home.identity_providers["default"].claims.clone();
    let context = LabelContext { domains: vec![(home.applications.remove(0), claims)], ..context() };
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let host = LabelledHost { label: "forepost.host".to_owned(), host: host.to_owned() };
    declared(&labels, &[host], &context).map(|mut found| found.remove(0))
}

#[test]
fn a_host_under_a_cookie_domain_of_the_file_is_a_host_of_its_application() {
    for (labels, lines) in [
        (&[][..], ""),
        (&[("name", "TV"), ("groups", "media")], "name = \"TV\"\nrequired_groups = [\"media\"]"),
        (&[("slug", "tv"), ("public", "/api, /ping")], "slug = \"tv\"\npublic_paths = [\"/api\", \"/ping\"]"),
        (
            &[("headers.jwt", "false"), ("header.1.name", "X-A"), ("header.1.text", "b")],
            "headers = { jwt = false }\nheader = [{ name = \"X-A\", text = \"b\" }]",
        ),
        (
            &[("rule.1.prefix", "/a"), ("rule.1.require.claims.department", "hr"), ("users", "bob")],
            "rule = [{ paths = [{ prefix = \"/a\" }], require = { claims = { department = \"hr\" } } }, { require = { users = [\"bob\"] } }]",
        ),
    ] {
        for host in ["tv.example.com", "TV.example.com.", "https://tv.example.com", "https://tv.example.com/"] {
            let expected = loaded(&format!("{HOME}[[application.host]]\nhost = \"tv.example.com\"\n{lines}"));
            let expected = (*expected.applications[0].hosts[0]).clone();
            let found = of_host(labels, host).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
            assert_eq!(found, OfLabels::Host { application: "home".to_owned(), host: expected }, "{labels:?}");
        }
    }
    assert!(matches!(of_host(&[], "tv.example.net"), Ok(OfLabels::Application(_))));
}

#[test]
fn a_host_says_nothing_for_its_domain() {
    let wrong = |labels: &[(&str, &str)], host: &str, expected: &str| {
        assert_eq!(of_host(labels, host).unwrap_err(), [expected], "{labels:?} {host}");
    };
    for label in
        ["cookie_domain", "provider", "cors.allowed_origins", "tokens.bearer", "basic_auth.password", "show_required"]
    {
        let expected = format!(
            "label forepost.{label}: is for an application, and tv.example.com is a host of the application home; set it there in the \
             file, or remove the label"
        );
        wrong(&[(label, "example.com")], "tv.example.com", &expected);
    }
    for host in ["http://tv.example.com", "tv.example.com:8443", "https://tv.example.com/base"] {
        let expected = format!(
            "label forepost.host: \"{host}\" is more than a host; give the host alone: the application home says scheme and path of all \
             hosts of its domain"
        );
        wrong(&[], host, &expected);
    }
    let session = "labels forepost.rule, forepost.header, forepost.headers: look at a claim, or send an ID token, that the application home \
                   does not; name it there in the file: the sessions of all its hosts depend on it";
    wrong(&[("rule.1.require.claims.salary", "1")], "tv.example.com", session);
    wrong(
        &[("rule.1.when", "identity != null && identity.claims.salary == 1"), ("rule.1.deny", "true")],
        "tv.example.com",
        session,
    );
    wrong(&[("header.1.name", "X-A"), ("header.1.claim", "salary")], "tv.example.com", session);
    wrong(&[("headers.jwt", "true")], "tv.example.com", session);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever labels say: one line for each mistake, and nothing that only the file may say.
    #[test]
    fn labels_never_panic(
        labels in proptest::collection::btree_map(
            "(name|groups|users|public|rule|header|headers|cors|tokens|require|danger_x|[a-z.0-9]{0,6}|.{0,4})(\\.(1|2|x|prefix|deny|groups|require|claims|jwt|.{0,3})){0,4}",
            "(true|/a|/|a,b|\\[\\]|\\{\\}|\\{ a = 1 \\}|[ -~]{0,12}|.{0,8})",
            0..8,
        ),
    ) {
        let host = LabelledHost { label: "forepost.host".to_owned(), host: "app.example.com".to_owned() };
        match declared(&labels, &[host], &context()) {
            Ok(found) => {
                let found: Vec<_> = found.into_iter().map(application).collect();
                prop_assert_eq!(found.len(), 1);
                prop_assert!(!found[0].danger_unverified_email && found[0].cookie_domain.is_none());
                prop_assert_eq!(found[0].external_host.host.as_str(), "app.example.com");
            }
            Err(mistakes) => {
                prop_assert!(!mistakes.is_empty());
                for mistake in mistakes {
                    prop_assert!(!mistake.chars().any(char::is_control), "{mistake:?}");
                    prop_assert!(mistake.starts_with("label forepost.") || mistake.starts_with("labels forepost."), "{mistake}");
                }
            }
        }
    }
}
