//! One cookie domain within another, at one provider: cookies of both have one name, and each session is its application's.

use super::*;
use crate::provider::{Config, Provider};
use crate::support::client;

const OUTER: &str = "https://wiki.example.com/page";
const INNER: &str = "https://wiki.dev.example.com/page";
const SIGN_OUT: &str = "https://wiki.dev.example.com/outpost.goauthentik.io/sign_out";
const ORIGIN: (&str, &str) = ("origin", "https://wiki.dev.example.com");

async fn stage(further: &str) -> Stage {
    let origins = ["https://auth.example.com", "https://auth.dev.example.com"];
    let clients = vec![client("proxy", Some("proxy-secret"), &origins)];
    let provider = Provider::start(Config { clients, ..Config::default() }).await.unwrap();
    // Without refresh tokens, so that logins can be confirmed silently.
    provider.set(|it| it.refreshing.unannounced = true);
    let applications = format!(
        "{further}[[application]]\nslug = \"outer\"\nexternal_host = \"{}\"\ncookie_domain = \"example.com\"\n\
         [[application]]\nslug = \"inner\"\nexternal_host = \"{}\"\ncookie_domain = \"dev.example.com\"\n",
        origins[0], origins[1]
    );
    Stage::of(provider, "proxy-secret", "", &applications).await
}

/// Signed in to both, with both cookies at the inner one.
async fn visitor_of_both(stage: &Stage) -> Browser {
    let mut alice = visitor(stage, OUTER, "alice").await;
    stage.sign_in(&mut alice, INNER, "alice").await.is(200);
    let names = alice.cookie_names(&INNER.parse().unwrap());
    assert!(matches!(&*names, [one, other] if one == other), "{names:?}");
    alice
}

#[tokio::test]
async fn a_login_ends_no_session_of_the_other() {
    let stage = stage("").await;
    let mut alice = visitor_of_both(&stage).await;
    assert!(is_in(&stage, &alice, OUTER).await && is_in(&stage, &alice, INNER).await);
    let before = alice.clone();
    let start = "https://wiki.dev.example.com/outpost.goauthentik.io/start?rd=/page";
    let begun = alice.get(start).await;
    stage.complete(&mut alice, begun, "alice").await.is(200);
    assert!(is_in(&stage, &alice, OUTER).await && is_in(&stage, &alice, INNER).await);
    assert!(is_in(&stage, &before, OUTER).await && !is_in(&stage, &before, INNER).await, "its own was replaced");
}

#[tokio::test]
async fn a_sign_out_ends_no_session_of_the_other() {
    let stage = stage("").await;
    let mut alice = visitor(&stage, OUTER, "alice").await;
    // In another session of the provider.
    stage.provider.end_sessions();
    stage.sign_in(&mut alice, INNER, "alice").await.is(200);
    let before = alice.clone();
    alice.send(Method::POST, SIGN_OUT, &[ORIGIN], None).await.is(303);
    for browser in [&alice, &before] {
        assert!(is_in(&stage, browser, OUTER).await && !is_in(&stage, browser, INNER).await);
    }
    // With the other one's cookie alone no user is signed in here.
    alice.clone().send(Method::POST, SIGN_OUT, &[ORIGIN], None).await.is(200).contains("Signed out");
    assert!(is_in(&stage, &alice, OUTER).await);
}

#[tokio::test]
async fn a_sign_out_ends_both_sessions_of_one_login() {
    let stage = stage("").await;
    let mut alice = visitor_of_both(&stage).await;
    let before = alice.clone();
    alice.send(Method::POST, SIGN_OUT, &[ORIGIN], None).await.is(303);
    for browser in [&alice, &before] {
        assert!(!is_in(&stage, browser, OUTER).await && !is_in(&stage, browser, INNER).await);
    }
}

#[tokio::test]
async fn a_silent_login_that_is_refused_ends_no_session_of_the_other() {
    let stage = stage("[session]\nsilent_login = true\nrevalidate_after = \"1s\"\n").await;
    let mut alice = visitor_of_both(&stage).await;
    stage.provider.end_sessions();
    // Once it is due; before, anybody's link could begin one.
    let begun = loop {
        let reply = stage.check("traefik", &mut alice, INNER).await;
        if reply.status == 302 {
            break reply;
        }
    };
    let refused = stage.come_back(&mut alice, begun, "alice").await;
    assert_eq!(refused.is(302).location().path(), "/authorize");
    // The other one is due for a trip too, on which only navigations are sent.
    let script = [("sec-fetch-mode", "cors"), ("accept", "*/*")];
    stage.ask("traefik", &mut alice, Method::GET, OUTER, &script).await.is(200);
    stage.ask("traefik", &mut alice, Method::GET, INNER, &script).await.is(401);
}
