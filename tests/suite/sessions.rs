//! Operators see and end sessions: `forepost sessions` beside a daemon, both as processes.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use forepost::identity::{Identity, PackedIdentity};
use forepost::session::{
    FileStore, NewSession, ProviderSide, Realm, Session, SessionStore as _, SessionToken, StateDirectory, StoreParts,
};
use forepost::world::World;
use http::Method;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::provider::{Config, Provider, User};
use crate::support::process::{Running, borrowed, forepost};
use crate::support::redis::Redis;
use crate::support::{Browser, Reply, ask, client, fill_in};

const STILL_SIGNED_IN: &str =
    "A user who is still signed in at the identity provider gets a new session without being asked.\n";

const APP: &str = "https://app.example.com";
const WIKI: &str = "https://wiki.example.com";

/// What all who share a Redis have in common.
const SECRET: &str = "a-secret-of-some-length-for-the-replicas-of-a-test";

struct Scene {
    provider: Provider,
    folder: TempDir,
    redis: Option<Redis>,
}

impl Scene {
    /// Two applications; sessions lie in memory, in the folder, or in a Redis.
    async fn new(store: &str) -> Self {
        let clients = vec![client("proxy", Some("proxy-secret"), &[APP, WIKI])];
        let provider = Provider::start(Config { clients, ..Config::default() }).await.unwrap();
        let redis = if store == "redis" { Some(Redis::durable().await) } else { None };
        let scene = Self { provider, folder: tempfile::tempdir().unwrap(), redis };
        let place = match &scene.redis {
            Some(redis) => format!("secret = \"{SECRET}\"\nredis.url = \"redis://{}\"", redis.address),
            None if store == "file" => format!("directory = \"{}\"", scene.directory().display()),
            None => String::new(),
        };
        let admin = match store {
            "file" => String::new(),
            _ => format!("admin = \"unix:{}\"", scene.socket().display()),
        };
        scene.configure(&format!(
            "[server]\nhttp = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\nunix_socket = \"{}\"\n{admin}\n\
             [session]\nstore = \"{store}\"\n{place}\n",
            scene.folder.path().join("proxy.sock").display()
        ));
        fs::create_dir_all(scene.directory()).unwrap();
        scene
    }

    fn configure(&self, tables: &str) {
        let toml = format!(
            "{tables}\n[identity_provider.idp]\nissuer = \"{}\"\nclient_id = \"proxy\"\nclient_secret = \"proxy-secret\"\n\
             [[application]]\nslug = \"app\"\nexternal_host = \"{APP}\"\n\
             [[application]]\nslug = \"wiki\"\nexternal_host = \"{WIKI}\"\n",
            self.provider.issuer()
        );
        fs::write(self.folder.path().join("forepost.toml"), toml).unwrap();
    }

