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
