//! Sessions, each from a real login: forepost, the provider, back to forepost, and a first check.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Fallible;
use super::door::Door;
use super::provider::{self, Config, Provider, User};
use super::request::{self, TOKEN_LENGTH};

/// Bytes of a user's name.
pub(crate) const USER_LENGTH: usize = 10;

/// Bytes at the end of an ID token, where its signature is.
pub(crate) const PROOF_LENGTH: usize = 16;

/// Different people; each has many sessions where there are more of those.
pub(crate) const USERS: usize = 1000;

/// Logins under way at once.
const AT_ONCE: usize = 32;

/// For the daemon to find its provider.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Our registration at the provider.
pub(crate) const CLIENT: (&str, &str) = ("forepost", "a secret that guards nothing");

/// A session as its browser knows it.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// The cookie's value.
    pub(crate) token: [u8; TOKEN_LENGTH],
    /// `X-authentik-username`.
    pub(crate) user: [u8; USER_LENGTH],
    /// The end of `X-authentik-jwt`, which no other session has.
    pub(crate) proof: [u8; PROOF_LENGTH],
}

/// The provider that all sessions come from: a thousand users in six groups each, ID tokens of about a kilobyte.
pub(crate) async fn start_provider() -> Fallible<Provider> {
    let callback = format!("https://{}/outpost.goauthentik.io/callback?X-authentik-auth-callback=true", request::HOST);
    let client = provider::Client {
        id: CLIENT.0.to_owned(),
        secret: Some(CLIENT.1.to_owned()),
        redirect_uris: vec![callback],
        post_logout_redirect_uris: Vec::new(),
        backchannel_logout_uri: None,
    };
    let users = (0..USERS).map(user).collect();
    Ok(Provider::start(Config { clients: vec![client], users, ..Config::default() }).await?)
}

/// Of user `number`.
pub(crate) fn login_name(number: usize) -> String {
    format!("user-{:05}", number % USERS)
}

fn user(number: usize) -> User {
    let groups = ["staff", "developers", "project-4711", "project-4712", "vpn-users", "wiki-editors"];
    let mut user = User::new(&login_name(number), &format!("Ursula Übermut {number:05}"), &groups);
    let more = [
        ("given_name", json!("Ursula")),
        ("family_name", json!(format!("Übermut {number:05}"))),
        ("picture", json!(format!("https://id.example.com/media/users/{number:05}.png"))),
        ("locale", json!("de-DE")),
        ("zoneinfo", json!("Europe/Berlin")),
        ("amr", json!(["pwd", "otp"])),
    ];
    user.claims.extend(more.map(|(name, value)| (name.to_owned(), value)));
    user
}

/// Logs people in, one session after another.
pub(crate) struct Logins {
    door: Arc<Door>,
    /// The provider's cookies, one for each user who has signed in there.
    signed_on: Vec<String>,
    /// What the daemon calls its session cookie.
    pub(crate) cookie_name: String,
    /// All sessions so far.
    pub(crate) known: Vec<Known>,
}

impl Logins {
    pub(crate) fn new(forepost: SocketAddr, provider: SocketAddr) -> Self {
        let door = Arc::new(Door::new(forepost, provider));
        Self { door, signed_on: Vec::new(), cookie_name: String::new(), known: Vec::new() }
    }

    /// Waits until the daemon sends people to the provider.
    pub(crate) async fn possible(&self) -> Fallible<()> {
        let began = Instant::now();
        while !self.door.is_open().await? {
            if began.elapsed() > READY_WITHIN {
                return Err("forepost does not get ready for logins".into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Goes on until there are `count` sessions.
    ///
    /// In batches of as many as there are users: then no user logs in twice at once, and the provider, which forgets everything
    /// at ten thousand codes, does so between two batches.
    pub(crate) async fn up_to(&mut self, count: usize) -> Fallible<()> {
        while self.known.len() < count {
            let begin = self.known.len();
            let end = count.min((begin / USERS + 1) * USERS);
            self.batch(begin, end).await?;
        }
        Ok(())
    }

    async fn batch(&mut self, begin: usize, end: usize) -> Fallible<()> {
        let mut tasks = JoinSet::new();
        for first in begin..end.min(begin + AT_ONCE) {
            let numbers: Vec<_> = (first..end).step_by(AT_ONCE).collect();
            let cookies: Vec<_> = numbers.iter().map(|number| self.signed_on.get(number % USERS).cloned()).collect();
            let door = Arc::clone(&self.door);
            tasks.spawn(async move {
                let mut done = Vec::with_capacity(numbers.len());
                for (number, cookie) in numbers.into_iter().zip(cookies) {
                    done.push((number, door.login(&login_name(number), cookie).await?));
                }
                Fallible::Ok(done)
            });
        }
        let mut done = Vec::with_capacity(end - begin);
        while let Some(part) = tasks.join_next().await {
            done.extend(part??);
        }
        done.sort_unstable_by_key(|(number, _)| *number);
        for (number, login) in done {
            if number == self.signed_on.len() {
                self.signed_on.push(login.signed_on);
            }
            self.cookie_name = login.cookie_name;
            self.known.push(login.known);
        }
        Ok(())
    }
}
