//! Changes of the configuration while forepost runs: files that change, SIGHUP, and `forepost reload`.

mod under_load;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;

use http::Method;
use serde_json::Value;
use tempfile::TempDir;

use crate::provider::Provider;
use crate::support::process::{Running, forepost, provider};
use crate::support::{Browser, Reply, ask, fill_in};

const APP: &str = "https://app.example.com/page";
const START: &str = "https://app.example.com/outpost.goauthentik.io/start?rd=/page";

/// A daemon with a configuration file that a test rewrites.
struct Scene {
    provider: Provider,
    folder: TempDir,
    server: String,
    daemon: Running,
    http: SocketAddr,
}

impl Scene {
    /// Files are read at SIGHUP alone.
    async fn new(applications: &str) -> Self {
        Self::with(applications, "watch = false\n").await
    }

    /// More keys of `[server]`.
    async fn with(applications: &str, server: &str) -> Self {
        let (provider, folder) = (provider().await, tempfile::tempdir().unwrap());
        let server = server.to_owned();
        write(&folder, &provider, &server, applications);
        let file = folder.path().join("forepost.toml");
        let mut daemon = Running::start(&[("FOREPOST_CONFIG", file.to_str().unwrap())]);
        let http = daemon.address("http");
        daemon.until(|line| line["message"].as_str().filter(|text| text.contains("ready for logins")).map(|_| ()));
        Self { provider, folder, server, daemon, http }
    }

    fn browser(&self) -> Browser {
        Browser::new().route("idp.localhost", self.provider.address()).route("*", self.http)
    }

    /// Writes the file, sends SIGHUP, and waits for the line of the log in which `key` is.
    fn reload(&mut self, applications: &str, key: &str) -> Value {
        write(&self.folder, &self.provider, &self.server, applications);
        self.hang_up(key)
    }

    fn hang_up(&mut self, key: &str) -> Value {
        self.daemon.forget();
        self.daemon.signal("HUP");
        self.daemon.until(|line| line.get(key).is_some().then(|| line.clone()))
    }
}

