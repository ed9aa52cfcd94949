//! How forepost asks for refresh tokens, and what follows when a refresh is not answered.

use std::sync::Arc;
use std::time::Duration;

use forepost::identity::WantedClaims;
use forepost::oidc::IdentityProvider;
use forepost::oidc::{Consequence, PreviousLogin, Prompt, Provider as Known, RefreshError};
use forepost::world::World;
use serde_json::json;
use tokio::sync::Semaphore;

use super::refresh::{Deaf, Visit, authorization};
use crate::provider::{Behaviour, Endpoint, Fault};

/// Whether these settings bring a refresh token there, and what was asked for.
async fn offline(settings: &str, expected: (bool, &str), change: impl FnOnce(&mut Behaviour)) {
    let visit = Visit::asked(settings, change).await;
    let seen = visit.scene.provider.last_request(Endpoint::Authorize).unwrap();
    let scope = seen.query.get("scope").unwrap().to_owned();
    assert_eq!((visit.login.refresh_token.is_some(), &*scope), expected, "{settings}");
    let silent = visit.known.authorization_url(&authorization(Some(Prompt::Silent))).unwrap();
    assert_eq!(silent.matches("prompt=none").count(), 1, "{silent}");
    assert_eq!(silent.matches("prompt=").count(), 1, "{silent}");
}

#[tokio::test]
async fn offline_access_is_asked_for_where_it_helps() {
    const USUAL: &str = "openid profile email";
    const MORE: &str = "openid profile email offline_access";
    offline("", (true, MORE), |_| ()).await;
    offline("", (false, USUAL), |b| b.refreshing.unannounced = true).await;
    offline("", (false, USUAL), |b| {
        b.metadata.remove("scopes_supported");
    })
    .await;
    offline("", (true, MORE), |b| {
        b.metadata.remove("grant_types_supported");
    })
    .await;
    offline("", (false, USUAL), |b| {
        b.metadata.set("grant_types_supported", json!(["authorization_code", "implicit"]));
    })
    .await;
    offline("offline_access = \"always\"", (true, MORE), |b| b.refreshing.unannounced = true).await;
    offline("offline_access = \"never\"", (false, USUAL), |_| ()).await;
    offline("offline_access = \"never\"", (true, USUAL), |b| b.refreshing.unasked = true).await;
    let listed = "scopes = [\"offline_access\", \"email\"]";
    offline(listed, (true, "openid email offline_access"), |b| b.refreshing.unannounced = true).await;
    let consent = |b: &mut Behaviour| b.refreshing.needs_consent = true;
    offline("", (false, MORE), consent).await;
    offline("authorization_parameters = { prompt = \"consent\" }", (true, MORE), consent).await;
}

/// Without it, such a token ends with the user's session at the provider.
#[tokio::test]
async fn keycloak_is_not_asked_for_offline_access() {
    let visit = Visit::asked("", |b| b.refreshing.unasked = true).await;
    let asked = |visit: &Visit| visit.known.authorization_url(&authorization(None)).unwrap().contains("offline_access");
    assert!(asked(&visit));
    visit.scene.provider.set(|b| {
        b.metadata.set("token_endpoint", "https://id.test/realms/main/protocol/openid-connect/token");
    });
    visit.known.refresh().await.unwrap();
    assert!(!asked(&visit));

    let visit = Visit::asked("offline_access = \"never\"", |b| b.refreshing.unasked = true).await;
    let next = visit.refresh(&visit.token()).await.unwrap().refresh_token;
    visit.scene.provider.end_sessions();
    assert_eq!(visit.refresh(&next).await.err().unwrap().consequence(), Consequence::EndSession);
    let visit = Visit::asked("", |_| ()).await;
    visit.scene.provider.end_sessions();
    assert!(visit.lives(&visit.token()).await, "an offline one does not");
}

/// No answer comes in time, or no server is there: the first may have spent the token, the second has not.
#[tokio::test]
async fn silence_is_not_absence() {
    let mut visit = Visit::offline(|_| ()).await;
    visit.known = {
        let settings = IdentityProvider { timeout: Duration::from_secs(1), ..visit.known.settings().clone() };
        let world = World::with_clock(visit.scene.clock.clone());
        let known = Known::new("idp", settings, world, Arc::new(Deaf)).unwrap();
        known.refresh().await.unwrap();
        known
    };
    let held = Fault { hold: Some(Arc::new(Semaphore::new(0))), ..Fault::default() };
    visit.scene.provider.set(|b| drop(b.faults.insert(Endpoint::Token, held)));
    let failure = visit.refresh(&visit.token()).await.err().unwrap();
    assert!(matches!(failure.error, RefreshError::Unanswered(_)), "{failure:?}");
    assert_eq!(failure.consequence(), Consequence::TokenSpent);
    let Visit { scene, known, login } = visit;
    scene.provider.stop().await;
    let token = login.refresh_token.clone().unwrap();
    let previous = PreviousLogin { id_token: &login.id_token, userinfo_claims: &[], refresh_token: &token };
    let failure = known.refresh_login(&previous, &WantedClaims::of(&known.settings().claims)).await.err().unwrap();
    assert!(matches!(failure.error, RefreshError::Unreachable(_)), "{failure:?}");
    assert_eq!(failure.consequence(), Consequence::TryLater);
}
