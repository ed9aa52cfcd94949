//! Applications out of the labels of containers, with a real engine.

use std::fs;
use std::net::SocketAddr;

use http::Method;
use serde_json::Value;
use tempfile::TempDir;

use crate::provider::Provider;
use crate::support::podman::Podman;
use crate::support::process::{Running, provider};
use crate::support::{Browser, Reply, ask, fill_in};

const APP: &str = "https://app.example.com/page";
const START: &str = "https://app.example.com/outpost.goauthentik.io/start?rd=/page";
const ROUTER: &str = "traefik.http.routers.app.rule=Host(`app.example.com`) && PathPrefix(`/`)";

/// A daemon that follows an engine; its file has an application at `home.example.com`.
struct Scene {
    podman: Podman,
    provider: Provider,
    daemon: Running,
    http: SocketAddr,
    _folder: TempDir,
}

impl Scene {
    async fn new(podman: Podman) -> Self {
        Self::with(podman, "external_host = \"https://home.example.com\"").await
    }

    /// One whose file has an application with these lines.
    async fn with(podman: Podman, application: &str) -> Self {
        let (provider, folder) = (provider().await, tempfile::tempdir().unwrap());
        let (issuer, socket) = (provider.issuer(), podman.socket());
        let text = format!(
            "[identity_provider.default]\nissuer = \"{issuer}\"\nclient_id = \"proxy\"\nclient_secret = \"proxy-secret\"\n\
             [[application]]\n{application}\n\
             [docker]\nendpoint = \"unix://{}\"\ndomains = [\"app.example.com\", \"home.example.com\", \"tv.example.com\"]\ngrace = \"off\"\n\
             [server]\nhttp = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n[session]\nstore = \"memory\"\n",
            socket.display()
        );
        let file = folder.path().join("forepost.toml");
        fs::write(&file, text).unwrap();
        let mut daemon = Running::start(&[("FOREPOST_CONFIG", file.to_str().unwrap())]);
        let http = daemon.address("http");
        daemon.until(|line| line["message"].as_str().filter(|text| text.contains("ready for logins")).map(|_| ()));
        Self { podman, provider, daemon, http, _folder: folder }
    }

    fn browser(&self) -> Browser {
        Browser::new().route("idp.localhost", self.provider.address()).route("*", self.http)
    }

    /// The next line of the log that tells of a change by labels.
    fn changed(&mut self) -> Value {
        let line = self.daemon.until(|line| (line["source"] == "docker").then(|| line.clone()));
        self.daemon.forget();
        line
    }

