//! Orders to end a session that is being refreshed: whatever the refresh brings, no user is let in with it.

use std::path::{Path, PathBuf};

use forepost::serve::Admin;
use forepost::session::RedisSettings;
use forepost::settings::{Settings, Store};
use http::Method;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::scene::{AFTER, SIGN_OUT, Scene, WITHIN, redis_settings};
use crate::provider::{Behaviour, Endpoint, LogoutToken};
use crate::support::process::forepost;
use crate::support::redis::{Redis, until};
use crate::support::{Browser, Reply};

const BACK_CHANNEL: &str = "http://forepost.internal/outpost.goauthentik.io/backchannel-logout";

/// Who ends it.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// The provider, by the name of its session.
    ProviderSession,
    /// The provider, by the user.
    User,
    Operator,
    /// The user, in another tab.
    SignOut,
}

const ORDERS: [Order; 4] = [Order::ProviderSession, Order::User, Order::Operator, Order::SignOut];

/// A scene whose operators have a socket.
struct Ordered {
    scene: Scene,
    folder: TempDir,
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("admin.sock")
}

/// A redirect to the provider.
#[track_caller]
fn is_login(reply: &Reply, what: &str) {
    assert!(reply.status == 302 && reply.location().path() == "/authorize", "{what}: {reply:#?}");
}

impl Ordered {
    async fn new(prepare: impl FnOnce(&mut Behaviour), store: impl FnOnce(&Path) -> Store) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tune = |settings: &mut Settings| {
            settings.server.admin = Admin::At(socket(folder.path()));
            settings.session.store = store(folder.path());
            settings.session.secret = Some("0123456789abcdef0123456789abcdef".into());
        };
        let scene = Scene::with(prepare, tune).await;
        until("the store", async || scene.check(&mut scene.stage.browser()).await.status == 302).await;
        Self { scene, folder }
    }

    async fn in_memory(prepare: impl FnOnce(&mut Behaviour)) -> Self {
        Self::new(prepare, |_| Store::Memory).await
    }

    /// Ends the session of `browser`, and waits until that is acknowledged.
    async fn give(&self, order: Order, browser: &Browser) {
        match order {
            Order::ProviderSession => {
                let [session] = &*self.scene.provider().session_ids("alice") else { panic!("one session") };
                self.log_out(Some(session), None).await;
            }
            Order::User => self.log_out(None, Some("id-alice")).await,
            Order::Operator => {
                let socket = socket(self.folder.path()).display().to_string();
                let words = ["sessions", "revoke", "--user", "alice", "--socket", &socket].map(str::to_owned);
                let done =
                    spawn_blocking(move || forepost(&words.each_ref().map(String::as_str), &[]).output().unwrap());
                let done = done.await.unwrap();
                assert!(done.status.success(), "{done:?}");
            }
            Order::SignOut => {
                let here = [("sec-fetch-site", "same-origin")];
                let mut browser = browser.clone();
                let leaving = browser.send(Method::GET, SIGN_OUT, &here, None).await;
                browser.follow(leaving).await.is(200).contains("Signed out");
            }
        }
    }

    /// The provider sends a logout token.
    async fn log_out(&self, session: Option<&str>, subject: Option<&str>) {
        let (session, subject) = (session.map(str::to_owned), subject.map(str::to_owned));
        let token = LogoutToken { subject, session, ..LogoutToken::default() };
        let token = self.scene.provider().logout_token("proxy", &token).unwrap();
        self.scene.stage.browser().post(BACK_CHANNEL, &format!("logout_token={token}")).await.is(200);
    }

    /// No user is let in with what the browser has.
    async fn is_out(&self, browser: &Browser, what: &str) {
        is_login(&self.scene.check(&mut browser.clone()).await, what);
        self.scene.script(&mut browser.clone()).await.is(401);
    }

    /// Gives an order while a request waits for the provider.
    async fn while_one_waits(self, order: Order) {
        let what = format!("{order:?} while one waits");
        let scene = &self.scene;
        let browser = scene.sign_in().await;
        let gate = scene.hold();
        scene.pass(WITHIN);
        let mut waiting = browser.clone();
        let ordered = async {
            scene.until_asked(2).await;
            self.give(order, &browser).await;
            gate.close();
        };
        let (reply, ()) = tokio::join!(scene.check(&mut waiting), ordered);
        is_login(&reply, &what);
        self.is_out(&browser, &what).await;
    }

    /// Gives an order while the provider is asked beside the requests.
    async fn beside_requests(self, order: Order) {
        let what = format!("{order:?} beside requests");
        let scene = &self.scene;
        let mut browser = scene.sign_in().await;
        let gate = scene.hold();
        scene.pass(AFTER);
        scene.check(&mut browser).await.is(200);
        scene.until_asked(2).await;
        let revoked = scene.provider().requests(Endpoint::Revocation);
        self.give(order, &browser).await;
        self.is_out(&browser, &what).await;
        gate.close();
        // The token that it brought has no use any more, and forepost revokes it at the provider.
        scene.provider().wait_for_requests(Endpoint::Revocation, revoked + 1).await;
        self.is_out(&browser, &what).await;
    }
}

