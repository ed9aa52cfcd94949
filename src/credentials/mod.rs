//! Credentials of programs in place of a session: bearer tokens and app passwords.
//!
//! An accepted one becomes a [`Session`] that is not stored. [`crate::access::decide`] takes it like any other. It is kept in a bounded
//! cache, by a hash of the credential, for one application.

mod failure_limits;
mod presented;
mod verify;

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
use failure_limits::FailureLimits;
use presented::Key;
use verify::{RejectionCause, SingleVerification, Verified};

/// The time until a rejected credential is verified again.
const REJECTED_FOR: Duration = Duration::from_secs(10);

/// When the provider does not answer for this time, the same credential is not verified again for the same time.
const SLOW: Duration = Duration::from_secs(1);

/// The size of the cache of accepted credentials in bytes, about.
const MOST_BYTES: u64 = 32 << 20;

/// The number of rejected credentials in the cache; about 100 bytes each.
const MOST_REJECTED: u64 = 10_000;

/// The result of the verification of a credential.
#[derive(Clone, Debug)]
pub enum Verification {
    /// It is valid; the session is not stored.
    Accepted(Arc<Session>),
    /// It does not count.
    Rejected(Rejection),
}

/// Why a credential does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// It is not valid.
    Invalid,
    /// It is valid, and lacks a scope.
    Scope,
    /// There were too many failures, so it was not verified.
    Limited,
    /// The provider does not answer.
    Unavailable,
}

impl Rejection {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Scope => "insufficient_scope",
            Self::Limited => "limited",
            Self::Unavailable => "provider_away",
        }
    }
}

/// Verifies credentials, and caches the results.
pub struct CredentialVerifier {
    world: World,
    accepted: Cache<Key, Arc<Session>>,
    rejected: Cache<Key, (Rejection, UnixTime)>,
    verifications: SingleFlight<Key, Verification>,
    failure_limits: FailureLimits,
    rejected_log: LogThrottle,
    inactive_log: LogThrottle,
    unavailable_log: LogThrottle,
}

impl CredentialVerifier {
    /// A verifier with an empty cache.
    #[must_use]
    pub fn new(world: World) -> Self {
        let weigh = |_: &Key, session: &Arc<Session>| {
            let identity = session.identity();
            let claims = identity.claims().iter().map(|(name, value)| name.len() + value.to_string().len());
            let bytes = 1024 + 2 * identity.id_token().len() + 2 * claims.sum::<usize>();
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let accepted = Cache::builder().weigher(weigh).max_capacity(MOST_BYTES).eviction_policy(EvictionPolicy::lru());
        let rejected = Cache::builder()
            .max_capacity(MOST_REJECTED)
            .time_to_live(REJECTED_FOR)
            .eviction_policy(EvictionPolicy::lru());
        Self {
            world,
            accepted: accepted.time_to_live(Duration::from_hours(1)).build(),
            rejected: rejected.build(),
            verifications: SingleFlight::default(),
            failure_limits: FailureLimits::new(),
            rejected_log: LogThrottle::default(),
            inactive_log: LogThrottle::default(),
            unavailable_log: LogThrottle::default(),
        }
    }

    /// The cached result for a credential.
    #[must_use]
    pub fn known(&self, app: &Application, presented: Presented<'_>, now: UnixTime) -> Option<Verification> {
        let outcome = self.cached(&presented.key(app.instance), app, now)?;
        count(app, &outcome);
        Some(outcome)
    }

    /// Verifies a credential that `client` presents; once for all requests that present it at the same time.
    pub async fn verify(
        &self,
        app: &Arc<Application>,
        accepted: &AcceptedTokens,
        presented: Presented<'_>,
        client: Option<IpAddr>,
    ) -> Verification {
        let key = presented.key(app.instance);
        let outcome = if let Some(outcome) = self.cached(&key, app, self.world.now()) {
            outcome
        } else {
            self.verifications.run(key, || self.verify_now(app, accepted, presented, key, client)).await
        };
        count(app, &outcome);
        outcome
    }

    fn cached(&self, key: &Key, app: &Application, now: UnixTime) -> Option<Verification> {
        if let Some(session) = self.accepted.get(key).filter(|session| session.is_valid_for(&app.realm, now)) {
            return Some(Verification::Accepted(session));
        }
        let (rejection, _) = self.rejected.get(key).filter(|(_, until)| now < *until)?;
        Some(Verification::Rejected(rejection))
    }

    async fn verify_now(
        &self,
        app: &Arc<Application>,
        accepted: &AcceptedTokens,
        presented: Presented<'_>,
        key: Key,
        client: Option<IpAddr>,
    ) -> Verification {
        let began = Instant::now();
        let verified = match presented.credential() {
            None => Err(RejectionCause::Malformed),
            Some(credential) => {
                let verification = SingleVerification {
                    verifier: self,
                    app,
                    accepted,
                    client,
                    was_accepted: self.accepted.contains_key(&key),
                };
                verification.verify(&credential).await
            }
        };
        let now = self.world.now();
        let verified = verified.and_then(|verified| {
            let has = |wanted: &String| scopes(&verified.claims).any(|scope| scope == wanted);
            match accepted.scopes.iter().find(|wanted| !has(wanted)) {
                Some(_) if presented.scheme() == Scheme::Basic => Ok(verified),
                Some(missing) => Err(RejectionCause::Scope(missing.clone())),
                None if verified.until <= now => Err(RejectionCause::Ended),
                None => Ok(verified),
            }
        });
        match verified {
            Ok(verified) => {
                let session = Arc::new(session(app, verified, now));
                self.accepted.insert(key, Arc::clone(&session));
                Verification::Accepted(session)
            }
            Err(cause) => {
                self.log_rejection(app, presented.scheme(), &cause, client);
                let rejection = cause.rejection();
                match rejection {
                    Rejection::Invalid | Rejection::Scope => {
                        self.accepted.invalidate(&key);
                        self.rejected.insert(key, (rejection, now + REJECTED_FOR));
                    }
                    Rejection::Unavailable if began.elapsed() >= SLOW => {
                        self.rejected.insert(key, (rejection, now + SLOW));
                    }
                    Rejection::Unavailable | Rejection::Limited => {}
                }
                Verification::Rejected(rejection)
            }
        }
    }

    fn log_rejection(&self, app: &Application, scheme: Scheme, cause: &RejectionCause, client: Option<IpAddr>) {
        let rejection = cause.rejection();
        let (application, scheme, result) = (app.id.as_str(), scheme.as_str(), rejection.as_str());
        let error = tracing::field::display(WithCauses(cause));
        let client = client.map(tracing::field::display);
        let log = if rejection == Rejection::Unavailable { &self.unavailable_log } else { &self.rejected_log };
        if let Some(further) = log.admit() {
            tracing::warn!(application, scheme, result, error, client, further, "credentials not accepted");
        } else {
            tracing::debug!(application, scheme, result, error, client, "credentials not accepted");
        }
    }
}

fn count(app: &Application, outcome: &Verification) {
    app.metrics.token(match outcome {
        Verification::Accepted(_) => "accepted",
        Verification::Rejected(rejection) => rejection.as_str(),
    });
}

fn session(app: &Application, verified: Verified, now: UnixTime) -> Session {
    let lifetime = verified.until.since(now);
    let identity = app.pack(verified.identity, &verified.application_token, Some(verified.until), &verified.claims);
    let new = NewSession {
        realm: app.realm.clone(),
        identity: if verified.complete { identity } else { identity.incomplete() },
        began_at: now,
        lifetime,
        idle_timeout: None,
        provider: ProviderSide::default(),
    };
    Session::new(new, now)
}
