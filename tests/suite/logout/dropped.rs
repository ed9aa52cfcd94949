//! Requests whose clients are gone: what they began is carried out, and the audit log has it.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forepost::app::Application;
use forepost::catalog::Catalog;
use forepost::daemon::catalog;
use forepost::identity::{Identity, PackedIdentity};
use forepost::logout::{LogoutParts, Logouts, Revoker};
use forepost::session::{
    Finished, Lease, LeaseAnswer, MemoryStore, NewSession, Page, ProviderSide, Refreshable, Revocation, Schedule,
    Session, SessionKey, SessionOutline, SessionStore, SessionToken, StoreFuture, StoreParts,
};
use forepost::settings::Settings;
use forepost::telemetry::RequestIds;
use forepost::telemetry::audit::Asker;
use forepost::world::UnixTime;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::subscriber::DefaultGuard;

use super::*;
use crate::provider::{Config, Endpoint, Provider};
use crate::support::client;

const SESSION: &str = "the-session";

/// A store that lets an end be written down only when the gate is open.
struct Slow {
    inner: MemoryStore,
    asked: Semaphore,
    gate: Semaphore,
}

impl Slow {
    async fn pass(&self) {
        self.asked.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
    }
}

impl SessionStore for Slow {
    fn cached(&self, token: &SessionToken) -> Option<Arc<Session>> {
        self.inner.cached(token)
    }

    fn load<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>> {
        self.inner.load(token)
    }

    fn save<'s>(&'s self, token: &'s SessionToken, session: Arc<Session>) -> StoreFuture<'s, ()> {
        self.inner.save(token, session)
    }

    fn remove<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>> {
        Box::pin(async move {
            let removed = self.inner.remove(token).await;
            self.pass().await;
            removed
        })
    }

    fn begin_refresh<'s>(&'s self, token: &'s SessionToken) -> StoreFuture<'s, LeaseAnswer> {
        self.inner.begin_refresh(token)
    }

    fn finish_refresh<'s>(&'s self, t: &'s SessionToken, l: &'s Lease, finished: Finished) -> StoreFuture<'s, bool> {
        self.inner.finish_refresh(t, l, finished)
    }

    fn revoke<'s>(&'s self, revocation: &'s Revocation<'s>) -> StoreFuture<'s, bool> {
        Box::pin(async move {
            let followed = self.inner.revoke(revocation).await;
            self.pass().await;
            followed
        })
    }

    fn end(&self, id: SessionKey) -> StoreFuture<'_, Option<SessionOutline>> {
        self.inner.end(id)
    }

    fn outline(&self, id: SessionKey) -> StoreFuture<'_, Option<SessionOutline>> {
        self.inner.outline(id)
    }

    fn page(&self, at: Option<String>) -> StoreFuture<'_, Option<Page>> {
        self.inner.page(at)
    }

    fn reclaim(&self, now: UnixTime) -> StoreFuture<'_, ()> {
        self.inner.reclaim(now)
    }

    fn count(&self) -> u64 {
        self.inner.count()
    }

    fn is_up(&self) -> bool {
        self.inner.is_up()
    }
}

/// The lines of this thread.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Writes them down for as long as the guard lives.
    pub(super) fn listen(&self) -> DefaultGuard {
        let writer = self.clone();
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
        tracing::subscriber::set_default(subscriber)
    }

    pub(super) fn all(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Reason, user and provider's session of each audit line.
    fn audited(&self) -> Vec<[String; 3]> {
        let lines = self.all().into_iter().map(|line| line["fields"].clone()).filter(|line| line["message"] == "audit");
        let names = ["reason", "user", "provider_session"];
        lines.map(|line| names.map(|name| line[name].as_str().unwrap_or_default().to_owned())).collect()
    }
}

struct Scene {
    provider: Provider,
    catalog: Catalog,
    app: Arc<Application>,
    store: Arc<Slow>,
    logouts: Logouts,
    revoker: Arc<Revoker>,
    background: TaskTracker,
    headers: HeaderMap,
    asker: Asker,
}

