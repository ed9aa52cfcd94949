//! What programs show in place of a session: bearer tokens and app passwords.
//!
//! A good one becomes a [`Session`] that is never stored: [`crate::access::decide`] takes it like any other, and it lives in a
//! bounded cache, by a hash of the credential, for the application that it was shown to.

mod limit;
mod presented;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use serde_json::{Map, Value};
use tokio::sync::{OnceCell, Semaphore};

pub use presented::{Presented, Scheme};

use crate::app::Application;
use crate::identity::Identity;
use crate::oidc::{AccessToken, AccessTokenError, Provider, Recipient, claimed_issuer};
use crate::session::{NewSession, ProviderSide, Session};
use crate::settings::{Bearer, ClaimNames, TokenIssuer, Tokens as Accepted};
use crate::telemetry::Rarely;
use crate::telemetry::metrics::Metrics;
use crate::world::{UnixTime, World};
use limit::Guesses;
use presented::{Credential, Key};

/// Until a good token is verified again, if it lives that long: keys may have been withdrawn meanwhile.
const GOOD_JWT: Duration = Duration::from_mins(5);

/// Until the provider is asked again about what it called good; so late is a revocation noticed.
const GOOD_BY_PROVIDER: Duration = Duration::from_secs(60);

/// Until it is looked at again.
const BAD: Duration = Duration::from_secs(10);

/// Bytes of all good ones together, about.
const MOST_BYTES: u64 = 32 << 20;

/// Bad ones that are remembered; about 100 bytes each.
const MOST_BAD: u64 = 10_000;

/// So many questions a provider is asked at once; others wait.
const AT_ONCE: usize = 32;

/// What became of a credential.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is good; the session is not stored anywhere.
    Good(Arc<Session>),
    /// It does not count.
    Bad(Bad),
}

/// Why a credential does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// It proves nothing.
    Invalid,
    /// It is good, and lacks a scope.
    Scope,
    /// There were too many bad ones; this one was not looked at.
    Limited,
    /// Nobody can tell now.
    Unknown,
}

impl Bad {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Scope => "insufficient_scope",
            Self::Limited => "limited",
            Self::Unknown => "provider_away",
        }
    }
}

/// Verifies credentials, and remembers what became of them.
pub struct Tokens {
    world: World,
    providers: HashMap<String, Arc<Provider>>,
    /// By the application's number.
    issuers: HashMap<usize, Vec<Arc<Provider>>>,
    metrics: Arc<Metrics>,
    good: Cache<Key, Arc<Session>>,
    bad: Cache<Key, (Bad, UnixTime)>,
    flights: Mutex<HashMap<Key, Arc<OnceCell<Outcome>>>>,
    turns: HashMap<String, Semaphore>,
    guesses: Guesses,
    refused: Rarely,
    inactive: Rarely,
    away: Rarely,
}

/// What [`Tokens`] is made of.
pub struct TokenParts {
    /// Time.
    pub world: World,
    /// All identity providers, by name.
    pub providers: HashMap<String, Arc<Provider>>,
    /// Further issuers, by the number of their application, in the order of its settings.
    pub issuers: HashMap<usize, Vec<Arc<Provider>>>,
    /// Where outcomes are counted.
    pub metrics: Arc<Metrics>,
}

/// A good credential.
struct Proven {
    identity: Identity,
    claims: Map<String, Value>,
    /// What the application is told as the user's token; empty: nothing.
    told: String,
    until: UnixTime,
}

/// A credential that does not count, with why for the log.
struct Refused(Bad, String);

