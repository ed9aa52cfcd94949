//! Refresh tokens of real providers: how they are had, that they work, and what a sign-out there does to them.

use std::sync::Arc;
use std::time::Duration;

use forepost::identity::WantedClaims;
use forepost::oidc::{
    AuthorizationRequest, CodeExchange, Consequence, KeyRefresh, Login, Observer, Operation, PreviousLogin, Provider,
    RefreshFailure, Refreshed, Revocation,
};
use forepost::settings::Settings;
use forepost::world::World;
use secrecy::SecretString;
use serde_json::json;
use tokio::net::TcpListener;
use url::Url;

use super::glewlwyd::Glewlwyd;
use super::scene::{ORIGIN, RealProvider, toml};
use crate::support::{Browser, OpenIdProvider, told};

/// From RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

struct Deaf;

impl Observer for Deaf {
    fn request(&self, _: &str, _: Operation, _: bool, _: Duration) {}
    fn keys_refreshed(&self, _: &str, _: KeyRefresh, _: bool) {}
    fn ready(&self, _: &str, _: bool) {}
}

/// Alice, signed in.
struct Visit {
    provider: RealProvider,
    known: Provider,
    browser: Browser,
    login: Login,
}

impl Visit {
    async fn begin(provider: RealProvider, settings: &str) -> Self {
        let mut settings = Settings::from_toml(&toml(provider.issuer(), settings)).unwrap();
        let settings = settings.identity_providers.remove("idp").unwrap();
        let known = Provider::new("idp", settings, World::system(), Arc::new(Deaf)).unwrap();
        known.refresh().await.unwrap();
        let redirect_uri = format!("{ORIGIN}/outpost.goauthentik.io/callback?X-authentik-auth-callback=true");
        let request = AuthorizationRequest {
            redirect_uri: &redirect_uri,
            state: "state",
            nonce: "nonce-nonce",
            pkce_verifier: VERIFIER,
            prompt: None,
            assurance: None,
        };
        let authorization = Url::parse(&known.authorization_url(&request).unwrap()).unwrap();
        let mut browser = Browser::new().route("idp.localhost", provider.address());
        let callback = provider.up_to_callback(&mut browser, &authorization, "alice").await;
        let code = callback.query_pairs().find(|(name, _)| name == "code").map(|(_, code)| code.into_owned()).unwrap();
        let exchange =
            CodeExchange { code: &code, redirect_uri: &redirect_uri, nonce: "nonce-nonce", pkce_verifier: VERIFIER };
        let wanted = WantedClaims::of(&known.settings().claims);
        let login = known.complete(&exchange, &wanted).await.unwrap();
        Self { provider, known, browser, login }
    }

    async fn openid(settings: &str, configuration: serde_json::Value) -> Self {
        let registration = json!({
            "backchannel_logout_uri": "http://127.0.0.1:1/", "backchannel_logout_session_required": true,
        });
        let provider = OpenIdProvider::with(ORIGIN, &registration, configuration);
        let secret = OpenIdProvider::CLIENT_SECRET;
        Self::begin(RealProvider::OpenId(provider), &format!("client_secret = \"{secret}\"\n{settings}")).await
    }

    fn token(&self) -> SecretString {
        self.login.refresh_token.clone().expect("there is a refresh token")
    }

    async fn refresh(&self, refresh_token: &SecretString) -> Result<Refreshed, RefreshFailure> {
        let wanted = WantedClaims::of(&self.known.settings().claims);
        let previous = PreviousLogin { id_token: &self.login.id_token, userinfo_claims: &[], refresh_token };
        self.known.refresh_login(&previous, &wanted).await
    }

    async fn refused(&self, refresh_token: &SecretString) -> Consequence {
        self.refresh(refresh_token).await.err().expect("the refresh fails").consequence()
    }

    /// Refreshes twice, each time with a new token.
    async fn rotates(&self) -> Refreshed {
        let first = self.refresh(&self.token()).await.unwrap();
        assert!(first.rotated && first.claims["sub"] == self.login.claims["sub"]);
        let second = self.refresh(&first.refresh_token).await.unwrap();
        assert!(second.rotated && !second.lost_sid);
        assert_eq!(second.session_id(), self.login.session_id());
        second
    }
}

