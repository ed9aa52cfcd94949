//! Everything that is started: a provider, a Redis, two foreposts, an application, and a proxy in front of all.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Method;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::provider::{Config, Provider, User};
use crate::proxies::application::Application;
use crate::proxies::proxy::{Addresses, Proxy};
use crate::proxies::raw;
use crate::support::port::reserved_address;
use crate::support::process::{Running, borrowed, forepost};
use crate::support::redis::until;
use crate::support::{Browser, Reply, ask, client, fill_in, tool};

/// How long sessions are served in these tests without proof that none was revoked.
pub(super) const STALENESS: Duration = Duration::from_secs(2);

/// One forepost.
pub(crate) struct Replica {
    pub(super) address: SocketAddr,
    /// Where its metrics are, and whether it is ready.
    metrics: SocketAddr,
    environment: Vec<(&'static str, String)>,
    running: Option<Running>,
}

pub(crate) struct Scene {
    /// Of the application, as browsers know it: `http://app.localhost:PORT`.
    pub(super) origin: String,
    /// Where the proxy listens.
    pub(crate) address: SocketAddr,
    pub(super) provider: Provider,
    pub(super) replicas: Vec<Replica>,
    _application: Application,
    _proxy: tool::Running,
    _folder: TempDir,
}

impl Replica {
    /// Starts it, and waits until logins are possible.
    pub(crate) fn run(&mut self) {
        let mut running = Running::start(&borrowed(&self.environment));
        running.until(|line| line["message"].as_str().filter(|text| text.contains("ready for logins")).map(|_| ()));
        self.metrics = running.address("metrics");
        self.running = Some(running);
    }

    /// Sends a signal to the process.
    pub(super) fn signal(&self, name: &str) {
        self.running.as_ref().unwrap().signal(name);
    }

    /// Ends it as `kill -9` does; with what it has logged.
    pub(crate) fn kill(&mut self) -> Vec<String> {
        let running = self.running.take().unwrap();
        running.signal("KILL");
        running.end().1
    }

    /// Tells it something by its command, in JSON.
    pub(super) fn command(&self, arguments: &[&str]) -> String {
        let output = forepost(arguments, &borrowed(&self.environment)).output().unwrap();
        let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {error}{text}");
        text.into_owned()
    }

