//! The provider's own sign-out comes before the revocation of refresh tokens, which it may hang its session on.

use super::*;
use crate::provider::{Behaviour, Client, Config, Endpoint, Provider};
use crate::support::{APPLICATIONS, client};

const ORIGINS: [&str; 3] = ["https://app.example.com", "https://admin.example.com/sub", "https://auth.example.test"];

/// A provider like Keycloak: refresh tokens belong to its session, and a revocation takes the client out of that.
fn keycloak(it: &mut Behaviour) {
    it.refreshing.unasked = true;
    it.refreshing.unannounced = true;
    it.refreshing.revocation_leaves_session = true;
}

/// Two applications of one client, which is told of logouts.
async fn stage(prepare: fn(&mut Behaviour)) -> Stage {
    let ours = client("proxy", Some("proxy-secret"), &ORIGINS);
    let provider = Provider::start(Config { clients: vec![ours.clone()], ..Config::default() }).await.unwrap();
    provider.set(prepare);
    let stage = Stage::of(provider, "proxy-secret", "", APPLICATIONS).await;
    let forepost = stage.daemon.http_address().unwrap();
    let uri = format!("http://{forepost}/outpost.goauthentik.io/backchannel-logout");
    stage.provider.add_client(Client { backchannel_logout_uri: Some(uri), ..ours });
    stage
}

async fn leave(browser: &mut Browser) -> Reply {
    let out = APP.replace("page", "outpost.goauthentik.io/sign_out");
    browser.send(Method::GET, &out, &[("sec-fetch-site", "same-origin")], None).await
}

#[tokio::test]
async fn the_providers_own_sign_out_comes_first() {
    for prepare in [keycloak, |_: &mut Behaviour| ()] {
        let stage = stage(prepare).await;
        let mut alice = visitor(&stage, APP, "alice").await;
        stage.sign_in(&mut alice, ADMIN, "alice").await.is(200);
        let leaving = leave(&mut alice).await;
        assert_eq!(stage.provider.requests(Endpoint::Revocation), 0);
        assert_eq!(stage.provider.session_ids("alice").len(), 1, "it goes on until the browser is there");

        // The provider tells its clients of the logout, so applications that others guard hear of it as well.
        let back = alice.get(leaving.is(302).location().as_str()).await;
        assert_eq!(logout_tokens(&stage, "idp", "logout").await, 1);
        assert_eq!(stage.provider.session_ids("alice"), [""; 0]);
        assert_eq!(stage.provider.requests(Endpoint::Revocation), 0);
        alice.follow(back).await.is(200).contains("Signed out");
        stage.provider.wait_for_requests(Endpoint::Revocation, 1).await;
        for url in [APP, ADMIN] {
            assert!(!is_in(&stage, &alice, url).await, "{url}");
        }
        let start = stage.check("traefik", &mut alice, APP).await;
        alice.get(start.location().as_str()).await.is(200).contains("name=\"password\"");
    }
}

#[tokio::test]
async fn a_daemon_that_ends_revokes_what_waits() {
    let stage = stage(keycloak).await;
    let mut alice = visitor(&stage, APP, "alice").await;
    leave(&mut alice).await.is(302);
    assert_eq!(stage.provider.requests(Endpoint::Revocation), 0);
    let Stage { provider, daemon } = stage;
    daemon.shutdown().await;
    assert_eq!(provider.requests(Endpoint::Revocation), 1);
}

/// Where there is nothing to wait for.
#[tokio::test]
async fn without_an_end_session_endpoint_a_token_is_revoked_at_once() {
    let stage = stage(|it| {
        it.metadata.remove("end_session_endpoint");
    })
    .await;
    let mut alice = visitor(&stage, APP, "alice").await;
    leave(&mut alice).await.is(200).contains("Signed out");
    stage.provider.wait_for_requests(Endpoint::Revocation, 1).await;
}

/// Another page than ours is not given a state to be puzzled by.
#[tokio::test]
async fn a_page_of_the_operators_gets_no_state() {
    let own = "[[application]]\nname = \"The App\"\nslug = \"app\"\nexternal_host = \"https://app.example.com\"\n\
         post_logout_redirect_uri = \"https://www.example.com/bye\"\n";
    let stage = Stage::with("", own).await;
    let mut alice = visitor(&stage, APP, "alice").await;
    let leaving = leave(&mut alice).await;
    assert_eq!(leaving.parameter("post_logout_redirect_uri").as_deref(), Some("https://www.example.com/bye"));
    assert_eq!(leaving.parameter("state"), None);
}

/// Who comes back to the provider's same session has a token there that a revocation of the old one would end too.
#[tokio::test]
async fn who_signs_in_again_without_having_signed_out_there_goes_on() {
    let stage = stage(keycloak).await;
    let mut alice = visitor(&stage, APP, "alice").await;
    leave(&mut alice).await.is(302);
    // The page of the provider is left alone.
    stage.sign_in(&mut alice, APP, "alice").await.is(200);
    let Stage { provider, daemon } = stage;
    daemon.shutdown().await;
    assert_eq!(provider.requests(Endpoint::Revocation), 0);
    assert_eq!(provider.session_ids("alice").len(), 1);
}
