//! What Keycloak does that other providers do not.

use http::Method;
use serde_json::{Value, json};

use super::keycloak::Realm;
use super::scene::{ORIGIN, PAGE};
use super::whole::{Scene, application};

const CLIENT: (&str, &str) = ("proxy", Realm::CLIENT_SECRET);

async fn start(realm: &str, attributes: Value, keys: &str, rest: &str) -> Scene<Realm> {
    let realm = Realm::new(realm, CLIENT.0, &[ORIGIN], attributes).await;
    Scene::start(realm, CLIENT, keys, rest).await
}

#[tokio::test]
async fn a_login_tells_who_it_is() {
    let scene = start("login", json!({}), "", &application("")).await;
    let entered = scene.sign_in(&mut scene.browser(), "alice").await;
    entered.is(200);
    for (header, value) in [
        ("x-authentik-username", "alice"),
        ("x-authentik-email", "alice@example.test"),
        ("x-authentik-name", "Alice Ärger"),
    ] {
        assert_eq!(entered.header(header), value, "{header}");
    }
}

/// Where the administrator ends a session, Keycloak tells by the back channel.
#[tokio::test]
async fn a_session_that_ends_there_ends_here() {
    let attributes = json!({"backchannel.logout.session.required": "true"});
    let scene = start("back-channel", attributes, "", &application("")).await;
    let http = scene.daemon.http_address().unwrap();
    let url = format!("http://{http}/outpost.goauthentik.io/backchannel-logout");
    scene.provider.change_client(CLIENT.0, &json!({"attributes": {"backchannel.logout.url": url}})).await;
    let (mut alice, mut bob) = (scene.browser(), scene.browser());
    scene.sign_in(&mut alice, "alice").await.is(200);
    scene.sign_in(&mut bob, "bob").await.is(200);
    assert_eq!(scene.provider.sessions("alice").await, 1);

    let path = format!("/users/{}/logout", scene.provider.user_id("alice").await);
    scene.provider.call(Method::POST, &path, &Value::Null).await.is(204);
    scene.until(&mut alice, |reply| reply.status == 302).await;
    scene.check_page(&mut bob, PAGE).await.is(200);
}
