//! What Keycloak does that other providers do not.

use http::Method;
use serde_json::{Value, json};

use super::keycloak::Realm;
use super::scene::{ORIGIN, PAGE};
use super::whole::{Scene, application};
use crate::support::{Browser, Reply};

const CLIENT: (&str, &str) = ("proxy", Realm::CLIENT_SECRET);
const OTHER_PAGE: &str = "https://other.example.com/page";

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

/// Realm and client roles are in the access token alone; a client id may have dots.
#[tokio::test]
async fn roles_are_read_from_the_access_token() {
    let client = ("app.example.com", Realm::CLIENT_SECRET);
    for (claim, expected) in [("realm_access.roles", "admins"), ("resource_access.app.example.com.roles", "editors")] {
        let name = claim.split('.').next().unwrap().replace('_', "-");
        let realm = Realm::new(&name, client.0, &[ORIGIN], json!({})).await;
        let keys = format!("claims = {{ groups = \"{claim}\" }}");
        let scene = Scene::start(realm, client, &keys, &application("")).await;
        let groups = scene.sign_in(&mut scene.browser(), "alice").await.is(200).header("x-authentik-groups");
        assert!(groups.split('|').any(|group| group == expected), "{claim}: {groups}");
    }
}

/// Userinfo may be signed with other algorithms than RS256.
#[tokio::test]
async fn signed_userinfo_is_read() {
    for algorithm in ["RS256", "PS256", "ES256", "EdDSA"] {
        let attributes = json!({"user.info.response.signature.alg": algorithm});
        let keys = "claims = { groups = \"missing\" }";
        let name = format!("userinfo-{}", algorithm.to_lowercase());
        let scene = start(&name, attributes, keys, &application("")).await;
        let entered = scene.sign_in(&mut scene.browser(), "alice").await;
        assert_eq!(entered.is(200).header("x-authentik-username"), "alice", "{algorithm}");
    }
}

/// A sign-out at one application ends the session at Keycloak, which tells the other by the back channel.
#[tokio::test]
async fn a_sign_out_ends_both_applications_and_the_session_there() {
    let attributes = json!({"backchannel.logout.session.required": "true"});
    let realm = Realm::new("sign-out", CLIENT.0, &[ORIGIN, "https://other.example.com"], attributes).await;
    let other = "[[application]]\nname = \"Other\"\nslug = \"other\"\nexternal_host = \"https://other.example.com\"\n";
    let scene = Scene::start(realm, CLIENT, "", &format!("{}{other}", application(""))).await;
    let http = scene.daemon.http_address().unwrap();
    let url = format!("http://{http}/outpost.goauthentik.io/backchannel-logout");
    scene.provider.change_client(CLIENT.0, &json!({"attributes": {"backchannel.logout.url": url}})).await;
    let (mut alice, mut elsewhere) = (scene.browser(), scene.browser());
    scene.sign_in(&mut alice, "alice").await.is(200);
    scene.sign_in_at(&mut alice, OTHER_PAGE, "alice").await.is(200);
    scene.sign_in(&mut elsewhere, "alice").await.is(200);
    assert_eq!(scene.provider.sessions("alice").await, 2);

    let sign_out = format!("{ORIGIN}/outpost.goauthentik.io/sign_out");
    let leaving = alice.send(Method::GET, &sign_out, &[("sec-fetch-site", "same-origin")], None).await;
    let back = alice.get(leaving.is(302).location().as_str()).await;
    let back = alice.follow_on_host(back).await;
    assert_eq!(back.location().path(), "/outpost.goauthentik.io/signed_out");
    alice.follow(back).await.is(200).contains("Signed out");
    assert_eq!(scene.provider.sessions("alice").await, 1, "the session of the other browser stays");
    scene.check_page(&mut alice, OTHER_PAGE).await.is(302);
    let authorization = scene.check(&mut alice).await.is(302).location();
    scene.provider.form(&mut alice, &authorization).await;
    scene.check(&mut elsewhere).await.is(200);
}

/// A login form that is posted again comes back with `temporarily_unavailable`, and Keycloak wants a new login at once.
#[tokio::test]
async fn a_form_that_is_posted_again_begins_a_new_login() {
    let scene = start("old-form", json!({}), "", &application("")).await;
    let mut browser = scene.browser();
    let authorization = scene.check(&mut browser).await.is(302).location();
    let form = scene.provider.form(&mut browser, &authorization).await;
    // The answer to the first post gets lost.
    scene.provider.submit(&mut browser, &form, "alice").await.is(302);
    let back = scene.provider.submit(&mut browser, &form, "alice").await;
    assert_eq!(back.parameter("error").as_deref(), Some("temporarily_unavailable"), "{back:#?}");
    let again = browser.get(back.location().as_str()).await;
    let back = scene.provider.sign_in(&mut browser, &again.is(302).location(), "alice").await;
    let entered = browser.get(back.location().as_str()).await;
    assert_eq!(entered.is(302).location().as_str(), PAGE);
    scene.check(&mut browser).await.is(200);
}

