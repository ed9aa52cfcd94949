//! Many things at once: logins of different users, tabs of one browser, sign-out while others ask, keys that change.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forepost::world::World;
use http::Method;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::provider::{Endpoint, Fault};
use crate::support::{Browser, Hands, Reply, Stage, fill_in};

const APP: &str = "https://app.example.com/page";

/// Steps of one tab; more would be a loop.
const MOST_STEPS: usize = 16;

/// What the tabs of one browser share.
#[derive(Clone)]
struct Jar(Arc<Mutex<Browser>>);

impl Jar {
    fn new(browser: Browser) -> Self {
        Self(Arc::new(Mutex::new(browser)))
    }

    /// The browser as it is now.
    fn now(&self) -> Browser {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps the cookies of an answer, whole answer by whole answer, as browsers do.
    fn keep(&self, reply: &Reply) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).learn(reply);
    }

    fn cookies(&self, url: &str) -> Vec<String> {
        self.now().cookie_names(&url.parse().unwrap())
    }
}

/// One tab of a browser.
struct Tab<'s> {
    stage: &'s Stage,
    jar: Jar,
}

impl Tab<'_> {
    /// One step: to forepost by way of the proxy's question, or to the provider.
    async fn step(&self, url: &str) -> Reply {
        let mut browser = self.jar.now();
        let asks = !url.starts_with(self.stage.provider.issuer()) && !url.contains("/outpost.goauthentik.io/");
        let reply = if asks { self.stage.check("traefik", &mut browser, url).await } else { browser.get(url).await };
        self.jar.keep(&reply);
        reply
    }

    /// Goes to `url` and wherever that leads, up to the page that is shown, or the provider's form.
    async fn open(&self, url: &str) -> (String, Reply) {
        let mut url = url.to_owned();
        for _ in 0..MOST_STEPS {
            let reply = self.step(&url).await;
            if !reply.status.is_redirection() {
                return (url, reply);
            }
            url = reply.location().into();
        }
        panic!("the tab goes round in circles at {url}");
    }

    /// Signs in with the provider's form.
    async fn sign_in(&self, form: &Reply, user: &str) -> (String, Reply) {
        let reply = fill_in(&mut self.jar.now(), form, user).await;
        self.jar.keep(&reply);
        self.open(reply.location().as_str()).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_logins_of_two_users_each_end_as_themselves() {
    let stage = Arc::new(Stage::start().await);
    let gate = Arc::new(Semaphore::new(32));
    let mut logins = JoinSet::new();
    for number in 0..200 {
        let (stage, gate) = (Arc::clone(&stage), Arc::clone(&gate));
        logins.spawn(async move {
            let _permit = gate.acquire().await.unwrap();
            let user = if number % 2 == 0 { "alice" } else { "bob" };
            let page = format!("{APP}?number={number}");
            let tab = Tab { stage: &stage, jar: Jar::new(stage.browser()) };
            let (_, form) = tab.open(&page).await;
            let (url, entered) = tab.sign_in(&form, user).await;
            assert_eq!((url, entered.is(200).header("x-authentik-username")), (page, user.to_owned()));
            assert_eq!(tab.jar.cookies(APP).len(), 1, "only the session");
        });
    }
    logins.join_all().await;
    assert_eq!(stage.provider.requests(Endpoint::Token), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_tabs_restored_at_once_all_end_on_their_pages() {
    // Signed in at the provider already: no user fills in a form, each tab runs through by itself.
    let stage = Arc::new(Stage::start().await);
    let jar = Jar::new(stage.browser());
    let tab = Tab { stage: &stage, jar: jar.clone() };
    let (_, form) = tab.open("https://admin.example.com/sub/").await;
    assert_eq!(form.status, 200);
    let reply = fill_in(&mut jar.now(), &form, "alice").await;
    jar.keep(&reply);

    let mut tabs = JoinSet::new();
    for number in 0..20 {
        let (stage, jar) = (Arc::clone(&stage), jar.clone());
        tabs.spawn(async move {
            let page = format!("{APP}?tab={number}");
            let (url, entered) = Tab { stage: &stage, jar }.open(&page).await;
            assert_eq!((url, entered.is(200).header("x-authentik-username")), (page, "alice".to_owned()));
        });
    }
    tabs.join_all().await;
    let left = jar.cookies(APP);
    assert!(left.len() <= 4, "{left:?}");
}

#[tokio::test]
async fn twenty_tabs_with_a_form_each_may_be_filled_in_in_any_order() {
    for backwards in [false, true] {
        let stage = Stage::start().await;
        let tab = Tab { stage: &stage, jar: Jar::new(stage.browser()) };
        let mut forms = Vec::new();
        for number in 0..20 {
            let page = format!("{APP}?tab={number}");
            forms.push((page.clone(), tab.open(&page).await.1));
        }
        if backwards {
            forms.reverse();
        }
        for (page, form) in forms {
            let (url, entered) = tab.sign_in(&form, "alice").await;
            entered.is(200);
            assert_eq!(url, page);
        }
        let left = tab.jar.cookies(APP);
        assert!(left.len() <= 4, "{left:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_poll_is_let_in_after_the_answer_to_a_sign_out() {
    let stage = Arc::new(Stage::start().await);
    for _ in 0..5 {
        let mut browser = stage.browser();
        stage.sign_in(&mut browser, APP, "alice").await.is(200);
        let (done, is_done) = watch::channel(false);
        let mut polls = JoinSet::new();
        for _ in 0..8 {
            // Each keeps the cookie that it began with: the session must be gone, not only its cookie.
            let (stage, mut browser, is_done) = (Arc::clone(&stage), browser.clone(), is_done.clone());
            polls.spawn(async move {
                let mut let_in = 0;
                loop {
                    let was_done = *is_done.borrow();
                    let reply = stage.ask("traefik", &mut browser, Method::GET, APP, &SCRIPT).await;
                    if was_done {
                        reply.is(401);
                        return let_in;
                    }
                    let_in += u32::from(reply.status == 200);
                }
            });
        }
        // Polls are under way.
        stage.check("traefik", &mut browser, APP).await.is(200);
        let url = "https://app.example.com/outpost.goauthentik.io/sign_out";
        let gone = browser.send(Method::GET, url, &[("sec-fetch-site", "same-origin")], None).await;
        gone.is(302);
        done.send_replace(true);
        assert!(polls.join_all().await.into_iter().sum::<u32>() > 0, "no request was let in before");
    }
}

const SCRIPT: [(&str, &str); 3] =
    [("accept", "application/json"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_with_an_expired_session_begin_no_login() {
    let hands = Hands::new();
    let lifetime = Duration::from_hours(1);
    let stage = Stage::tuned(World::with_clock(hands.clone()), |_| (), |settings| settings.session.lifetime = lifetime);
    let stage = Arc::new(stage.await);
    stage.daemon.ready().await;
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, APP, "alice").await.is(200);
    let before = stage.provider.requests(Endpoint::Authorize);
    let cookies = browser.cookie_names(&APP.parse().unwrap());
    hands.pass(lifetime);

    let jar = Jar::new(browser);
    let mut scripts = JoinSet::new();
    for number in 0..30 {
        let (stage, jar) = (Arc::clone(&stage), jar.clone());
        scripts.spawn(async move {
            for dialect in ["traefik", "caddy", "nginx", "envoy"] {
                let url = format!("https://app.example.com/api/{number}");
                let reply = stage.ask(dialect, &mut jar.now(), Method::GET, &url, &SCRIPT).await;
                jar.keep(&reply);
                assert_eq!(reply.is(401).header("set-cookie"), "");
            }
        });
    }
    scripts.join_all().await;
    assert_eq!(stage.provider.requests(Endpoint::Authorize), before);
    assert_eq!(jar.cookies(APP), cookies);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotating_keys_under_load_drops_no_check() {
    let stage = Arc::new(Stage::start().await);
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, APP, "alice").await.is(200);
    let (done, is_done) = watch::channel(false);
    let mut polls = JoinSet::new();
    for _ in 0..8 {
        let (stage, mut browser, is_done) = (Arc::clone(&stage), browser.clone(), is_done.clone());
        polls.spawn(async move {
            while !*is_done.borrow() {
                stage.check("traefik", &mut browser, APP).await.is(200);
            }
        });
    }
    for keep_old in [true, false] {
        stage.provider.rotate(keep_old).unwrap();
        // With the old keys gone at once, the second rotation falls into the cooldown: no login, but no check is lost.
        let login = stage.sign_in(&mut stage.browser(), APP, "bob").await;
        login.is(if keep_old { 200 } else { 502 });
    }
    done.send_replace(true);
    polls.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_callbacks_of_one_attempt_redeem_its_code_once() {
    let stage = Arc::new(Stage::start().await);
    for round in 1..=40 {
        let mut browser = stage.browser();
        let login = stage.check("traefik", &mut browser, APP).await;
        let form = browser.get(login.location().as_str()).await;
        let callback = fill_in(&mut browser, &form, "alice").await.location();
        let both: JoinSet<(Browser, Reply)> = (0..2)
            .map(|_| {
                let (mut browser, callback) = (browser.clone(), callback.clone());
                async move {
                    let reply = browser.get(callback.as_str()).await;
                    (browser, reply)
                }
            })
            .collect();
        let mut both = both.join_all().await;
        // The other one begins a new login, which needs no question.
        both.sort_by_key(|(_, reply)| reply.is(302).location().as_str() != APP);
        let paths = [0, 1].map(|at| both[at].1.location().path().to_owned());
        assert_eq!(
            (paths, stage.provider.requests(Endpoint::Token)),
            (["/page", "/authorize"].map(str::to_owned), round)
        );
        stage.check("traefik", &mut both[0].0, APP).await.is(200);
    }
}

#[tokio::test]
async fn a_callback_beside_one_that_waits_does_not_disturb_it() {
    let stage = Stage::start().await;
    let gate = Arc::new(Semaphore::new(0));
    let hold = Arc::clone(&gate);
    let mut browser = stage.browser();
    let login = stage.check("traefik", &mut browser, APP).await;
    let form = browser.get(login.location().as_str()).await;
    let callback = fill_in(&mut browser, &form, "alice").await.location();
    stage.provider.set(|b| {
        b.faults.insert(Endpoint::Token, Fault { hold: Some(hold), ..Fault::default() });
    });
    let mut other = browser.clone();
    let first = async { browser.get(callback.as_str()).await };
    let second = async {
        stage.provider.wait_for_requests(Endpoint::Token, 1).await;
        assert_eq!(other.get(callback.as_str()).await.is(302).location().path(), "/authorize");
        gate.close();
    };
    let (first, ()) = tokio::join!(first, second);
    assert_eq!(first.is(302).header("location"), APP);
    stage.check("traefik", &mut browser, APP).await.is(200);
    assert_eq!(stage.provider.requests(Endpoint::Token), 1);
}
