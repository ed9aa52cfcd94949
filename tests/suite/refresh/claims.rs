//! Claims that come and go with refreshes.

use forepost::access::{Action, Requirement, Rule};
use serde_json::json;

use super::scene::{AFTER, Scene};
use crate::provider::{Behaviour, Endpoint};

/// An application that looks for roles where Keycloak has them.
async fn with_roles(prepare: impl FnOnce(&mut Behaviour)) -> Scene {
    let prepare = |behaviour: &mut Behaviour| {
        behaviour.access_token.signed = true;
        behaviour.access_token.claims.set("realm_access", json!({"roles": ["dev"]}));
        prepare(behaviour);
    };
    Scene::with(prepare, |settings| {
        for provider in settings.identity_providers.values_mut() {
            provider.claims.groups = forepost::identity::ClaimPath::new("realm_access.roles");
        }
    })
    .await
}

#[tokio::test]
async fn roles_follow_the_access_token_of_each_refresh() {
    for no_id_token in [false, true] {
        let scene = with_roles(|behaviour| behaviour.refreshing.no_id_token = no_id_token).await;
        let mut browser = scene.sign_in().await;
        assert_eq!(scene.check(&mut browser).await.header("x-authentik-groups"), "dev");
        for roles in [json!(["dev", "ops"]), json!([])] {
            let joined =
                roles.as_array().unwrap().iter().map(|role| role.as_str().unwrap()).collect::<Vec<_>>().join("|");
            scene.provider().set(|it| {
                it.access_token.claims.set("realm_access", json!({ "roles": roles }));
            });
            scene.pass(AFTER);
            scene.until(&mut browser, |reply| reply.is(200).header("x-authentik-groups") == joined).await;
        }
    }
}

/// Userinfo is asked at each refresh for what the ID token lacks, whichever claim that is.
#[tokio::test]
async fn what_is_missing_is_asked_for_at_each_refresh() {
    let scene = Scene::with(
        |it| {
            it.id_token.set("entitlements", json!([]));
        },
        |_| (),
    )
    .await;
    let mut browser = scene.sign_in().await;
    assert_eq!(scene.provider().requests(Endpoint::Userinfo), 0, "all is in the ID token");
    scene.provider().set(|it| {
        it.refreshing.id_token.remove("entitlements");
        it.userinfo.set("entitlements", json!(["print"]));
    });
    scene.pass(AFTER);
    scene.until(&mut browser, |reply| reply.is(200).header("x-authentik-entitlements") == "print").await;
}

/// An address or a group that is gone takes nothing else with it.
#[tokio::test]
async fn what_a_user_can_lose_ends_no_session() {
    let scene = Scene::new().await;
    let mut browser = scene.sign_in().await;
    scene.provider().set(|it| {
        for name in ["email", "groups", "name"] {
            it.id_token.remove(name);
            it.userinfo.remove(name);
        }
    });
    scene.pass(AFTER);
    let reply = scene.until(&mut browser, |reply| reply.is(200).header("x-authentik-name").is_empty()).await;
    let rest = ["username", "email", "groups"].map(|name| reply.header(&format!("x-authentik-{name}")));
    assert_eq!(rest, ["alice", "", ""]);
}

/// Where no new ID token comes, what userinfo denies is gone, although the old ID token has it.
#[tokio::test]
async fn null_at_userinfo_takes_back_what_an_older_id_token_said() {
    let scene = Scene::with(|it| it.refreshing.no_id_token = true, |_| ()).await;
    let mut browser = scene.sign_in().await;
    assert_eq!(scene.check(&mut browser).await.header("x-authentik-groups"), "admins|staff");
    scene.provider().set(|it| {
        it.userinfo.set("groups", json!(null));
    });
    scene.pass(AFTER);
    scene.until(&mut browser, |reply| reply.is(200).header("x-authentik-groups").is_empty()).await;
}

/// Some providers leave an empty list out of userinfo: what it named before is not read from the old ID token again.
#[tokio::test]
async fn what_userinfo_named_once_does_not_come_back_from_an_older_id_token() {
    let scene = Scene::with(|it| it.refreshing.no_id_token = true, |_| ()).await;
    let mut browser = scene.sign_in().await;
    assert_eq!(scene.check(&mut browser).await.header("x-authentik-groups"), "admins|staff");
    let steps =
        [(Some(json!(["staff"])), "staff"), (None, ""), (Some(json!(["users"])), "users"), (None, ""), (None, "")];
    for (refreshes, (named, expected)) in (2..).zip(steps) {
        scene.provider().set(|it| match named {
            Some(groups) => drop(it.userinfo.set("groups", groups)),
            None => drop(it.userinfo.remove("groups")),
        });
        scene.pass(AFTER);
        scene.check(&mut browser).await.is(200);
        scene.until_asked(refreshes).await;
        scene.until(&mut browser, |reply| reply.is(200).header("x-authentik-groups") == expected).await;
    }
}

/// What userinfo named at the login as well, it takes back at the first refresh; who has no name left is signed out.
#[tokio::test]
async fn what_userinfo_named_at_the_login_counts_as_named() {
    let scene = Scene::with(|it| it.refreshing.no_id_token = true, |_| ()).await;
    let mut browser = scene.sign_in().await;
    assert_eq!(scene.provider().requests(Endpoint::Userinfo), 1, "the ID token lacks entitlements");
    scene.provider().set(|it| {
        it.userinfo.remove("groups");
    });
    scene.pass(AFTER);
    scene.until(&mut browser, |reply| reply.is(200).header("x-authentik-groups").is_empty()).await;
    scene.provider().set(|it| {
        for name in ["name", "preferred_username", "email", "email_verified"] {
            it.userinfo.remove(name);
        }
    });
    scene.pass(AFTER);
    scene.until(&mut browser, |reply| reply.status == 302).await;
}

/// A level that ended at the provider can be had again; one that a login did not bring is not asked for again.
#[tokio::test]
async fn a_better_login_is_asked_for_again_once_a_refresh_lowered_it() {
    let requirement = Requirement { acr: vec!["mfa".to_owned()], ..Requirement::default() };
    let rule = Rule {
        hosts: Vec::new(),
        paths: Vec::new(),
        methods: Vec::new(),
        networks: Vec::new(),
        when: None,
        action: Action::Require(vec![requirement]),
    };
    let scene = Scene::with(
        |it| {
            it.id_token.set("acr", "mfa");
            it.refreshing.id_token.set("acr", "pwd");
        },
        |settings| settings.applications.iter_mut().for_each(|app| app.rules.push(rule.clone())),
    )
    .await;
    let mut browser = scene.sign_in().await;
    scene.pass(AFTER);
    let asked = scene.until(&mut browser, |reply| reply.status == 302).await;
    assert_eq!(asked.parameter("acr_values").as_deref(), Some("mfa"));
    scene.stage.complete(&mut browser, asked, "alice").await.is(200);
    scene.pass(AFTER);
    let asked = scene.until(&mut browser, |reply| reply.status == 302).await;
    scene.provider().set(|it| {
        it.id_token.set("acr", "pwd");
    });
    scene.stage.complete(&mut browser, asked, "alice").await.is(403);
    scene.pass(AFTER);
    scene.check(&mut browser).await.is(403);
    scene.until_asked(5).await;
    scene.check(&mut browser).await.is(403);
}
