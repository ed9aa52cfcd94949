//! The way back from the provider: whose it is, how often it counts, and what else it may carry.

use std::fmt::Write as _;

use http::Method;
use serde_json::json;
use url::Url;

use super::{APP, RULES, START, stage};
use crate::provider::{Config, Endpoint, Provider};
use crate::support::{Browser, Reply, Stage, client, fill_in, start_daemon};

const CALLBACK: &str = "https://app.example.com/outpost.goauthentik.io/callback";

/// Begins a login and stops before our callback.
async fn up_to_callback(stage: &Stage, browser: &mut Browser, user: &str) -> Url {
    let login = stage.check("traefik", browser, APP).await;
    let page = browser.get(login.is(302).location().as_str()).await;
    let page = if page.status.is_redirection() { page } else { fill_in(browser, &page, user).await };
    page.location()
}

/// No session cookie was set, and the browser is not let in.
async fn no_user_is_in(stage: &Stage, browser: &mut Browser, reply: &Reply) {
    let session = reply.headers.get_all("set-cookie").iter().find(|line| {
        let line = line.to_str().unwrap();
        line.contains("authentik_proxy_") && !line.contains("authentik_proxy_login_") && !line.contains("Max-Age=0")
    });
    assert_eq!(session, None, "{reply:#?}");
    stage.check("traefik", browser, APP).await.is(302);
}

fn state(callback: &Url) -> Option<String> {
    callback.query_pairs().find(|(name, _)| name == "state").map(|(_, state)| state.into_owned())
}

/// SECURITY: 2, 54, 67
#[tokio::test]
async fn a_state_counts_for_its_browser_and_as_it_was_made() {
    let stage = stage().await;
    let mut alice = stage.browser();
    let callback = up_to_callback(&stage, &mut alice, "alice").await;
    let mut mallory = stage.browser();
    let reply = mallory.get(callback.as_str()).await;
    // A login of his own begins, in which nothing is of alice's.
    no_user_is_in(&stage, &mut mallory, reply.is(302)).await;
    assert!(reply.location().as_str().starts_with(stage.provider.issuer()));
    assert_ne!(reply.parameter("state").as_deref(), state(&callback).as_deref());
    // With an attempt of his own, too; that is what Mallory's browser has by now.
    let reply = mallory.get(callback.as_str()).await;
    no_user_is_in(&stage, &mut mallory, reply.is(302)).await;

    let state = state(&callback).unwrap();
    for at in (0..state.len()).step_by(7) {
        let other = if &state[at..=at] == "A" { "B" } else { "A" };
        let forged = format!("{}{other}{}", &state[..at], &state[at + 1..]);
        alice.clone().get(&callback.as_str().replace(&state, &forged)).await.is(400);
    }
    for forged in [&state[1..], &state[..state.len() - 1], ""] {
        alice.clone().get(&callback.as_str().replace(&state, forged)).await.is(400);
    }
    alice.get(callback.as_str()).await.is(302);
    stage.check("traefik", &mut alice, APP).await.is(200);
}

/// SECURITY: 23
#[tokio::test]
async fn the_token_call_proves_what_the_login_promised() {
    let stage = stage().await;
    stage.sign_in(&mut stage.browser(), APP, "alice").await.is(200);
    let seen = stage.provider.last_request(Endpoint::Token).unwrap();
    assert_eq!(seen.method, Method::POST);
    assert!(seen.form.get("code_verifier").is_some_and(|verifier| verifier.len() >= 43));
    assert_eq!(
        seen.form.get("redirect_uri"),
        Some("https://app.example.com/outpost.goauthentik.io/callback?X-authentik-auth-callback=true")
    );
}

