//! Logins: what a browser carries, what a provider may say, and where it all ends.

use http::Method;

use crate::provider::{Algorithm, Config, Jwks, Provider};
use crate::support::{APPLICATIONS, Browser, Reply, Stage, client, fill_in};

const APP: &str = "https://app.example.com/page";

/// Begins a login, answers the provider's form, and stops before our callback.
async fn up_to_callback(stage: &Stage, browser: &mut Browser, user: &str) -> Reply {
    let login = stage.check("traefik", browser, APP).await;
    let page = browser.get(login.is(302).location().as_str()).await;
    if page.status.is_redirection() { page } else { fill_in(browser, &page, user).await }
}

/// A login that must not succeed: ends on a page with this status that says `text`, and opens nothing.
#[track_caller]
fn failed(reply: &Reply, status: u16, text: &str) {
    reply.is(status).contains(text).contains("<html");
    assert!(!reply.header("set-cookie").contains("authentik_proxy_1"), "{reply:#?}");
    assert!(!reply.header("x-request-id").is_empty() && reply.body.contains(&reply.header("x-request-id")));
}

/// A login that must not succeed, and in whose place another one begins.
#[track_caller]
fn begins_again(stage: &Stage, reply: &Reply) {
    assert!(reply.is(302).location().as_str().starts_with(stage.provider.issuer()), "{reply:#?}");
    assert!(!reply.header("set-cookie").contains("authentik_proxy_1"), "{reply:#?}");
}

/// A provider at which our client has this secret; empty: a public client.
fn registered(secret: &str) -> Config {
    let secret = Some(secret).filter(|secret| !secret.is_empty());
    Config { clients: vec![client("proxy", secret, &["https://app.example.com"])], ..Config::default() }
}

#[tokio::test]
async fn every_authorisation_request_has_pkce_nonce_and_state() {
    let stage = Stage::with("authorization_parameters = { prompt = \"select_account\" }", APPLICATIONS).await;
    let mut browser = stage.browser();
    let (one, other) =
        (stage.check("traefik", &mut browser, APP).await, stage.check("traefik", &mut browser, APP).await);
    for reply in [&one, &other] {
        let parameter = |name| reply.parameter(name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(parameter("response_type"), "code");
        assert_eq!(parameter("code_challenge_method"), "S256");
        assert_eq!(parameter("client_id"), "proxy");
        assert_eq!(parameter("scope"), "openid profile email groups offline_access");
        assert_eq!(parameter("prompt"), "select_account");
        assert_eq!(
            parameter("redirect_uri"),
            "https://app.example.com/outpost.goauthentik.io/callback?X-authentik-auth-callback=true"
        );
        assert!(parameter("nonce").len() >= 22 && parameter("code_challenge").len() == 43);
        assert!(parameter("state").bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    }
    for name in ["nonce", "code_challenge", "state"] {
        assert_ne!(one.parameter(name), other.parameter(name), "{name}");
    }
}

#[tokio::test]
async fn friendly_targets_come_back_and_hostile_ones_lead_home() {
    let stage = Stage::start().await;
    for (rd, expected) in [
        ("rd=%2Fx%3Fa%3D1%26b%3D%252F%23frag", "https://app.example.com/x?a=1&b=%2F#frag"),
        ("rd=/x?a=1&b=2", "https://app.example.com/x?a=1&b=2"),
        ("rd=https%3A%2F%2Fapp.example.com%2Fy", "https://app.example.com/y"),
        ("", "https://app.example.com/"),
        ("rd=https://evil.test/", "https://app.example.com/"),
        ("rd=//evil.test", "https://app.example.com/"),
        ("rd=%2F%5Cevil.test", "https://app.example.com/"),
        ("rd=%2F%09%2Fevil.test", "https://app.example.com/"),
        ("rd=javascript:alert(1)", "https://app.example.com/"),
        ("rd=https://app.example.com@evil.test/", "https://app.example.com/"),
        ("rd=https://app.example.com.evil.test/", "https://app.example.com/"),
        ("rd=/outpost.goauthentik.io/sign_out", "https://app.example.com/"),
    ] {
        let mut browser = stage.browser();
        let start = browser.get(&format!("https://app.example.com/outpost.goauthentik.io/start?{rd}")).await;
        let back = stage.come_back(&mut browser, start, "alice").await;
        assert_eq!(back.is(302).header("location"), expected, "{rd}");
        stage.check("traefik", &mut browser, expected).await.is(200);
    }
}

#[tokio::test]
async fn a_callback_needs_the_browser_that_began() {
    let stage = Stage::start().await;
    let (mut alice, mut mallory) = (stage.browser(), stage.browser());
    let callback = up_to_callback(&stage, &mut alice, "alice").await.location();
    let stolen = mallory.get(callback.as_str()).await;
    begins_again(&stage, &stolen);
    stage.check("traefik", &mut mallory, APP).await.is(302);

    let mut replaying = alice.clone();
    assert_eq!(alice.get(callback.as_str()).await.is(302).header("location"), APP);
    stage.check("traefik", &mut alice, APP).await.is(200);
    assert_eq!(alice.get(callback.as_str()).await.is(302).header("location"), APP, "already signed in");
    begins_again(&stage, &replaying.get(callback.as_str()).await);
}

#[tokio::test]
async fn a_callback_without_sense_is_refused() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    let good = up_to_callback(&stage, &mut browser, "alice").await.location();
    let query = good.query().unwrap().to_owned();
    let state = good.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let base = "https://app.example.com/outpost.goauthentik.io/callback";
    for bad in [
        String::new(),
        "code=x".into(),
        "state=x&code=x".into(),
        format!("{query}&code=x"),
        format!("{query}&state={state}"),
        format!("state={state}"),
        format!("state={state}x&code=x"),
        query.replace("iss=", "iss=https%3A%2F%2Fother.test&x="),
        query.replace("iss=", "x="),
        "error=access_denied".into(),
    ] {
        browser.clone().get(&format!("{base}?{bad}")).await.is(400);
    }
    let other_host = format!("https://admin.example.com/sub/outpost.goauthentik.io/callback?{query}");
    browser.clone().get(&other_host).await.is(400);
    browser.get(good.as_str()).await.is(302);
}

#[tokio::test]
async fn several_tabs_each_end_on_their_own_page() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    let mut logins = Vec::new();
    for tab in 0..6 {
        let url = format!("https://app.example.com/tab/{tab}");
        let login = stage.check("traefik", &mut browser, &url).await;
        logins.push((url, login));
    }
    for (url, login) in logins {
        let back = stage.come_back(&mut browser, login, "alice").await;
        assert_eq!(back.is(302).header("location"), url);
    }
    stage.check("traefik", &mut browser, APP).await.is(200);
    let app = url::Url::parse(APP).unwrap();
    assert_eq!(browser.cookie_names(&app).len(), 1, "attempts leave nothing behind");
}

