//! Login attempts that fail in a way that only another one mends: it begins by itself, once.

use std::time::Duration;

use forepost::world::World;

use crate::provider::{Behaviour, Endpoint};
use crate::support::{Browser, Hands, Reply, Stage, fill_in};

const APP: &str = "https://app.example.com/page?of=mine";
const MINUTE: u64 = 60;

struct Scene {
    stage: Stage,
    hands: Hands,
}

impl Scene {
    async fn new() -> Self {
        let hands = Hands::new();
        let stage = Stage::tuned(World::with_clock(hands.clone()), |_| (), |_| ()).await;
        stage.daemon.ready().await;
        Self { stage, hands }
    }

    fn pass(&self, seconds: u64) {
        self.hands.pass(Duration::from_secs(seconds));
    }

    /// A login page of the provider, which is not filled in yet.
    async fn page(&self, browser: &mut Browser) -> Reply {
        let login = self.stage.check("traefik", browser, APP).await;
        browser.get(login.is(302).location().as_str()).await
    }

    /// On its way to the provider once more, with another state, and without a session.
    #[track_caller]
    fn is_again(&self, reply: &Reply) {
        assert!(reply.is(302).location().as_str().starts_with(self.stage.provider.issuer()), "{reply:#?}");
        assert!(!reply.header("set-cookie").contains("authentik_proxy_1"), "{reply:#?}");
    }

    /// Fills in a login page when its attempt is over; what begins another one.
    async fn too_late(&self, browser: &mut Browser) -> Reply {
        let page = self.page(browser).await;
        self.pass(31 * MINUTE);
        let callback = fill_in(browser, &page, "alice").await.location();
        let again = browser.get(callback.as_str()).await;
        self.is_again(&again);
        again
    }

    async fn is_in(&self, browser: &mut Browser, back: &Reply) {
        assert_eq!(back.is(302).header("location"), APP);
        self.stage.check("traefik", browser, APP).await.is(200);
    }
}

/// Where the provider sends a browser that is signed in there.
async fn sent_back(browser: &mut Browser, reply: &Reply) -> Reply {
    let callback = browser.get(reply.location().as_str()).await;
    browser.get(callback.location().as_str()).await
}

#[tokio::test]
async fn a_login_page_works_as_long_as_those_of_providers_do() {
    for minutes in [0, 11, 29] {
        let scene = Scene::new().await;
        let mut browser = scene.stage.browser();
        let page = scene.page(&mut browser).await;
        scene.pass(minutes * MINUTE);
        let callback = fill_in(&mut browser, &page, "alice").await.location();
        let back = browser.get(callback.as_str()).await;
        scene.is_in(&mut browser, &back).await;
        assert_eq!(scene.stage.provider.requests(Endpoint::Authorize), 1, "{minutes}");
    }
}

#[tokio::test]
async fn after_that_another_login_begins_by_itself() {
    let scene = Scene::new().await;
    let mut browser = scene.stage.browser();
    let again = scene.too_late(&mut browser).await;
    let back = sent_back(&mut browser, &again).await;
    scene.is_in(&mut browser, &back).await;
    let asked = [Endpoint::Login, Endpoint::Authorize, Endpoint::Token].map(|it| scene.stage.provider.requests(it));
    assert_eq!(asked, [1, 2, 1], "no user was asked for a password twice");
}

#[tokio::test]
async fn a_third_one_does_not() {
    let scene = Scene::new().await;
    let mut browser = scene.stage.browser();
    let again = scene.too_late(&mut browser).await;
    let callback = browser.get(again.location().as_str()).await.location();
    scene.pass(31 * MINUTE);
    let ended = browser.get(callback.as_str()).await;
    ended.is(400).contains("Login could not be completed").contains("Try again");
    scene.stage.sign_in(&mut browser, APP, "alice").await.is(200);
}

/// A browser that keeps no cookies of ours.
#[tokio::test]
async fn lost_cookies_do_not_go_round() {
    let scene = Scene::new().await;
    let (mut one, mut two, mut three) = (scene.stage.browser(), scene.stage.browser(), scene.stage.browser());
    let page = scene.page(&mut one).await;
    let callback = fill_in(&mut one, &page, "alice").await.location();
    let again = two.get(callback.as_str()).await;
    scene.is_again(&again);
    let page = two.get(again.location().as_str()).await;
    let callback = fill_in(&mut two, &page, "alice").await.location();
    three.get(callback.as_str()).await.is(400).contains("did not send back the cookie");
    scene.stage.check("traefik", &mut three, APP).await.is(302);
}

/// Keycloak, when an old form is posted again.
fn expires(behaviour: &mut Behaviour) {
    behaviour.refuse = Some("temporarily_unavailable");
    behaviour.callback.set("error_description", "authentication_expired");
}

#[tokio::test]
async fn what_expired_at_the_provider_begins_again() {
    let scene = Scene::new().await;
    let mut browser = scene.stage.browser();
    scene.stage.provider.set(expires);
    let start = "https://app.example.com/outpost.goauthentik.io/start?rd=/page%3Fof%3Dmine&prompt=login";
    let login = browser.get(start).await;
    assert_eq!(login.parameter("prompt").as_deref(), Some("login"));
    let again = sent_back(&mut browser, &login).await;
    scene.is_again(&again);
    assert_eq!(again.parameter("prompt").as_deref(), Some("login"), "it is the same kind of login");
    assert_ne!(again.parameter("state"), login.parameter("state"));
    let mut stubborn = browser.clone();
    let ended = sent_back(&mut stubborn, &again).await;
    ended.is(502).contains("The identity provider has a problem at the moment.");
    scene.stage.provider.set(|behaviour| *behaviour = Behaviour::default());
    let back = scene.stage.come_back(&mut browser, again, "alice").await;
    scene.is_in(&mut browser, &back).await;
}

/// Errors that another attempt does not mend, or that say nothing of it.
#[tokio::test]
async fn other_errors_end_on_a_page() {
    for (error, description, status) in [
        ("temporarily_unavailable", "overloaded", 502),
        ("server_error", "", 502),
        ("access_denied", "The request has expired.", 403),
        ("login_required", "", 400),
        ("invalid_scope", "", 400),
    ] {
        let scene = Scene::new().await;
        let mut browser = scene.stage.browser();
        scene.stage.provider.set(|behaviour| {
            behaviour.refuse = Some(error);
            behaviour.callback.set("error_description", description);
        });
        let login = scene.stage.check("traefik", &mut browser, APP).await;
        sent_back(&mut browser, &login).await.is(status);
    }
}

/// A code that the provider does not know any more.
#[tokio::test]
async fn a_code_that_has_expired_begins_again() {
    let scene = Scene::new().await;
    let mut browser = scene.stage.browser();
    let page = scene.page(&mut browser).await;
    let callback = fill_in(&mut browser, &page, "alice").await.location();
    scene.pass(15 * MINUTE);
    let again = browser.get(callback.as_str()).await;
    scene.is_again(&again);
    let back = sent_back(&mut browser, &again).await;
    scene.is_in(&mut browser, &back).await;
}