#[tokio::test]
async fn an_order_during_a_refresh_holds_in_memory() {
    for order in ORDERS {
        Ordered::in_memory(|_| ()).await.while_one_waits(order).await;
        Ordered::in_memory(|_| ()).await.beside_requests(order).await;
    }
}

#[tokio::test]
async fn an_order_during_a_refresh_holds_in_a_file() {
    let store = |folder: &Path| Store::File(folder.join("state"));
    for order in ORDERS {
        Ordered::new(|_| (), store).await.while_one_waits(order).await;
        Ordered::new(|_| (), store).await.beside_requests(order).await;
    }
}

#[tokio::test]
async fn an_order_during_a_refresh_holds_in_redis() {
    let redis = Redis::start(&[]).await;
    let store = |prefix: String| Store::Redis(RedisSettings { prefix, ..redis_settings(redis.address) });
    for order in ORDERS {
        Ordered::new(|_| (), |_| store(format!("{order:?} one:"))).await.while_one_waits(order).await;
        Ordered::new(|_| (), |_| store(format!("{order:?} two:"))).await.beside_requests(order).await;
    }
}

/// At a refresh the ID token names this session of the provider.
fn moves(scene: &Scene, session: &str) {
    scene.provider().set(|behaviour| {
        behaviour.refreshing.id_token.set("sid", session);
    });
}

/// The provider's name of the one session that it has with alice.
fn named(scene: &Scene) -> String {
    let [session] = &*scene.provider().session_ids("alice") else { panic!("one session") };
    session.clone()
}

#[tokio::test]
async fn an_order_means_the_session_that_a_login_was_made_in() {
    for after in [false, true] {
        let ordered = Ordered::in_memory(|_| ()).await;
        let scene = &ordered.scene;
        let mut browser = scene.sign_in().await;
        moves(scene, "another");
        scene.rename("Alice Neu", &["staff"]);
        let gate = scene.hold();
        scene.pass(AFTER);
        scene.check(&mut browser).await.is(200);
        scene.until_asked(2).await;
        if !after {
            ordered.log_out(Some(&named(scene)), None).await;
        }
        gate.close();
        if after {
            scene.until_named(&mut browser, "Alice Neu").await;
            ordered.log_out(Some(&named(scene)), None).await;
        } else {
            scene.provider().wait_for_requests(Endpoint::Revocation, 1).await;
        }
        ordered.is_out(&browser, "moved").await;
    }
}

#[tokio::test]
async fn an_order_means_the_session_that_a_refresh_names() {
    for before in [false, true] {
        let ordered = Ordered::in_memory(|_| ()).await;
        let scene = &ordered.scene;
        let mut browser = scene.sign_in().await;
        moves(scene, "another");
        scene.rename("Alice Neu", &["staff"]);
        if before {
            ordered.log_out(Some("another"), None).await;
        }
        scene.check(&mut browser).await.is(200);
        scene.pass(AFTER);
        if before {
            scene.until(&mut browser, |reply| reply.status == 302).await;
        } else {
            scene.until_named(&mut browser, "Alice Neu").await;
            ordered.log_out(Some("another"), None).await;
        }
        ordered.is_out(&browser, "moved").await;
    }
}

/// The provider named none at the login; an order that names the user as well may mean it.
#[tokio::test]
async fn an_order_means_a_session_that_was_named_late() {
    let prepare = |behaviour: &mut Behaviour| {
        behaviour.id_token.remove("sid");
    };
    let ordered = Ordered::in_memory(prepare).await;
    let scene = &ordered.scene;
    let mut browser = scene.sign_in().await;
    moves(scene, "another");
    let gate = scene.hold();
    scene.pass(AFTER);
    scene.check(&mut browser).await.is(200);
    scene.until_asked(2).await;
    ordered.log_out(Some(&named(scene)), Some("id-alice")).await;
    gate.close();
    scene.provider().wait_for_requests(Endpoint::Revocation, 1).await;
    ordered.is_out(&browser, "named late").await;
}

#[tokio::test]
async fn a_session_that_moves_ends_by_no_order_for_others() {
    let ordered = Ordered::in_memory(|_| ()).await;
    let scene = &ordered.scene;
    let mut browser = scene.sign_in().await;
    for number in 0..3 {
        moves(scene, &format!("another {number}"));
        ordered.log_out(Some("of another user"), Some("id-alice")).await;
        let name = format!("Alice {number}");
        scene.rename(&name, &["staff"]);
        scene.pass(AFTER);
        scene.until_named(&mut browser, &name).await;
    }
}
