//! Refreshes of a daemon that is told to stop, or is killed, with its sessions in a file.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::scene::{APP, sent_token};
use crate::provider::{Endpoint, Fault, Provider, User};
use crate::support::process::{Running, borrowed, provider, quick_start};
use crate::support::{Browser, Reply, ask, fill_in, until_answer};

const START: &str = "https://app.example.com/outpost.goauthentik.io/start?rd=/page";

/// A provider, and a daemon that comes and goes; sessions are refreshed each second.
struct Scene {
    provider: Provider,
    folder: TempDir,
    more: Vec<(&'static str, &'static str)>,
    browser: Browser,
}

impl Scene {
    async fn new(more: &[(&'static str, &'static str)]) -> Self {
        Self {
            provider: provider().await,
            folder: tempfile::tempdir().unwrap(),
            more: more.to_vec(),
            browser: Browser::new(),
        }
    }

    fn start(&mut self) -> Running {
        let mut environment = quick_start(self.provider.issuer());
        environment.push(("FOREPOST_SESSION__DIRECTORY", self.folder.path().to_str().unwrap().to_owned()));
        environment.push(("FOREPOST_SESSION__REVALIDATE_AFTER", "1s".to_owned()));
        environment.extend(self.more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let mut daemon = Running::start(&borrowed(&environment));
        let http = daemon.address("http");
        daemon.until(|line| line["message"].as_str().filter(|text| text.contains("ready for logins")).map(|_| ()));
        self.browser = self.browser.clone().route("idp.localhost", self.provider.address()).route("*", http);
        daemon
    }

    async fn sign_in(&mut self) {
        let start = self.browser.get(START).await;
        let page = self.browser.get(start.is(302).location().as_str()).await;
        let back = fill_in(&mut self.browser, &page, "alice").await;
        self.browser.get(back.location().as_str()).await.is(302);
    }

    async fn check(&mut self) -> Reply {
        ask("traefik", &mut self.browser, Method::GET, APP, &[]).await
    }

    /// Checks until `wanted` holds of an answer, or of the provider.
    async fn until(&mut self, wanted: impl Fn(&Provider, &Reply) -> bool) -> Reply {
        let Self { provider, browser, .. } = self;
        let check = async || ask("traefik", browser, Method::GET, APP, &[]).await;
        until_answer(check, |reply| wanted(provider, reply)).await
    }

    async fn until_asked(&mut self, count: u64) {
        self.until(|provider, reply| {
            reply.is(200);
            provider.requests(Endpoint::Token) >= count
        })
        .await;
    }

    async fn until_named(&mut self, name: &str) {
        self.provider.add_user(User::new("alice", name, &["staff"]));
        self.until(|_, reply| reply.is(200).header("x-authentik-name") == name).await;
    }

    /// Holds all answers of the token endpoint until the returned semaphore is closed.
    fn hold(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        let fault = Fault { hold: Some(Arc::clone(&gate)), ..Fault::default() };
        self.provider.set(|behaviour| drop(behaviour.faults.insert(Endpoint::Token, fault)));
        gate
    }
}

#[track_caller]
fn audit(event: &str, reason: &str) -> impl Fn(&Value) -> Option<()> {
    move |line| (line["message"] == "audit" && line["event"] == event && line["reason"] == reason).then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_sent_before_a_kill_is_not_sent_after_it() {
    let mut scene = Scene::new(&[]).await;
    let daemon = scene.start();
    scene.sign_in().await;
    let gate = scene.hold();
    scene.until_asked(2).await;
    daemon.signal("KILL");
    assert_eq!(daemon.end().0, None, "killed");
    gate.close();

    let mut daemon = scene.start();
    scene.check().await.is(200);
    daemon.until(audit("refresh_failure", "token_may_be_spent"));
    scene.check().await.is(200);
    assert_eq!(scene.provider.requests(Endpoint::Token), 2);
    daemon.signal("TERM");
    assert_eq!(daemon.end().0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn refreshing_goes_on_after_a_kill_with_the_newest_token() {
    let mut scene = Scene::new(&[]).await;
    let mut daemon = scene.start();
    scene.sign_in().await;
    scene.until_named("Alice 1").await;
    scene.until_named("Alice 2").await;
    // After a failure none is under way for a while.
    let failing = Fault::status(StatusCode::INTERNAL_SERVER_ERROR);
    scene.provider.set(|behaviour| drop(behaviour.faults.insert(Endpoint::Token, failing)));
    scene.until_asked(scene.provider.requests(Endpoint::Token) + 1).await;
    daemon.until(|line| (line["message"] == "a login could not be refreshed").then_some(()));
    scene.provider.set(|behaviour| drop(behaviour.faults.remove(&Endpoint::Token)));
    let sent = sent_token(&scene.provider);
    // What is written down after it is written down.
    let alice = scene.browser.clone();
    scene.browser = Browser::new().route("idp.localhost", scene.provider.address()).route("*", daemon.address("http"));
    scene.sign_in().await;
    scene.browser = alice;
    daemon.signal("KILL");
    daemon.end();

    let daemon = scene.start();
    scene.provider.add_user(User::new("alice", "Alice 3", &["staff"]));
    assert_eq!(scene.check().await.is(200).header("x-authentik-name"), "Alice 2");
    scene.until_named("Alice 3").await;
    scene.until_named("Alice 4").await;
    assert_ne!(sent_token(&scene.provider), sent);
    daemon.signal("TERM");
    assert_eq!(daemon.end().0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_under_way_is_waited_for() {
    let mut scene = Scene::new(&[]).await;
    let mut daemon = scene.start();
    scene.sign_in().await;
    let gate = scene.hold();
    scene.until_asked(2).await;
    daemon.signal("TERM");
    daemon.until(|line| (line["message"] == "stopping").then_some(()));
    gate.close();
    assert_eq!(daemon.end().0, Some(0));

    let _daemon = scene.start();
    scene.until_named("Alice Neu").await;
    assert!(scene.provider.requests(Endpoint::Token) >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_without_an_answer_does_not_hold_up_the_end() {
    let mut scene = Scene::new(&[("FOREPOST_SERVER__SHUTDOWN_TIMEOUT", "1s")]).await;
    let daemon = scene.start();
    scene.sign_in().await;
    let _gate = scene.hold();
    scene.until_asked(2).await;
    let began = Instant::now();
    daemon.signal("TERM");
    assert_eq!(daemon.end().0, Some(0));
    // The provider has ten seconds for an answer.
    assert!((1..8).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());

    let mut daemon = scene.start();
    scene.check().await.is(200);
    daemon.until(audit("refresh_failure", "token_may_be_spent"));
    assert_eq!(scene.provider.requests(Endpoint::Token), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_tells_what_ended_a_session() {
    let mut scene = Scene::new(&[]).await;
    let mut daemon = scene.start();
    scene.sign_in().await;
    scene.provider.remove_user("alice");
    scene.until(|_, reply| reply.status == 302).await;
    daemon.until(audit("logout", "invalid_grant"));
    daemon.signal("TERM");
    let (_, log) = daemon.end();
    let line = log.iter().find(|line| line.contains("\"invalid_grant\"") && line.contains("forepost::audit")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["user"], &line["subject"]), (&"alice".into(), &"id-alice".into()));
    assert!(line["session"].as_str().is_some_and(|id| !id.is_empty()), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_login_is_due_after_a_restart_too() {
    let mut scene = Scene::new(&[("FOREPOST_SESSION__SILENT_LOGIN", "true")]).await;
    scene.provider.set(|behaviour| behaviour.refreshing.unannounced = true);
    let daemon = scene.start();
    scene.sign_in().await;
    daemon.signal("TERM");
    daemon.end();
    let _daemon = scene.start();
    let leaving = scene.until(|_, reply| reply.status != 200).await;
    assert_eq!(leaving.is(302).parameter("prompt").as_deref(), Some("none"));
    let back = scene.browser.get(leaving.location().as_str()).await;
    assert_eq!(scene.browser.get(back.location().as_str()).await.is(302).header("location"), APP);
}
