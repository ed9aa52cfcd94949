//! A small OpenID provider in process, honest unless told otherwise.
//!
//! Code flow with PKCE, single sign-on, userinfo, RP-initiated logout, key rotation. [`Behaviour`] holds the switches that make
//! it a faulty provider, to be changed while it runs. Needs the module `web` beside it.

mod authorize;
mod behaviour;
mod keys;
mod logout;
mod metadata;
mod pages;
mod state;
mod token;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use aws_lc_rs::error::Unspecified;
use bytes::Bytes;
use forepost::world::World;
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use self::keys::{Keyring, Signer};
use self::state::State;
use super::web::{self, Answer, HangUp, Parameters, Server};

pub(crate) use self::behaviour::{Behaviour, Endpoint, Fault, Jwks, SigningKey};
pub(crate) use self::keys::Algorithm;

/// What a provider starts with.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where to listen; port 0 takes a free one.
    pub(crate) listen: SocketAddr,
    /// The host of the usual issuer, `http://HOST:PORT`.
    pub(crate) host: &'static str,
    /// Another issuer; it may have a path and a slash at its end.
    pub(crate) issuer: Option<String>,
    /// Registered applications; more can be added later.
    pub(crate) clients: Vec<Client>,
    /// Who can sign in, each with any password.
    pub(crate) users: Vec<User>,
    /// Tells the time.
    pub(crate) world: World,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            host: "idp.localhost",
            issuer: None,
            clients: Vec::new(),
            users: vec![User::alice(), User::bob()],
            world: World::system(),
        }
    }
}

/// A registered application.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    /// The client identifier.
    pub(crate) id: String,
    /// Its secret; `None`: a public client, which must use PKCE.
    pub(crate) secret: Option<String>,
    /// Where codes may be sent; compared as text.
    pub(crate) redirect_uris: Vec<String>,
    /// Where browsers may be sent after a logout; compared as text.
    pub(crate) post_logout_redirect_uris: Vec<String>,
}

/// Somebody who can sign in.
#[derive(Clone, Debug)]
pub(crate) struct User {
    /// What is typed into the form; also `preferred_username`.
    pub(crate) login: String,
    /// The claims: `sub` always, the others with their scope.
    pub(crate) claims: Map<String, Value>,
}

impl User {
    /// A user with `sub` = `id-LOGIN`, a verified address and these groups.
    pub(crate) fn new(login: &str, name: &str, groups: &[&str]) -> Self {
        let claims = [
            ("sub", json!(format!("id-{login}"))),
            ("preferred_username", json!(login)),
            ("name", json!(name)),
            ("email", json!(format!("{login}@example.test"))),
            ("email_verified", json!(true)),
            ("groups", json!(groups)),
        ];
        let claims = claims.map(|(name, value)| (name.to_owned(), value));
        Self {
            login: login.to_owned(),
            claims: claims.into_iter().collect(),
        }
    }

    /// Alice, who administers.
    pub(crate) fn alice() -> Self {
        Self::new("alice", "Alice Ärger", &["admins", "staff"])
    }

    /// Bob, who does not.
    pub(crate) fn bob() -> Self {
        Self::new("bob", "Bob", &["staff"])
    }
}

/// A running provider; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Provider {
    shared: Arc<Shared>,
    address: SocketAddr,
    server: Server,
}

impl Provider {
    /// Binds and serves.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound, or no key can be made.
    pub(crate) async fn start(config: Config) -> io::Result<Self> {
        let (listener, address) = web::bind(config.listen).await?;
        let issuer = config
            .issuer
            .unwrap_or_else(|| format!("http://{}:{}", config.host, address.port()));
        let mut keys = Keyring::default();
        for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
            keys.key(algorithm).map_err(io::Error::other)?;
        }
        let shared = Arc::new(Shared {
            issuer,
            world: config.world,
            behaviour: RwLock::default(),
            keys: Mutex::new(keys),
            state: Mutex::new(State::new(config.clients, config.users)),
            counts: Default::default(),
            last: Mutex::default(),
        });
        let serve = Arc::clone(&shared);
        let server = Server::run(listener, move |request, _| {
            handle(Arc::clone(&serve), request)
        });
        Ok(Self {
            shared,
            address,
            server,
        })
    }

    /// The issuer identifier.
    pub(crate) fn issuer(&self) -> &str {
        &self.shared.issuer
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Registers an application, in place of one with the same id.
    pub(crate) fn add_client(&self, client: Client) {
        self.shared.state().add_client(client);
    }

    /// Adds a user, in place of one with the same login.
    pub(crate) fn add_user(&self, user: User) {
        self.shared.state().add_user(user);
    }

    /// Changes the behaviour, from the next request on.
    pub(crate) fn set(&self, change: impl FnOnce(&mut Behaviour)) {
        let mut behaviour = self
            .shared
            .behaviour
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut behaviour));
    }

    /// How many requests an endpoint got so far, faulty ones included.
    pub(crate) fn requests(&self, endpoint: Endpoint) -> u64 {
        self.shared.counts[endpoint as usize].load(Ordering::Relaxed)
    }

    /// The last request that an endpoint got.
    pub(crate) fn last_request(&self, endpoint: Endpoint) -> Option<Seen> {
        lock(&self.shared.last)[endpoint as usize].clone()
    }

    /// New signing keys; the old ones stay in the key set when `keep_old`.
    ///
    /// # Errors
    ///
    /// When no key can be made.
    pub(crate) fn rotate(&self, keep_old: bool) -> io::Result<()> {
        self.shared
            .keys()
            .rotate(keep_old)
            .map_err(io::Error::other)
    }

    /// A token with these claims, signed as ID tokens of `client` are signed now.
    ///
    /// # Errors
    ///
    /// When the client is unknown, or the key refuses.
    pub(crate) fn sign(&self, client: &str, claims: &Map<String, Value>) -> io::Result<String> {
        let client = self.shared.state().client(client);
        let client = client.ok_or(io::ErrorKind::NotFound)?;
        token::sign(&self.shared, &self.shared.behaviour(), &client, claims)
            .map_err(io::Error::other)
    }

    /// Forgets who is signed in at the provider; tokens live on.
    pub(crate) fn end_sessions(&self) {
        self.shared.state().end_sessions();
    }

    /// Stops, and waits for what is in flight.
    pub(crate) async fn stop(self) {
        self.server.stop().await;
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The method.
    pub(crate) method: Method,
    /// The query, decoded.
    pub(crate) query: Parameters,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body, decoded as a form.
    pub(crate) form: Parameters,
}

