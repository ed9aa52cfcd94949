//! What ends a session that the provider was asked about.

use http::StatusCode;

use super::scene::{AFTER, APP, Scene, WITHIN};
use crate::provider::{Behaviour, Endpoint, Fault, Provider};

/// Both ways: asked beside the requests, and while one waits.
async fn ends(what: &str, change: impl Fn(&Provider)) {
    let scene = Scene::new().await;
    let mut browser = scene.sign_in().await;
    change(scene.provider());
    scene.check(&mut browser).await.is(200);
    scene.pass(AFTER);
    scene.check(&mut browser).await.is(200);
    let login = scene.until(&mut browser, |reply| reply.status != 200).await;
    assert!(login.is(302).location().as_str().starts_with(scene.provider().issuer()), "{what}: {login:#?}");
    scene.script(&mut browser).await.is(401);
    assert_eq!(scene.asked(), 2, "{what}");

    let scene = Scene::new().await;
    let mut browser = scene.sign_in().await;
    change(scene.provider());
    scene.pass(WITHIN);
    let (mut tab, mut other_tab) = (browser.clone(), browser.clone());
    let (script, page) = tokio::join!(scene.script(&mut tab), scene.check(&mut other_tab));
    script.is(401);
    page.is(302);
    let challenged = scene.stage.check("nginx", &mut browser, APP).await;
    assert_eq!(challenged.is(401).header("x-forepost-action"), "redirect", "{what}");
    assert_eq!(scene.asked(), 2, "{what}");
}

/// At a refresh the ID token has this claim, or has none of this name.
fn refreshes_with(provider: &Provider, claim: &str, value: Option<&str>) {
    provider.set(|behaviour| {
        let claims = &mut behaviour.refreshing.id_token;
        if let Some(value) = value {
            claims.set(claim, value)
        } else {
            claims.remove(claim)
        };
    });
}

#[tokio::test]
async fn sessions_end_where_the_provider_no_longer_vouches() {
    ends("the user is gone", |provider| provider.remove_user("alice")).await;
    ends("the grant is gone", Provider::end_grants).await;
    ends("refused", |provider| provider.set(|it| it.refreshing.refuse = Some("invalid_grant"))).await;
    // RFC 6749 knows none of these for a refresh.
    for code in ["access_denied", "interaction_required", "token_expired", "The refresh token is not valid."] {
        ends(code, |provider| provider.set(|it| it.refreshing.refuse = Some(code))).await;
    }
    ends("as Pocket ID says it", |provider| {
        let body = r#"{"error":"Refresh token is invalid or expired"}"#.into();
        let fault = Fault { status: Some(StatusCode::BAD_REQUEST), body: Some(body), ..Fault::default() };
        provider.set(|it| drop(it.faults.insert(Endpoint::Token, fault)));
    })
    .await;
    ends("without a word", |provider| {
        provider.set(|it| drop(it.faults.insert(Endpoint::Token, Fault::status(StatusCode::BAD_REQUEST))));
    })
    .await;
    ends("another subject", |provider| refreshes_with(provider, "sub", Some("id-mallory"))).await;
    ends("no sid", |provider| refreshes_with(provider, "sid", None)).await;
    ends("an empty sid", |provider| refreshes_with(provider, "sid", Some(""))).await;
}

/// All that providers say of users, and what they leave of one who was deleted, in these places.
fn says_no_more(behaviour: &mut Behaviour, names: &[&str]) {
    for name in names {
        behaviour.refreshing.id_token.remove(name);
        behaviour.userinfo.remove(name);
    }
}

/// Authelia refreshes for a user who was deleted, with the same subject, and says nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_end_where_nothing_but_the_subject_is_left() {
    const ALL: [&str; 5] = ["name", "preferred_username", "email", "email_verified", "groups"];
    ends("only the subject is left", |provider| provider.set(|it| says_no_more(it, &ALL))).await;
    ends("the user name is gone", |provider| provider.set(|it| says_no_more(it, &["preferred_username"]))).await;
    ends("an empty user name", |provider| {
        provider.set(|it| {
            it.refreshing.id_token.set("preferred_username", "");
            it.userinfo.set("preferred_username", "");
        });
    })
    .await;
}

/// The same where no new ID token comes, and userinfo alone ever said who it is.
#[tokio::test]
async fn a_session_ends_where_userinfo_says_no_longer_who_it_is() {
    let prepare = |it: &mut Behaviour| {
        it.user_claims_only_in_userinfo = true;
        it.refreshing.no_id_token = true;
    };
    let scene = Scene::with(prepare, |_| ()).await;
    let mut browser = scene.sign_in().await;
    scene.provider().set(|it| says_no_more(it, &["name", "preferred_username", "email", "email_verified", "groups"]));
    scene.pass(AFTER);
    scene.until(&mut browser, |reply| reply.status == 302).await;
}

/// A refresh token that comes by itself ends with the provider's own session.
#[tokio::test]
async fn sessions_end_with_the_providers_where_tokens_are_bound_to_it() {
    let prepare = |behaviour: &mut Behaviour| {
        behaviour.refreshing.unannounced = true;
        behaviour.refreshing.unasked = true;
    };
    let scene = Scene::with(prepare, |_| ()).await;
    let mut browser = scene.sign_in().await;
    scene.provider().end_sessions();
    scene.pass(AFTER);
    scene.until(&mut browser, |reply| reply.status == 302).await;
}

/// What the ID token says of the provider's session counts, whatever userinfo would say.
#[tokio::test]
async fn a_lost_session_is_not_forgotten_when_userinfo_fails() {
    let scene = Scene::with(|behaviour| behaviour.user_claims_only_in_userinfo = true, |_| ()).await;
    let mut browser = scene.sign_in().await;
    refreshes_with(scene.provider(), "sid", None);
    let fault = Fault::status(StatusCode::INTERNAL_SERVER_ERROR);
    scene.provider().set(|behaviour| drop(behaviour.faults.insert(Endpoint::Userinfo, fault)));
    scene.pass(WITHIN);
    scene.check(&mut browser).await.is(302);
}