#[tokio::test]
async fn a_login_makes_a_new_session_and_ends_the_old_one() {
    let stage = Stage::start().await;
    let app = url::Url::parse(APP).unwrap();
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, APP, "alice").await.is(200);
    let (old, first) = (browser.clone(), browser.cookie(&app, "authentik_proxy").unwrap());
    let start = browser.get("https://app.example.com/outpost.goauthentik.io/start").await;
    stage.complete(&mut browser, start, "alice").await.is(200);
    let second = browser.cookie(&app, "authentik_proxy").unwrap();
    assert_ne!(first, second);
    stage.check("traefik", &mut old.clone(), APP).await.is(302);

    // Forepost does not take over a planted token.
    let mut victim = stage.browser();
    let name = browser.cookie_names(&app).remove(0);
    let planted = "A".repeat(43);
    victim.set_cookie(&app, &format!("{name}={planted}; Path=/; Secure"));
    stage.sign_in(&mut victim, APP, "bob").await.is(200);
    assert_ne!(victim.cookie(&app, "authentik_proxy").unwrap(), planted);
}

#[tokio::test]
async fn two_cookies_of_one_name_are_each_tried() {
    let stage = Stage::start().await;
    let app = url::Url::parse(APP).unwrap();
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, APP, "alice").await.is(200);
    let (name, good) = (browser.cookie_names(&app).remove(0), browser.cookie(&app, "authentik_proxy").unwrap());
    let bad = "B".repeat(43);
    let mut bare = stage.browser();
    for (cookie, expected) in [
        (format!("{name}={bad}; {name}={good}"), 200),
        (format!("{name}={good}; {name}=garbage"), 200),
        (format!("x=1; {name}={good}; y=2"), 200),
        (format!("x=1, {name}={good}"), 302),
        (format!("x=1,{name}={good},y=2"), 302),
        (format!("{name}={bad}; {name}=garbage"), 302),
        (format!("{name}={}", &good[..42]), 302),
        (format!("{name}={good}x"), 302),
        (format!("{name}="), 302),
        (format!("{name}={}", "A".repeat(8000)), 302),
        ("; = ;;==".into(), 302),
    ] {
        let reply = stage.ask("traefik", &mut bare, Method::GET, APP, &[("cookie", &cookie)]).await;
        reply.is(expected);
    }
}

