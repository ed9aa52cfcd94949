//! What forepost is told through the proxy, in its questions and on its own paths.

use std::time::Duration;

use super::application::Application;
use super::proxy::{Addresses, Proxy};
use super::raw;
use crate::support::port::reserved_address;
use crate::support::tool::Running;

/// A proxy that takes longer will never be ready.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at a starting proxy.
const GLANCE: Duration = Duration::from_millis(10);

/// The names that `examples/README.md` promises about.
fn promised() -> Vec<String> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/README.md")).unwrap();
    let (_, promise) = readme.split_once("about the request in a header that forepost reads (").unwrap();
    let (names, _) = promise.split_once(')').unwrap();
    let names = names.split('`').skip(1).step_by(2);
    let names = names.map(|name| if name.starts_with('-') { format!("X-Forwarded{name}") } else { name.to_owned() });
    names.collect()
}

/// In the place of forepost stands what remembers each request, and lets all pass.
pub(super) async fn what_forepost_reads_is_never_the_clients(proxy: Proxy) {
    let address = reserved_address();
    let (forepost, application) = (Application::start().await, Application::start().await);
    let folder = tempfile::tempdir().unwrap();
    let addresses = Addresses { proxy: address, forepost: &[forepost.address], application: application.address };
    let mut running = Running::start(proxy.prepare(folder.path(), addresses), folder.path());
    let request = |path: &str, fields: &str| {
        let port = address.port();
        format!("GET {path} HTTP/1.1\r\nHost: app.localhost:{port}\r\nConnection: close\r\n{fields}\r\n")
    };
    let ready = async {
        while raw::status(address, &request("/page", "")).await.ok() != Some(200) {
            running.still_runs();
            tokio::time::sleep(GLANCE).await;
        }
    };
    let ready = tokio::time::timeout(PATIENCE, ready).await;
    assert!(ready.is_ok(), "the proxy is not ready:\n{}", running.messages());
    forepost.take();

    let names = promised();
    assert_eq!(names.len(), 7, "{names:?}");
    let own = ["start", "frontchannel-logout"];
    let own = own.map(|name| format!("/outpost.goauthentik.io/{name}"));
    for path in own.iter().map(String::as_str).chain(["/page"]) {
        for name in &names {
            for spelled in [name, &name.replace('-', "_")] {
                for fields in [
                    format!("{spelled}: spoofed\r\n"),
                    format!("{spelled}: spoofed\r\n{name}: spoofed\r\n"),
                    format!("{spelled}: spoofed\r\nConnection: {name}\r\n"),
                ] {
                    let status = raw::status(address, &request(path, &fields)).await.unwrap();
                    let told = forepost.take();
                    if status == 400 && proxy == Proxy::Envoy && fields.contains("Connection: ") {
                        // It accepts these from no client.
                        assert!(told.is_empty(), "{path} {fields}: {told:#?}");
                        continue;
                    }
                    assert_eq!(status, 200, "{path} {fields}");
                    assert_eq!(told.len(), 1, "{path} {fields}");
                    for seen in told {
                        let values = names.iter().flat_map(|name| seen.headers.get_all(name));
                        let texts: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
                        assert!(!texts.iter().any(|it| it.contains("spoofed")), "{path} {fields}: {seen:#?}");
                    }
                }
            }
        }
    }
}