    fn directory(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn socket(&self) -> PathBuf {
        self.directory().join("admin.sock")
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![("FOREPOST_CONFIG", self.folder.path().join("forepost.toml").to_str().unwrap().to_owned())]
    }

    fn start(&self) -> (Running, Browser) {
        let mut daemon = Running::start(&borrowed(&self.environment()));
        let http = daemon.address("http");
        daemon.until(|line| line["message"].as_str().filter(|text| text.contains("ready for logins")).map(|_| ()));
        (daemon, Browser::new().route("idp.localhost", self.provider.address()).route("*", http))
    }

    /// Runs `forepost sessions` with these words; status, output, and what it says of errors.
    fn sessions(&self, words: &[&str]) -> (i32, String, String) {
        let words: Vec<_> = ["sessions"].iter().chain(words).copied().collect();
        let Output { status, stdout, stderr } = forepost(&words, &borrowed(&self.environment())).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    #[track_caller]
    fn done(&self, words: &[&str]) -> String {
        let (code, stdout, stderr) = self.sessions(words);
        assert_eq!((code, &*stderr), (0, ""), "{words:?}: {stdout}");
        stdout
    }

    #[track_caller]
    fn refused(&self, words: &[&str], status: i32, says: &[&str]) {
        let (code, stdout, stderr) = self.sessions(words);
        assert!(code == status && stdout.is_empty(), "{words:?}: {code} {stdout}{stderr}");
        for text in says {
            assert!(stderr.contains(text), "{words:?}: {text} is not in {stderr}");
        }
    }

    #[track_caller]
    fn json(&self, words: &[&str]) -> Vec<Value> {
        let words: Vec<_> = words.iter().chain(&["--json"]).copied().collect();
        self.done(&words).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Goes to the login of an application, up to the provider's form or its redirect back.
async fn begin(browser: &mut Browser, origin: &str) -> Reply {
    let start = browser.get(&format!("{origin}/outpost.goauthentik.io/start?rd=/page")).await;
    browser.get(start.is(302).location().as_str()).await
}

async fn complete(browser: &mut Browser, page: Reply, user: &str) {
    let back = if page.status.is_redirection() { page } else { fill_in(browser, &page, user).await };
    browser.get(back.location().as_str()).await.is(302);
}

async fn sign_in(browser: &mut Browser, origin: &str, user: &str) {
    let page = begin(browser, origin).await;
    complete(browser, page, user).await;
    check(browser, origin, 200).await;
}

async fn check(browser: &mut Browser, origin: &str, status: u16) {
    ask("traefik", browser, Method::GET, &format!("{origin}/page"), &[]).await.is(status);
}

async fn operators_see_and_end_sessions(store: &str) {
    let scene = Scene::new(store).await;
    let (mut daemon, first) = scene.start();
    assert!(scene.done(&["list"]).lines().count() == 1);
    let (mut alice, mut bob) = (first.clone(), first.clone());
    for (browser, user) in [(&mut alice, "alice"), (&mut bob, "bob")] {
        sign_in(browser, APP, user).await;
        sign_in(browser, WIKI, user).await;
    }
    let metadata = fs::symlink_metadata(scene.socket()).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);

    let table = scene.done(&["list"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
    assert_eq!(rows, [["USER", "APPLICATION"], ["alice", "app"], ["alice", "wiki"], ["bob", "app"], ["bob", "wiki"]]);
    assert_eq!(scene.json(&["list"]).len(), 4);
    assert_eq!(scene.json(&["list", "--user", "alice"]).len(), 2);
    assert_eq!(scene.json(&["list", "--user", "id-bob", "--application", "wiki"]).len(), 1);
    scene.refused(&["list", "--user", "unknown"], 1, &["no session"]);

    let shown = scene.json(&["list", "--user", "alice", "--application", "app"]);
    let bare = shown[0]["id"].as_str().unwrap();
    let id = format!("--id={bare}");
    assert_eq!(
        scene.done(&["show", "--json", "--", bare]),
        scene.done(&["list", "--json", "--user", "alice", "--application", "app"])
    );
    let text = scene.done(&["show", "--", bare]);
    for part in [bare, "alice", "id-alice", "app", scene.provider.issuer(), "Z\n"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(scene.done(&["revoke", &id]), format!("Ended 1 session.\n{STILL_SIGNED_IN}"));
    scene.refused(&["revoke", &id], 1, &[bare]);
    scene.refused(&["show", "--", bare], 1, &[bare]);
    scene.refused(&["show", "garbage"], 64, &["garbage"]);
    check(&mut alice, APP, 302).await;
    check(&mut alice, WIKI, 200).await;
    check(&mut bob, APP, 200).await;

    assert_eq!(scene.done(&["revoke", "--application", "wiki"]), format!("Ended 2 sessions.\n{STILL_SIGNED_IN}"));
    scene.refused(&["revoke", "--application", "other"], 1, &["app, wiki"]);
    check(&mut alice, WIKI, 302).await;
    check(&mut bob, WIKI, 302).await;
    check(&mut bob, APP, 200).await;
    sign_in(&mut alice, WIKI, "alice").await;

    let mut late = first.clone();
    let page = begin(&mut late, APP).await;
    let ended = scene.json(&["revoke", "--user", "bob"]);
    assert_eq!((ended.len(), &ended[0]["ended"], &ended[0]["users"][0]["subject"]), (1, &1.into(), &"id-bob".into()));
    complete(&mut late, page, "bob").await;
    check(&mut late, APP, 302).await;
    check(&mut bob, APP, 302).await;
    check(&mut alice, WIKI, 200).await;
    scene.refused(&["revoke", "--user", "bob"], 1, &["bob", "issuer"]);
    let unseen = scene.done(&["revoke", "--user", "id-bob", "--issuer", scene.provider.issuer()]);
    assert!(unseen.starts_with("Ended 0 sessions.\nEnded here: all of subject id-bob of "), "{unseen}");
    scene.refused(&["revoke", "--user", "bob", "--issuer", "https://other"], 64, &[scene.provider.issuer()]);

    sign_in(&mut bob, APP, "bob").await;
    scene.refused(&["revoke", "--all"], 64, &["--yes"]);
    check(&mut bob, APP, 200).await;
    assert_eq!(scene.done(&["revoke", "--all", "--yes"]), format!("Ended 2 sessions.\n{STILL_SIGNED_IN}"));
    assert_eq!(scene.done(&["revoke", "--all", "--yes"]), "Ended 0 sessions.\n");
    check(&mut alice, WIKI, 302).await;
    check(&mut bob, APP, 302).await;
    assert_eq!(scene.json(&["list"]).len(), 0);

    let audited = |user: &'static str| {
        move |line: &Value| {
            let told = line["event"] == "revocation" && line["reason"] == "operator" && line["user"] == user;
            told.then(|| (line["by"].as_str().unwrap().to_owned(), line["subject"].as_str().unwrap().to_owned()))
        }
    };
    let (by, subject) = daemon.until(audited("bob"));
    assert!(by.starts_with("uid ") && subject == "id-bob", "{by} {subject}");
    daemon.signal("TERM");
    let (_, log) = daemon.end();
    assert_eq!(log.iter().filter(|line| line.contains("\"revocation\"")).count(), 6, "{log:#?}");
    assert!(!scene.socket().exists());
    scene.refused(&["list"], 69, &["is forepost running?", scene.socket().to_str().unwrap()]);
    if store != "memory" {
        let mut daemon = Running::start(&borrowed(&scene.environment()));
        let again = daemon.address("http");
        daemon.until(|line| line["message"].as_str().filter(|text| text.contains("ready for logins")).map(|_| ()));
        for mut browser in [alice, bob, late].map(|browser| browser.route("*", again)) {
            check(&mut browser, APP, 302).await;
            check(&mut browser, WIKI, 302).await;
        }
        assert_eq!(scene.done(&["list"]).lines().count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_and_end_sessions_in_memory() {
    operators_see_and_end_sessions("memory").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_and_end_sessions_in_a_file() {
    operators_see_and_end_sessions("file").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_and_end_sessions_in_redis() {
    operators_see_and_end_sessions("redis").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_move_no_terminal() {
    let scene = Scene::new("memory").await;
    let hostile = "\u{1b}[2Jmallory\u{9b}\u{202e}";
    let mut user = User::new("mallory", "Mallory", &[]);
    user.claims.insert("sub".to_owned(), hostile.into());
    user.claims.insert("preferred_username".to_owned(), hostile.into());
    scene.provider.add_user(user);
    let (_daemon, mut browser) = scene.start();
    sign_in(&mut browser, APP, "mallory").await;
    let id = scene.json(&["list"])[0]["id"].as_str().unwrap().to_owned();
    let outputs = [
        scene.done(&["list"]),
        scene.done(&["list", "--json"]),
        scene.done(&["show", "--", &id]),
        scene.sessions(&["show", "\u{1b}[2J"]).2,
        scene.done(&["revoke", "--json", "--user", hostile]),
    ];
    for output in outputs {
        assert!(output.contains("\\u001b[2J"), "{output:?}");
        assert!(!output.contains(|it: char| it.is_control() && it != '\n' || it == '\u{202e}'), "{output:?}");
    }
    check(&mut browser, APP, 302).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_socket_for_operators_is_told() {
    let scene = Scene::new("memory").await;
    let (_daemon, _) = scene.start();
    let file = scene.folder.path().join("file");
    fs::write(&file, "").unwrap();
    let at = |name: &str| scene.folder.path().join(name).to_str().unwrap().to_owned();
    scene.refused(&["list", "--socket", &at("nothing")], 69, &["is forepost running?", "/nothing"]);
    scene.refused(&["list", "--socket", &at("file")], 69, &["is forepost running?", "/file"]);
    scene.refused(&["list", "--socket", &at("proxy.sock")], 69, &["something else listens there"]);
    scene.refused(&["revoke"], 2, &["--all"]);
    assert_eq!(scene.json(&["list", "--socket", scene.socket().to_str().unwrap()]).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_socket_that_was_asked_for_is_needed() {
    let scene = Scene::new("file").await;
    fs::write(scene.socket(), "precious").unwrap();
    let (mut daemon, _) = scene.start();
    let error = daemon.until(|line| {
        let message = line["message"].as_str().filter(|text| text.contains("operators cannot reach forepost"));
        message.and_then(|_| line["error"].as_str().map(str::to_owned))
    });
    assert!(error.contains("admin.sock") && error.contains("server.admin"), "{error}");
    drop(daemon);
    assert_eq!(fs::read_to_string(scene.socket()).unwrap(), "precious");

    let admin = format!("server.admin=unix:{}", scene.socket().display());
    let Output { status, stderr, .. } = forepost(&["--set", &admin], &borrowed(&scene.environment())).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(status.code() == Some(1) && stderr.contains("(server.admin)"), "{stderr}");
}

/// As many as no page holds, written by a daemon before this one.
async fn fill(scene: &Scene, sessions: usize) {
    let world = World::system();
    let directory = StateDirectory::open(&scene.directory()).unwrap();
    let secret = directory.secret(&world).unwrap();
    let parts = StoreParts {
        secret: secret.expose_secret().as_bytes(),
        max_sessions: 100,
        lifetime: Duration::from_hours(24),
        idle_timeout: None,
        world: world.clone(),
    };
    let store = Arc::new(FileStore::new(directory, parts).unwrap());
    let mut saves = JoinSet::new();
    for number in 0..sessions {
        let name = format!("user{number}");
        let identity = Identity {
            subject: name.clone(),
            username: name.clone(),
            email: String::new(),
            name: String::new(),
            uid: name,
            groups: Vec::new(),
            entitlements: Vec::new(),
        };
        let new = NewSession {
            realm: Realm::new("app", scene.provider.issuer()),
            identity: PackedIdentity::new(identity, "id.to.ken", None),
            began_at: world.now(),
            lifetime: Duration::from_hours(1),
            idle_timeout: None,
            provider: ProviderSide::default(),
        };
        let (store, session) = (Arc::clone(&store), Arc::new(Session::new(new, world.now())));
        let token = SessionToken::generate(&world).unwrap();
        saves.spawn(async move { store.save(&token, session).await.unwrap() });
    }
    saves.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_pages_are_listed() {
    let scene = Scene::new("file").await;
    fill(&scene, 3000).await;
    let (_daemon, _) = scene.start();
    assert_eq!(scene.done(&["list"]).lines().count(), 3001);
    let mut users: Vec<_> = scene.json(&["list"]).iter().map(|it| it["user"].as_str().unwrap().to_owned()).collect();
    users.sort_unstable();
    users.dedup();
    assert_eq!(users.len(), 3000);
    assert_eq!(scene.json(&["list", "--user", "user2999"]).len(), 1);
    assert_eq!(scene.json(&["revoke", "--user", "user2999"])[0]["ended"], 1);
    assert_eq!(scene.json(&["revoke", "--application", "app"])[0]["ended"], 2999);
    assert_eq!(scene.json(&["list"]).len(), 0);
}

/// Every command of the document's section does what it says, with a session in the place of its example.
#[tokio::test(flavor = "multi_thread")]
async fn the_documented_commands_work() {
    let document = include_str!("../../docs/OPERATIONS.md");
    let (_, section) = document.split_once("## Sessions: see and end them").unwrap();
    let (_, block) = section.split_once("```sh\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let scene = Scene::new("file").await;
    let (_daemon, first) = scene.start();
    for line in block.lines() {
        for user in ["alice", "bob"] {
            sign_in(&mut first.clone(), APP, user).await;
            sign_in(&mut first.clone(), WIKI, user).await;
        }
        let id = scene.json(&["list", "--user", "alice"])[0]["id"].as_str().unwrap().to_owned();
        let command = line.split(" #").next().unwrap().replace("ID", &format!("-- {id}"));
        let command = command.replace("--id -- ", "--id=");
        let words: Vec<_> = command.split_whitespace().collect();
        let ["forepost", "sessions", words @ ..] = &words[..] else { panic!("{line}") };
        assert!(!scene.done(words).is_empty(), "{line}");
    }
    assert!(block.lines().count() >= 8, "{block}");
}
