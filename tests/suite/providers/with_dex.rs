//! What Dex does that other providers do not.

use super::dex::Dex;
use super::scene::ORIGIN;
use super::whole::{Scene, application};

const CLIENT: (&str, &str) = (Dex::CLIENT_ID, Dex::CLIENT_SECRET);
const SCOPES: &str = "scopes = [\"openid\", \"profile\", \"email\", \"groups\"]";

#[tokio::test]
async fn a_login_tells_who_it_is() {
    let scene = Scene::start(Dex::start(&[ORIGIN]).await, CLIENT, SCOPES, &application("")).await;
    let entered = scene.sign_in(&mut scene.browser(), "alice").await;
    assert_eq!(entered.is(200).header("x-authentik-email"), "alice@example.test");
    assert_eq!(entered.header("x-authentik-groups"), "admins|staff");
}

/// Its access tokens are JWTs of the ID token's shape.
#[tokio::test]
async fn an_access_token_is_taken_for_an_id_token() {
    let tokens = application("[application.tokens]\nbearer = \"jwt\"");
    let scene = Scene::start(Dex::start(&[ORIGIN]).await, CLIENT, SCOPES, &tokens).await;
    let entered = scene.sign_in(&mut scene.browser(), "alice").await;
    scene.show(&entered.is(200).header("x-authentik-jwt")).await.is(401);
}
