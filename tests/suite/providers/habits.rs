//! What only one of the providers does.

use forepost::oidc::inspect::{Finding, Level, inspect};
use forepost::settings::Settings;
use forepost::world::World;
use serde_json::json;
use url::Url;

use super::glewlwyd::Glewlwyd;
use super::scene::{Claims, Kind, ORIGIN, RealProvider, Scene, toml};
use crate::support::OpenIdProvider;

const OPENID: Kind = Kind::OpenId { algorithm: "ES256", method: "client_secret_basic" };

fn secret() -> String {
    format!("client_secret = \"{}\"", OpenIdProvider::CLIENT_SECRET)
}

/// The address with one parameter changed, or taken out.
fn with_parameter(url: &Url, name: &str, value: Option<&str>) -> Url {
    let mut changed = url.clone();
    let kept: Vec<_> = url.query_pairs().into_owned().filter(|(key, _)| key != name).collect();
    changed.query_pairs_mut().clear().extend_pairs(kept).extend_pairs(value.map(|value| (name, value)));
    changed
}

/// RFC 9207: announced in the metadata, so it must be there and be right.
#[tokio::test]
async fn oidc_provider_names_itself_in_the_callback() {
    let scene = Scene::start(OPENID, Claims::IdToken).await;
    let mut browser = scene.browser();
    let authorization = scene.begin(&mut browser).await;
    let callback = scene.up_to_callback(&mut browser, &authorization, "alice").await;
    let issuer = callback.query_pairs().find(|(name, _)| name == "iss").map(|(_, value)| value.into_owned());
    assert_eq!(issuer.as_deref(), Some(scene.provider.issuer()));
    let with_slash = format!("{}/", scene.provider.issuer());
    for (iss, told) in [
        (None, "does not say which identity provider it is from"),
        (Some("https://other.example.com"), "did not come from the identity provider"),
        (Some(&*with_slash), "did not come from the identity provider"),
    ] {
        let mixed_up = with_parameter(&callback, "iss", iss);
        scene.call_back(&mut browser, &mixed_up).await.is(400).contains(told);
    }
    scene.call_back(&mut browser, &callback).await.is(200);
}

/// Keys that overlap break no login, however often logins come.
#[tokio::test]
async fn oidc_provider_rotates_keys_with_overlap() {
    let scene = Scene::start(OPENID, Claims::IdToken).await;
    let RealProvider::OpenId(provider) = &scene.provider else { unreachable!() };
    let mut old = scene.browser();
    scene.sign_in(&mut old, "alice").await.is(200);
    provider.hook("rotate?keep").await;
    for user in ["alice", "bob", "alice"] {
        scene.sign_in(&mut scene.browser(), user).await.is(200);
    }
    scene.check(&mut old).await.is(200);
    assert_eq!(provider.hook("stats").await["GET /jwks"], 2, "the first login asked, the others knew");

    // What a sign-out hints at is a token of the retired key.
    scene.sign_out(&mut old).await;
}

/// A provider whose metadata says that requests must be pushed: `forepost check` tells it before anybody signs in.
#[tokio::test]
async fn oidc_provider_that_wants_pushed_requests_is_diagnosed() {
    let provider = OpenIdProvider::with(ORIGIN, &json!({}), json!({"pushed": true}));
    let settings = Settings::from_toml(&toml(&provider.issuer, &secret())).unwrap();
    let findings = inspect(&settings.identity_providers["idp"], false, &World::system()).await;
    let failures: Vec<_> = findings.iter().filter(|finding| finding.level == Level::Failure).collect();
    assert_eq!(failures.len(), 1, "{findings:#?}");
    assert_eq!(failures[0].check, "pushed requests");

    let scene = Scene::of(RealProvider::OpenId(provider), &secret()).await;
    ends_on_a_page(&scene).await;
}

/// The same for our client only, which no metadata tells.
#[tokio::test]
async fn oidc_provider_that_wants_pushed_requests_from_us_ends_on_a_page() {
    let registration = json!({"require_pushed_authorization_requests": true});
    let provider = OpenIdProvider::with(ORIGIN, &registration, json!({}));
    let scene = Scene::of(RealProvider::OpenId(provider), &secret()).await;
    ends_on_a_page(&scene).await;
}

