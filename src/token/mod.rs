//! What programs show in place of a session: bearer tokens and app passwords.
//!
//! A good one becomes a [`Session`] that is never stored: [`crate::access::decide`] takes it like any other, and it lives in a
//! bounded cache, by a hash of the credential, for the application that it was shown to.

mod limit;
mod presented;
mod prove;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::time::Instant;

pub use presented::{Presented, Scheme};

use crate::app::AcceptedTokens;
use crate::app::Application;
use crate::limit::SingleFlight;
use crate::oidc::scopes;
use crate::session::{NewSession, ProviderSide, Session};
use crate::telemetry::{LogThrottle, WithCauses};
use crate::world::{UnixTime, World};
use limit::FailureLimits;
use presented::Key;
use prove::{Asking, Proven, Rejection};

/// Until it is looked at again.
const BAD: Duration = Duration::from_secs(10);

/// Where the provider does not answer for so long, requests with the same credential do not ask again for as long.
const NO_ANSWER: Duration = Duration::from_secs(1);

/// Bytes of all good ones together, about.
const MOST_BYTES: u64 = 32 << 20;

/// Bad ones that are remembered; about 100 bytes each.
const MOST_BAD: u64 = 10_000;

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
    good: Cache<Key, Arc<Session>>,
    bad: Cache<Key, (Bad, UnixTime)>,
    verifications: SingleFlight<Key, Outcome>,
    failure_limits: FailureLimits,
    refused: LogThrottle,
    inactive: LogThrottle,
    away: LogThrottle,
}

impl Tokens {
    /// Remembers nothing yet.
    #[must_use]
    pub fn new(world: World) -> Self {
        let weigh = |_: &Key, session: &Arc<Session>| {
            let identity = session.identity();
            let claims = identity.claims().iter().map(|(name, value)| name.len() + value.to_string().len());
            let bytes = 1024 + 2 * identity.id_token().len() + 2 * claims.sum::<usize>();
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let good = Cache::builder().weigher(weigh).max_capacity(MOST_BYTES).eviction_policy(EvictionPolicy::lru());
        let bad = Cache::builder().max_capacity(MOST_BAD).time_to_live(BAD).eviction_policy(EvictionPolicy::lru());
        Self {
            world,
            good: good.time_to_live(Duration::from_hours(1)).build(),
            bad: bad.build(),
            verifications: SingleFlight::default(),
            failure_limits: FailureLimits::new(),
            refused: LogThrottle::default(),
            inactive: LogThrottle::default(),
            away: LogThrottle::default(),
        }
    }

    /// What is known of a credential already.
    #[must_use]
    pub fn known(&self, app: &Application, presented: Presented<'_>, now: UnixTime) -> Option<Outcome> {
        let outcome = self.remembered(&presented.key(&app.id), app, now)?;
        count(app, &outcome);
        Some(outcome)
    }

    /// Verifies a credential that `client` has shown; of all who ask at once, one does it.
    pub async fn verify(
        &self,
        app: &Arc<Application>,
        accepted: &AcceptedTokens,
        presented: Presented<'_>,
        client: Option<IpAddr>,
    ) -> Outcome {
        let key = presented.key(&app.id);
        let outcome = if let Some(outcome) = self.remembered(&key, app, self.world.now()) {
            outcome
        } else {
            self.verifications.run(key, || self.verify_now(app, accepted, presented, key, client)).await
        };
        count(app, &outcome);
        outcome
    }

    fn remembered(&self, key: &Key, app: &Application, now: UnixTime) -> Option<Outcome> {
        if let Some(session) = self.good.get(key).filter(|session| session.is_valid_for(&app.id, now)) {
            return Some(Outcome::Good(session));
        }
        let (bad, _) = self.bad.get(key).filter(|(_, until)| now < *until)?;
        Some(Outcome::Bad(bad))
    }

    async fn verify_now(
        &self,
        app: &Arc<Application>,
        accepted: &AcceptedTokens,
        presented: Presented<'_>,
        key: Key,
        client: Option<IpAddr>,
    ) -> Outcome {
        let began = Instant::now();
        let proven = match presented.credential() {
            None => Err(Rejection::Malformed),
            Some(credential) => {
                let asking = Asking { tokens: self, app, accepted, client, was_good: self.good.contains_key(&key) };
                asking.prove(&credential).await
            }
        };
        let now = self.world.now();
        let proven = proven.and_then(|proven| {
            let has = |wanted: &String| scopes(&proven.claims).any(|scope| scope == wanted);
            match accepted.scopes.iter().find(|wanted| !has(wanted)) {
                Some(_) if presented.scheme() == Scheme::Basic => Ok(proven),
                Some(missing) => Err(Rejection::Scope(missing.clone())),
                None if proven.until <= now => Err(Rejection::Ended),
                None => Ok(proven),
            }
        });
        match proven {
            Ok(proven) => {
                let session = Arc::new(session(app, proven, now));
                self.good.insert(key, Arc::clone(&session));
                Outcome::Good(session)
            }
            Err(rejection) => {
                self.tell(app, presented.scheme(), &rejection, client);
                let bad = rejection.outcome();
                match bad {
                    Bad::Invalid | Bad::Scope => {
                        self.good.invalidate(&key);
                        self.bad.insert(key, (bad, now + BAD));
                    }
                    Bad::Unknown if began.elapsed() >= NO_ANSWER => self.bad.insert(key, (bad, now + NO_ANSWER)),
                    Bad::Unknown | Bad::Limited => {}
                }
                Outcome::Bad(bad)
            }
        }
    }

    fn tell(&self, app: &Application, scheme: Scheme, rejection: &Rejection, client: Option<IpAddr>) {
        let bad = rejection.outcome();
        let (application, scheme, result) = (app.id.as_str(), scheme.as_str(), bad.as_str());
        let error = tracing::field::display(WithCauses(rejection));
        let client = client.map(tracing::field::display);
        let log = if bad == Bad::Unknown { &self.away } else { &self.refused };
        if let Some(further) = log.admit() {
            tracing::warn!(application, scheme, result, error, client, further, "credentials not accepted");
        } else {
            tracing::debug!(application, scheme, result, error, client, "credentials not accepted");
        }
    }
}

fn count(app: &Application, outcome: &Outcome) {
    app.metrics.token(match outcome {
        Outcome::Good(_) => "accepted",
        Outcome::Bad(bad) => bad.as_str(),
    });
}

fn session(app: &Application, proven: Proven, now: UnixTime) -> Session {
    let lifetime = proven.until.since(now);
    let identity = app.pack(proven.identity, &proven.told, Some(proven.until), &proven.claims);
    let new = NewSession {
        application: app.id.clone(),
        identity: if proven.complete { identity } else { identity.incomplete() },
        began_at: now,
        lifetime,
        idle_timeout: None,
        provider: ProviderSide::default(),
    };
    Session::new(new, now)
}