impl Scene {
    /// With a session of alice.
    async fn new() -> Self {
        let clients = vec![client("proxy", Some("proxy-secret"), &["https://app.example.com"])];
        let provider = Provider::start(Config { clients, ..Config::default() }).await.unwrap();
        let settings = Settings::from_toml(&format!(
            "external_host = \"https://app.example.com\"\n[identity_provider.idp]\nissuer = \"{}\"\n\
             client_id = \"proxy\"\nclient_secret = \"proxy-secret\"\nfrontchannel_logout = true\n",
            provider.issuer()
        ));
        let world = World::system();
        let (catalog, conflicts) = catalog(&settings.unwrap(), world.clone());
        assert!(conflicts.is_empty(), "{conflicts:?}");
        let app = Arc::clone(&catalog.applications()[0]);
        app.provider.refresh().await.unwrap();
        let lifetime = Duration::from_hours(1);
        let inner = MemoryStore::new(StoreParts {
            secret: &[7; 32],
            max_sessions: 10,
            lifetime,
            idle_timeout: None,
            world: world.clone(),
        });
        let (store, background) =
            (Arc::new(Slow { inner, asked: Semaphore::new(0), gate: Semaphore::new(0) }), TaskTracker::new());
        let revoker = Revoker::new(background.clone());
        let logouts = Logouts::new(LogoutParts {
            world: world.clone(),
            store: Arc::clone(&store) as Arc<dyn SessionStore>,
            lifetime,
            everywhere: true,
            revoker: Arc::clone(&revoker),
            background: background.clone(),
        });
        let token = SessionToken::generate(&world).unwrap();
        store.save(&token, Arc::new(alice(&app, &world))).await.unwrap();
        let cookie = format!("{}={}", app.cookies.session().as_str(), token.encode());
        let headers = HeaderMap::from_iter([(http::header::COOKIE, HeaderValue::try_from(cookie).unwrap())]);
        let asker = Asker { client: None, request_id: RequestIds::new(&world).next() };
        Self { provider, catalog, app, store, logouts, revoker, background, headers, asker }
    }

    /// Gives up `request` while the store works, and waits for the end of what it began.
    async fn give_up<T>(&self, request: impl Future<Output = T>) {
        tokio::select! {
            _ = request => panic!("it waits for the store"),
            asked = self.store.asked.acquire() => drop(asked.unwrap()),
        }
        self.store.gate.add_permits(10);
        self.revoker.hurry();
        self.background.close();
        self.background.wait().await;
    }
}

/// A session with a refresh token.
pub(super) fn alice(app: &Application, world: &World) -> Session {
    let identity = Identity {
        subject: "id-alice".into(),
        username: "alice".into(),
        email: String::new(),
        name: String::new(),
        uid: "id-alice".into(),
        groups: Vec::new(),
        entitlements: Vec::new(),
    };
    let never = UnixTime::from_secs(u64::from(u32::MAX));
    let refreshable = Refreshable {
        token: "the-refresh-token".to_owned().into(),
        rotates: None,
        schedule: Schedule::new(never, never),
    };
    let new = NewSession {
        realm: app.realm.clone(),
        identity: PackedIdentity::new(identity, "id.to.ken", None),
        began_at: world.moment(),
        lifetime: Duration::from_hours(1),
        idle_timeout: None,
        provider: ProviderSide {
            session_id: Some(SESSION.to_owned()),
            refreshable: Some(refreshable),
            ..ProviderSide::default()
        },
    };
    Session::new(new, world.now())
}

#[derive(Clone, Copy)]
enum Way {
    SignOut { everywhere: bool },
    BackChannel,
    FrontChannel { with_cookie: bool },
}

async fn check(way: Way, reason: &str, user: &str, revocations: u64) {
    let lines = Lines::default();
    // Tasks of this test run in its own thread.
    let _guard = lines.listen();
    let scene = Scene::new().await;
    let Scene { provider, catalog, app, logouts, headers, asker, .. } = &scene;
    match way {
        Way::SignOut { everywhere } => scene.give_up(logouts.sign_out(app, headers, everywhere, *asker)).await,
        Way::BackChannel => {
            let form = format!("logout_token={}", provider.logout_token("proxy", &of_session(SESSION)).unwrap());
            let media_type = Some(&b"application/x-www-form-urlencoded"[..]);
            scene.give_up(logouts.obey(catalog, media_type, form.as_bytes(), *asker)).await;
        }
        Way::FrontChannel { with_cookie } => {
            let query = format!("iss={}&sid={SESSION}", provider.issuer());
            let none = HeaderMap::new();
            let headers = if with_cookie { headers } else { &none };
            scene.give_up(logouts.leave(catalog, Some(app), &query, headers, *asker)).await;
        }
    }
    assert_eq!(lines.audited(), [[reason, user, SESSION].map(str::to_owned)]);
    assert_eq!(provider.requests(Endpoint::Revocation), revocations, "{reason}");
}

#[tokio::test]
async fn what_has_begun_is_carried_out_and_told() {
    check(Way::SignOut { everywhere: false }, "sign_out", "alice", 1).await;
    check(Way::SignOut { everywhere: true }, "sign_out_everywhere", "alice", 1).await;
    check(Way::BackChannel, "back_channel", "", 0).await;
    check(Way::FrontChannel { with_cookie: true }, "front_channel", "alice", 0).await;
    check(Way::FrontChannel { with_cookie: false }, "front_channel", "", 0).await;
}
