//! `forepost token`: logins that are confirmed in a browser, and what is kept of them.

mod application;
mod scene;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use http::StatusCode;
use serde_json::{Value, json};

use self::scene::{Run, Says, Scene};
use crate::provider::{Endpoint, Fault};
use crate::support::process::forepost;
use crate::support::{Browser, OpenIdProvider};

const METADATA: &str = "/outpost.goauthentik.io/oauth-protected-resource";
/// What Basic and forms make something else of.
const AWKWARD_SECRET: &str = "s+cr&t %41:é";

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_kept_refreshed_and_forgotten() {
    let scene = Scene::start().await;
    let first = scene.login(&[]).await;
    assert!(scene.counts(&first).await);
    assert_eq!(scene.asked_at(Endpoint::DeviceAuthorization, "scope").as_deref(), Some("openid groups offline_access"));
    let kept: Vec<PathBuf> =
        scene.files().into_iter().filter(|path| path.extension().is_some_and(|it| it == "json")).collect();
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((kept.len(), mode(&kept[0])), (1, 0o600));
    assert_eq!(mode(&kept[0].parent().unwrap().to_owned()), 0o700);

    let asked = scene.provider.requests(Endpoint::Discovery);
    assert_eq!(scene.run(&[]), (Some(0), format!("{first}\n"), String::new()));
    assert_eq!(scene.provider.requests(Endpoint::Discovery), asked, "a good token needs no network");

    let mut tokens = vec![first];
    for _ in 0..3 {
        let (status, token, said) = scene.run(&["--renew"]);
        assert!(status == Some(0) && said.is_empty(), "{said}");
        assert!(!tokens.contains(&token) && scene.counts(token.trim_end()).await);
        tokens.push(token);
    }
    assert_eq!(scene.logins(), 1, "refreshed each time, with the token that the time before brought");

    scene.provider.end_grants();
    let mut run = scene.begin(&["--renew"]);
    scene.answer(&mut run, "login=alice").await;
    assert_eq!((run.end().0, scene.logins()), (Some(0), 2), "what the provider ended is a new login");

    let (_, token, _) = scene.run(&[]);
    let (status, stdout, said) = scene.run(&["--forget"]);
    assert!(status == Some(0) && stdout.is_empty() && said.contains("Forgotten here and at"), "{said}");
    assert!(scene.files().is_empty() && !scene.counts(token.trim_end()).await);
    let (status, _, said) = scene.run(&["--forget"]);
    assert!(status == Some(0) && said.contains("Nothing is kept"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_at_once_spend_no_refresh_token_twice() {
    let scene = Scene::start().await;
    scene.provider.set(|it| {
        it.token.set("expires_in", 0);
    });
    scene.login(&[]).await;
    let runs: Vec<Run> = (0..4).map(|_| scene.begin(&[])).collect();
    let mut tokens: Vec<String> = Vec::new();
    for run in runs {
        let (status, token, said) = run.end();
        assert_eq!(status, Some(0), "{said}");
        tokens.push(token);
    }
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!((tokens.len(), scene.logins()), (4, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_the_provider_have_their_status() {
    let scene = Scene::start().await;
    let mut run = scene.begin(&[]);
    scene.answer(&mut run, "deny=yes").await;
    let (status, stdout, said) = run.end();
    assert!(status == Some(77) && stdout.is_empty() && said.contains("denied"), "{said}");

    for (errors, lifetime, expected, says) in [
        (vec!["expired_token"], None, 75, "run this again"),
        (vec![], Some(1), 75, "run this again"),
        (vec!["authorization_pending", "authorization_pending"], Some(2), 75, "run this again"),
        (vec!["invalid_grant"], None, 69, "invalid_grant"),
    ] {
        scene.provider.set(|it| {
            it.device.errors = errors;
            it.device.lifetime = lifetime;
        });
        let (status, stdout, said) = scene.run(&[]);
        assert!(status == Some(expected) && stdout.is_empty() && said.contains(says), "{status:?} {said}");
    }
    scene.provider.set(|it| it.device.lifetime = None);
    scene.provider.set(|it| it.device.errors = vec!["authorization_pending", "slow_down"]);
    let asked = scene.provider.requests(Endpoint::Token);
    scene.login(&[]).await;
    assert_eq!(scene.provider.requests(Endpoint::Token) - asked, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_for_a_while_is_asked_again() {
    let scene = Scene::start().await;
    scene.provider.set(|it| {
        it.faults.insert(Endpoint::Token, Fault::status(StatusCode::SERVICE_UNAVAILABLE));
    });
    let mut run = scene.begin(&[]);
    scene.answer(&mut run, "login=alice").await;
    let said = run.until_line("trying again", |line| line.contains("trying again").then(|| line.to_owned()));
    assert!(said.contains("503"), "{said}");
    scene.provider.set(|it| it.faults.clear());
    let (status, _, said) = run.end();
    assert_eq!(status, Some(0), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_and_secrets_arrive_as_they_are() {
    let scene = Scene::start().await;
    scene.provider.set(|it| it.device.awkward_codes = true);
    let file = scene.home.path().join("secret");
    fs::write(&file, format!("{AWKWARD_SECRET}\n")).unwrap();
    let options = ["--client-id", "robot", "--client-secret-file", file.to_str().unwrap(), "--scope", "openid"];
    let methods: [&[&str]; 2] = [&["client_secret_basic"], &["client_secret_basic", "client_secret_post"]];
    for (number, methods) in methods.into_iter().enumerate() {
        scene.provider.set(|it| {
            it.metadata.set("token_endpoint_auth_methods_supported", json!(methods));
        });
        let token = scene.login(&options).await;
        assert!(scene.counts(&token).await);
        let in_form = scene.asked_at(Endpoint::Token, "client_secret").is_some();
        assert_eq!((in_form, scene.asked_at(Endpoint::Token, "resource")), (number == 1, None));
        let (status, _, said) = scene.run(&["--forget", "--client-secret-file", file.to_str().unwrap()]);
        assert!(status == Some(0) && said.contains("Forgotten") && !scene.counts(&token).await, "{said}");
    }
    scene.provider.set(|it| it.device.errors = vec!["access_denied"]);
    assert_eq!(scene.run(&["--resource-indicator"]).0, Some(77));
    assert_eq!(scene.asked_at(Endpoint::Token, "resource").as_deref(), Some(&*scene.url));
    assert_eq!(scene.asked_at(Endpoint::DeviceAuthorization, "resource").as_deref(), Some(&*scene.url));

    fs::write(&file, "wrong-secret").unwrap();
    let (status, _, said) = scene.run(&options);
    assert!(status == Some(69) && said.contains("invalid_client") && !said.contains("wrong-secret"), "{said}");
    fs::write(&file, "\n").unwrap();
    assert_eq!(scene.run(&options).0, Some(64));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_speaks_for_another_gets_no_token() {
    let scene = Scene::start().await;
    let check = |change: &dyn Fn(&mut Says), status: i32, text: &str| {
        let mut says = scene.says.lock().unwrap();
        let before = Says { metadata: says.metadata.clone(), challenge: says.challenge.clone(), ..*says };
        change(&mut says);
        drop(says);
        let (got, stdout, said) = scene.run(&[]);
        assert!(got == Some(status) && stdout.is_empty() && said.contains(text), "{got:?} {said}, and not {text}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
        *scene.says.lock().unwrap() = before;
    };
    check(&|it| it.metadata["resource"] = json!("https://bank.example.com"), 69, "https://bank.example.com");
    check(&|it| it.metadata["resource"] = json!(format!("{}/other", scene.url)), 69, "/other");
    check(&|it| it.metadata["resource"] = json!("https://x.test/\u{1b}[31m"), 69, "not about");
    check(&|it| it.metadata["authorization_servers"] = json!(["http://idp.example.com"]), 69, "https://");
    check(&|it| it.metadata["authorization_servers"] = json!([format!("{}/", scene.provider.issuer())]), 69, "slash");
    check(&|it| it.metadata["authorization_servers"] = json!([]), 69, "no provider");
    check(&|it| it.metadata["bearer_methods_supported"] = json!(["body"]), 69, "Authorization");
    check(&|it| it.metadata["forepost_cli_client_id"] = Value::Null, 64, "--client-id");
    check(&|it| it.metadata["forepost_cli_client_id"] = json!("stranger"), 69, "invalid_client");
    check(&|it| it.metadata = json!([]), 69, METADATA);
    let elsewhere = format!("Bearer resource_metadata=\"{}/x\"", scene.provider.issuer());
    check(&|it| it.challenge = Some(elsewhere.clone()), 69, "another host");
    check(&|it| it.challenge = Some("Bearer realm=\"x\"".to_owned()), 69, "accept tokens");
    check(&|it| it.status = StatusCode::OK, 69, "needs no token");
    check(&|it| it.status = StatusCode::FOUND, 69, "accept tokens");
    scene.provider.set(|it| {
        it.metadata.set("device_authorization_endpoint", "http://idp.example.com/device");
    });
    check(&|_| (), 69, "https://");
    scene.provider.set(|it| {
        it.metadata.remove("device_authorization_endpoint");
    });
    check(&|_| (), 69, "device_authorization_endpoint");
    assert_eq!(scene.logins(), 1, "the stranger's");
}

#[test]
fn what_cannot_be_asked_is_said() {
    let run = |url: &str| Run::start(forepost(&["token", url], &[])).end();
    for (url, status, text) in [
        ("app.example.com", 64, "not a web address"),
        ("http://app.example.com/", 64, "https://"),
        ("https://user:secret@app.example.com/", 64, "password"),
        ("http://127.0.0.1:1/", 69, "refused"),
    ] {
        let (got, stdout, said) = run(url);
        assert!(got == Some(status) && stdout.is_empty() && said.contains(text), "{url}: {got:?} {said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_login_ends_at_once() {
    let scene = Scene::start().await;
    let mut run = scene.begin(&[]);
    run.until("within ");
    let waiting = scene.begin(&[]);
    let id = run.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let (status, stdout, said) = run.end();
    assert!(status == Some(130) && stdout.is_empty(), "{status:?} {said}");
    // The other one's turn; it waited, or came later.
    let mut waiting = waiting;
    scene.answer(&mut waiting, "login=alice").await;
    assert_eq!(waiting.end().0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_others_may_read_are_not_used() {
    let scene = Scene::start().await;
    scene.login(&[]).await;
    let kept = scene.files().into_iter().find(|path| path.extension().is_some_and(|it| it == "json")).unwrap();
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o644)).unwrap();
    let (status, stdout, said) = scene.run(&[]);
    assert!(status == Some(77) && stdout.is_empty() && said.contains("--forget"), "{said}");
    assert_eq!(scene.run(&["--forget"]).0, Some(0));
    assert!(scene.files().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certified_provider_gives_tokens_and_refreshes_them() {
    let scene = Scene::start().await;
    let grants = ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"];
    let provider = OpenIdProvider::with(
        "https://app.example.com",
        &json!({"client_name": "cli", "grant_types": grants}),
        json!({}),
    );
    {
        let metadata = &mut scene.says.lock().unwrap().metadata;
        metadata["authorization_servers"] = json!([provider.issuer]);
        metadata["forepost_cli_client_id"] = json!(OpenIdProvider::CLIENT_ID);
    }
    let file = scene.home.path().join("secret");
    fs::write(&file, OpenIdProvider::CLIENT_SECRET).unwrap();
    let secret = ["--client-secret-file", file.to_str().unwrap()];
    let mut run = scene.begin(&secret);
    let page = run.until("Open ");
    let code = run.until("and enter the code ");
    let mut browser = Browser::new().route("*", provider.address);
    let form = browser.get(&page).await;
    let (_, rest) = form.is(200).body.split_once("name=\"xsrf\" value=\"").unwrap();
    let (xsrf, _) = rest.split_once('"').unwrap();
    let reply = browser.post(&page, &format!("xsrf={xsrf}&user_code={code}&confirm=yes")).await;
    let login = browser.follow_on_host(reply).await;
    provider.sign_in(&mut browser, &login, "alice").await.is(200).contains("Sign-in Success");
    let (status, token, said) = run.end();
    assert_eq!(status, Some(0), "{said}");

    let (status, renewed, said) = scene.run(&[&secret[..], &["--renew"]].concat());
    assert!(status == Some(0) && said.is_empty() && renewed != token, "{said}");
    let stats = provider.hook("stats").await;
    assert_eq!(stats["POST /device/auth"], 1, "{stats}");
    let (status, _, said) = scene.run(&[&secret[..], &["--forget"]].concat());
    assert!(status == Some(0) && said.contains("Forgotten here and at"), "{said}");
    let (me, bearer) = (format!("{}/me", provider.issuer), format!("Bearer {}", renewed.trim_end()));
    browser.send(http::Method::GET, &me, &[("authorization", &bearer)], None).await.is(401);
}

/// With a terminal, there is a picture, and a line that changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_shows_a_picture() {
    let scene = Scene::start().await;
    scene.provider.set(|it| it.device.errors = vec!["access_denied"; 9]);
    for (option, terminal, expected) in
        [("", "xterm", (true, true)), ("--no-qr", "xterm", (false, true)), ("", "dumb", (false, false))]
    {
        let line = format!("{} token {} {option}", env!("CARGO_BIN_EXE_forepost"), scene.url);
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).stdin(Stdio::null());
        command.env("TERM", terminal).env("HOME", scene.home.path());
        let (status, shown, _) = Run::start(command).end();
        assert_eq!(status, Some(77), "{shown}");
        assert_eq!((shown.contains('\u{2580}'), shown.contains("Waiting for the login")), expected, "{shown}");
        assert!(shown.contains("and enter the code"), "{shown}");
    }
}