    /// The same of one that may not be able to do it, beside whatever else goes on; the exit code, and what it says.
    pub(super) async fn tell(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = forepost(arguments, &borrowed(&self.environment));
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        (output.status.code(), [output.stderr, output.stdout].map(|it| String::from_utf8(it).unwrap()).concat())
    }
}

impl Scene {
    /// Behind `proxy`, each forepost with one of these environments beside the usual one.
    pub(crate) async fn start(proxy: Proxy, replicas: Vec<Vec<(&'static str, String)>>) -> Self {
        let address = reserved_address();
        let origin = format!("http://app.localhost:{}", address.port());
        let clients = vec![client("proxy", Some("proxy-secret"), &[&origin])];
        let provider = Provider::start(Config { clients, ..Config::default() }).await.unwrap();
        for number in 0..60 {
            provider.add_user(User::new(&user(number), "A Name", &["staff"]));
        }
        let folder = tempfile::tempdir().unwrap();
        let mut number = 0;
        let replicas = replicas.into_iter().map(|more| {
            number += 1;
            let address = reserved_address();
            let admin = folder.path().join(format!("admin{number}.sock"));
            let mut environment = vec![
                ("FOREPOST_ISSUER", provider.issuer().to_owned()),
                ("FOREPOST_CLIENT_ID", "proxy".to_owned()),
                ("FOREPOST_CLIENT_SECRET", "proxy-secret".to_owned()),
                ("FOREPOST_EXTERNAL_HOST", origin.clone()),
                ("FOREPOST_SERVER__HTTP", address.to_string()),
                ("FOREPOST_SERVER__METRICS", "127.0.0.1:0".to_owned()),
                ("FOREPOST_SERVER__ADMIN", format!("unix:{}", admin.display())),
                ("FOREPOST_SESSION__STORE", "redis".to_owned()),
                ("FOREPOST_SESSION__SECRET", "0123456789abcdef0123456789abcdef".to_owned()),
                ("FOREPOST_SESSION__REDIS__STALENESS", format!("{}s", STALENESS.as_secs())),
            ];
            environment.retain(|(name, _)| !more.iter().any(|(other, _)| other.strip_suffix("_FILE") == Some(name)));
            environment.extend(more);
            let mut replica = Replica { address, metrics: address, environment, running: None };
            replica.run();
            replica
        });
        let replicas: Vec<Replica> = replicas.collect();
        let application = Application::start().await;
        let forepost: Vec<_> = replicas.iter().map(|replica: &Replica| replica.address).collect();
        let addresses = Addresses { proxy: address, forepost: &forepost, application: application.address };
        let inner: PathBuf = folder.path().join("proxy");
        std::fs::create_dir(&inner).unwrap();
        let mut proxy = tool::Running::start(proxy.prepare(&inner, addresses), &inner);
        let host = format!("Host: app.localhost:{}", address.port());
        let request = format!("GET / HTTP/1.1\r\n{host}\r\nAccept: text/html\r\nConnection: close\r\n\r\n");
        let ready = async || {
            // One after the other is asked.
            for _ in 0..4 {
                if !raw::status(address, &request).await.is_ok_and(|status| status == 302) {
                    return false;
                }
            }
            true
        };
        proxy.until_ready("the proxy", tool::START_DEADLINE, ready).await;
        Self { origin, address, provider, replicas, _application: application, _proxy: proxy, _folder: folder }
    }

    /// The same with a Redis at one address for each.
    pub(crate) async fn at(proxy: Proxy, redis: [SocketAddr; 2]) -> Self {
        Self::start(
            proxy,
            redis.map(|address| vec![("FOREPOST_SESSION__REDIS__URL", format!("redis://{address}"))]).into(),
        )
        .await
    }

    /// The foreposts, for a caller that ends and starts them.
    pub(crate) fn take_replicas(&mut self) -> Vec<Replica> {
        std::mem::take(&mut self.replicas)
    }

    /// The absolute address of a path.
    pub(super) fn url(&self, target: &str) -> String {
        format!("{}{target}", self.origin)
    }

    /// A browser that reaches the proxy and the provider.
    pub(super) fn browser(&self) -> Browser {
        Browser::new().route("idp.localhost", self.provider.address()).route("*", self.address)
    }

    /// The same browser, where a replica answers in place of the proxy.
    pub(super) fn at_replica(&self, browser: &Browser, number: usize) -> Browser {
        browser.clone().route("*", self.replicas[number].address)
    }

    /// Signs in through the proxy.
    pub(super) async fn sign_in(&self, user: &str) -> Browser {
        let mut browser = self.browser();
        let page = browser.open(&self.url("/")).await;
        let back = fill_in(&mut browser, &page, user).await;
        browser.follow(back).await.is(200);
        browser
    }

    /// Asks a replica itself about the browser.
    pub(super) async fn check(&self, browser: &Browser, number: usize) -> Reply {
        let mut browser = self.at_replica(browser, number);
        ask("traefik", &mut browser, Method::GET, &self.url("/"), &[]).await
    }

    /// The session of each user, as the command calls it.
    pub(super) fn sessions(&self) -> HashMap<String, String> {
        let list = self.replicas[0].command(&["sessions", "list", "--json"]);
        let list = list.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        list.map(|session| ["user", "id"].map(|key| session[key].as_str().unwrap().to_owned()).into()).collect()
    }

    /// What a replica says of itself: the status of `/ready`, and whether its metrics count the store as up.
    pub(super) async fn health(&self, number: usize) -> (u16, bool) {
        let ready = self.ask_operators(number, "/ready").await;
        let metrics = self.metrics(number).await;
        let [down, up] = [0, 1].map(|value| metrics.contains(&format!("\nforepost_store_up {value}\n")));
        assert_ne!(up, down, "{metrics}");
        (ready.status.as_u16(), up)
    }

    pub(super) async fn metrics(&self, number: usize) -> String {
        self.ask_operators(number, "/metrics").await.is(200).body.clone()
    }

    async fn ask_operators(&self, number: usize, path: &str) -> Reply {
        let mut operator = Browser::new().route("*", self.replicas[number].metrics);
        operator.get(&format!("http://operators.localhost{path}")).await
    }

    /// Signs out at a replica itself, and gives the moment at which it said so.
    pub(super) async fn sign_out(&self, browser: &Browser, number: usize) -> Instant {
        let mut browser = self.at_replica(browser, number);
        let here = [("sec-fetch-site", "same-origin")];
        let url = self.url("/outpost.goauthentik.io/sign_out");
        browser.send(Method::GET, &url, &here, None).await.is(302);
        Instant::now()
    }

    /// How long it takes from `since` until a replica no longer lets the browser in; it has to say that no user is signed in, sooner
    /// or later.
    pub(super) async fn until_denied(&self, browser: &Browser, number: usize, since: Instant) -> Duration {
        let mut out = None;
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let asked = Instant::now();
            let reply = self.check(browser, number).await;
            if reply.status != 200 {
                out.get_or_insert(asked - since);
            }
            match (reply.status.as_u16(), out) {
                (302, Some(out)) => return out,
                (503, _) | (200, None) => assert!(asked < deadline, "{reply:#?}"),
                _ => panic!("{reply:#?}"),
            }
        }
    }

    /// Waits until a replica lets the browser in, asking for nothing else.
    pub(super) async fn until_let_in(&self, browser: &Browser, number: usize) {
        until("let in", async || self.check(browser, number).await.status == 200).await;
    }
}

/// The login of one of many users.
pub(super) fn user(number: usize) -> String {
    format!("user{number}")
}