/// SECURITY: 27, 83, 87, 88
#[tokio::test]
async fn posts_change_nothing() {
    let stage = stage().await;
    let mut browser = stage.browser();
    let callback = up_to_callback(&stage, &mut browser, "alice").await;
    let query = callback.query().unwrap().to_owned();
    // A response in a form, with or without a type, is none.
    for headers in [
        &[("content-type", "application/x-www-form-urlencoded")][..],
        &[("content-type", "")],
        &[("content-type", "multipart/form-data; boundary=x")],
    ] {
        for body in [query.as_str(), ""] {
            let mut posting = browser.clone();
            let reply = posting.send(Method::POST, CALLBACK, headers, Some(body)).await;
            no_user_is_in(&stage, &mut posting, reply.is(400)).await;
            assert!(!reply.body.contains("code="), "{reply:#?}");
        }
    }
    browser.get(callback.as_str()).await.is(302);
    // Signed in: an empty POST to anything keeps it so.
    for path in [
        "start",
        "callback",
        "sign_out",
        "signed_out",
        "ping",
        "auth/traefik",
        "auth/caddy",
        "auth/nginx",
        "auth/envoy/",
        "",
    ] {
        let mut posting = browser.clone();
        posting
            .send(Method::POST, &format!("https://app.example.com/outpost.goauthentik.io/{path}"), &[], Some(""))
            .await;
        stage.check("traefik", &mut browser, APP).await.is(200);
    }
    // A login that a third party begins ends where ours end.
    for query in [
        "iss=https://evil.test&target_link_uri=https://evil.test/",
        "target_link_uri=//evil.test",
        "login_hint=x&iss=x",
    ] {
        let start = browser.get(&format!("{START}?{query}")).await;
        assert!(start.header("location").starts_with(stage.provider.issuer()));
        let back = stage.come_back(&mut browser, start, "alice").await;
        assert_eq!(back.is(302).header("location"), "https://app.example.com/");
        stage.check("traefik", &mut browser, APP).await.is(200);
    }
}

/// SECURITY: 97b
#[tokio::test]
async fn a_callback_counts_once() {
    let stage = stage().await;
    let mut browser = stage.browser();
    let callback = up_to_callback(&stage, &mut browser, "alice").await;
    let mut second = browser.clone();
    browser.get(callback.as_str()).await.is(302);
    let before = stage.provider.requests(Endpoint::Token);
    let reply = second.get(callback.as_str()).await;
    no_user_is_in(&stage, &mut second, reply.is(302)).await;
    assert!(reply.location().as_str().starts_with(stage.provider.issuer()), "another login begins");
    assert_eq!(stage.provider.requests(Endpoint::Token), before, "the code is not even tried");
}

/// SECURITY: 97
#[tokio::test]
async fn a_token_counts_once() {
    let stage = stage().await;
    let mut browser = stage.browser();
    let first = stage.sign_in(&mut browser, APP, "alice").await.is(200).header("x-authentik-jwt");
    stage.provider.set(|behaviour| behaviour.id_token_text = Some(first));
    let mut replaying = stage.browser();
    let callback = up_to_callback(&stage, &mut replaying, "bob").await;
    let reply = replaying.get(callback.as_str()).await;
    no_user_is_in(&stage, &mut replaying, reply.is(502)).await;
}

/// SECURITY: 102
#[tokio::test]
async fn errors_end_on_a_page() {
    let stage = stage().await;
    let mut browser = stage.browser();
    browser.get(&format!("{CALLBACK}?error=access_denied")).await.is(400);
    browser.get(&format!("{CALLBACK}?error=access_denied&state=x")).await.is(400);
    stage.provider.set(|behaviour| behaviour.refuse = Some("access_denied"));
    let login = stage.check("traefik", &mut browser, APP).await;
    let answer = browser.get(login.location().as_str()).await.location();
    let page = browser.get(answer.as_str()).await;
    page.is(403).contains("did not grant access");
    assert_eq!(page.header("location"), "");
    // Once more it is not an answer to anything, and another login begins.
    let again = browser.get(answer.as_str()).await;
    assert!(again.is(302).location().as_str().starts_with(stage.provider.issuer()));
    no_user_is_in(&stage, &mut browser, &again).await;
}