fn write(folder: &TempDir, provider: &Provider, server: &str, applications: &str) {
    let issuer = provider.issuer();
    let text = format!(
        "[identity_provider.default]\nissuer = \"{issuer}\"\nclient_id = \"proxy\"\nclient_secret = \"proxy-secret\"\n\
         [server]\nhttp = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n{server}[session]\nstore = \"memory\"\n{applications}"
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
    assert_eq!(line["changed"], "application.app-example-com, identity_provider.default", "{line:#}");
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
    write(&scene.folder, &scene.provider, &scene.server, &text);
    let file = scene.folder.path().join("forepost.toml");
    let text = fs::read_to_string(&file).unwrap().replace("[server]", "[server]\ntrusted_proxies = [\"127.0.0.1\"]");
    fs::write(&file, text).unwrap();
    scene.daemon.forget();
    scene.daemon.signal("HUP");
    scene.daemon.until(|line| line["mistakes"].as_str().filter(|text| text.contains("rules for networks")).map(|_| ()));
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

impl Scene {
    /// Writes a file of `conf.d`, as editors do it.
    fn put(&self, name: &str, text: &str) {
        let new = self.folder.path().join("new");
        fs::create_dir_all(self.folder.path().join("conf.d")).unwrap();
        fs::write(&new, text).unwrap();
        fs::rename(new, self.folder.path().join("conf.d").join(name)).unwrap();
    }

    /// Runs a command beside the daemon: its exit code, and what it prints and says of errors.
    fn command(&self, words: &[&str]) -> (i32, String) {
        let file = self.folder.path().join("forepost.toml");
        let output = forepost(words, &[("FOREPOST_CONFIG", file.to_str().unwrap())]).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_files_are_read_by_themselves() {
    let mut scene = Scene::with(&application("app.example.com", ""), "").await;
    let mut stranger = scene.browser();
    let wiki = "https://wiki.example.com/";
    check(&mut stranger, wiki).await.is(400);
    scene.daemon.forget();
    scene.put("wiki.toml", &application("wiki.example.com", "required_groups = [\"staff\"]"));
    let line = scene.daemon.until(|line| line.get("revision").is_some().then(|| line.clone()));
    assert_eq!([&line["added"], &line["source"]], ["application.wiki-example-com", "files"], "{line:#}");
    check(&mut stranger, wiki).await.is(302);

    // A mistake in one application: it stays as it was, and the others change.
    scene.daemon.forget();
    scene.put("wiki.toml", &application("wiki.example.com", "public_paths = [\"/\"]\ncolour = 1"));
    scene.put("notes.toml", &application("notes.example.com", ""));
    let line = scene.daemon.until(|line| line.get("mistakes").is_some().then(|| line.clone()));
    assert_eq!(
        line["message"],
        "applications with mistakes stay as they were; the rest of the configuration is reloaded"
    );
    scene.daemon.until(|line| line["added"].as_str().filter(|names| names.contains("notes")).map(|_| ()));
    check(&mut stranger, wiki).await.is(302);
    check(&mut stranger, "https://notes.example.com/").await.is(302);

    // One file that is no TOML: nothing changes.
    scene.daemon.forget();
    scene.put("wiki.toml", "[[application");
    fs::remove_file(scene.folder.path().join("conf.d/notes.toml")).unwrap();
    let line = scene.daemon.until(|line| line.get("mistakes").is_some().then(|| line.clone()));
    assert_eq!(line["message"], "the configuration is not reloaded; the one before it stays in force");
    check(&mut stranger, "https://notes.example.com/").await.is(302);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_reload_and_see_what_came_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("watch = false\nadmin = \"unix:{}\"\n", folder.path().join("admin.sock").display());
    let mut scene = Scene::with(&application("app.example.com", ""), &socket).await;
    let mut monitor = Browser::new().route("metrics", scene.daemon.address("metrics"));
    let (code, text) = scene.command(&["status"]);
    assert_eq!(code, 0, "{text}");
    let file = scene.folder.path().join("forepost.toml").display().to_string();
    for part in [
        "Revision 1, published 20",
        "Source files, read 20",
        "logins work",
        &format!("app-example-com  https://app.example.com  from {file}"),
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    scene.put("wiki.toml", &application("wiki.example.com", ""));
    let (code, text) = scene.command(&["reload"]);
    assert!(code == 0 && text.contains("  Added: application.wiki-example-com\n"), "{code} {text}");
    check(&mut scene.browser(), "https://wiki.example.com/").await.is(302);

    // A mistake has its own exit code, and stays visible until it is corrected.
    scene.put("wiki.toml", &application("wiki.example.com", "colour = 1"));
    let mistake = "  Mistake: application[0].colour: is an unknown key";
    for command in ["reload", "status"] {
        let (code, text) = scene.command(&[command]);
        assert!(code == 1 && text.contains(mistake) && text.contains("conf.d/wiki.toml)"), "{code} {text}");
    }
    let (code, text) = scene.command(&["status", "--json"]);
    let status: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, status["sources"]["files"]["mistakes"].as_array().unwrap().len()), (1, 1), "{text}");
    let metrics = monitor.get("http://metrics/metrics").await.body;
    for line in [
        "forepost_configuration_revision 2\n",
        "forepost_configuration_last_failure_timestamp_seconds{source=\"files\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    fs::remove_file(scene.folder.path().join("conf.d/wiki.toml")).unwrap();
    let (code, text) = scene.command(&["reload"]);
    assert!(code == 0 && text.contains("  Removed: application.wiki-example-com\n"), "{code} {text}");
    let (code, text) = scene.command(&["status", "--socket", "/nowhere/admin.sock"]);
    assert!(code == 69 && text.contains("is forepost running?"), "{code} {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_of_start_reload_and_stop() {
    let folder = tempfile::tempdir().unwrap();
    let (file, socket) = (folder.path().join("forepost.toml"), folder.path().join("notify.sock"));
    let manager = UnixDatagram::bind(&socket).unwrap();
    let application = application("app.example.com", "");
    let server = "[server]\nhttp = \"127.0.0.1:0\"\nmetrics = \"off\"\n[session]\nstore = \"memory\"\n";
    let provider = "[identity_provider.main]\nissuer = \"https://127.0.0.1:9\"\nclient_id = \"proxy\"\n";
    fs::write(&file, format!("{server}{provider}{application}")).unwrap();
    let told = || {
        let mut message = [0; 1024];
        let length = manager.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    let environment = [("FOREPOST_CONFIG", file.to_str().unwrap()), ("NOTIFY_SOCKET", socket.to_str().unwrap())];
    let daemon = Running::start(&environment);
    assert_eq!(told(), "READY=1\n");
    daemon.signal("HUP");
    let reloading = told();
    let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    assert!(time.trim_end().parse::<u64>().unwrap() > 0, "{reloading}");
    assert_eq!(told(), "READY=1\n");
    daemon.signal("TERM");
    assert_eq!(told(), "STOPPING=1\n");
    assert_eq!(daemon.end().0, Some(0));
}