impl Tokens {
    /// Puts the parts to work.
    #[must_use]
    pub fn new(parts: TokenParts) -> Self {
        let weigh = |_: &Key, session: &Arc<Session>| {
            let identity = session.identity();
            let claims = identity.claims().iter().map(|(name, value)| name.len() + value.to_string().len());
            let bytes = 1024 + 2 * identity.id_token().len() + 2 * claims.sum::<usize>();
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let good = Cache::builder().weigher(weigh).max_capacity(MOST_BYTES).eviction_policy(EvictionPolicy::lru());
        let bad = Cache::builder().max_capacity(MOST_BAD).time_to_live(BAD).eviction_policy(EvictionPolicy::lru());
        Self {
            turns: parts.providers.keys().map(|name| (name.clone(), Semaphore::new(AT_ONCE))).collect(),
            world: parts.world,
            providers: parts.providers,
            issuers: parts.issuers,
            metrics: parts.metrics,
            good: good.time_to_live(Duration::from_hours(1)).build(),
            bad: bad.build(),
            flights: Mutex::default(),
            guesses: Guesses::new(),
            refused: Rarely::default(),
            inactive: Rarely::default(),
            away: Rarely::default(),
        }
    }

    /// What is known of a credential already.
    #[must_use]
    pub fn known(&self, app: &Application, presented: Presented<'_>, now: UnixTime) -> Option<Outcome> {
        let outcome = self.remembered(&presented.key(app.number), app, now)?;
        self.count(app, &outcome);
        Some(outcome)
    }

    /// Verifies a credential that `client` has shown; of all who ask at once, one does it.
    pub async fn verify(
        &self,
        app: &Arc<Application>,
        accepted: &Accepted,
        presented: Presented<'_>,
        client: Option<IpAddr>,
    ) -> Outcome {
        let key = presented.key(app.number);
        let outcome = if let Some(outcome) = self.remembered(&key, app, self.world.now()) {
            outcome
        } else {
            let flight = Flight::board(self, key);
            let verified = flight.cell.get_or_init(|| self.verify_now(app, accepted, presented, key, client));
            verified.await.clone()
        };
        self.count(app, &outcome);
        outcome
    }

    fn remembered(&self, key: &Key, app: &Application, now: UnixTime) -> Option<Outcome> {
        if let Some(session) = self.good.get(key).filter(|session| session.is_valid_for(app, now)) {
            return Some(Outcome::Good(session));
        }
        let (bad, _) = self.bad.get(key).filter(|(_, until)| now < *until)?;
        Some(Outcome::Bad(bad))
    }

    fn count(&self, app: &Application, outcome: &Outcome) {
        let result = match outcome {
            Outcome::Good(_) => "accepted",
            Outcome::Bad(bad) => bad.as_str(),
        };
        self.metrics.token(&app.slug, result);
    }

    async fn verify_now(
        &self,
        app: &Arc<Application>,
        accepted: &Accepted,
        presented: Presented<'_>,
        key: Key,
        client: Option<IpAddr>,
    ) -> Outcome {
        let proven = match (presented.credential(), self.providers.get(&app.identity_provider)) {
            (None, _) => Err(Refused(Bad::Invalid, "it is malformed".to_owned())),
            (_, None) => Err(Refused(Bad::Unknown, "there is no provider".to_owned())),
            (Some(credential), Some(provider)) => {
                let asking =
                    Asking { tokens: self, app, accepted, provider, client, was_good: self.good.contains_key(&key) };
                asking.prove(&credential).await
            }
        };
        let now = self.world.now();
        let proven = proven.and_then(|proven| {
            let has = |wanted: &String| scopes(&proven.claims).any(|scope| scope == wanted);
            match accepted.scopes.iter().find(|wanted| !has(wanted)) {
                Some(_) if presented.scheme() == Scheme::Basic => Ok(proven),
                Some(missing) => Err(Refused(Bad::Scope, format!("it lacks the scope {missing}"))),
                None if proven.until <= now => Err(Refused(Bad::Invalid, "it ended meanwhile".to_owned())),
                None => Ok(proven),
            }
        });
        match proven {
            Ok(proven) => {
                let session = Arc::new(session(app, proven, now));
                self.good.insert(key, Arc::clone(&session));
                Outcome::Good(session)
            }
            Err(Refused(bad, why)) => {
                self.tell(app, presented.scheme(), bad, &why, client);
                if matches!(bad, Bad::Invalid | Bad::Scope) {
                    self.good.invalidate(&key);
                    self.bad.insert(key, (bad, now + BAD));
                }
                Outcome::Bad(bad)
            }
        }
    }

    fn tell(&self, app: &Application, scheme: Scheme, bad: Bad, why: &str, client: Option<IpAddr>) {
        let (application, scheme, result) = (&*app.slug, scheme.as_str(), bad.as_str());
        let client = client.map(tracing::field::display);
        let rarely = if bad == Bad::Unknown { &self.away } else { &self.refused };
        if let Some(further) = rarely.due() {
            tracing::warn!(application, scheme, result, error = why, client, further, "credentials not accepted");
        } else {
            tracing::debug!(application, scheme, result, error = why, client, "credentials not accepted");
        }
    }
}

/// A credential that is being verified, by one for all who wait.
struct Flight<'t> {
    tokens: &'t Tokens,
    key: Key,
    cell: Arc<OnceCell<Outcome>>,
}

