//! The `forepost` command as an operator runs it.

use std::process::Output;

use serde_json::Value;

use crate::support::process::{Running, borrowed, forepost, provider, quick_start};
use crate::support::{Browser, fill_in};

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = forepost(arguments, environment).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn help_and_version_read_well() {
    let (code, help, _) = run(&["--help"], &[]);
    assert_eq!(code, 0);
    for text in [
        "serve",
        "check",
        "explain",
        "healthcheck",
        "reload",
        "status",
        "sessions",
        "token",
        "--config",
        "--set",
        "FOREPOST_ISSUER",
    ] {
        assert!(help.contains(text), "{text} is not in\n{help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    let (code, version, _) = run(&["--version"], &[]);
    assert_eq!((code, version.trim()), (0, concat!("forepost ", env!("CARGO_PKG_VERSION"))));
    for command in [
        "serve",
        "check",
        "explain",
        "healthcheck",
        "reload",
        "status",
        "sessions",
        "sessions list",
        "sessions show",
        "sessions revoke",
        "token",
    ] {
        let words: Vec<_> = command.split(' ').chain(["--help"]).collect();
        assert_eq!(run(&words, &[]).0, 0, "{command}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let explain = &["explain", "--application", "app", "--url", "https://app.example.com/"];
    for arguments in [&[][..], &["serve"], &["check"], &["healthcheck"], explain] {
        let environment = [
            ("FOREPOST_ISSUER", "not a url"),
            ("FOREPOST_CLIENT_ID", "proxy"),
            ("FOREPOST_CLIENT_SECRET", "the-very-secret"),
            ("FOREPOST_EXTERNAL_HOST", "https://app.example.com"),
            ("FOREPOST_COOKIE_DOMAIN", "co.uk"),
            ("FOREPOST_SERVER__HTPP", "127.0.0.1:0"),
            ("FOREPOST_SESSION__LIFETIME", "soon"),
        ];
        let (code, stdout, stderr) = run(arguments, &environment);
        assert_eq!(code, 64, "{arguments:?}");
        for text in [
            "issuer",
            "public suffix",
            "server.htpp",
            "did you mean http",
            "session.lifetime",
            "FOREPOST_COOKIE_DOMAIN",
        ] {
            assert!(stderr.contains(text), "{text} is not in\n{stderr}");
        }
        assert!(stdout.is_empty() && !stderr.contains("the-very-secret"), "{stdout}{stderr}");
    }
    let (code, _, stderr) = run(&["--config", "/nowhere/forepost.toml"], &[]);
    assert!(code == 64 && stderr.contains("/nowhere/forepost.toml"), "{stderr}");
    let (code, _, stderr) = run(&["--set", "log.level=loud"], &borrowed(&quick_start("https://idp.example.com")));
    assert!(code == 64 && stderr.contains("log.level"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_whether_logins_would_work() {
    let provider = provider().await;
    let environment = quick_start(provider.issuer());
    let (code, stdout, stderr) = run(&["check"], &borrowed(&environment));
    assert_eq!(code, 0, "{stdout}{stderr}");
    for text in [
        "[ok]   settings: no mistakes",
        "issuer: http://idp.localhost",
        "signing keys:",
        "clock: the clocks agree",
        "PKCE: S256",
        "register https://app.example.com/outpost.goauthentik.io/callback?X-authentik-auth-callback=true",
        "Logins should work.",
    ] {
        assert!(stdout.contains(text), "{text} is not in\n{stdout}");
    }
    assert!(!stdout.contains("proxy-secret"));

    let (code, stdout, _) = run(&["check", "--json"], &borrowed(&environment));
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &report["logins_work"]), (0, &Value::Bool(true)));
    assert!(report["findings"].as_array().unwrap().len() > 8, "{report}");

    let slashed = quick_start(&format!("{}/", provider.issuer()));
    let (code, stdout, _) = run(&["check"], &borrowed(&slashed));
    assert_eq!(code, 1);
    assert!(stdout.contains("[FAIL]") && stdout.contains("only the trailing slash differs"), "{stdout}");

    for (change, text) in [
        (("token_endpoint_auth_methods_supported", serde_json::json!(["private_key_jwt"])), "client authentication"),
        (("require_pushed_authorization_requests", serde_json::json!(true)), "pushed requests"),
        (("scopes_supported", serde_json::json!(["profile"])), "does not list openid"),
    ] {
        provider.set(|behaviour| {
            behaviour.metadata.set(change.0, change.1.clone());
        });
        let (code, stdout, _) = run(&["check"], &borrowed(&environment));
        assert!(code == 1 && stdout.contains(text), "{text} is not in\n{stdout}");
        provider.set(|behaviour| behaviour.metadata = crate::provider::Behaviour::default().metadata);
    }
    let issuer = provider.issuer().to_owned();
    provider.stop().await;
    let (code, stdout, _) = run(&["check"], &borrowed(&quick_start(&issuer)));
    assert!(code == 1 && stdout.contains("discovery") && stdout.contains("refused"), "{stdout}");
}

/// The proxy has to do its part for each further header; operators are told so where they look.
#[tokio::test(flavor = "multi_thread")]
async fn check_and_log_tell_what_the_proxy_must_do_for_further_headers() {
    let provider = provider().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("forepost.toml");
    let settings = format!(
        r#"
        issuer = "{}"
        client_id = "proxy"
        client_secret = "proxy-secret"
        [server]
        http = "127.0.0.1:0"
        metrics = "127.0.0.1:0"

        [[application]]
        slug = "bare"
        external_host = "https://bare.example.com"

        [[application]]
        slug = "known"
        external_host = "https://known.example.com"
        headers = {{ presets = ["remote-user", "forwarded-user"] }}

        [[application]]
        slug = "other"
        external_host = "https://other.example.com"
        headers = {{ additional = ["X-Team"] }}
        basic_auth = {{ password = "sub" }}
        [[application.header]]
        name = "X-WEBAUTH-ROLE"
        text = "Viewer"
        "#,
        provider.issuer()
    );
    std::fs::write(&file, settings).unwrap();
    let config = [("FOREPOST_CONFIG", file.to_str().unwrap())];
    let (code, stdout, stderr) = run(&["check"], &config);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let told: Vec<_> = stdout.lines().filter(|line| line.contains("further headers")).collect();
    let [known, other, basic] = told[..] else { panic!("{told:#?}") };
    assert!(known.starts_with("[note] application known: further headers: Remote-User, Remote-Groups, "), "{known}");
    assert!(known.contains("X-Forwarded-Preferred-Username: the proxy must remove them from clients"), "{known}");
    assert!(
        other.starts_with("[warn] application other: further headers: X-Team, X-Webauth-Role: the proxy must"),
        "{other}"
    );
    assert!(basic.starts_with("[warn] application other: further headers: Authorization (basic_auth)"), "{basic}");

    let mut daemon = Running::start(&config);
    let headers = daemon.until(|line| {
        let warns = line["message"].as_str().is_some_and(|text| text.starts_with("the proxy must let the application"));
        warns.then(|| (line["application"].clone(), line["headers"].clone()))
    });
    assert_eq!(headers, ("other".into(), "x-team, x-webauth-role, authorization".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_serves_logs_no_secret_and_stops() {
    let provider = provider().await;
    let environment = quick_start(provider.issuer());
    let mut daemon = Running::start(&borrowed(&environment));
    let (http, metrics) = (daemon.address("http"), daemon.address("metrics"));
    daemon.until(|line| line["message"].as_str().filter(|text| text.contains("ready for logins")).map(|_| ()));

    let asked = [("FOREPOST_SERVER__METRICS", metrics.to_string())];
    let healthy: Vec<_> = environment.iter().filter(|(name, _)| *name != asked[0].0).chain(&asked).cloned().collect();
    assert_eq!(run(&["healthcheck"], &borrowed(&healthy)).0, 0);

    let mut browser = Browser::new().route("idp.localhost", provider.address()).route("*", http);
    let start = browser.get("https://app.example.com/outpost.goauthentik.io/start?rd=/x%3Fprivate=in-the-query").await;
    let page = browser.get(start.is(302).location().as_str()).await;
    let callback = fill_in(&mut browser, &page, "alice").await.location();
    let back = browser.get(callback.as_str()).await;
    assert_eq!(back.is(302).header("location"), "https://app.example.com/x?private=in-the-query");
    let questions = [("x-original-url", "https://app.example.com/x?private=in-the-query")];
    let auth = "https://app.example.com/outpost.goauthentik.io/auth/nginx";
    let entered = browser.send(http::Method::GET, auth, &questions, None).await;
    entered.is(200);
    let token = entered.header("x-authentik-jwt");

    daemon.signal("TERM");
    let (code, log) = daemon.end();
    assert_eq!(code, Some(0), "{log:#?}");
    let log = log.join("\n");
    let secrets: Vec<String> = start
        .location()
        .query_pairs()
        .chain(callback.query_pairs())
        .filter(|(name, _)| ["state", "nonce", "code_challenge", "code"].contains(&&**name))
        .map(|(_, value)| value.into_owned())
        .chain(start.header("set-cookie").split(['=', ';']).take(2).map(str::to_owned).skip(1))
        .chain(back.header("set-cookie").split(['=', ';', ' ']).filter(|part| part.len() == 43).map(str::to_owned))
        .chain(["proxy-secret".into(), "in-the-query".into(), token])
        .collect();
    assert!(secrets.len() >= 9, "{secrets:?}");
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is in\n{log}");
    }
    for text in
        ["\"outcome\":\"login\"", "\"outcome\":\"allow\"", "\"user\":\"alice\"", "\"path\":\"/x\"", "\"stopped\""]
    {
        assert!(log.contains(text), "{text} is not in\n{log}");
    }
    assert_eq!(run(&["healthcheck"], &borrowed(&healthy)).0, 1, "no process listens any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_without_its_provider_lives() {
    let environment = quick_start("http://127.0.0.1:1");
    let mut daemon = Running::start(&borrowed(&environment));
    let http = daemon.address("http");
    daemon.until(|line| line["message"].as_str().filter(|text| text.contains("not ready for logins")).map(|_| ()));
    Browser::new().route("*", http).get("http://x/outpost.goauthentik.io/ping").await.is(204);
    daemon.signal("INT");
    let (code, log) = daemon.end();
    assert_eq!(code, Some(0), "{log:#?}");
}

#[test]
fn a_taken_port_is_told_plainly() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut environment = quick_start("http://127.0.0.1:1");
    environment.retain(|(name, _)| *name != "FOREPOST_SERVER__HTTP");
    environment.push(("FOREPOST_SERVER__HTTP", address.clone()));
    let (code, _, stderr) = run(&[], &borrowed(&environment));
    assert_eq!(code, 1);
    assert!(stderr.contains(&address) && stderr.contains("server.http"), "{stderr}");
}
