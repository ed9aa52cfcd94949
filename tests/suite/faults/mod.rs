//! The faulty provider: each fault ends on a page, or on JSON, that says what happened, and opens nothing.
//!
//! A row is a fault with its name and its ending. Rows run side by side, each with a provider and a daemon of its own.

mod answers;
mod callbacks;
mod changes;
mod documents;
mod keys;
mod odd;
mod signing;
mod tls;
mod tokens;
mod unusual;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use forepost::world::World;
use http::HeaderValue;
use http::header::ACCEPT;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::provider::Behaviour;
use crate::support::{Browser, Reply, Stage, fill_in};

const APP: &str = "https://app.example.com/page?of=the&app";

/// Rows that run at once.
const AT_ONCE: usize = 8;

/// Enough for every answer on a busy machine.
const PATIENT: Duration = Duration::from_secs(30);

/// For rows that wait for it.
const HASTY: Duration = Duration::from_millis(300);

/// How a callback ends that signs no user in.
#[derive(Clone, Copy)]
struct Ending {
    status: u16,
    /// Stands on the page.
    page: &'static str,
    /// The `error` of the JSON answer.
    error: &'static str,
}

const UNACCEPTED: Ending =
    Ending { status: 502, page: "The identity provider's answer could not be accepted.", error: "login_failed" };
const REFUSED: Ending =
    Ending { status: 502, page: "The identity provider refuses this application.", error: "login_failed" };
const AWAY: Ending = Ending { status: 503, page: "Login is not possible right now", error: "provider_unavailable" };
const OTHER_ISSUER: Ending = Ending {
    status: 400,
    page: "The answer did not come from the identity provider of this application.",
    error: "login_failed",
};
const NO_ISSUER: Ending =
    Ending { status: 400, page: "The answer does not say which identity provider it is from.", error: "login_failed" };
const NO_ANSWER: Ending =
    Ending { status: 400, page: "This address is only for answers of the identity provider.", error: "bad_request" };
const FOREIGN: Ending =
    Ending { status: 400, page: "This login is not known here, or no longer.", error: "login_failed" };

impl Ending {
    /// The reply ends here, for good, and tells no secret.
    #[track_caller]
    fn check(self, reply: &Reply, html: bool) {
        assert_eq!(reply.status.as_u16(), self.status, "{reply:#?}");
        assert!(reply.header("location").is_empty(), "{reply:#?}");
        assert!(!reply.body.contains("http-equiv"), "no page loads another by itself: {reply:#?}");
        let id = reply.header("x-request-id");
        assert!(!id.is_empty() && reply.body.contains(&id), "{reply:#?}");
        let unescaped = reply.body.replace("&#39;", "'");
        if html {
            assert!(
                unescaped.contains("<html") && unescaped.contains(self.page),
                "{:?} is not in {reply:#?}",
                self.page
            );
        } else {
            assert_eq!(reply.json()["error"], self.error);
            assert!(!reply.json()["message"].as_str().unwrap().is_empty(), "{reply:#?}");
        }
        for (name, secret) in reply.url.query_pairs() {
            let is_secret = matches!(&*name, "code" | "state") && secret.len() > 8;
            assert!(!is_secret || !reply.body.contains(&*secret), "the page tells the {name}: {reply:#?}");
        }
        assert!(!reply.body.contains("proxy-secret") && !reply.body.contains("eyJ"), "{reply:#?}");
        assert!(!reply.header("set-cookie").contains("authentik_proxy_1"), "{reply:#?}");
    }
}

type Change = Box<dyn FnOnce(&mut Behaviour) + Send>;

struct Row {
    name: &'static str,
    announced: Change,
    fault: Change,
    timeout: Duration,
    ending: Ending,
    begins_again: bool,
}

/// A provider that turns faulty once the daemon knows it.
fn row(name: &'static str, fault: impl FnOnce(&mut Behaviour) + Send + 'static, ending: Ending) -> Row {
    Row { name, announced: Box::new(|_| ()), fault: Box::new(fault), timeout: PATIENT, ending, begins_again: false }
}

impl Row {
    /// What the provider is like before the daemon looks at its metadata.
    fn announced(mut self, change: impl FnOnce(&mut Behaviour) + Send + 'static) -> Self {
        self.announced = Box::new(change);
        self
    }

    /// Another login begins first; it ends like this.
    fn begins_again(mut self) -> Self {
        self.begins_again = true;
        self
    }

    /// With a short time-out towards the provider.
    fn hasty(mut self) -> Self {
        self.timeout = HASTY;
        self
    }

    async fn play(self) {
        let stage = stage(self.announced, self.timeout).await;
        stage.provider.set(self.fault);
        for html in [true, false] {
            let mut browser = stage.browser();
            let callback = up_to_callback(&stage, &mut browser, "alice").await;
            if !html {
                browser.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
            }
            let mut reply = browser.get(callback.location().as_str()).await;
            if self.begins_again {
                assert!(!reply.header("set-cookie").contains("authentik_proxy_1"), "{reply:#?}");
                let callback = at_the_provider(&mut browser, &reply, "alice").await;
                reply = browser.get(callback.location().as_str()).await;
            }
            self.ending.check(&reply, html);
            opens_nothing(&stage, &mut browser).await;
        }
    }
}

/// A provider and a daemon that is ready for logins through it.
async fn stage(announced: impl FnOnce(&mut Behaviour), timeout: Duration) -> Stage {
    let stage = Stage::tuned(World::system(), announced, |settings| {
        for provider in settings.identity_providers.values_mut() {
            provider.timeout = timeout;
        }
    });
    let stage = stage.await;
    stage.daemon.ready().await;
    stage
}

/// Begins a login, answers the provider's form, and stops before our callback.
async fn up_to_callback(stage: &Stage, browser: &mut Browser, user: &str) -> Reply {
    let login = stage.check("traefik", browser, APP).await;
    at_the_provider(browser, &login, user).await
}

/// Goes where a login leads and answers the provider's form.
async fn at_the_provider(browser: &mut Browser, login: &Reply, user: &str) -> Reply {
    let page = browser.get(login.is(302).location().as_str()).await;
    if page.status.is_redirection() { page } else { fill_in(browser, &page, user).await }
}

async fn opens_nothing(stage: &Stage, browser: &mut Browser) {
    for dialect in ["traefik", "caddy", "nginx", "envoy"] {
        let reply = stage.check(dialect, browser, APP).await;
        assert!(!reply.status.is_success(), "{reply:#?}");
    }
}

/// Plays all rows; says which of them failed.
async fn play(rows: Vec<Row>) {
    side_by_side(rows.into_iter().map(|row| (row.name, row.play()))).await;
}

/// Runs named tests at once, but not too many.
async fn side_by_side<F>(tests: impl IntoIterator<Item = (&'static str, F)>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    let mut names = HashMap::new();
    for (name, test) in tests {
        let gate = Arc::clone(&gate);
        let task = running.spawn(async move {
            let _permit = gate.acquire().await.unwrap();
            test.await;
        });
        names.insert(task.id(), name);
    }
    let mut failed = Vec::new();
    while let Some(ended) = running.join_next().await {
        failed.extend(ended.err().map(|error| names[&error.id()]));
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}
