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

/// Dex calls its ID tokens active, and its access tokens look like them: neither opens anything.
#[tokio::test]
async fn an_id_token_opens_nothing() {
    for bearer in ["jwt", "introspection", "both"] {
        let tokens = application(&format!("[application.tokens]\nbearer = \"{bearer}\""));
        let scene = Scene::start(Dex::start(&[ORIGIN]).await, CLIENT, SCOPES, &tokens).await;
        let entered = scene.sign_in(&mut scene.browser(), "alice").await;
        let id_token = entered.is(200).header("x-authentik-jwt");
        assert_eq!(id_token.split('.').count(), 3);
        scene.show(&id_token).await.is(401);
    }
}

#[tokio::test]
async fn a_refresh_brings_an_id_token_with_groups() {
    let rest = format!("{}[session]\nrevalidate_after = \"1s\"\n", application(""));
    let scene = Scene::start(Dex::start(&[ORIGIN]).await, CLIENT, SCOPES, &rest).await;
    let mut browser = scene.browser();
    let first = scene.sign_in(&mut browser, "alice").await.is(200).header("x-authentik-jwt");
    let renewed = scene.until(&mut browser, |reply| reply.is(200).header("x-authentik-jwt") != first).await;
    assert_eq!(renewed.header("x-authentik-groups"), "admins|staff");
}
