//! An outpost in process, made from settings as the daemon makes it, with a provider that is ready.

mod provider;
mod request;

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use forepost::app::Application;
use forepost::daemon::Assembly;
use forepost::http::Outpost;
use forepost::identity::{Identity, PackedIdentity};
use forepost::serve::Peer;
use forepost::session::{NewSession, ProviderSide, Session, SessionStore, SessionToken};
use forepost::settings::Settings;
use forepost::telemetry::log::{self, LogError};
use forepost::world::{UnixTime, World};

pub(crate) use self::request::{Browser, question};

/// What goes wrong while a stage is set up.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// The host of the only application.
pub(crate) const HOST: &str = "app.example.com";

/// As long as an ID token with a few claims and an RSA signature.
const ID_TOKEN_BYTES: usize = 1047;

const LIFETIME: Duration = Duration::from_hours(1);

/// The only application, as most benches want it.
const APPLICATION: &str = r#"
[[application]]
slug = "app"
external_host = "https://app.example.com"
public_paths = [{ prefix = "/public" }]
required_groups = ["staff"]
"#;

/// An outpost without listeners.
pub(crate) struct Stage {
    /// What answers.
    pub(crate) outpost: Outpost,
    /// The first application.
    pub(crate) app: Arc<Application>,
    /// Its sessions.
    pub(crate) store: Arc<dyn SessionStore>,
    world: World,
}

impl Stage {
    /// Sets an outpost with one application up, whose settings end with the table `[log]` and these lines.
    pub(crate) async fn new(log: &str) -> Result<Self, Failure> {
        Self::of(APPLICATION, log).await
    }

    /// The same with these applications.
    pub(crate) async fn of(applications: &str, log: &str) -> Result<Self, Failure> {
        let issuer = provider::start()?;
        let settings = Settings::from_toml(&format!(
            r#"
            [identity_provider.default]
            issuer = "{issuer}"
            client_id = "proxy"
            client_secret = "the secret of a bench"
            {applications}
            [session]
            max_sessions = 1000000
            [log]
            {log}"#
        ))?;
        match log::init(&settings.log) {
            // A process that sets several stages up logs as the first one does.
            Ok(()) | Err(LogError::AlreadySet) => {}
            Err(error) => return Err(error.into()),
        }
        let world = World::system();
        let Assembly { outpost, catalog, store, .. } = Assembly::new(settings, world.clone())?;
        let catalog = catalog.load_full();
        for provider in catalog.providers() {
            provider.refresh().await?;
        }
        let app = catalog.applications().first().map(Arc::clone).ok_or("the settings name no application")?;
        Ok(Self { outpost, app, store, world })
    }

    /// A token that no session has.
    pub(crate) fn token(&self) -> Result<SessionToken, Failure> {
        Ok(SessionToken::generate(&self.world)?)
    }

    /// The cookie of `token`, `NAME=VALUE`.
    pub(crate) fn cookie(&self, token: &SessionToken) -> String {
        format!("{}={}", self.app.cookies.session().as_str(), token.encode())
    }

    /// A session as a login makes it.
    pub(crate) fn session(&self, number: usize) -> Session {
        let identity = Identity {
            subject: format!("5f4dcc3b5aa765d61d83{number:012}"),
            username: format!("user{number:06}"),
            email: format!("user{number:06}@example.com"),
            name: format!("User Number {number:06}"),
            uid: format!("5f4dcc3b5aa765d61d83{number:012}"),
            groups: ["admins", "staff", "developers"].map(String::from).to_vec(),
            entitlements: Vec::new(),
        };
        let id_token: String = "eyJhbGciOiJSUzI1NiJ9.".chars().cycle().take(ID_TOKEN_BYTES).collect();
        let new = NewSession {
            realm: self.app.realm.clone(),
            identity: PackedIdentity::new(
                identity,
                &id_token,
                self.app.headers.jwt.then_some(UnixTime::from_millis(u64::MAX)),
            )
            .keeping(Arc::clone(self.app.wanted_claims.kept())),
            began_at: self.world.now(),
            lifetime: LIFETIME,
            idle_timeout: Some(LIFETIME),
            provider: ProviderSide::default(),
        };
        Session::new(new, self.world.now())
    }
}

/// The proxy that asks: trusted by default.
pub(crate) const PROXY: Peer = Peer::UnixSocket { uid: None };

/// The answer of a future that never waits, without a runtime that would count too.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("a check waits for nothing while sessions are in memory"),
    }
}
