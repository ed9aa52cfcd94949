//! `[docker]`.

use super::{MINIMAL, beside, loaded, one};

const ON: &str = "[docker]\nendpoint = \"unix:///var/run/docker.sock\"\ndomains = [\"apps.example.com\"]\n";

#[test]
fn in_docker() {
    beside(
        "[docker]\nendpoint = \"/run/docker.sock\"",
        &["docker.endpoint: \"/run/docker.sock\" is not an engine", "unix:///"],
    );
    beside(
        "[docker]\nendpoint = \"https://a:2376\"\ndomains = [\"a.test\"]",
        &["docker.endpoint", "cleartext", "socket proxy"],
    );
    beside("[docker]\nendpoint = \"tcp://proxy\"", &["docker.domains: is missing", "apps.example.com"]);
    beside("[docker]\nendpoint = \"tcp://proxy\"\ndomains = []", &["docker.domains: names no domain"]);
    beside("[docker]\ndomains = [\"a.test\", \"co.uk\"]", &["docker.domains[1]: \"co.uk\" is not a domain of yours"]);
    beside("[docker]\ndomains = [\"*.a.test\"]", &["docker.domains[0]: \"*.a.test\" is a pattern"]);
    beside("[docker]\ngrace = \"2d\"", &["docker.grace: 2d is out of range"]);
    beside("[docker]\nlabels = true", &["docker.labels: is an unknown key", "known here: endpoint, domains, grace"]);
    beside(&format!("{ON}[server]\ndanger_any_host = true"), &["server.danger_any_host: cannot be on beside [docker]"]);
}

#[test]
fn labels_alone_may_make_applications() {
    let (provider, _) = MINIMAL.split_once("[[application]]").unwrap();
    assert!(loaded(&format!("{provider}{ON}")).applications.is_empty());
    one(provider, &["application: is missing"]);
    one(&format!("{provider}[docker]\nendpoint = \"off\""), &["application: is missing"]);
}