impl<'t> Flight<'t> {
    fn board(tokens: &'t Tokens, key: Key) -> Self {
        let mut flights = tokens.flights.lock().unwrap_or_else(PoisonError::into_inner);
        Self { tokens, key, cell: Arc::clone(flights.entry(key).or_default()) }
    }
}

impl Drop for Flight<'_> {
    /// The last one out takes it away, also where it was given up.
    fn drop(&mut self) {
        const TABLE_AND_US: usize = 2;
        let mut flights = self.tokens.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if self.cell.initialized() || Arc::strong_count(&self.cell) <= TABLE_AND_US {
            let is_ours = flights.get(&self.key).is_some_and(|cell| Arc::ptr_eq(cell, &self.cell));
            if is_ours {
                flights.remove(&self.key);
            }
        }
    }
}

/// One verification.
struct Asking<'a> {
    tokens: &'a Tokens,
    app: &'a Arc<Application>,
    accepted: &'a Accepted,
    provider: &'a Arc<Provider>,
    client: Option<IpAddr>,
    /// Whether the credential was good not long ago; no guess then.
    was_good: bool,
}

impl Asking<'_> {
    async fn prove(&self, credential: &Credential<'_>) -> Result<Proven, Refused> {
        match (credential.token(), credential) {
            (Some(token), Credential::Token(_)) => self.prove_token(token).await,
            // In the place of a password it is what the provider says it is.
            (Some(token), Credential::Password { .. }) => self.introspect(token).await,
            (None, Credential::Password { user, password }) => self.prove_password(user, password).await,
            (None, Credential::Token(_)) => Err(Refused(Bad::Invalid, "it is malformed".to_owned())),
        }
    }

    async fn prove_token(&self, token: &str) -> Result<Proven, Refused> {
        let issuer = match self.accepted.bearer {
            Bearer::Introspection => return self.introspect(token).await,
            Bearer::Jwt | Bearer::Both | Bearer::Off => claimed_issuer(token),
        };
        let Some(issuer) = issuer else {
            return match self.accepted.bearer {
                Bearer::Both => self.introspect(token).await,
                _ => Err(Refused(Bad::Invalid, "it is no JWT, or names no issuer".to_owned())),
            };
        };
        if issuer == self.provider.settings().issuer {
            let client_id = &self.provider.settings().client_id;
            let is_ours = |audience: &str| audience == client_id || self.is_application(audience);
            let recipient = Recipient { is_ours: &is_ours, accept_clients: &self.accepted.accept_clients };
            let proven = self.provider.verify_access_token(token, &recipient).await.map_err(refused)?;
            return self.proven(proven, &self.provider.settings().claims, token.to_owned(), GOOD_JWT);
        }
        let known = self.tokens.issuers.get(&self.app.number).map_or(&[][..], Vec::as_slice).iter();
        let found = known.zip(&self.accepted.issuers).find(|(_, settings)| settings.issuer == issuer);
        let Some((provider, settings)) = found else {
            return Err(Refused(Bad::Invalid, "its issuer is none of the application's".to_owned()));
        };
        let is_ours =
            |audience: &str| settings.audiences.iter().any(|it| it == audience) || self.app.is_resource(audience);
        let recipient = Recipient { is_ours: &is_ours, accept_clients: &[] };
        let proven = provider.verify_access_token(token, &recipient).await.map_err(refused)?;
        let mut proven = self.proven(proven, &settings.claims, token.to_owned(), GOOD_JWT)?;
        set_apart(&mut proven, settings);
        Ok(proven)
    }

    /// An address of the application, or a name that the operator gave it.
    fn is_application(&self, audience: &str) -> bool {
        self.accepted.audiences.iter().any(|it| it == audience) || self.app.is_resource(audience)
    }

    async fn introspect(&self, token: &str) -> Result<Proven, Refused> {
        let client_id = &self.provider.settings().client_id;
        let is_ours = |audience: &str| audience == client_id || self.is_application(audience);
        let recipient = Recipient { is_ours: &is_ours, accept_clients: &self.accepted.accept_clients };
        let asked = self.guess(None, self.provider.introspect(token, &recipient)).await;
        if asked.as_ref().is_err_and(|Refused(_, why)| why.contains("not active"))
            && self.tokens.inactive.due().is_some()
        {
            tracing::info!(
                identity_provider = self.provider.name(),
                "the provider calls a token inactive; some say so too when client_secret is wrong"
            );
        }
        self.proven(asked?, &self.provider.settings().claims, String::new(), GOOD_BY_PROVIDER)
    }

    async fn prove_password(&self, user: &str, password: &str) -> Result<Proven, Refused> {
        let login = self.guess(Some(user), self.provider.redeem_app_password(user, password)).await?;
        let token = AccessToken { claims: login.claims, expires_at: None };
        self.proven(token, &self.provider.settings().claims, login.id_token, GOOD_BY_PROVIDER)
    }

    /// Asks the provider, unless too much was guessed.
    async fn guess<T>(
        &self,
        user: Option<&str>,
        ask: impl Future<Output = Result<T, AccessTokenError>>,
    ) -> Result<T, Refused> {
        // Nobody closes the semaphore.
        let _turn = match self.tokens.turns.get(self.provider.name()) {
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        };
        if self.was_good {
            return ask.await.map_err(refused);
        }
        let guess = self.tokens.guesses.begin(self.provider.name(), user, self.client, self.tokens.world.now());
        let Some(guess) = guess else {
            return Err(Refused(Bad::Limited, "there were too many bad ones".to_owned()));
        };
        let asked = ask.await;
        if !matches!(asked, Err(AccessTokenError::Invalid(_))) {
            guess.forgive();
        }
        asked.map_err(refused)
    }

    fn proven(&self, token: AccessToken, names: &ClaimNames, told: String, most: Duration) -> Result<Proven, Refused> {
        let identity = Identity::from_claims(&token.claims, names);
        let identity = identity.map_err(|error| Refused(Bad::Invalid, error.to_string()))?;
        let until = self.tokens.world.now() + most;
        let until = token.expires_at.map_or(until, |end| end.min(until));
        Ok(Proven { identity, claims: token.claims, told, until })
    }
}

