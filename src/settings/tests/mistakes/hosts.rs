use super::{MINIMAL, one};

/// A host beside an application with a cookie domain.
#[track_caller]
fn host(lines: &str, parts: &[&str]) {
    one(&format!("{MINIMAL}\ncookie_domain = \"example.com\"\n[[application.host]]\n{lines}"), parts);
}

#[test]
fn in_a_host() {
    host("", &["application[0].host[0].host: is missing", "a host under the cookie domain"]);
    host("host = \"https://a.example.com\"", &["host[0].host: \"https://a.example.com\" is not a host"]);
    host("host = \"a.other.test\"", &["host[0].host: \"a.other.test\" is outside the cookie domain \"example.com\""]);
    host("host = \"10.0.0.1\"", &["is outside the cookie domain"]);
    host("host = \"a.example.com\"\nslug = \"a b\"", &["host[0].slug: \"a b\" is not a slug"]);
    host("host = \"a.example.com\"\nrequired_group = []", &["host[0].required_group", "did you mean required_groups?"]);
    host("host = \"a.example.com\"\ncookie_domain = \"a\"", &["host[0].cookie_domain: is an unknown key"]);
    host(
        "host = \"a.example.com\"\npublic_paths = [{ prefix = \"/\" }]",
        &["host[0].public_paths[0].prefix: \"/\" would"],
    );
    host(
        "host = \"a.example.com\"\npublic_paths = [{ path = \"/x\", host = \"b.example.com\" }]",
        &["host[0].public_paths: has a rule for \"b.example.com\", which is not this host"],
    );
    host("host = \"a.example.com\"\n[[application.host.rule]]\npublic = true", &["host[0].rule[0]: has no condition"]);
    host(
        "host = \"a.example.com\"\n[[application.host.rule]]\nhosts = [\"*.b.example.com\"]\ndeny = true",
        &["host[0].rule[0]: names \"*.b.example.com\", which is not this host"],
    );
    host(
        "host = \"a.example.com\"\n[application.host.headers]\nwarn_bytes = 1024",
        &["host[0].headers.warn_bytes: is an unknown key", "known here: jwt, presets, additional"],
    );
    host(
        "host = \"a.example.com\"\nheader = [{ name = \"X-A\", text = \"x\" }, { name = \"x-a\", text = \"y\" }]",
        &["host[0].header: \"x-a\" is given twice"],
    );
    let no_domain = format!("{MINIMAL}\n[[application.host]]\nhost = \"a.example.com\"");
    one(&no_domain, &["application[0].host: is for an application with a cookie domain", "give the application"]);
    one(
        &format!("{MINIMAL}\n[[application.host]]\nhost = \"a.example.com\"\n[[application.host.rule]]\nnetworks = [\"192.0.2.0/24\"]\ndeny = true")
            .replace("[[application.host]]", "cookie_domain = \"example.com\"\n[[application.host]]"),
        &["server.trusted_proxies: has to be given"],
    );
}

#[test]
fn groups_of_a_host_that_would_have_no_effect() {
    let everything = "[[application.rule]]\npaths = [\"/x\"]\ndeny = true\n[[application.rule]]\npublic = true";
    let text = format!(
        "{MINIMAL}\ncookie_domain = \"example.com\"\n{everything}\n[[application.host]]\nhost = \"a.example.com\"\nrequired_groups = [\"a\"]"
    );
    one(&text, &["application[0].host[0].required_groups: has no effect: the last rule of the application opens"]);
    let of_the_host = everything.replace("application.rule", "application.host.rule");
    host(
        &format!("host = \"a.example.com\"\nrequired_groups = [\"a\"]\n{of_the_host}"),
        &["host[0].required_groups: has no effect: the last rule opens"],
    );
}

#[test]
fn between_hosts() {
    let two = |first: &str, second: &str, parts: &[&str]| {
        host(&format!("{first}\n[[application.host]]\n{second}"), parts);
    };
    two(
        "host = \"a.example.com\"",
        "host = \"A.example.com.\"\nslug = \"b\"",
        &["application[0].host[1].host: \"a.example.com\" is that of application[0].host[0].host too"],
    );
    two(
        "host = \"a.example.com\"\nname = \"The Wiki\"",
        "host = \"b.example.com\"\nname = \"the wiki\"",
        &[
            "application[0].host[1].slug: \"the-wiki\" is that of application[0].host[0].slug too",
            "each host its own slug",
        ],
    );
    host(
        "host = \"app.example.com\"\nslug = \"x\"",
        &["application[0].host[0].host: \"app.example.com\" is that of application[0].external_host too"],
    );
    host(
        "host = \"a.example.com\"\nslug = \"app-example-com\"",
        &["application[0].host[0].slug: \"app-example-com\" is that of application[0].slug too"],
    );
    host(
        "host = \"a.example.com\"\n[[application]]\nexternal_host = \"https://a.example.com\"\nslug = \"x\"",
        &["application[1].external_host: \"a.example.com\" is that of application[0].host[0].host too"],
    );
}
