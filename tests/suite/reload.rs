//! Changes of the configuration while forepost runs: files that change, SIGHUP, and `forepost reload`.

use std::fs;
use std::net::SocketAddr;

use http::Method;
use serde_json::Value;
use tempfile::TempDir;

use crate::provider::Provider;
use crate::support::process::{Running, provider};
use crate::support::{Browser, Reply, ask, fill_in};

const APP: &str = "https://app.example.com/page";
const START: &str = "https://app.example.com/outpost.goauthentik.io/start?rd=/page";

/// A daemon with a configuration file that a test rewrites.
struct Scene {
    provider: Provider,
    folder: TempDir,
    daemon: Running,
    http: SocketAddr,
}

impl Scene {
    async fn new(applications: &str) -> Self {
        let (provider, folder) = (provider().await, tempfile::tempdir().unwrap());
        write(&folder, &provider, applications);
        let file = folder.path().join("forepost.toml");
        let mut daemon = Running::start(&[("FOREPOST_CONFIG", file.to_str().unwrap())]);
        let http = daemon.address("http");
        daemon.until(|line| line["message"].as_str().filter(|text| text.contains("ready for logins")).map(|_| ()));
        Self { provider, folder, daemon, http }
    }

    fn browser(&self) -> Browser {
        Browser::new().route("idp.localhost", self.provider.address()).route("*", self.http)
    }

    /// Writes the file, sends SIGHUP, and waits for the line of the log in which `key` is.
    fn reload(&mut self, applications: &str, key: &str) -> Value {
        write(&self.folder, &self.provider, applications);
        self.hang_up(key)
    }

    fn hang_up(&mut self, key: &str) -> Value {
        self.daemon.forget();
        self.daemon.signal("HUP");
        self.daemon.until(|line| line.get(key).is_some().then(|| line.clone()))
    }
}

fn write(folder: &TempDir, provider: &Provider, applications: &str) {
    let issuer = provider.issuer();
    let text = format!(
        "[identity_provider.default]\nissuer = \"{issuer}\"\nclient_id = \"proxy\"\nclient_secret = \"proxy-secret\"\n\
         [server]\nhttp = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\nwatch = false\n[session]\nstore = \"memory\"\n{applications}"
    );
    fs::write(folder.path().join("forepost.toml"), text).unwrap();
}

fn application(host: &str, more: &str) -> String {
    format!("[[application]]\nexternal_host = \"https://{host}\"\n{more}\n")
}

async fn check(browser: &mut Browser, url: &str) -> Reply {
    ask("traefik", browser, Method::GET, url, &[]).await
}

async fn sign_in(browser: &mut Browser) {
    let start = browser.get(START).await;
    let page = browser.get(start.is(302).location().as_str()).await;
    let back = fill_in(browser, &page, "alice").await;
    browser.get(back.location().as_str()).await.is(302);
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_change_and_sessions_stay() {
    let app = |more| application("app.example.com", more);
    let mut scene = Scene::new(&app("")).await;
    let mut alice = scene.browser();
    sign_in(&mut alice).await;
    check(&mut alice, APP).await.is(200);
    let wiki = "https://wiki.example.com/";
    check(&mut alice, wiki).await.is(400);

    // A new rule counts for the next check.
    let line = scene.reload(&(app("required_groups = [\"none\"]") + &application("wiki.example.com", "")), "revision");
    assert_eq!(
        [&line["added"], &line["changed"], &line["removed"]],
        ["application.wiki-example-com", "application.app-example-com", ""],
        "{line:#}"
    );
    check(&mut alice, APP).await.is(403);
    check(&mut alice, wiki).await.is(302);

    // An application that vanishes is unknown; it comes back with its sessions.
    let line = scene.reload(&application("wiki.example.com", ""), "revision");
    assert_eq!([&line["added"], &line["removed"]], ["", "application.app-example-com"], "{line:#}");
    check(&mut alice, APP).await.is(400);
    scene.reload(&app(""), "revision");
    let reply = check(&mut alice, APP).await;
    assert_eq!(reply.is(200).header("x-authentik-username"), "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_client_id_needs_a_new_login() {
    let mut scene = Scene::new(&application("app.example.com", "")).await;
    let mut alice = scene.browser();
    sign_in(&mut alice).await;
    check(&mut alice, APP).await.is(200);
    let file = scene.folder.path().join("forepost.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\"proxy\"", "\"other\"")).unwrap();
    let line = scene.hang_up("revision");
    assert_eq!(line["changed"], "identity_provider.default, application.app-example-com", "{line:#}");
    scene.daemon.until(|line| line["message"].as_str().filter(|text| text.contains("ready for logins")).map(|_| ()));
    check(&mut alice, APP).await.is(302);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_changes_nothing() {
    let app = |more| application("app.example.com", more);
    let mut scene = Scene::new(&app("")).await;
    let mut alice = scene.browser();
    sign_in(&mut alice).await;
    for broken in [app("required_groups = 7"), app("requiredgroups = []"), app("]"), String::new()] {
        let line = scene.reload(&broken, "mistakes");
        assert_eq!(line["level"], "ERROR", "{line:#}");
        check(&mut alice, APP).await.is(200);
    }
    fs::remove_file(scene.folder.path().join("forepost.toml")).unwrap();
    let line = scene.hang_up("mistakes");
    assert!(line["mistakes"].as_str().unwrap().contains("cannot be read"), "{line:#}");
    check(&mut alice, APP).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_restart_is_named_and_the_rest_is_applied() {
    let app = |more| application("app.example.com", more);
    let mut scene = Scene::new(&app("")).await;
    let mut stranger = scene.browser();
    check(&mut stranger, APP).await.is(302);
    let line = scene.reload(&(app("public_paths = [\"/page\"]") + "[log]\nlevel = \"warn\"\n"), "keys");
    assert_eq!(line["keys"], "log.level");
    scene.hang_up("revision");
    check(&mut stranger, APP).await.is(200);

    // Rules for networks and the proxies that they trust belong together.
    let rule = "[[application.rule]]\nnetworks = [\"192.0.2.7\"]\npublic = true\n";
    let text = format!("{}{rule}", app(""));
    write(&scene.folder, &scene.provider, &text);
    let file = scene.folder.path().join("forepost.toml");
    let text = fs::read_to_string(&file).unwrap().replace("[server]", "[server]\ntrusted_proxies = [\"127.0.0.1\"]");
    fs::write(&file, text).unwrap();
    scene.daemon.forget();
    scene.daemon.signal("HUP");
    scene.daemon.until(|line| line["message"].as_str().filter(|text| text.contains("rules for networks")).map(|_| ()));
    check(&mut stranger, APP).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_that_mean_nothing_do_not_end_the_process() {
    let mut scene = Scene::new(&application("app.example.com", "")).await;
    for signal in ["USR1", "USR2"] {
        scene.daemon.signal(signal);
    }
    scene.hang_up("revision");
    check(&mut scene.browser(), APP).await.is(302);
    scene.daemon.signal("TERM");
    assert_eq!(scene.daemon.end().0, Some(0));
}
