//! What Ory Hydra does that other providers do not.

use http::Method;
use serde_json::Value;

use super::hydra::Hydra;
use super::scene::ORIGIN;
use super::whole::{Scene, application};

const CLIENT: (&str, &str) = (Hydra::CLIENT_ID, Hydra::CLIENT_SECRET);
const SCOPES: &str = "scopes = [\"openid\", \"profile\", \"email\", \"groups\"]";

/// The old signing keys stay published; new logins use the new one.
#[tokio::test]
async fn a_new_signing_key_is_found() {
    let scene = Scene::start(Hydra::start(ORIGIN, "opaque").await, CLIENT, SCOPES, &application("")).await;
    let entered = scene.sign_in(&mut scene.browser(), "alice").await;
    assert_eq!(entered.is(200).header("x-authentik-username"), "alice");
    assert_eq!(entered.header("x-authentik-groups"), "admins|staff");
    scene.provider.rotate().await;
    scene.sign_in(&mut scene.browser(), "bob").await.is(200);
}

/// Its access tokens name no user: userinfo does. Its public metadata names no introspection endpoint.
#[tokio::test]
async fn userinfo_names_the_user_of_an_access_token() {
    let keys = "required_groups = [\"admins\"]\n[application.tokens]\n";
    let jwt = application(&format!("{keys}bearer = \"jwt\"\naudiences = [\"{}\"]", Hydra::AUDIENCE));
    let scene = Scene::start(Hydra::start(ORIGIN, "jwt").await, CLIENT, SCOPES, &jwt).await;
    let alice = scene.provider.access_token("alice", "openid profile groups").await;
    let entered = scene.show(&alice).await;
    assert_eq!(entered.is(200).header("x-authentik-username"), "alice");
    assert_eq!(entered.header("x-authentik-groups"), "admins|staff");
    let bob = scene.provider.access_token("bob", "openid profile groups").await;
    scene.show(&bob).await.is(403);
    // Without the scope, userinfo says nothing.
    let narrow = scene.provider.access_token("alice", "profile groups").await;
    scene.show(&narrow).await.is(401);

    let opaque = application(&format!("{keys}bearer = \"introspection\""));
    let scene = Scene::start(scene.provider, CLIENT, SCOPES, &opaque).await;
    scene.show(&alice).await.is(401);
}

/// The consent app is not asked again, and the end of the login at Hydra is not the end of the grant.
#[tokio::test]
async fn a_refresh_repeats_what_the_login_said_until_the_grant_ends() {
    let rest = format!("{}[session]\nrevalidate_after = \"1s\"\n", application(""));
    let scene = Scene::start(Hydra::start(ORIGIN, "opaque").await, CLIENT, SCOPES, &rest).await;
    let mut browser = scene.browser();
    let mut last = scene.sign_in(&mut browser, "alice").await;
    let path = "/admin/oauth2/auth/sessions/login?subject=alice";
    scene.provider.admin(Method::DELETE, path, &Value::Null).await.is(204);
    for _ in 0..2 {
        let token = last.is(200).header("x-authentik-jwt");
        let renewed = scene.until(&mut browser, |reply| reply.is(200).header("x-authentik-jwt") != token).await;
        assert_eq!(renewed.header("x-authentik-groups"), "admins|staff");
        let (before, after) = (last.token_claims(), renewed.token_claims());
        assert!(before["sid"].is_string() && before["sid"] == after["sid"], "{before} {after}");
        last = renewed;
    }
    let path = "/admin/oauth2/auth/sessions/consent?subject=alice&all=true";
    scene.provider.admin(Method::DELETE, path, &Value::Null).await.is(204);
    scene.until(&mut browser, |reply| reply.status == 302).await;
}
