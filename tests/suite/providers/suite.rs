//! What must work with every provider.

use super::scene::{Claims, Kind, RealProvider, Scene};

/// Two users, each with what the provider says about them, wherever it says it.
pub(super) async fn a_login_tells_who_it_is(kind: Kind, claims: Claims) {
    let scene = Scene::start(kind, claims).await;
    for (user, name, groups) in [("alice", "Alice Ärger", "admins|staff"), ("bob", "Bob", "staff")] {
        let mut browser = scene.browser();
        let entered = scene.sign_in(&mut browser, user).await;
        entered.is(200);
        let username = match kind {
            Kind::OpenId { .. } => user.to_owned(),
            Kind::Glewlwyd => format!("{user}@example.test"),
        };
        for (header, value) in [
            ("x-authentik-username", username.as_str()),
            ("x-authentik-email", &format!("{user}@example.test")),
            ("x-authentik-name", name),
            ("x-authentik-groups", groups),
        ] {
            assert_eq!(entered.header(header), value, "{header}");
        }
        assert!(!entered.header("x-authentik-uid").is_empty());
        assert_eq!(entered.header("x-authentik-jwt").split('.').count(), 3);

        // The provider's own session makes the next login a matter of redirects.
        let (mut other_tab, uid) = (browser.clone(), entered.header("x-authentik-uid"));
        other_tab.get("https://app.example.com/outpost.goauthentik.io/start").await.is(302);
        assert_eq!(scene.check(&mut other_tab).await.is(200).header("x-authentik-uid"), uid);
    }
    if let RealProvider::OpenId(provider) = &scene.provider {
        let stats = provider.hook("stats").await;
        assert_eq!(stats["GET /jwks"], 1, "{stats}");
        assert_eq!(stats["GET /.well-known/openid-configuration"], 1, "{stats}");
        assert_eq!(stats["POST /token"], 2, "{stats}");
        // Neither place has entitlements, so both are looked at.
        assert_eq!(stats["GET /me"], 2, "{stats}");
    }
}

pub(super) async fn sign_out_ends_both_sessions(kind: Kind) {
    let scene = Scene::start(kind, Claims::IdToken).await;
    let mut browser = scene.browser();
    scene.sign_in(&mut browser, "alice").await.is(200);
    let mut before = browser.clone();
    let start = "https://app.example.com/outpost.goauthentik.io/start";
    let authorization = browser.clone().get(start).await.is(302).location();
    assert!(scene.remembers(&mut browser.clone(), &authorization).await);

    scene.sign_out(&mut browser).await;
    let authorization = scene.begin(&mut browser).await;
    assert!(!scene.remembers(&mut browser, &authorization).await, "the provider still knows her");
    scene.check(&mut before).await.is(302);
    scene.sign_in(&mut browser, "bob").await.is(200);
}

/// The keys change between the login form and our callback, and the user does not notice.
pub(super) async fn new_keys_are_found_when_a_token_needs_them(kind: Kind) {
    let scene = Scene::start(kind, Claims::IdToken).await;
    let mut browser = scene.browser();
    scene.sign_in(&mut browser, "alice").await.is(200);
    let mut late = scene.browser();
    let authorization = scene.begin(&mut late).await;
    let callback = scene.up_to_callback(&mut late, &authorization, "bob").await;
    scene.provider.rotate().await;
    scene.call_back(&mut late, &callback).await.is(200);
    scene.check(&mut browser).await.is(200);
    scene.sign_in(&mut scene.browser(), "alice").await.is(200);
    if let RealProvider::OpenId(provider) = &scene.provider {
        let stats = provider.hook("stats").await;
        assert_eq!(stats["GET /jwks"], 2, "{stats}");
    }
}

/// Sessions live on, logins say what is the matter, and an interrupted one can be completed.
pub(super) async fn a_provider_may_go_and_come_back(kind: Kind) {
    let mut scene = Scene::start(kind, Claims::IdToken).await;
    let mut browser = scene.browser();
    scene.sign_in(&mut browser, "alice").await.is(200);
    let mut late = scene.browser();
    let authorization = scene.begin(&mut late).await;
    let callback = scene.up_to_callback(&mut late, &authorization, "bob").await;

    scene.provider.stop().await;
    scene.check(&mut browser).await.is(200);
    let page = scene.call_back(&mut late, &callback).await;
    page.is(503).contains("not possible right now").contains("<html");

    scene.provider.resume().await;
    scene.call_back(&mut late, &callback).await.is(200);
    scene.check(&mut browser).await.is(200);
}
