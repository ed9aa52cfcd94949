//! A small OpenID provider in process, honest unless told otherwise.
//!
//! Code flow with PKCE, device flow, single sign-on, userinfo, refresh, revocation, introspection, logout, key rotation. [`Behaviour`] holds
//! the switches that make
//! it a faulty provider, to be changed while it runs. Needs the module `web` beside it.

mod authorize;
mod behaviour;
mod config;
mod device;
mod keys;
mod logout;
mod metadata;
mod pages;
mod service;
mod state;
mod token;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde_json::{Map, Value};
use tokio::sync::watch;

use self::keys::{Keyring, Signer};
use self::service::{Asked, Shared, handle, lock};
use self::state::{Access, State, TOKEN_LIFETIME};
use super::web::{self, Server};

pub(crate) use self::behaviour::{
    Behaviour, Endpoint, Fault, Jwks, LogoutToken, PublicForm, Refreshing, Rewrite, SigningKey,
};
pub(crate) use self::config::{Client, Config, User};
pub(crate) use self::keys::Algorithm;
pub(crate) use self::service::Seen;

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
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let usual = format!("{scheme}://{}:{}", config.host, address.port());
        let issuer = config.issuer.unwrap_or(usual);
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
            counts: watch::Sender::default(),
            ended: Mutex::default(),
            last: Mutex::default(),
        });
        let serve = Arc::clone(&shared);
        let server = Server::run(listener, config.tls, move |request, _| handle(Arc::clone(&serve), request));
        Ok(Self { shared, address, server })
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
        let mut behaviour = self.shared.behaviour.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut behaviour));
    }

    /// How many requests an endpoint got so far, faulty ones included.
    pub(crate) fn requests(&self, endpoint: Endpoint) -> u64 {
        self.shared.counts.borrow()[endpoint as usize]
    }

    /// Waits until an endpoint has got that many requests, answered or not.
    pub(crate) async fn wait_for_requests(&self, endpoint: Endpoint, count: u64) {
        let mut counts = self.shared.counts.subscribe();
        let reached = counts.wait_for(|counts| counts[endpoint as usize] >= count);
        // The sender lives as long as the provider.
        drop(reached.await);
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
        self.shared.keys().rotate(keep_old).map_err(io::Error::other)
    }

    /// A token with these claims, signed as ID tokens of `client` are signed now.
    ///
    /// # Errors
    ///
    /// When the client is unknown, or the key refuses.
    pub(crate) fn sign(&self, client: &str, claims: &Map<String, Value>) -> io::Result<String> {
        let client = self.shared.state().client(client);
        let client = client.ok_or(io::ErrorKind::NotFound)?;
        token::sign(&self.shared, &self.shared.behaviour(), &client, claims).map_err(io::Error::other)
    }

    /// An opaque access token of `client` for a user, as a login would give it.
    pub(crate) fn opaque_token(&self, client: &str, login: &str, scope: &str) -> io::Result<String> {
        let token = keys::token::<24>().map_err(io::Error::other)?;
        let access = Access {
            client: client.to_owned(),
            login: login.to_owned(),
            scope: scope.to_owned(),
            family: String::new(),
            until: self.shared.now() + TOKEN_LIFETIME,
        };
        self.shared.state().add_tokens(token.clone(), access, (String::new(), String::new()));
        Ok(token)
    }

    /// Ends an opaque access token.
    pub(crate) fn revoke(&self, client: &str, token: &str) {
        self.shared.state().revoke(token, client, &Refreshing::default());
    }

    /// A token for back-channel logout at `client`; sending it is up to the test.
    ///
    /// # Errors
    ///
    /// When the client is unknown, or the key refuses.
    pub(crate) fn logout_token(&self, client: &str, wanted: &LogoutToken) -> io::Result<String> {
        let client = self.shared.state().client(client);
        let client = client.ok_or(io::ErrorKind::NotFound)?;
        logout::logout_token(&self.shared, &client, wanted).map_err(io::Error::other)
    }

    /// The `sid` of each session that a user has at the provider.
    pub(crate) fn session_ids(&self, login: &str) -> Vec<String> {
        self.shared.state().sign_ons_of(login).iter().map(|token| keys::s256(token)).collect()
    }

    /// Takes a user away: no login, no refresh.
    pub(crate) fn remove_user(&self, login: &str) {
        self.shared.state().remove_user(login);
    }

    /// Forgets all refresh tokens.
    pub(crate) fn end_grants(&self) {
        self.shared.state().end_grants();
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
