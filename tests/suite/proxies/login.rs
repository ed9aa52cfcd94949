//! Signing in and out through a proxy.

use super::application::PAGE;
use super::front::Front;
use super::proxy::Proxy;

/// Path and query as they must arrive, byte for byte.
const TARGET: &str = "/a%20b/c%2Fd?x=1%2C2&y=a+b&z=%E2%82%AC&empty=&last";

pub(super) async fn comes_back_to_the_very_url(proxy: Proxy) {
    let front = Front::start(proxy).await;
    let mut browser = front.browser();
    let page = front.sign_in(&mut browser, &front.url(TARGET), "alice").await;
    page.is(200).contains(PAGE);
    assert_eq!(page.url.as_str(), front.url(TARGET));

    let seen = front.application.take_one();
    assert_eq!(seen.target, TARGET);
    let expected = [
        ("x-authentik-username", "alice"),
        ("x-authentik-groups", "admins|staff"),
        ("x-authentik-entitlements", ""),
        ("x-authentik-email", "alice@example.test"),
        ("x-authentik-name", "Alice Ärger"),
        ("x-authentik-meta-outpost", "forepost"),
        ("x-authentik-meta-provider", "op"),
        ("x-authentik-meta-app", "app"),
    ];
    for (name, value) in expected {
        assert_eq!(seen.header(name), value, "{name}");
    }
    assert_eq!(seen.header("x-authentik-uid"), "alice");
    assert_eq!(seen.header("x-authentik-jwt").split('.').count(), 3);
    assert_eq!(seen.header("x-authentik-meta-jwks"), format!("{}/jwks", front.provider.issuer));
    assert!(!seen.header("x-authentik-meta-version").is_empty());

    browser.get(&front.url("/next")).await.is(200);
    assert_eq!(front.application.take_one().header("x-authentik-username"), "alice");
}

pub(super) async fn wrong_group_is_forbidden(proxy: Proxy) {
    let front = Front::start(proxy).await;
    let mut browser = front.browser();
    front.sign_in(&mut browser, &front.url("/"), "bob").await.is(403);
    browser.get(&front.url("/page")).await.is(403);
    browser.fetch(&front.url("/page")).await.is(403);
    browser.post(&front.url("/page"), "x=y").await.is(403);
    front.application.saw_nothing();

    browser.get(&front.url("/public/page")).await.is(200);
    assert_eq!(front.application.take_one().header("x-authentik-username"), "", "a user who is not let in has no name");
}

pub(super) async fn sign_out_ends_the_session(proxy: Proxy) {
    let front = Front::start(proxy).await;
    let mut browser = front.alice().await;
    let before = browser.clone();
    let sign_out = front.url("/outpost.goauthentik.io/sign_out");

    // A link on another site only leads to a question.
    let elsewhere = [("sec-fetch-site", "cross-site")];
    browser.send(http::Method::GET, &sign_out, &elsewhere, None).await.is(200).contains("<form");
    browser.get(&front.url("/")).await.is(200);
    front.application.take_one();

    let here = [("sec-fetch-site", "same-origin")];
    let leaving = browser.send(http::Method::GET, &sign_out, &here, None).await;
    let asked = browser.follow(leaving).await;
    let back = front.provider.sign_out(&mut browser, &asked).await;
    let signed_out = browser.follow(back).await;
    signed_out.is(200);
    assert!(signed_out.url.as_str().starts_with(&front.url("/outpost.goauthentik.io/signed_out?state=")));

    // The session is gone, not only its cookie; and the provider has forgotten her too.
    for mut browser in [browser, before] {
        browser.fetch(&front.url("/")).await.is(401);
        browser.open(&front.url("/")).await.is(200).contains("prompt\" value=\"login\"");
    }
    front.application.saw_nothing();
}

/// A logout token that is sent to the application's host comes through whole.
pub(super) async fn the_provider_can_log_out(proxy: Proxy) {
    let front = Front::start(proxy).await;
    let mut alice = front.alice().await;
    let token = front.provider.logout_token("alice").await;
    let back_channel = front.url("/outpost.goauthentik.io/backchannel-logout");
    front.browser().post(&back_channel, "logout_token=junk").await.is(400);
    alice.get(&front.url("/")).await.is(200);
    front.application.take_one();
    let reply = front.browser().post(&back_channel, &format!("logout_token={token}")).await;
    assert!(reply.is(200).header("cache-control").contains("no-store"), "{reply:#?}");
    alice.fetch(&front.url("/")).await.is(401);
    front.application.saw_nothing();
}