fn refused(error: AccessTokenError) -> Refused {
    let bad = match error {
        AccessTokenError::Invalid(_) => Bad::Invalid,
        AccessTokenError::Unknown(_) => Bad::Unknown,
    };
    Refused(bad, error.to_string())
}

/// Users and groups of another issuer are nobody's namesakes: its name stands before theirs, and before its claims.
fn set_apart(proven: &mut Proven, issuer: &TokenIssuer) {
    let identity = &mut proven.identity;
    let apart = |text: &mut String| {
        if !text.is_empty() {
            *text = format!("{}:{text}", issuer.name);
        }
    };
    // An address may be that of a user at the provider.
    identity.email.clear();
    for text in [&mut identity.subject, &mut identity.uid, &mut identity.username] {
        apart(text);
    }
    identity.groups.iter_mut().chain(&mut identity.entitlements).for_each(apart);
    let scopes =
        ["scope", "scp"].into_iter().filter_map(|name| Some((name.to_owned(), proven.claims.get(name)?.clone())));
    let mut claims: Map<String, Value> = scopes.collect();
    claims.insert("iss".to_owned(), Value::String(issuer.issuer.clone()));
    claims.insert(issuer.name.clone(), Value::Object(std::mem::take(&mut proven.claims)));
    proven.claims = claims;
}

/// The scopes of a token: a text with blanks (RFC 8693 §4.2), or a list.
fn scopes(claims: &Map<String, Value>) -> impl Iterator<Item = &str> {
    ["scope", "scp"].into_iter().filter_map(|name| claims.get(name)).flat_map(|value| match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        Value::String(text) => text.split(' ').collect(),
        _ => Vec::new(),
    })
}

fn session(app: &Application, proven: Proven, now: UnixTime) -> Session {
    let lifetime = proven.until.since(now);
    let new = NewSession {
        application: Arc::clone(&app.slug),
        identity: app.pack(proven.identity, &proven.told, &proven.claims),
        began_at: now,
        lifetime,
        idle_timeout: None,
        provider: ProviderSide::default(),
    };
    Session::new(new, now)
}