/// The provider refuses by way of our callback, and the browser stays on the page that says so.
async fn ends_on_a_page(scene: &Scene) {
    let mut browser = scene.browser();
    let authorization = scene.begin(&mut browser).await;
    let refusal = browser.get(authorization.as_str()).await;
    let refusal = browser.follow_on_host(refusal).await;
    assert_eq!(refusal.parameter("error").as_deref(), Some("invalid_request"), "{refusal:#?}");
    let page = browser.get(refusal.location().as_str()).await;
    page.is(400).contains("The identity provider refused the login.").contains(&page.header("x-request-id"));
}

/// `forepost check` finds nothing wrong with any provider that logins work with.
#[tokio::test]
async fn providers_that_work_pass_the_inspection() {
    let openid = OpenIdProvider::start(ORIGIN);
    let glewlwyd = Glewlwyd::start(ORIGIN).await;
    let glewlwyds = format!("client_secret = \"{}\"", Glewlwyd::CLIENT_SECRET);
    for (issuer, settings) in [(&openid.issuer, secret()), (&glewlwyd.issuer, glewlwyds)] {
        let settings = Settings::from_toml(&toml(issuer, &settings)).unwrap();
        let findings = inspect(&settings.identity_providers["idp"], false, &World::system()).await;
        // Glewlwyd says of itself that it has no `preferred_username`.
        let is_nameless = |check: &str| check == "user name" && *issuer == glewlwyd.issuer;
        let good = |it: &Finding| matches!(it.level, Level::Good | Level::Note) || is_nameless(it.check);
        assert!(findings.iter().all(good), "{findings:#?}");
    }
}

/// Names no issuer in the callback and adds a parameter of its own; an issuer that is added is still noticed.
#[tokio::test]
async fn glewlwyd_does_not_name_itself_in_the_callback() {
    let scene = Scene::start(Kind::Glewlwyd, Claims::IdToken).await;
    let mut browser = scene.browser();
    let authorization = scene.begin(&mut browser).await;
    let callback = scene.up_to_callback(&mut browser, &authorization, "alice").await;
    let names: Vec<_> = callback.query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert!(names.contains(&"session_state".to_owned()) && !names.contains(&"iss".to_owned()), "{names:?}");
    let mixed_up = with_parameter(&callback, "iss", Some("https://other.example.com"));
    scene.call_back(&mut browser, &mixed_up).await.is(400);
    scene.call_back(&mut browser, &callback).await.is(200);
}

/// A client that does not ask for claims gets none; the login works, and the subject is a random text.
#[tokio::test]
async fn glewlwyd_tells_only_what_is_asked_for() {
    let provider = RealProvider::Glewlwyd(Glewlwyd::start(ORIGIN).await);
    let settings = format!("client_secret = \"{}\"", Glewlwyd::CLIENT_SECRET);
    let scene = Scene::of(provider, &settings).await;
    let mut uids = Vec::new();
    for user in ["alice", "bob", "alice"] {
        let entered = scene.sign_in(&mut scene.browser(), user).await;
        for header in ["username", "email", "name", "groups"] {
            assert_eq!(entered.is(200).header(&format!("x-authentik-{header}")), "", "{header}");
        }
        uids.push(entered.header("x-authentik-uid"));
    }
    assert!(uids[0].len() >= 16 && uids[0] == uids[2] && uids[0] != uids[1], "{uids:?}");
}

/// Its refusal of a client is not JSON that the protocol knows.
#[tokio::test]
async fn glewlwyd_with_a_wrong_secret_ends_on_a_page() {
    let provider = RealProvider::Glewlwyd(Glewlwyd::start(ORIGIN).await);
    let scene = Scene::of(provider, "client_secret = \"another\"").await;
    scene.sign_in(&mut scene.browser(), "alice").await.is(502).contains("refuses this application");
}