impl Seen {
    /// The parameters of a request that may come either way.
    fn parameters(&self) -> &Parameters {
        if self.method == Method::POST {
            &self.form
        } else {
            &self.query
        }
    }
}

#[derive(Debug)]
struct Shared {
    issuer: String,
    world: World,
    behaviour: RwLock<Arc<Behaviour>>,
    keys: Mutex<Keyring>,
    state: Mutex<State>,
    counts: [AtomicU64; Endpoint::ALL.len()],
    last: Mutex<[Option<Seen>; Endpoint::ALL.len()]>,
}

impl Shared {
    fn behaviour(&self) -> Arc<Behaviour> {
        let behaviour = self.behaviour.read();
        Arc::clone(&behaviour.unwrap_or_else(PoisonError::into_inner))
    }

    fn keys(&self) -> MutexGuard<'_, Keyring> {
        lock(&self.keys)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn now(&self) -> u64 {
        self.world.now().as_secs()
    }

    /// The address of an endpoint.
    fn url(&self, endpoint: Endpoint) -> String {
        format!("{}{}", self.issuer.trim_end_matches('/'), endpoint.path())
    }

    /// Which endpoint a path is, seen from the issuer's own path.
    fn endpoint(&self, path: &str) -> Option<Endpoint> {
        let issuer = url::Url::parse(&self.issuer).ok()?;
        let path = path.strip_prefix(issuer.path().trim_end_matches('/'))?;
        Endpoint::ALL
            .into_iter()
            .find(|endpoint| endpoint.path() == path)
    }
}

/// A poisoned lock means that a test has failed already; the data is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Answer, HangUp> {
    let (head, body) = request.into_parts();
    let Some(endpoint) = shared.endpoint(head.uri.path()) else {
        return Ok(pages::not_found());
    };
    let Ok(body) = web::read(body).await else {
        return Ok(web::text(StatusCode::PAYLOAD_TOO_LARGE, "Too large."));
    };
    let raw_query = head.uri.query().unwrap_or_default().to_owned();
    let seen = seen(head, &raw_query, &body);
    shared.counts[endpoint as usize].fetch_add(1, Ordering::Relaxed);
    lock(&shared.last)[endpoint as usize] = Some(seen.clone());

    let behaviour = shared.behaviour();
    let fault = behaviour.faults.get(&endpoint);
    if let Some(fault) = fault {
        fault.before().await?;
    }
    let instead = match fault.and_then(Fault::answer) {
        None if behaviour.down => Some(web::text(StatusCode::SERVICE_UNAVAILABLE, "Down.")),
        instead => instead,
    };
    let asked = Asked {
        shared: &shared,
        behaviour: &behaviour,
        seen: &seen,
        raw: if seen.method == Method::POST {
            String::from_utf8_lossy(&body).into_owned()
        } else {
            raw_query
        },
    };
    let answer = instead.map_or_else(|| asked.answer(endpoint), Ok);
    let mut answer = answer.unwrap_or_else(|Unspecified| {
        web::text(StatusCode::INTERNAL_SERVER_ERROR, "No randomness.")
    });
    if let Some(fault) = fault {
        answer.headers_mut().extend(fault.headers.clone());
    }
    Ok(answer)
}

fn seen(head: Parts, raw_query: &str, body: &Bytes) -> Seen {
    Seen {
        method: head.method,
        query: Parameters::parse(raw_query.as_bytes()),
        headers: head.headers,
        form: Parameters::parse(body),
    }
}

/// A request, with all that is needed to answer it.
struct Asked<'a> {
    shared: &'a Shared,
    behaviour: &'a Behaviour,
    seen: &'a Seen,
    /// The parameters, as they came.
    raw: String,
}

impl Asked<'_> {
    fn answer(&self, endpoint: Endpoint) -> Result<Answer, Unspecified> {
        let post = self.seen.method == Method::POST;
        let get = matches!(self.seen.method, Method::GET | Method::HEAD);
        match endpoint {
            Endpoint::Discovery if get => self.discovery(),
            Endpoint::Jwks if get => self.jwks(),
            Endpoint::Authorize if get || post => self.authorize(),
            Endpoint::Login if post => self.login(),
            Endpoint::Token if post => self.token(),
            Endpoint::Userinfo if get || post => Ok(self.userinfo()),
            Endpoint::EndSession if get || post => Ok(self.end_session()),
            Endpoint::Discovery
            | Endpoint::Jwks
            | Endpoint::Authorize
            | Endpoint::Login
            | Endpoint::Token
            | Endpoint::Userinfo
            | Endpoint::EndSession => Ok(web::text(
                StatusCode::METHOD_NOT_ALLOWED,
                "Not this method.",
            )),
        }
    }
}
