//! Tokens of `oidc-provider`: JWTs of RFC 9068, and opaque ones.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::json;

use super::scene::{ORIGIN, PAGE};
use crate::support::{Browser, OpenIdProvider, Reply, ask, start_daemon};

struct Scene {
    provider: OpenIdProvider,
    browser: Browser,
    // Serves as long as it is held.
    _daemon: forepost::daemon::Daemon,
}

impl Scene {
    async fn start(bearer: &str) -> Self {
        let resources = json!({"https://app.example.com/": "jwt", "https://other.example.com/": "jwt"});
        let provider = OpenIdProvider::with(ORIGIN, &json!({}), json!({"resources": resources}));
        let settings = format!("client_secret = \"{}\"", OpenIdProvider::CLIENT_SECRET);
        let tokens =
            format!("[application.tokens]\nbearer = \"{bearer}\"\nscopes = [\"read\"]\nallow_unnamed = true\n");
        let daemon = start_daemon(&format!("{}\n{tokens}", super::scene::toml(&provider.issuer, &settings))).await;
        daemon.ready().await;
        let browser =
            Browser::new().route("idp.localhost", provider.address).route("*", daemon.http_address().unwrap());
        Self { provider, browser, _daemon: daemon }
    }

    /// A token that the client gets for itself (RFC 6749 §4.4).
    async fn token(&mut self, parameters: &str) -> String {
        let secret = OpenIdProvider::CLIENT_SECRET.replace(' ', "+");
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:{secret}", OpenIdProvider::CLIENT_ID)));
        let endpoint = format!("{}/token", self.provider.issuer);
        let form = format!("grant_type=client_credentials{parameters}");
        let headers = [("authorization", basic.as_str())];
        let reply = self.browser.send(Method::POST, &endpoint, &headers, Some(&form)).await;
        reply.is(200).json()["access_token"].as_str().unwrap().to_owned()
    }

    async fn show(&mut self, token: &str) -> Reply {
        let authorization = format!("Bearer {token}");
        ask("traefik", &mut self.browser, Method::GET, PAGE, &[("authorization", &authorization)]).await
    }
}

#[tokio::test]
async fn oidc_provider_gives_jwts_for_an_application() {
    let mut scene = Scene::start("jwt").await;
    let good = scene.token("&scope=read&resource=https://app.example.com/").await;
    assert_eq!(scene.show(&good).await.is(200).header("x-authentik-uid"), "proxy");
    let other = scene.token("&scope=read&resource=https://other.example.com/").await;
    scene.show(&other).await.is(401);
    let poor = scene.token("&scope=write&resource=https://app.example.com/").await;
    assert!(scene.show(&poor).await.is(403).header("www-authenticate").contains("scope=\"read\""));
    // A new key is found by the first token that names it.
    scene.provider.hook("rotate").await;
    let newer = scene.token("&scope=read&resource=https://app.example.com/").await;
    scene.show(&newer).await.is(200);
    // One that is asked about is not a JWT.
    let opaque = scene.token("").await;
    scene.show(&opaque).await.is(401);
}

#[tokio::test]
async fn oidc_provider_is_asked_about_opaque_tokens() {
    let mut scene = Scene::start("both").await;
    let opaque = scene.token("").await;
    // It is good, and was given no scope.
    scene.show(&opaque).await.is(403);
    scene.show("unknown").await.is(401);
    let good = scene.token("&scope=read&resource=https://app.example.com/").await;
    scene.show(&good).await.is(200);
}
