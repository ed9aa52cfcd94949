//! The audit log of a daemon as a process: who ended whose sessions, why, and from where.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::provider::{Behaviour, Config, Provider};
use crate::support::port::reserved_address;
use crate::support::process::{Running, borrowed};
use crate::support::redis::until;
use crate::support::{ask, client, fill_in};

const START: &str = "https://app.example.com/outpost.goauthentik.io/start?rd=/page";
const SIGN_OUT: &str = "https://app.example.com/outpost.goauthentik.io/sign_out";
const FRONT_CHANNEL: &str = "https://app.example.com/outpost.goauthentik.io/frontchannel-logout";
const ORIGIN: (&str, &str) = ("origin", "https://app.example.com");

/// Where the proxy says that the browser is.
const CLIENT: &str = "203.0.113.7";

struct Scene {
    provider: Provider,
    daemon: Running,
    browser: Browser,
    _folder: TempDir,
}

impl Scene {
    /// With a daemon that writes down what `level` asks for.
    async fn start(level: &str, session: &str, prepare: impl FnOnce(&mut Behaviour)) -> Self {
        let clients = vec![client("proxy", Some("proxy-secret"), &["https://app.example.com"])];
        let provider = Provider::start(Config { clients, ..Config::default() }).await.unwrap();
        provider.set(prepare);
        let (http, metrics, folder) = (reserved_address(), reserved_address(), tempfile::tempdir().unwrap());
        let toml = format!(
            "[log]\nlevel = \"{level}\"\nroutine_checks = \"all\"\n\
             [server]\nhttp = \"{http}\"\nmetrics = \"{metrics}\"\n[session]\n{session}\n\
             [identity_provider.idp]\nissuer = \"{}\"\nclient_id = \"proxy\"\nclient_secret = \"proxy-secret\"\n\
             frontchannel_logout = true\n\
             [[application]]\nslug = \"app\"\nexternal_host = \"https://app.example.com\"\n",
            provider.issuer()
        );
        let file = folder.path().join("forepost.toml");
        fs::write(&file, toml).unwrap();
        let daemon = Running::start(&borrowed(&[("FOREPOST_CONFIG", file.to_str().unwrap().to_owned())]));
        // What it writes when it is ready may be left out.
        until("the daemon is ready", || async {
            let Ok(mut stream) = tokio::net::TcpStream::connect(metrics).await else { return false };
            let ready = b"GET /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            let mut answer = String::new();
            tokio::io::AsyncWriteExt::write_all(&mut stream, ready).await.is_ok()
                && tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.is_ok()
                && answer.starts_with("HTTP/1.1 200")
        })
        .await;
        let mut browser = Browser::new().route("idp.localhost", provider.address()).route("*", http);
        browser.headers.insert("x-forwarded-for", CLIENT.parse().unwrap());
        Self { provider, daemon, browser, _folder: folder }
    }

    /// A browser in which `user` is signed in, and the provider's name of its session.
    async fn sign_in(&self, user: &str) -> (Browser, String) {
        let (mut browser, before) = (self.browser.clone(), self.provider.session_ids(user));
        self.sign_in_with(&mut browser, user).await;
        let new = self.provider.session_ids(user).into_iter().find(|session| !before.contains(session));
        (browser, new.unwrap())
    }

    async fn sign_in_with(&self, browser: &mut Browser, user: &str) {
        let start = browser.get(START).await;
        let mut page = browser.get(start.is(302).location().as_str()).await;
        if page.status == 200 {
            page = fill_in(browser, &page, user).await;
        }
        browser.get(page.location().as_str()).await.is(302);
        ask("traefik", browser, Method::GET, APP, &[]).await.is(200);
    }

    async fn back_channel(&self, token: &LogoutToken) {
        let token = self.provider.logout_token("proxy", token).unwrap();
        self.browser.clone().post(BACK_CHANNEL, &format!("logout_token={token}")).await.is(200);
    }

    /// The one audit line of `event` and `reason` whose `field` is `value`; checks what all have in common.
    #[track_caller]
    fn line(&mut self, event: &str, reason: &str, (field, value): (&str, &str), is_asked: bool) -> Line {
        let is_it = |line: &Value| {
            line["message"] == "audit" && line["event"] == event && line["reason"] == reason && line[field] == value
        };
        let line = self.daemon.until(|line| is_it(line).then(|| line.clone()));
        assert_eq!((&line["target"], &line["level"]), (&"forepost::audit".into(), &"INFO".into()), "{line}");
        assert_eq!(line["identity_provider"], "idp", "{line}");
        if is_asked {
            assert_eq!(line["client"], CLIENT, "{line}");
            assert!(line["request_id"].as_str().is_some_and(|id| id.contains('-')), "{line}");
        }
        Line(line)
    }
}

struct Line(Value);

impl Line {
    #[track_caller]
    fn has(&self, fields: &[(&str, &str)]) -> &Self {
        for (name, value) in fields {
            assert_eq!(self.0[*name], *value, "{name} of {}", self.0);
        }
        self
    }

    /// What is not known is left out.
    #[track_caller]
    fn lacks(&self, fields: &[&str]) {
        for name in fields {
            assert!(self.0.get(*name).is_none(), "{name} is in {}", self.0);
        }
    }

    fn session(&self) -> String {
        self.0["session"].as_str().unwrap().to_owned()
    }
}

