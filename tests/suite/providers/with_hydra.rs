//! What Ory Hydra does that other providers do not.

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
