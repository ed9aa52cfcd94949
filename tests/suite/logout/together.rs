//! A sign-out at one application ends what the same login at the provider began, in all of them.

use std::time::Duration;

use forepost::settings::Settings;

use super::*;
use crate::provider::Behaviour;
use crate::support::{Hands, fill_in};

const APPLICATIONS: [&str; 3] = [APP, ADMIN, DOMAIN];

/// What a provider says of its sessions.
type Says = fn(&mut Behaviour);

const NAMES: Says = |_| ();

const TIMES: Says = |it| {
    it.id_token.remove("sid");
};

const NOTHING: Says = |it| {
    it.id_token.remove("sid").remove("auth_time");
};

struct Scene {
    stage: Stage,
    hands: Hands,
}

impl Scene {
    async fn new(says: Says) -> Self {
        let hands = Hands::new();
        let stage = Stage::tuned(World::with_clock(hands.clone()), says, |_: &mut Settings| ()).await;
        stage.daemon.ready().await;
        Self { stage, hands }
    }

    /// A user who is signed in at all applications, by a login of its own at the provider.
    async fn visitor(&self, user: &str) -> Browser {
        self.hands.pass(Duration::from_secs(2));
        let mut browser = self.stage.browser();
        for url in APPLICATIONS {
            self.stage.sign_in(&mut browser, url, user).await;
        }
        browser
    }

    async fn sign_out(&self, browser: &mut Browser, url: &str) {
        self.hands.pass(Duration::from_secs(2));
        let out = url.replace("/page", "/outpost.goauthentik.io/sign_out");
        let leaving = browser.send(Method::GET, &out, &[("sec-fetch-site", "same-origin")], None).await;
        browser.follow(leaving).await.is(200).contains("Signed out");
    }

    /// In which applications the browser is let in.
    async fn inside(&self, browser: &Browser) -> Vec<&'static str> {
        let mut inside = Vec::new();
        for url in APPLICATIONS {
            let reply = self.stage.check("traefik", &mut browser.clone(), url).await;
            if reply.status != 302 {
                inside.push(url);
            }
        }
        inside
    }
}

#[tokio::test]
async fn a_sign_out_ends_the_sessions_of_all_applications() {
    for (says, elsewhere_ends) in [(NAMES, false), (TIMES, false), (NOTHING, true)] {
        for at in APPLICATIONS {
            let scene = Scene::new(says).await;
            let elsewhere = scene.visitor("alice").await;
            let bob = scene.visitor("bob").await;
            let mut alice = scene.visitor("alice").await;
            let before = alice.clone();
            assert_eq!(scene.inside(&alice).await, APPLICATIONS);
            scene.sign_out(&mut alice, at).await;
            for browser in [&alice, &before] {
                assert_eq!(scene.inside(browser).await, [""; 0], "{at}");
            }
            // Where a provider tells no logins apart, one of them may be this browser's.
            let expected = if elsewhere_ends { &[][..] } else { &APPLICATIONS };
            assert_eq!(scene.inside(&elsewhere).await, expected, "{at}");
            assert_eq!(scene.inside(&bob).await, APPLICATIONS);
            // The next request gets its own answer, and the sign-out ends no session that began after it.
            scene.stage.sign_in(&mut alice, APP, "bob").await.is(200);
            scene.stage.sign_in(&mut alice, ADMIN, "bob").await.is(403);
            assert_eq!(scene.stage.check("traefik", &mut alice, APP).await.header("x-authentik-username"), "bob");
            assert_eq!(scene.inside(&scene.visitor("alice").await).await, APPLICATIONS);
        }
    }
}

/// A login in another tab that is not completed yet.
#[tokio::test]
async fn a_sign_out_means_logins_under_way() {
    for says in [NAMES, TIMES, NOTHING] {
        let scene = Scene::new(says).await;
        let mut alice = scene.stage.browser();
        scene.stage.sign_in(&mut alice, APP, "alice").await.is(200);
        let mut tab = alice.clone();
        let start = scene.stage.check("traefik", &mut tab, ADMIN).await;
        let back = tab.get(start.is(302).location().as_str()).await;
        scene.sign_out(&mut alice, APP).await;
        tab.get(back.location().as_str()).await.is(302);
        assert_eq!(scene.inside(&tab).await, [""; 0]);
    }
}

/// A login that had to be newer has another time in the same session of the provider.
#[tokio::test]
async fn a_newer_login_belongs_to_the_browser_of_the_one_before() {
    for (at, other) in [(ADMIN, APP), (APP, ADMIN)] {
        let scene = Scene::new(TIMES).await;
        let elsewhere = scene.visitor("alice").await;
        let mut alice = scene.visitor("alice").await;
        scene.hands.pass(Duration::from_secs(2));
        let start = at.replace("/page", "/outpost.goauthentik.io/start?rd=/&prompt=login");
        let form = alice.get(&start).await;
        let form = alice.get(form.is(302).location().as_str()).await;
        let back = fill_in(&mut alice, &form, "alice").await;
        alice.get(back.location().as_str()).await.is(302);
        scene.sign_out(&mut alice, at).await;
        assert_eq!(scene.inside(&alice).await, [""; 0], "{at} {other}");
        assert_eq!(scene.inside(&elsewhere).await, APPLICATIONS);
    }
}

/// Some providers tell the time of a login only where it was asked for (OIDC Core §2).
#[tokio::test]
async fn what_says_nothing_of_its_login_ends_with_what_does() {
    for says in [[TIMES, NOTHING], [NOTHING, TIMES]] {
        let scene = Scene::new(|_| ()).await;
        let mut alice = scene.stage.browser();
        for (says, url) in says.into_iter().zip([APP, ADMIN]) {
            scene.stage.provider.set(|it| drop(std::mem::take(&mut it.id_token)));
            scene.stage.provider.set(says);
            scene.stage.sign_in(&mut alice, url, "alice").await.is(200);
        }
        scene.sign_out(&mut alice, ADMIN).await;
        assert_eq!(scene.inside(&alice).await, [""; 0]);
    }
}
