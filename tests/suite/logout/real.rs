//! A logout at a provider of others, end to end.

use serde_json::json;

use super::*;
use crate::support::{OpenIdProvider, ask, start_daemon};

const ORIGIN: &str = "https://app.example.com";

async fn sign_in(provider: &OpenIdProvider, browser: &mut Browser, user: &str) {
    let start = ask("traefik", browser, Method::GET, APP, &[]).await;
    let page = browser.get(start.is(302).location().as_str()).await;
    let page = browser.follow_on_host(page).await;
    let back = provider.sign_in(browser, &page, user).await;
    browser.get(back.location().as_str()).await.is(302);
    ask("traefik", browser, Method::GET, APP, &[]).await.is(200);
}

#[tokio::test]
async fn oidc_provider_logs_out_through_the_back_channel() {
    for algorithm in ["RS256", "PS256", "ES256", "EdDSA"] {
        logs_out_through_the_back_channel(algorithm).await;
    }
}

async fn logs_out_through_the_back_channel(algorithm: &str) {
    let registration = json!({
        "backchannel_logout_uri": "http://127.0.0.1:1/", "backchannel_logout_session_required": true,
        "id_token_signed_response_alg": algorithm,
    });
    let provider = OpenIdProvider::with(ORIGIN, &registration, json!({}));
    let daemon = start_daemon(&format!(
        "issuer = \"{}\"\nclient_id = \"{}\"\nclient_secret = \"{}\"\nexternal_host = \"{ORIGIN}\"\n",
        provider.issuer,
        OpenIdProvider::CLIENT_ID,
        OpenIdProvider::CLIENT_SECRET
    ))
    .await;
    daemon.ready().await;
    let http = daemon.http_address().unwrap();
    provider.tell_logouts(&format!("http://{http}/outpost.goauthentik.io/backchannel-logout")).await;
    let browser = || Browser::new().route("idp.localhost", provider.address).route("*", http);
    let (mut alice, mut bob) = (browser(), browser());
    sign_in(&provider, &mut alice, "alice").await;
    sign_in(&provider, &mut bob, "bob").await;

    let ended = provider.hook("end-sessions?alice").await;
    assert_eq!(ended[0]["told"], true, "{algorithm}: {ended}");
    ask("traefik", &mut alice, Method::GET, APP, &[]).await.is(302);
    ask("traefik", &mut bob, Method::GET, APP, &[]).await.is(200);
}