#[tokio::test]
async fn a_browser_that_loses_its_session_cookie_is_stopped() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    for round in 1..=3 {
        let login = stage.check("traefik", &mut browser, APP).await;
        let back = stage.come_back(&mut browser, login, "alice").await;
        if round < 3 {
            back.is(302);
        } else {
            failed(&back, 400, "Login stopped");
        }
        let (app, provider) = (url::Url::parse(APP).unwrap(), url::Url::parse(stage.provider.issuer()).unwrap());
        let kept = browser.cookie(&provider, "").unwrap();
        let name = browser.cookie_names(&provider).remove(0);
        browser.clear_cookies();
        browser.set_cookie(&provider, &format!("{name}={kept}; Path=/"));
        assert!(browser.cookie_names(&app).is_empty());
    }
}

#[tokio::test]
async fn being_forbidden_again_and_again_is_no_loop() {
    let stage = Stage::start().await;
    for _ in 0..4 {
        stage
            .sign_in(&mut stage.browser(), "https://admin.example.com/sub/", "bob")
            .await
            .is(403)
            .contains("No access");
    }
}

#[tokio::test]
async fn all_signing_algorithms_work() {
    for algorithm in [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa, Algorithm::Hs256] {
        let secret = "a client secret that is long enough for HS256";
        let provider = Provider::start(registered(secret)).await.unwrap();
        provider.set(|behaviour| {
            behaviour.algorithm = algorithm;
            if algorithm == Algorithm::Hs256 {
                behaviour.jwks = Jwks::EmptyObject;
            }
        });
        let stage = Stage::of(provider, secret, "", APPLICATIONS).await;
        let entered = stage.sign_in(&mut stage.browser(), APP, "alice").await;
        assert_eq!(entered.status, 200, "{algorithm:?}");
    }
}

#[tokio::test]
async fn client_secrets_reach_the_provider_as_it_reads_them() {
    for (secret, raw_basic, method) in [
        ("proxy-secret_with.plain~characters", false, "auto"),
        ("with-dash_and.dot", true, "auto"),
        ("needs %&+ escapes/ü", false, "auto"),
        ("needs %&+ escapes/ü", true, "auto"),
        ("needs %&+ escapes/ü", true, "client_secret_post"),
        ("needs %&+ escapes/ü", false, "client_secret_basic"),
    ] {
        let provider = Provider::start(registered(secret)).await.unwrap();
        provider.set(|behaviour| behaviour.raw_basic = raw_basic);
        let keys = format!("token_endpoint_auth_method = \"{method}\"");
        let stage = Stage::of(provider, secret, &keys, APPLICATIONS).await;
        let entered = stage.sign_in(&mut stage.browser(), APP, "alice").await;
        assert_eq!(entered.status, 200, "{secret} {raw_basic} {method}: {entered:#?}");
    }
}

#[tokio::test]
async fn a_public_client_proves_itself_by_pkce() {
    let stage = Stage::of(Provider::start(registered("")).await.unwrap(), "", "", APPLICATIONS).await;
    stage.sign_in(&mut stage.browser(), APP, "alice").await.is(200);
}

#[tokio::test]
async fn without_an_end_session_endpoint_sign_out_ends_here() {
    let provider = Provider::start(registered("proxy-secret")).await.unwrap();
    provider.set(|behaviour| {
        behaviour.metadata.remove("end_session_endpoint");
    });
    let stage = Stage::of(provider, "proxy-secret", "", APPLICATIONS).await;
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, APP, "alice").await.is(200);
    let url = "https://app.example.com/outpost.goauthentik.io/sign_out";
    let page = browser.send(Method::GET, url, &[("sec-fetch-site", "same-origin")], None).await;
    page.is(200).contains("Signed out");
    stage.check("traefik", &mut browser, APP).await.is(302);
}
