//! What `[[application.rule]]` refuses.

use super::{MINIMAL, loaded, refused};
use crate::access::Action;
use crate::settings::Settings;

/// A rule of these lines has exactly one mistake, whose line has all of `parts`.
#[track_caller]
fn wrong(lines: &str, parts: &[&str]) {
    let text = format!("{MINIMAL}\n[[application.rule]]\n{lines}");
    let block = refused(Settings::from_toml(&text));
    let found: Vec<_> = block.lines().skip(1).collect();
    assert_eq!(found.len(), 1, "{text}\n{block}");
    for part in parts {
        assert!(found[0].contains(part), "{part:?} is not in\n{block}");
    }
}

#[test]
fn exactly_one_action() {
    wrong("paths = [\"/a\"]", &["application[0].rule[0]: does nothing", "exactly one of"]);
    wrong("deny = true\nrequire = {}", &["does more than one thing"]);
    wrong("public = false", &["does nothing"]);
    wrong("require = []", &["rule[0].require: is an empty list"]);
    wrong("require = 1", &["rule[0].require: wanted a table"]);
}

#[test]
fn nothing_opens_everything() {
    let without = "has no condition, and no rule before it denies or requires, so it would open everything";
    wrong("public = true", &["rule[0]: ", without, "put it last, after a rule that denies or requires"]);
    let public = "public = true\npaths = [\"/a\"]\n[[application.rule]]\npublic = true";
    wrong(public, &["rule[1]: ", without]);
    let first = "public = true\n[[application.rule]]\ndeny = true";
    wrong(first, &["rule[0]: has no condition, so it would open everything, and no rule after it would count"]);
    let middle =
        "deny = true\npaths = [\"/a\"]\n[[application.rule]]\npublic = true\n[[application.rule]]\ndeny = true";
    wrong(middle, &["rule[1]: has no condition, so it would open everything"]);
    wrong("public = true\npaths = [{ prefix = \"/\" }]", &["paths[0].prefix: \"/\" would open everything"]);
    wrong("public = true\npaths = [{ regex = \".*\" }]", &["would open everything"]);
    wrong("public = true\nwhen = \"true\"", &["rule[0].when: cannot be used", "always the same"]);
    let everybody = "[server]\ntrusted_proxies = [\"10.0.0.1\"]\n";
    let text = format!("{everybody}{MINIMAL}\n[[application.rule]]\npublic = true\nnetworks = [\"0.0.0.0/0\"]");
    assert!(refused(Settings::from_toml(&text)).contains("0.0.0.0/0 is everybody"));
}

#[test]
fn the_last_rule_may_open_what_the_others_leave() {
    for restriction in ["deny = true\npaths = [{ prefix = \"/internal\" }]", "paths = [\"/a\"]\nrequire = {}"] {
        let text = format!("{MINIMAL}\n[[application.rule]]\n{restriction}\n[[application.rule]]\npublic = true");
        let settings = loaded(&text);
        assert!(matches!(settings.applications[0].rules[1].action, Action::Public), "{settings:?}");
    }
    let text = format!(
        "{MINIMAL}\nrequired_groups = [\"staff\"]\n[[application.rule]]\npaths = [\"/a\"]\ndeny = true\n\
         [[application.rule]]\npublic = true"
    );
    assert!(refused(Settings::from_toml(&text)).contains("required_groups: has no effect: the last rule opens"));
}