/// SECURITY: 54, 103
#[tokio::test]
async fn answers_of_another_provider_are_refused() {
    let host = |at: u8| format!("https://app{at}.example.com");
    let mut providers = Vec::new();
    let mut toml = String::new();
    for at in 0..2 {
        let config = Config { clients: vec![client("proxy", Some("proxy-secret"), &[&host(at)])], ..Config::default() };
        let provider = Provider::start(config).await.unwrap();
        let _ = write!(
            toml,
            "[identity_provider.idp{at}]\nissuer = \"{}\"\nclient_id = \"proxy\"\nclient_secret = \"proxy-secret\"\n\
             [[application]]\nname = \"app{at}\"\nexternal_host = \"{}\"\nidentity_provider = \"idp{at}\"\n",
            provider.issuer(),
            host(at)
        );
        providers.push(provider);
    }
    let (other, provider) = (providers.pop().unwrap(), providers.pop().unwrap());
    let stage = Stage { provider, daemon: start_daemon(&toml).await };
    stage.daemon.ready().await;
    let mut browser = stage.browser();
    let login = stage.check("traefik", &mut browser, "https://app0.example.com/").await;
    let page = browser.get(login.is(302).location().as_str()).await;
    let callback = fill_in(&mut browser, &page, "alice").await.location();
    let changed = |name: &str, value: &str| {
        let pairs =
            callback.query_pairs().map(|(key, old)| (key.clone(), if key == name { value.into() } else { old }));
        let mut url = callback.clone();
        url.query_pairs_mut().clear().extend_pairs(pairs);
        url
    };
    browser.clone().get(changed("iss", other.issuer()).as_str()).await.is(400).contains("did not come from");
    browser.clone().get(changed("iss", &format!("{}/", stage.provider.issuer())).as_str()).await.is(400);
    let mut elsewhere = callback.clone();
    elsewhere.set_host(Some("app1.example.com")).unwrap();
    for url in [elsewhere.clone(), changed("iss", other.issuer())] {
        let mut url = url;
        url.set_host(Some("app1.example.com")).unwrap();
        browser.clone().get(url.as_str()).await.is(400);
    }
    assert_eq!(other.requests(Endpoint::Token), 0);
    browser.get(callback.as_str()).await.is(302);
}

/// SECURITY: 52
#[tokio::test]
async fn interleaved_logins_end_each_as_itself() {
    let stage = stage().await;
    let mut under_way = Vec::new();
    for number in 0..200 {
        let user = ["alice", "bob"][number % 2];
        let mut browser = stage.browser();
        let url = format!("https://app.example.com/page/{number}");
        let login = stage.check("traefik", &mut browser, &url).await;
        let page = browser.get(login.is(302).location().as_str()).await;
        under_way.push((user, url, browser, page));
    }
    let mut arrived = Vec::new();
    for (user, url, mut browser, page) in under_way.into_iter().rev() {
        let callback = fill_in(&mut browser, &page, user).await.location();
        arrived.push((user, url, browser, callback));
    }
    // Half of them one way round, half the other.
    let (first, second) = arrived.split_at_mut(100);
    for (user, url, browser, callback) in first.iter_mut().rev().zip(second).flat_map(|(one, other)| [one, other]) {
        let back = browser.get(callback.as_str()).await;
        assert_eq!(back.is(302).header("location"), *url);
        let entered = stage.check("traefik", browser, url).await;
        assert_eq!(entered.is(200).header("x-authentik-username"), *user);
    }
}

/// SECURITY: 100
#[tokio::test]
async fn groups_are_sent_whole_and_judged_whole() {
    let applications = RULES.replace("[\"admins\"]", "[\"group-1999\"]");
    let stage = Stage::with("", &applications).await;
    let groups: Vec<String> = (0..2000).map(|it| format!("group-{it}")).collect();
    stage.provider.set(|behaviour| {
        behaviour.id_token.set("groups", json!(groups));
    });
    let entered = stage.sign_in(&mut stage.browser(), "https://admin.example.com/sub/", "alice").await;
    assert_eq!(entered.is(200).header("x-authentik-groups"), groups.join("|"));
    // A provider that only says where the groups are says no group.
    stage.provider.set(|behaviour| {
        behaviour.id_token.remove("groups");
        behaviour.id_token.set("_claim_names", json!({"groups": "src1"}));
        behaviour.userinfo.remove("groups");
    });
    stage.sign_in(&mut stage.browser(), "https://admin.example.com/sub/", "bob").await.is(403);
}
