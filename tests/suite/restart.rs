//! Sessions in a file: they survive the process, however it ends, and nothing else can be done with them.

use std::fs;
use std::path::PathBuf;

use http::Method;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::provider::{Algorithm, LogoutToken, Provider};
use crate::support::process::{Running, borrowed, forepost, provider, quick_start};
use crate::support::{Browser, Reply, ask, fill_in};

const APP: &str = "https://app.example.com/page";
const START: &str = "https://app.example.com/outpost.goauthentik.io/start?rd=/page";
const BACK_CHANNEL: &str = "http://forepost.internal/outpost.goauthentik.io/backchannel-logout";
const SIGN_OUT: &str = "https://app.example.com/outpost.goauthentik.io/sign_out";

struct Scene {
    provider: Provider,
    folder: TempDir,
}

impl Scene {
    async fn new() -> Self {
        Self { provider: provider().await, folder: tempfile::tempdir().unwrap() }
    }

    /// Below the folder, so that the daemon has to make it.
    fn directory(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = quick_start(self.provider.issuer());
        environment.push(("FOREPOST_SESSION__DIRECTORY", self.directory().to_str().unwrap().to_owned()));
        environment
    }

    /// Starts a daemon, and leads the browsers to it.
    fn start(&self, browsers: &mut [&mut Browser]) -> Running {
        let mut daemon = Running::start(&borrowed(&self.environment()));
        let http = daemon.address("http");
        daemon.until(|line| line["message"].as_str().filter(|text| text.contains("ready for logins")).map(|_| ()));
        for browser in browsers {
            **browser = browser.clone().route("idp.localhost", self.provider.address()).route("*", http);
        }
        daemon
    }
}

/// Signs in, up to our callback's answer.
async fn sign_in(browser: &mut Browser, user: &str) -> Reply {
    let start = browser.get(START).await;
    let page = browser.get(start.is(302).location().as_str()).await;
    let back = if page.status.is_redirection() { page } else { fill_in(browser, &page, user).await };
    browser.get(back.location().as_str()).await
}

async fn sign_out(browser: &mut Browser) -> Reply {
    browser.send(Method::GET, SIGN_OUT, &[("sec-fetch-site", "same-origin")], None).await
}

