//! Slow and hostile clients against the real binary, and what must not be lost under load.
//!
//! After every attack a fresh client gets right answers at once, and the end of the daemon proves three things: it
//! counted no check as allowed but our own, it logged no panic, and it stopped in order.

pub(crate) mod frames;
mod http1;
mod http2;
mod load;
mod slow;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use url::Url;

use self::frames::{Event, Peer, get};
use self::wire::{Answer, Wire};
use crate::provider::Provider;
use crate::support::process::{Running, borrowed, provider, quick_start};
use crate::support::{Browser, fill_in};

/// Where proxies ask; `CHECK` is a whole question behind it.
const AUTH: &str = "/outpost.goauthentik.io/auth/traefik";
const ALIVE: &str = "/outpost.goauthentik.io/ping";
const FIELDS: &str = "x-forwarded-method: GET\r\nx-forwarded-proto: https\r\nx-forwarded-host: app.example.com\r\nx-forwarded-uri: /\r\n";

/// The event comes soon, or the test fails.
async fn within<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), event).await.expect("the event never came")
}

/// A daemon under attack, and a user who is signed in.
struct Target {
    daemon: Running,
    http: SocketAddr,
    https: Option<SocketAddr>,
    metrics: SocketAddr,
    /// The cookie of a valid session.
    cookie: String,
    /// Checks that we were right to be allowed.
    allowed: Arc<AtomicU64>,
    /// Keys are asked for again now and then.
    _provider: Provider,
}

impl Target {
    /// Starts one with further settings: their names in the environment, and values.
    async fn start(settings: &[(&'static str, &str)]) -> Self {
        let provider = provider().await;
        let mut environment = quick_start(provider.issuer());
        environment.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let mut daemon = Running::start(&borrowed(&environment));
        let http = daemon.address("http");
        let https = settings.iter().any(|(name, _)| name.contains("HTTPS")).then(|| daemon.address("https"));
        let metrics = daemon.address("metrics");
        daemon.until(|line| line["message"].as_str().filter(|text| text.contains("ready for logins")).map(|_| ()));
        let mut browser = Browser::new().route("idp.localhost", provider.address()).route("*", http);
        let start = browser.get("https://app.example.com/outpost.goauthentik.io/start").await;
        let page = browser.get(start.is(302).location().as_str()).await;
        let callback = fill_in(&mut browser, &page, "alice").await.location();
        browser.get(callback.as_str()).await.is(302);
        let app = Url::parse("https://app.example.com/").unwrap();
        let name = browser.cookie_names(&app).into_iter().find(|name| name.contains("authentik_proxy")).unwrap();
        let cookie = format!("{name}={}", browser.cookie(&app, &name).unwrap());
        Self { daemon, http, https, metrics, cookie, allowed: Arc::default(), _provider: provider }
    }

    async fn connect(&self) -> Wire {
        Wire::connect(self.http).await
    }

    /// The question whether alice may pass.
    fn check(&self) -> String {
        format!("GET {AUTH} HTTP/1.1\r\nhost: outpost\r\n{FIELDS}cookie: {}\r\n\r\n", self.cookie)
    }

    /// Asks it, and is let in.
    async fn pass(&self, wire: &mut Wire) -> Answer {
        wire.send(self.check()).await;
        let answer = wire.receive().await;
        assert!(answer.status == 200 && answer.head.contains("x-authentik-username: alice\r\n"), "{answer:?}");
        self.allowed.fetch_add(1, Relaxed);
        answer
    }

    /// New clients get the right answers, despite all others.
    async fn serves(&self) {
        let mut wire = self.connect().await;
        self.pass(&mut wire).await;
        wire.send(anonymous()).await;
        assert_eq!(wire.receive().await.status, 302);
        let mut peer = Peer::connect(self.http).await;
        peer.send(get(1, AUTH, &[("cookie", &self.cookie)])).await;
        assert_eq!(within(peer.event()).await, Event::Status(1, 200));
        self.allowed.fetch_add(1, Relaxed);
        peer.send(get(3, AUTH, &[])).await;
        assert_eq!(within(peer.event()).await, Event::Status(3, 302));
    }

    /// A figure of the process in bytes: `VmRSS` is its memory now, `VmHWM` the most it ever had.
    fn memory(&self, figure: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.daemon.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':')).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// How many checks the daemon has let pass.
    async fn counted(&self) -> u64 {
        let page = Browser::new().route("*", self.metrics).get("http://metrics/metrics").await;
        page.body
            .lines()
            .filter(|line| line.starts_with("forepost_check_duration_seconds_count"))
            .filter(|line| line.contains("outcome=\"allow\"") || line.contains("outcome=\"pass\""))
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
            .sum()
    }

    /// It still serves, let in no client but ours, stops in order, and logged no surprise.
    async fn end(self) {
        self.serves().await;
        assert_eq!(self.counted().await, self.allowed.load(Relaxed), "another client was let in");
        self.daemon.signal("TERM");
        self.ended();
    }

    /// The same from the signal on.
    fn ended(self) {
        let (code, log) = self.daemon.end();
        assert_eq!(code, Some(0), "{log:#?}");
        let surprise = log.iter().find(|line| line.contains("panic") || line.contains("\"ERROR\""));
        assert_eq!(surprise, None);
        assert!(!log.join("").contains(self.cookie.split_once('=').unwrap().1), "the cookie is in the log");
    }
}

/// A question about a browser without a session.
fn anonymous() -> String {
    format!("GET {AUTH} HTTP/1.1\r\nhost: outpost\r\n{FIELDS}\r\n")
}