#[test]
fn conditions() {
    wrong("deny = true\nhosts = []", &["rule[0].hosts: is empty"]);
    wrong(
        "deny = true\nhosts = [\"other.test\"]",
        &["rule[0]: names \"other.test\"", "is not a host of this application"],
    );
    wrong("deny = true\nhosts = [\"*.other.test\"]", &["is not a host of this application"]);
    wrong("deny = true\npaths = [\"a\"]", &["rule[0].paths[0].path", "begin it with /"]);
    wrong("deny = true\npaths = [{ path = \"/a\", prefix = \"/b\" }]", &["paths[0]: has more than one pattern"]);
    wrong("deny = true\npaths = [{ path = \"/a\", colour = 1 }]", &["paths[0].colour: is an unknown key"]);
    wrong("deny = true\nmethods = [\"G T\"]", &["rule[0].methods[0]", "not an HTTP method"]);
    wrong("deny = true\nmethods = [\"GET2\"]", &["rule[0].methods[0]", "not an HTTP method", "letters and hyphens"]);
    wrong("deny = true\nnetworks = [\"10.0.0.0/8\"]", &["server.trusted_proxies: has to be given"]);
    wrong("deny = true\nwhen = \"request.client == '::1'\"", &["server.trusted_proxies: has to be given"]);
    wrong("deny = true\nwhen = \"identity.username == 'x'\"", &["rule[0].when", "identity != null"]);
    wrong("deny = true\npaths = [\"/outpost.goauthentik.io/start\"]", &["paths[0].path", "before any rule"]);
    let proxies = "[server]\ntrusted_proxies = [\"10.0.0.1\"]";
    let network = |network: &str, parts: &[&str]| {
        let lines = format!("deny = true\nnetworks = [\"{network}\"]\n{proxies}");
        wrong(&lines, &[&["rule[0].networks[0]: "], parts].concat());
    };
    network("10.0.0.1/24", &["write \"10.0.0.0/24\" for the whole network, or \"10.0.0.1\" for the one address"]);
    network("2001:db8::1/64", &["write \"2001:db8::/64\" for the whole network, or \"2001:db8::1\""]);
    network("10.0.0.0/33", &["is not a network"]);
    network("10.0.0/24", &["is not a network"]);
    network("::ffff:10.0.0.0/104", &["write \"10.0.0.0/8\""]);
    network("::ffff:10.0.0.1", &["write \"10.0.0.1/32\""]);
    wrong("deny = true\nhost = \"app.example.com\"", &["rule[0].host: is an unknown key", "hosts"]);
}

#[test]
fn requirements() {
    wrong("require = { group = \"a\" }", &["rule[0].require.group: is an unknown key"]);
    wrong("require = { groups_any = [] }", &["require.groups_any: is empty"]);
    wrong("require = { emails = [\"alice\"] }", &["require.emails[0]", "not an e-mail address"]);
    wrong("require = { emails = [\"a@b@example.com\"] }", &["not an e-mail address"]);
    for domain in
        ["@example.com", "*", "*.", "*example.com", "a.*.example.com", "**.example.com", ".example.com", "*.*"]
    {
        wrong(&format!("require = {{ email_domains = [\"{domain}\"] }}"), &["not a domain of e-mail addresses"]);
    }
    wrong("require = { claims = { a = [] } }", &["require.claims.a: is empty"]);
    wrong("require = { claims = { a = [[]] } }", &["require.claims.a", "wanted a text"]);
    wrong("require = { max_auth_age = \"10s\" }", &["require.max_auth_age: is out of range"]);
    wrong("require = [{ groups_any = [\"a\"] }, { user = \"b\" }]", &["require[1].user: is an unknown key"]);
}

#[test]
fn rules_are_read() {
    let rules = r#"
        [[application.rule]]
        hosts = "app.example.com"
        require = [{ groups_any = ["a"], claims = { role = "ops" } }, { users = ["bob"], max_auth_age = "5m" }]
        [[application.rule]]
        paths = ["/a", { prefix = "/" }, { regex = ".*" }]
        deny = true
    "#;
    let rules = rules.replace("hosts = \"app.example.com\"", "hosts = [\"app.example.com\"]");
    let settings = loaded(&format!("{MINIMAL}\n{rules}"));
    let [first, second] = &settings.applications[0].rules[..] else { panic!("{settings:?}") };
    assert!(matches!(&first.action, Action::Require(required) if required.len() == 2), "{first:?}");
    assert!(matches!(second.action, Action::Deny) && second.paths.len() == 3, "{second:?}");
}
