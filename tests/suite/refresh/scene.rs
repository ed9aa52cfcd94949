use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use forepost::daemon::Daemon;
use forepost::session::{RedisAddress, RedisMode, RedisSettings};
use forepost::settings::Settings;
use forepost::world::World;
use http::Method;
use tokio::sync::Semaphore;

use crate::provider::{Behaviour, Endpoint, Fault, Provider, User};
use crate::support::{Browser, Hands, Reply, Stage, until_answer};

pub(super) const APP: &str = "https://app.example.com/page";
pub(super) const SIGN_OUT: &str = "https://app.example.com/outpost.goauthentik.io/sign_out";

/// What a script says of itself.
pub(super) const SCRIPT: [(&str, &str); 3] =
    [("accept", "application/json"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")];

/// The defaults of `session.revalidate_after`, `session.revalidate_within`, and the pause after a failure, in seconds.
pub(super) const AFTER: u64 = 5 * 60;
pub(super) const WITHIN: u64 = 60 * 60;
pub(super) const RETRY: u64 = 30;

pub(super) const SECOND: u64 = 1;

/// A provider and a daemon under one clock.
pub(super) struct Scene {
    pub(super) stage: Arc<Stage>,
    hands: Hands,
}

impl Scene {
    pub(super) async fn new() -> Self {
        Self::with(|_| (), |_| ()).await
    }

    pub(super) async fn with(prepare: impl FnOnce(&mut Behaviour), tune: impl FnOnce(&mut Settings)) -> Self {
        let hands = Hands::new();
        let stage = Arc::new(Stage::tuned(World::with_clock(hands.clone()), prepare, tune).await);
        stage.daemon.ready().await;
        Self { stage, hands }
    }

    /// Another daemon under the same clock, for the same provider.
    pub(super) async fn second(&self, tune: impl FnOnce(&mut Settings)) -> Daemon {
        self.stage.another(World::with_clock(self.hands.clone()), tune).await
    }

    /// Lets so many seconds pass.
    pub(super) fn pass(&self, seconds: u64) {
        self.hands.pass(Duration::from_secs(seconds));
    }

    pub(super) fn provider(&self) -> &Provider {
        &self.stage.provider
    }

    /// Requests of the token endpoint, the first of which is the login's.
    pub(super) fn asked(&self) -> u64 {
        self.provider().requests(Endpoint::Token)
    }

    pub(super) async fn until_asked(&self, count: u64) {
        self.provider().wait_for_requests(Endpoint::Token, count).await;
    }

    pub(super) fn set_fault(&self, fault: Option<Fault>) {
        self.provider().set(|behaviour| match fault {
            Some(fault) => drop(behaviour.faults.insert(Endpoint::Token, fault)),
            None => drop(behaviour.faults.remove(&Endpoint::Token)),
        });
    }

    /// Holds all answers of the token endpoint until the returned semaphore is closed.
    pub(super) fn hold(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.set_fault(Some(Fault { hold: Some(Arc::clone(&gate)), ..Fault::default() }));
        gate
    }

    /// Alice, under another name and in these groups.
    pub(super) fn rename(&self, name: &str, groups: &[&str]) {
        self.provider().add_user(User::new("alice", name, groups));
    }

    pub(super) async fn sign_in(&self) -> Browser {
        let mut browser = self.stage.browser();
        let entered = self.stage.sign_in(&mut browser, APP, "alice").await;
        assert_eq!(entered.is(200).header("x-authentik-name"), "Alice Ärger");
        browser
    }

    pub(super) async fn check(&self, browser: &mut Browser) -> Reply {
        self.stage.check("traefik", browser, APP).await
    }

    pub(super) async fn script(&self, browser: &mut Browser) -> Reply {
        self.stage.ask("traefik", browser, Method::GET, APP, &SCRIPT).await
    }

    /// Checks until `wanted` holds of an answer.
    pub(super) async fn until(&self, browser: &mut Browser, wanted: impl Fn(&Reply) -> bool) -> Reply {
        self.until_at(browser, APP, wanted).await
    }

    pub(super) async fn until_at(&self, browser: &mut Browser, url: &str, wanted: impl Fn(&Reply) -> bool) -> Reply {
        until_answer(async || self.stage.check("traefik", browser, url).await, wanted).await
    }

    /// Checks until the user has this name.
    pub(super) async fn until_named(&self, browser: &mut Browser, name: &str) {
        self.until(browser, |reply| reply.is(200).header("x-authentik-name") == name).await;
    }
}

/// One Redis, with time for everything.
pub(super) fn redis_settings(address: SocketAddr) -> RedisSettings {
    RedisSettings {
        addresses: vec![RedisAddress { host: address.ip().to_string(), port: address.port() }],
        mode: RedisMode::Single,
        tls: false,
        ca_file: None,
        username: None,
        password: None,
        database: 0,
        prefix: "forepost:".to_owned(),
        timeout: Duration::from_secs(10),
        staleness: Duration::from_mins(1),
    }
}

/// The refresh token that the provider was sent last.
pub(super) fn sent_token(provider: &Provider) -> String {
    let seen = provider.last_request(Endpoint::Token).unwrap();
    seen.form.get("refresh_token").unwrap().to_owned()
}