    /// The next line of the log with this in its message.
    fn told(&mut self, message: &str) -> Value {
        let is_it = |line: &Value| line["message"].as_str().is_some_and(|text| text.contains(message));
        self.daemon.until(|line| is_it(line).then(|| line.clone()))
    }
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
async fn applications_come_and_go_with_their_containers() {
    let mut podman = Podman::new();
    podman.start().await;
    let mut scene = Scene::new(podman).await;
    let mut alice = scene.browser();
    check(&mut alice, APP).await.is(400);

    scene.podman.create("app", &["forepost.enable=true", ROUTER]);
    assert_eq!(scene.changed()["added"], "application.app-example-com");
    check(&mut alice, APP).await.is(302);
    sign_in(&mut alice).await;
    check(&mut alice, APP).await.is(200);

    // Labels change by another container of that name.
    for (groups, status) in [("forepost.groups=none", 403), ("forepost.public=/page", 200)] {
        scene.podman.create("app-new", &[groups, ROUTER]);
        scene.podman.remove("app");
        scene.podman.rename("app-new", "app");
        scene.changed();
        let reply = check(&mut alice, APP).await;
        reply.is(status);
    }

    // The engine goes away and comes back with a change.
    scene.podman.kill();
    scene.told("the container engine is away");
    check(&mut alice, APP).await.is(200);
    scene.podman.remove("app");
    check(&mut alice, APP).await.is(200);
    scene.podman.start().await;
    assert_eq!(scene.changed()["removed"], "application.app-example-com");
    check(&mut alice, APP).await.is(400);
    scene.podman.create("app", &["forepost.groups=none", ROUTER]);
    assert_eq!(scene.changed()["added"], "application.app-example-com");
    check(&mut alice, APP).await.is(403);
    scene.podman.remove("app");
    assert_eq!(scene.changed()["removed"], "application.app-example-com");
    check(&mut alice, APP).await.is(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_takes_nothing_that_is_not_its_own() {
    let mut podman = Podman::new();
    podman.start().await;
    // Older than all that follows.
    podman.create("app", &["forepost.host=app.example.com", "forepost.groups=none"]);
    let mut scene = Scene::new(podman).await;
    assert_eq!(scene.changed()["added"], "application.app-example-com");
    let mut stranger = scene.browser();
    let home = "https://home.example.com/page";
    for (name, labels, mistake) in [
        (
            "host",
            &["forepost.host=home.example.com", "forepost.public=/page"][..],
            "belongs to the application home-example-com",
        ),
        ("outside", &["forepost.host=auth.example.net", "forepost.public=/page"], "outside docker.domains"),
        (
            "domain",
            &["forepost.host=x.app.example.com", "forepost.cookie_domain=example.com", "forepost.public=/page"],
            "outside docker.domains",
        ),
        (
            "slug",
            &["forepost.host=x.app.example.com", "forepost.slug=home-example-com", "forepost.public=/page"],
            "is an application of the file",
        ),
        (
            "danger",
            &["forepost.host=x.app.example.com", "forepost.danger_unverified_email=true"],
            "cannot be said by a label",
        ),
        ("regexp", &["forepost.enable=true", "traefik.http.routers.x.rule=HostRegexp(`.+`)"], "write forepost.host"),
        ("everything", &["forepost.host=x.app.example.com", "forepost.public.1.prefix=/"], "would open everything"),
    ] {
        scene.podman.create(name, labels);
        let line = scene.told("labels cannot be used");
        let told = line["mistake"].as_str().unwrap();
        assert!(told.contains(mistake) && told.starts_with(&format!("docker container {name}: ")), "{told}");
        scene.daemon.forget();
        check(&mut stranger, home).await.is(302);
        check(&mut stranger, APP).await.is(302);
        check(&mut stranger, "https://auth.example.net/page").await.is(400);
        check(&mut stranger, "https://x.app.example.com/page").await.is(400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_gives_a_host_of_a_domain_its_own_rules() {
    let mut podman = Podman::new();
    podman.start().await;
    let home = "external_host = \"https://app.example.com\"\ncookie_domain = \"example.com\"";
    let mut scene = Scene::with(podman, home).await;
    let mut alice = scene.browser();
    sign_in(&mut alice).await;
    let (tv, other) = ("https://tv.example.com/page", "https://other.example.com/page");
    check(&mut alice, other).await.is(200);
    // Without a label that can be used, the rules of the domain let no user in at a host of `docker.domains`.
    check(&mut alice, tv).await.is(400);
    scene.podman.create("tv", &["forepost.host=tv.example.com", "forepost.group=none"]);
    scene.told("labels cannot be used");
    check(&mut alice, tv).await.is(400);
    scene.podman.remove("tv");
    // With one the session of the domain goes on, and nothing else changes.
    for (labels, status) in [
        (&["forepost.name=TV", "forepost.host=tv.example.com"][..], 200),
        (&["forepost.groups=none", "forepost.host=tv.example.com"], 403),
    ] {
        scene.podman.create("tv", labels);
        let line = scene.changed();
        assert_eq!([&line["changed"], &line["removed"]], ["", ""], "{line:#}");
        let reply = check(&mut alice, tv).await;
        reply.is(status);
        if status == 200 {
            assert_eq!(reply.header("x-authentik-meta-app"), "tv");
        }
        check(&mut alice, APP).await.is(200);
        check(&mut alice, other).await.is(200);
        scene.podman.remove("tv");
        scene.changed();
        check(&mut alice, tv).await.is(400);
    }
    // Nor does it while the engine is away at the start.
    scene.podman.kill();
    let mut scene = Scene::with(scene.podman, home).await;
    scene.told("the container engine is away");
    let mut alice = scene.browser();
    sign_in(&mut alice).await;
    check(&mut alice, other).await.is(200);
    check(&mut alice, tv).await.is(400);
}
