//! Logout by way of the browser, for providers that are set up for it.

use url::form_urlencoded::Serializer;

use super::*;
use crate::provider::Endpoint;
use crate::support::APPLICATIONS;

const HERE: &str = "https://app.example.com/outpost.goauthentik.io/frontchannel-logout";
const ANYWHERE: &str = "http://forepost.internal:9000/outpost.goauthentik.io/frontchannel-logout";

async fn stage() -> Stage {
    Stage::with("frontchannel_logout = true", APPLICATIONS).await
}

fn link(at: &str, issuer: &str, session: &str) -> String {
    format!("{at}?{}", Serializer::new(String::new()).extend_pairs([("iss", issuer), ("sid", session)]).finish())
}

#[tokio::test]
async fn a_frame_without_cookies_ends_the_session() {
    let stage = stage().await;
    let first = visitor(&stage, APP, "alice").await;
    let session = stage.provider.session_ids("alice").remove(0);
    let second = visitor(&stage, APP, "alice").await;
    let reply = stage.browser().get(&link(ANYWHERE, stage.provider.issuer(), &session)).await;
    reply.is(200);
    assert_eq!((reply.header("cache-control"), reply.header("set-cookie")), ("no-store".into(), String::new()));
    assert!(reply.header("content-security-policy").contains("frame-ancestors *"), "{reply:#?}");
    assert_eq!(reply.header("x-frame-options"), "");
    assert!(!is_in(&stage, &first, APP).await && is_in(&stage, &second, APP).await);
}

#[tokio::test]
async fn a_cookie_that_came_along_is_taken_back() {
    let stage = stage().await;
    let mut alice = visitor(&stage, APP, "alice").await;
    let session = stage.provider.session_ids("alice").remove(0);
    stage.sign_in(&mut alice, ADMIN, "alice").await.is(200);
    let revocations = stage.provider.requests(Endpoint::Revocation);
    let bob = visitor(&stage, APP, "bob").await;

    // A cookie of another session counts for nothing, and stays.
    let reply = bob.clone().get(&link(HERE, stage.provider.issuer(), "other")).await;
    assert_eq!(reply.is(200).header("set-cookie"), "");
    assert!(is_in(&stage, &bob, APP).await);

    let reply = alice.clone().get(&link(HERE, stage.provider.issuer(), &session)).await;
    assert!(reply.is(200).header("set-cookie").contains("Max-Age=0"), "{reply:#?}");
    assert!(!is_in(&stage, &alice, APP).await && !is_in(&stage, &alice, ADMIN).await && is_in(&stage, &bob, APP).await);
    assert_eq!(stage.provider.requests(Endpoint::Revocation), revocations, "tokens are left alone");
}

/// SECURITY: 90
#[tokio::test]
async fn it_needs_a_provider_that_is_set_up_for_it() {
    let off = Stage::start().await;
    let alice = visitor(&off, APP, "alice").await;
    let session = off.provider.session_ids("alice").remove(0);
    alice.clone().get(&link(HERE, off.provider.issuer(), &session)).await.is(400);
    assert!(is_in(&off, &alice, APP).await);

    let stage = stage().await;
    let alice = visitor(&stage, APP, "alice").await;
    let session = stage.provider.session_ids("alice").remove(0);
    let issuer = stage.provider.issuer();
    let right = link(HERE, issuer, &session);
    for url in [
        HERE.to_owned(),
        link(HERE, "https://evil.test", &session),
        link(HERE, &format!("{issuer}/"), &session),
        link(HERE, issuer, ""),
        link(HERE, "", &session),
        format!("{right}&sid={session}"),
        format!("{right}&iss=x"),
        format!("{HERE}?sid={session}"),
        link(HERE, issuer, "").replace("&sid=", ""),
    ] {
        let reply = alice.clone().get(&url).await;
        assert_eq!(reply.status, 400, "{url}");
        assert!(is_in(&stage, &alice, APP).await, "{url}");
    }
    for method in [Method::POST, Method::HEAD, Method::PUT] {
        assert_eq!(alice.clone().send(method, &right, &[], None).await.is(405).header("allow"), "GET");
    }
    assert!(is_in(&stage, &alice, APP).await);
    alice.clone().get(&right).await.is(200);
    assert!(!is_in(&stage, &alice, APP).await);
}

/// No list of sessions is public, so any client may name any session; not without end, and no one of them for all.
#[tokio::test]
async fn unproven_session_ids_are_bounded() {
    const ALLOWED: usize = 1000;
    let stage = stage().await;
    let alice = visitor(&stage, APP, "alice").await;
    let session = stage.provider.session_ids("alice").remove(0);
    let issuer = stage.provider.issuer();
    let (mut stranger, mut obeyed) = (stage.browser(), 0);
    let from = |address| [("x-forwarded-for", address)];
    let refused = loop {
        let session = link(ANYWHERE, issuer, &obeyed.to_string());
        let reply = stranger.send(Method::GET, &session, &from("2001:db8::1"), None).await;
        if reply.status != 200 {
            break reply;
        }
        obeyed += 1;
    };
    // One more is allowed for each ten seconds that it takes.
    assert!((ALLOWED..ALLOWED + 12).contains(&obeyed), "{obeyed}");
    assert_eq!(refused.is(429).header("retry-after"), "5");
    for (client, status) in [("2001:db8::2", 429), ("2001:db8:0:1::1", 200), ("198.51.100.1", 200)] {
        stranger.send(Method::GET, &link(ANYWHERE, issuer, "another"), &from(client), None).await.is(status);
    }
    // Who has the session can still end it.
    alice.clone().send(Method::GET, &link(HERE, issuer, &session), &from("2001:db8::1"), None).await.is(200);
    assert!(!is_in(&stage, &alice, APP).await);
}