const CONSENT: &str = "authorization_parameters = { prompt = \"consent\" }";

/// As OIDC Core §11 has it: without consent the scope is ignored, and the login works all the same.
#[tokio::test]
async fn oidc_provider_wants_consent() {
    let visit = Visit::openid("", json!({})).await;
    assert!(visit.login.refresh_token.is_none() && visit.login.id_token_expires_at().is_some());
    let visit = Visit::openid(CONSENT, json!({})).await;
    let newest = visit.rotates().await;
    assert!(newest.id_token_expires_at() >= visit.login.id_token_expires_at());
    assert_eq!(visit.refused(&visit.token()).await, Consequence::EndSession);
    assert_eq!(visit.refused(&newest.refresh_token).await, Consequence::EndSession, "one used twice ends all");
    let visit = Visit::openid(CONSENT, json!({})).await;
    assert_eq!(visit.known.revoke(&visit.token()).await.unwrap(), Revocation::Done);
    assert_eq!(visit.refused(&visit.token()).await, Consequence::EndSession);
}

/// An offline token outlives the user's session there, and nothing in the answer tells; a bound one ends with it.
#[tokio::test]
async fn oidc_provider_ends_bound_tokens_only() {
    let offline = Visit::openid(CONSENT, json!({})).await;
    let bound = Visit::openid("offline_access = \"never\"", json!({"bound": true})).await;
    for visit in [&offline, &bound] {
        let newest = visit.rotates().await;
        let RealProvider::OpenId(provider) = &visit.provider else { unreachable!() };
        let ended = provider.hook("end-sessions?alice").await;
        assert_eq!(ended[0]["sid"].as_str(), visit.login.session_id(), "{ended}");
        match visit.refresh(&newest.refresh_token).await {
            Ok(refreshed) => {
                assert!(std::ptr::eq(visit, &raw const offline) && !refreshed.lost_sid);
                assert_eq!(refreshed.session_id(), visit.login.session_id());
            }
            Err(failure) => {
                assert!(std::ptr::eq(visit, &raw const bound), "{failure:?}");
                assert_eq!(failure.consequence(), Consequence::EndSession);
            }
        }
    }
}

/// Gives a refresh token to each client that may have one, and no ID token with it.
#[tokio::test]
async fn glewlwyd_gives_refresh_tokens_unasked() {
    let provider = RealProvider::Glewlwyd(Glewlwyd::start(ORIGIN).await);
    let settings = format!("client_secret = \"{}\"", Glewlwyd::CLIENT_SECRET);
    let mut visit = Visit::begin(provider, &settings).await;
    let newest = visit.rotates().await;
    assert!(newest.id_token.is_none() && newest.id_token_expires_at().is_none());
    let session = visit.login.session_id().expect("the ID token names a session").to_owned();
    let RealProvider::Glewlwyd(provider) = &visit.provider else { unreachable!() };
    provider.end_session(&mut visit.browser, &session).await;
    // Only a logout token tells that she is gone.
    let newest = visit.refresh(&newest.refresh_token).await.unwrap();
    assert!(!newest.lost_sid && newest.session_id() == Some(&session));
    let failure = visit.refresh(&visit.token()).await.err().expect("the first one is spent");
    assert_eq!(failure.consequence(), Consequence::EndSession, "{failure:?}");
}

/// What a client hears when a session ends there.
#[tokio::test]
async fn oidc_provider_sends_a_logout_token() {
    let visit = Visit::openid("", json!({})).await;
    let RealProvider::OpenId(provider) = &visit.provider else { unreachable!() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    provider.tell_logouts(&format!("http://{address}/outpost.goauthentik.io/backchannel-logout")).await;
    let (ended, told) = tokio::join!(provider.hook("end-sessions?alice"), told(&listener));
    assert_eq!(ended[0]["told"], true, "{ended}");
    assert!(told.starts_with("POST /outpost.goauthentik.io/backchannel-logout HTTP/1.1"), "{told}");
    let token = told.split_once("logout_token=").unwrap().1;
    let logout = visit.known.verify_logout_token(token).await.unwrap();
    assert_eq!((logout.subject.as_deref(), logout.session_id.as_deref()), (Some("alice"), visit.login.session_id()));
}