/// A client that Keycloak refuses vouches for no user: users are sent to log in, and readiness tells the operator.
#[tokio::test]
async fn a_disabled_client_ends_in_logins_and_is_told() {
    let session = "[session]\nrevalidate_after = \"1s\"\nrevalidate_within = \"2s\"\n";
    let scene = start("disabled-client", json!({}), "", &format!("{}{session}", application(""))).await;
    let mut operator = Browser::new().route("*", scene.daemon.metrics_address().unwrap());
    let ready = "http://metrics/ready?logins";
    let mut alice = scene.browser();
    scene.sign_in(&mut alice, "alice").await.is(200);
    operator.get(ready).await.is(200);

    scene.provider.change_client(CLIENT.0, &json!({"enabled": false})).await;
    scene.until(&mut alice, |reply| reply.status == 302).await;
    operator.get(ready).await.is(503);

    scene.provider.change_client(CLIENT.0, &json!({"enabled": true})).await;
    // The old session may count again by then, once a refresh works.
    scene.sign_in(&mut scene.browser(), "bob").await;
    operator.get(ready).await.is(200);
}

const EACH_SECOND: &str = "[session]\nrevalidate_after = \"1s\"\n";

/// Refreshes until the group is gone, and stays in the same session of Keycloak.
async fn loses(scene: &Scene<Realm>, browser: &mut Browser, entered: &Reply, group: &str) {
    let has = |reply: &Reply| reply.is(200).header("x-authentik-groups").split('|').any(|it| it == group);
    assert!(has(entered), "{entered:#?}");
    let renewed = scene.until(browser, |reply| !has(reply)).await;
    let (before, after) = (entered.token_claims(), renewed.token_claims());
    assert!(before["sid"].is_string() && before["sid"] == after["sid"], "{before} {after}");
    assert_ne!(before["jti"], after["jti"]);
    assert_eq!(renewed.header("x-authentik-username"), "alice");
}

#[tokio::test]
async fn a_refresh_brings_the_roles_of_now() {
    let keys = "claims = { groups = \"realm_access.roles\" }";
    let scene = start("roles-of-now", json!({}), keys, &format!("{}{EACH_SECOND}", application(""))).await;
    let mut browser = scene.browser();
    let entered = scene.sign_in(&mut browser, "alice").await;
    let role = scene.provider.call(Method::GET, "/roles/admins", &Value::Null).await.is(200).json();
    let path = format!("/users/{}/role-mappings/realm", scene.provider.user_id("alice").await);
    scene.provider.call(Method::DELETE, &path, &json!([role])).await.is(204);
    loses(&scene, &mut browser, &entered, "admins").await;
}

/// Wherever the client has them put.
#[tokio::test]
async fn a_refresh_brings_the_groups_of_now() {
    for document in ["id.token", "userinfo.token"] {
        let name = format!("groups-of-now-{}", document.replace('.', "-"));
        let scene = start(&name, json!({}), "", &format!("{}{EACH_SECOND}", application(""))).await;
        scene.provider.tell_groups(CLIENT.0, document).await;
        let membership = scene.provider.add_to_new_group("alice", "team").await;
        let mut browser = scene.browser();
        let entered = scene.sign_in(&mut browser, "alice").await;
        scene.provider.call(Method::DELETE, &membership, &Value::Null).await.is(204);
        loses(&scene, &mut browser, &entered, "team").await;
    }
}

/// With nothing but refreshes to tell it.
#[tokio::test]
async fn a_refresh_ends_sessions_that_have_ended_there() {
    let scene = start("ended-there", json!({}), "", &format!("{}{EACH_SECOND}", application(""))).await;
    let (mut alice, mut bob) = (scene.browser(), scene.browser());
    let hint = scene.sign_in(&mut alice, "alice").await.is(200).header("x-authentik-jwt");
    scene.sign_in(&mut bob, "bob").await.is(200);
    let sign_out = format!("{}/protocol/openid-connect/logout?id_token_hint={hint}", scene.provider.issuer);
    alice.get(&sign_out).await.is(200);
    scene.until(&mut alice, |reply| reply.status == 302).await;

    scene.sign_in(&mut alice, "alice").await.is(200);
    let user = format!("/users/{}", scene.provider.user_id("alice").await);
    scene.provider.call(Method::POST, &format!("{user}/logout"), &Value::Null).await.is(204);
    scene.until(&mut alice, |reply| reply.status == 302).await;
    scene.check(&mut bob).await.is(200);

    let user = format!("/users/{}", scene.provider.user_id("bob").await);
    scene.provider.call(Method::PUT, &user, &json!({"enabled": false})).await.is(204);
    scene.until(&mut bob, |reply| reply.status == 302).await;
}