/// The level that the documentation gives for keeping these lines alone.
#[tokio::test(flavor = "multi_thread")]
async fn it_tells_who_ended_what_and_nothing_else() {
    let mut scene = Scene::start("warn,forepost::audit=info", "sign_out_everywhere = true", |_| ()).await;
    let alice = [("application", "app"), ("user", "alice"), ("subject", "id-alice")];

    let (mut browser, first) = scene.sign_in("alice").await;
    let opened = scene.line("login", "callback", ("provider_session", &first), true).has(&alice).session();
    let again = browser.clone();
    scene.sign_in_with(&mut browser, "alice").await;
    scene.line("logout", "replaced", ("session", &opened), true).has(&alice).has(&[("provider_session", &first)]);
    ask("traefik", &mut again.clone(), Method::GET, APP, &[]).await.is(302);
    browser.send(Method::POST, SIGN_OUT, &[ORIGIN], None).await.is(303);
    scene.line("logout", "sign_out", ("provider_session", &first), true).has(&alice);

    let (mut browser, second) = scene.sign_in("alice").await;
    let everywhere = format!("{SIGN_OUT}?everywhere=true");
    browser.send(Method::POST, &everywhere, &[ORIGIN], None).await.is(303);
    let reason = "sign_out_everywhere";
    scene.line("revocation", reason, ("provider_session", &second), true).has(&alice).session();

    // Who was meant by a session alone, the line of its login says.
    let (_, third) = scene.sign_in("alice").await;
    scene.back_channel(&of_session(&third)).await;
    let unknown = ["application", "user", "subject", "session", "by"];
    scene.line("revocation", "back_channel", ("provider_session", &third), true).lacks(&unknown);
    scene.line("login", "callback", ("provider_session", &third), true).has(&alice);
    scene.back_channel(&of_user("bob")).await;
    let unknown = ["application", "user", "session", "provider_session"];
    scene.line("revocation", "back_channel", ("subject", "id-bob"), true).lacks(&unknown);
    scene.back_channel(&LogoutToken { subject: Some("id-alice".to_owned()), ..of_session("both") }).await;
    let both = scene.line("revocation", "back_channel", ("provider_session", "both"), true);
    both.has(&[("subject", "id-alice")]);

    let (mut browser, fourth) = scene.sign_in("alice").await;
    let link = |session: &str| format!("{FRONT_CHANNEL}?iss={}&sid={session}", scene.provider.issuer());
    let (own, strange) = (link(&fourth), link("a%0Astranger"));
    browser.get(&own).await.is(200);
    scene.browser.clone().get(&strange).await.is(200);
    scene.line("revocation", "front_channel", ("provider_session", &fourth), true).has(&alice).session();
    let unknown = ["application", "user", "subject", "session"];
    scene.line("revocation", "front_channel", ("provider_session", "a stranger"), true).lacks(&unknown);

    scene.daemon.signal("TERM");
    let (_, log) = scene.daemon.end();
    let lines: Vec<Value> = log.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        let is_warning = line["level"] == "WARN" || line["level"] == "ERROR";
        assert!(line["target"] == "forepost::audit" || is_warning, "{line}");
    }
    let of = |reason: &str| lines.iter().filter(|line| line["reason"] == reason).count();
    let counts = ["callback", "replaced", "sign_out", "sign_out_everywhere", "back_channel", "front_channel"].map(of);
    assert_eq!(counts, [5, 1, 1, 1, 3, 2]);
}

/// The lines about requests may be off.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_written_without_the_lines_about_requests() {
    let session = "silent_login = true\nrevalidate_after = \"1s\"";
    let prepare = |it: &mut Behaviour| it.refreshing.unannounced = true;
    let mut scene = Scene::start("info,forepost::access=off", session, prepare).await;
    let (mut browser, name) = scene.sign_in("alice").await;
    scene.provider.end_sessions();
    // Once it is due; before, anybody's link could begin one.
    let leaving = loop {
        let reply = ask("traefik", &mut browser, Method::GET, APP, &[]).await;
        if reply.status == 302 {
            break reply;
        }
    };
    let back = browser.get(leaving.location().as_str()).await;
    assert_eq!(browser.get(back.location().as_str()).await.is(302).location().path(), "/authorize");
    let refused = scene.line("logout", "silent_login_refused", ("provider_session", &name), true);
    refused.has(&[("application", "app"), ("user", "alice"), ("subject", "id-alice")]).session();
    scene.daemon.signal("TERM");
    let (_, log) = scene.daemon.end();
    assert!(!log.iter().any(|line| line.contains("forepost::access")), "{log:#?}");
    assert!(log.iter().any(|line| line.contains("\"stopped\"")), "{log:#?}");
}

/// An end for which no client asked has no client.
#[tokio::test(flavor = "multi_thread")]
async fn it_tells_that_the_provider_ended_its_session() {
    let mut scene = Scene::start("info", "revalidate_after = \"1s\"", |_| ()).await;
    let (mut browser, name) = scene.sign_in("alice").await;
    scene.provider.set(|it| {
        it.refreshing.id_token.remove("sid");
    });
    let seen = until("the session ends", || {
        let mut browser = browser.clone();
        async move { ask("traefik", &mut browser, Method::GET, APP, &[]).await.status == 302 }
    });
    seen.await;
    let ended = scene.line("logout", "provider_session_ended", ("provider_session", &name), false);
    ended.has(&[("application", "app"), ("user", "alice"), ("subject", "id-alice")]).lacks(&["client", "request_id"]);
    ask("traefik", &mut browser, Method::GET, APP, &[]).await.is(302);
}
