//! What a provider starts with: clients and users.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use forepost::world::World;
use rustls::ServerConfig;
use serde_json::{Map, Value, json};

/// What a provider starts with.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where to listen; port 0 takes a free one.
    pub(crate) listen: SocketAddr,
    /// Serve in TLS.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// The host of the usual issuer, `http://HOST:PORT` or `https://HOST:PORT`.
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
            tls: None,
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
    /// Where it is told that a session has ended (OpenID Connect Back-Channel Logout 1.0 §2.2).
    pub(crate) backchannel_logout_uri: Option<String>,
}

/// A user who can sign in.
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
        Self { login: login.to_owned(), claims: claims.into_iter().collect() }
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