async fn check(browser: &mut Browser) -> Reply {
    ask("traefik", browser, Method::GET, APP, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_survive_a_kill_and_signed_out_ones_stay_so() {
    let scene = Scene::new().await;
    let (mut alice, mut bob) = (Browser::new(), Browser::new());
    let mut daemon = scene.start(&mut [&mut alice, &mut bob]);
    assert_eq!(daemon.until(|line| line["store"].as_str().map(str::to_owned)), "file");
    sign_in(&mut alice, "alice").await.is(302);
    sign_in(&mut bob, "bob").await.is(302);
    check(&mut alice).await.is(200);
    let mut signed_out = bob.clone();
    check(&mut bob).await.is(200);
    sign_out(&mut bob).await.is(302);
    daemon.signal("KILL");
    let (code, _) = daemon.end();
    assert_eq!(code, None, "killed");

    let daemon = scene.start(&mut [&mut alice, &mut signed_out]);
    let entered = check(&mut alice).await;
    assert_eq!(entered.is(200).header("x-authentik-username"), "alice");
    assert!(entered.header("x-authentik-jwt").split('.').count() == 3, "{entered:#?}");
    check(&mut signed_out).await.is(302);
    daemon.signal("TERM");
    assert_eq!(daemon.end().0, Some(0));

    let daemon = scene.start(&mut [&mut alice]);
    check(&mut alice).await.is(200);
    daemon.signal("TERM");
    let (_, log) = daemon.end();
    assert!(!log.iter().any(|line| line.contains("\"ERROR\"")), "{log:#?}");
}

/// How the ID tokens of kept sessions are signed is known after a restart, before anybody signs in.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_logout_tokens_are_signed_as_id_tokens_are() {
    let scene = Scene::new().await;
    let mut alice = Browser::new();
    let daemon = scene.start(&mut [&mut alice]);
    sign_in(&mut alice, "alice").await.is(302);
    daemon.signal("TERM");
    assert_eq!(daemon.end().0, Some(0));

    let daemon = scene.start(&mut [&mut alice]);
    let of_alice = |algorithm| LogoutToken { subject: Some("id-alice".into()), algorithm, ..LogoutToken::default() };
    for (algorithm, status) in [(Some(Algorithm::EdDsa), 400), (None, 200)] {
        let token = scene.provider.logout_token("proxy", &of_alice(algorithm)).unwrap();
        check(&mut alice).await.is(200);
        alice.clone().post(BACK_CHANNEL, &format!("logout_token={token}")).await.is(status);
    }
    check(&mut alice).await.is(302);
    daemon.signal("TERM");
    assert_eq!(daemon.end().0, Some(0));
}

/// Kills the daemon in the midst of logins and sign-outs: what was answered holds, whatever else was under way.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_holds_when_it_is_killed_under_load() {
    let scene = Scene::new().await;
    let mut first = Browser::new();
    let daemon = scene.start(&mut [&mut first]);
    let (sender, mut answered) = mpsc::unbounded_channel();
    for user in ["alice", "bob"] {
        let (sender, first) = (sender.clone(), first.clone());
        // Ends with the connection, as a panic whose result is not used.
        tokio::spawn(async move {
            for visit in 0.. {
                let mut browser = first.clone();
                sign_in(&mut browser, user).await.is(302);
                // Login after login without one would be a loop.
                check(&mut browser).await.is(200);
                let signs_out = visit % 2 == 1;
                let before = browser.clone();
                if signs_out {
                    sign_out(&mut browser).await.is(302);
                }
                sender.send((before, signs_out)).unwrap();
            }
        });
    }
    drop(sender);
    let mut visits = Vec::new();
    while visits.len() < 20 {
        visits.push(answered.recv().await.unwrap());
    }
    daemon.signal("KILL");
    daemon.end();
    while let Some(visit) = answered.recv().await {
        visits.push(visit);
    }
    let _daemon = scene.start(&mut visits.iter_mut().map(|(browser, _)| browser).collect::<Vec<_>>());
    for (browser, signed_out) in &mut visits {
        check(browser).await.is(if *signed_out { 302 } else { 200 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_by_the_provider_outlives_a_kill() {
    let scene = Scene::new().await;
    let (mut alice, mut bob) = (Browser::new(), Browser::new());
    let daemon = scene.start(&mut [&mut alice, &mut bob]);
    sign_in(&mut alice, "alice").await.is(302);
    sign_in(&mut bob, "bob").await.is(302);
    let wanted = LogoutToken { subject: Some("id-alice".into()), ..LogoutToken::default() };
    let form = format!("logout_token={}", scene.provider.logout_token("proxy", &wanted).unwrap());
    bob.clone().post(BACK_CHANNEL, &form).await.is(200);
    daemon.signal("KILL");
    daemon.end();

    let mut daemon = scene.start(&mut [&mut alice, &mut bob]);
    check(&mut alice).await.is(302);
    check(&mut bob).await.is(200);
    // The order is known to be followed, too: it does not end what began since.
    sign_in(&mut alice, "alice").await.is(302);
    bob.post(BACK_CHANNEL, &form).await.is(200);
    check(&mut alice).await.is(200);
    let login = daemon.until(|line| (line["event"] == "login").then(|| line.clone()));
    assert_eq!(
        (&login["user"], &login["subject"], &login["reason"]),
        (&"alice".into(), &"id-alice".into(), &"callback".into())
    );
    assert!(login["session"].as_str().is_some_and(|it| it.len() == 43) && login["request_id"].is_string(), "{login}");
    sign_out(&mut alice).await.is(302);
    let logout = daemon.until(|line| (line["event"] == "logout").then(|| line.clone()));
    assert_eq!((&logout["session"], &logout["reason"]), (&login["session"], &"sign_out".into()));
}

/// What the command says when it does not start.
fn refused(scene: &Scene, more: &[(&'static str, &str)]) -> String {
    let mut environment = scene.environment();
    environment.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
    environment.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let output = forepost(&[], &borrowed(&environment)).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("forepost cannot start") && !text.contains("panicked"), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_cannot_be_used_is_told_plainly() {
    let scene = Scene::new().await;
    let mut browser = Browser::new();
    let mut daemon = scene.start(&mut [&mut browser]);
    let text = refused(&scene, &[]);
    assert!(text.contains("sessions.redb is used by another process"), "{text}");
    sign_in(&mut browser, "alice").await.is(302);
    check(&mut browser).await.is(200);
    daemon.until(|line| (line["message"] == "sessions are kept").then_some(()));
    daemon.signal("TERM");
    daemon.end();

    let text = refused(&scene, &[("FOREPOST_SESSION__DIRECTORY", "/proc/forepost")]);
    assert!(text.contains("/proc/forepost") && text.contains("session.store = "), "{text}");
    let file = scene.directory().join("sessions.redb");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let text = refused(&scene, &[]);
    assert!(text.contains("sessions.redb is damaged") && text.contains("move it away"), "{text}");
    fs::write(&file, "garbage".repeat(1000)).unwrap();
    let text = refused(&scene, &[]);
    assert!(text.contains("sessions.redb is damaged") && text.contains("move it away"), "{text}");

    fs::remove_file(&file).unwrap();
    let _daemon = scene.start(&mut [&mut browser]);
    check(&mut browser).await.is(302);
}

/// A file that an operator deletes is used to the end of the process, and missed by the next one, which makes another.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_deleted_while_it_is_used_holds_until_the_end() {
    let scene = Scene::new().await;
    let (mut alice, mut bob) = (Browser::new(), Browser::new());
    let daemon = scene.start(&mut [&mut alice, &mut bob]);
    sign_in(&mut alice, "alice").await.is(302);
    fs::remove_file(scene.directory().join("sessions.redb")).unwrap();
    sign_in(&mut bob, "bob").await.is(302);
    check(&mut alice).await.is(200);
    check(&mut bob).await.is(200);
    let mut signed_out = bob.clone();
    sign_out(&mut bob).await.is(302);
    check(&mut signed_out).await.is(302);
    daemon.signal("TERM");
    assert_eq!(daemon.end().0, Some(0));

    let daemon = scene.start(&mut [&mut alice, &mut signed_out]);
    check(&mut alice).await.is(302);
    check(&mut signed_out).await.is(302);
    daemon.signal("TERM");
    assert_eq!(daemon.end().0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_the_directory_opens_nothing() {
    let scene = Scene::new().await;
    let mut browser = Browser::new();
    let daemon = scene.start(&mut [&mut browser]);
    let back = sign_in(&mut browser, "alice").await;
    let id_token = check(&mut browser).await.is(200).header("x-authentik-jwt");
    daemon.signal("TERM");
    daemon.end();
    let cookies = back.header("set-cookie");
    let cookie = cookies.split(['=', ';', ' ']).find(|part| part.len() == 43).unwrap().to_owned();
    assert!(id_token.len() > 100);
    let bytes = fs::read(scene.directory().join("sessions.redb")).unwrap();
    let parts = id_token.split('.').chain([&*cookie, &cookie[8..30], "alice", "admins", "app.example.com", "\"sub\""]);
    for secret in parts {
        let secret = secret.as_bytes();
        assert!(!bytes.windows(secret.len()).any(|it| it == secret), "{}", String::from_utf8_lossy(secret));
    }
    assert!(bytes.len() > 4096);
}
