use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::IdentityProvider;
use super::asker::Asker;
use super::claims::OtherSubject;
use super::doubt::Algorithms;
use super::flaw::{Flaw, Remedy};
use super::granted::GrantedScopes;
use super::source::{Parse, Source};
use super::standing::Standing;
use super::tokens::Tokens;
use super::verify::{ExpectedNonce, Failure, Verified};
use super::{
    AuthorizationRequest, CodeExchange, EndSessionRequest, KeyRefresh, Keys, Login, Metadata, NoAnswer, Observer,
    OidcError, Operation, Unreachable,
};
use crate::identity::WantedClaims;
use crate::limit::Backoff;
use crate::telemetry::WithCauses;
use crate::tls::TlsError;
use crate::world::{UnixTime, World};

/// Between attempts to reach a provider that was never reached.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_mins(1);

/// Requests of one kind that the provider gets at once; others wait, those of other providers do not.
const REQUESTS_AT_ONCE: usize = 32;

/// An identity provider and what is known about it.
///
/// Discovery and keys come in the background ([`Provider::keep_ready`]); what was known once serves until newer is there.
pub struct Provider {
    settings: Arc<IdentityProvider>,
    world: World,
    source: Arc<Source>,
    /// Says `true` once logins are possible.
    became_ready: watch::Sender<bool>,
    /// As many as may compute at once.
    turns: Semaphore,
    /// Refreshes that may be under way at once.
    refresh_turns: Semaphore,
    /// Questions about tokens and app passwords that may be under way at once.
    question_turns: Semaphore,
    /// Whether logins can go through it, or its tokens are only verified.
    signs_people_in: bool,
    pub(super) standing: Standing,
    granted: GrantedScopes,
    /// How ID tokens that were accepted are signed.
    pub(super) algorithms: Algorithms,
}

/// An answer that says the server is ill is no answer to the question.
pub(super) fn checked(operation: Operation, response: Response<Vec<u8>>) -> Result<Response<Vec<u8>>, OidcError> {
    let status = response.status();
    let is_later =
        matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS);
    if status.is_server_error() || is_later || status.is_redirection() {
        return Err(OidcError::Unreachable(Unreachable::Status { operation, status }));
    }
    Ok(response)
}

/// A provider that logins can go through.
#[derive(Debug)]
pub struct Ready {
    /// The provider's metadata.
    pub metadata: Metadata,
    /// Its keys.
    pub keys: Keys,
    /// `X-authentik-meta-jwks`.
    pub jwks_header: HeaderValue,
}

/// A token that was not accepted.
pub(super) struct Unfit {
    /// Why.
    pub(super) token: Flaw,
    /// Whether what is known of the provider does not fit it.
    pub(super) stale: bool,
    /// Why nothing newer is known of the provider, where that might have helped.
    pub(super) outdated: Option<OidcError>,
}

impl Provider {
    /// A provider of which nothing is known yet.
    ///
    /// # Errors
    ///
    /// When its CA file cannot be used.
    pub fn new(
        name: &str,
        settings: IdentityProvider,
        world: World,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, TlsError> {
        Self::with(name, settings, world, observer, Metadata::parse)
    }

    fn with(
        name: &str,
        settings: IdentityProvider,
        world: World,
        observer: Arc<dyn Observer>,
        parse: Parse,
    ) -> Result<Self, TlsError> {
        let settings = Arc::new(settings);
        Ok(Self {
            source: Arc::new(Source::new(name, Arc::clone(&settings), parse, observer)?),
            settings,
            world,
            became_ready: watch::Sender::new(false),
            turns: Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)),
            refresh_turns: Semaphore::new(REQUESTS_AT_ONCE),
            question_turns: Semaphore::new(REQUESTS_AT_ONCE),
            signs_people_in: true,
            algorithms: Algorithms::default(),
            standing: Standing::default(),
            granted: GrantedScopes::default(),
        })
    }

    /// An issuer of which nothing is known yet, and whose tokens are only verified.
    ///
    /// # Errors
    ///
    /// When its CA file cannot be used.
    pub fn issuer_only(
        name: &str,
        settings: IdentityProvider,
        world: World,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, TlsError> {
        Ok(Self { signs_people_in: false, ..Self::with(name, settings, world, observer, Metadata::parse_issuer)? })
    }

    /// Whether logins can go through it.
    #[must_use]
    pub const fn is_login_provider(&self) -> bool {
        self.signs_people_in
    }

    /// The configured name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// The settings it was made from.
    #[must_use]
    pub fn settings(&self) -> &IdentityProvider {
        &self.settings
    }

    /// Waits for the right to one of the refreshes that may be under way at once.
    pub(crate) async fn refresh_turn(&self) -> Option<SemaphorePermit<'_>> {
        // Nothing closes the semaphore.
        self.refresh_turns.acquire().await.ok()
    }

    /// Waits for the right to one of the questions about tokens and app passwords that may be under way at once.
    pub(crate) async fn question_turn(&self) -> Option<SemaphorePermit<'_>> {
        self.question_turns.acquire().await.ok()
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    pub(super) fn now(&self) -> UnixTime {
        self.world.now()
    }

    /// What is known, once anything is.
    #[must_use]
    pub fn ready(&self) -> Option<Arc<Ready>> {
        self.source.ready()
    }

    /// Waits until logins are possible.
    pub async fn until_ready(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.became_ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Discovers the provider, then keeps its metadata and keys fresh, until `stop`.
    ///
    /// Failures are retried with growing pauses; what is known stays in use meanwhile.
    pub async fn keep_ready(&self, stop: CancellationToken) {
        self.tell_readiness();
        let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
        loop {
            let known = self.ready().is_some();
            let wait = match self.refresh().await {
                Ok(fresh_for) => {
                    if !known {
                        tracing::info!(identity_provider = self.name(), issuer = %self.settings.issuer, "identity provider is ready for logins");
                    }
                    backoff.reset();
                    // Ahead of expiry, so that no login meets keys whose time is over.
                    self.sooner_in_doubt(fresh_for.mul_f32(0.8))
                }
                Err(error) => {
                    let pause = backoff.pause();
                    tracing::warn!(
                        identity_provider = self.name(),
                        issuer = %self.settings.issuer,
                        error = %WithCauses(&error),
                        retry_in_seconds = pause.as_secs(),
                        "{}",
                        if known { "identity provider cannot be refreshed; what is known stays in use" } else { "identity provider is not ready for logins" },
                    );
                    self.jittered(pause)
                }
            };
            let next = Instant::now() + wait;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(next) => {}
                () = self.source.doubted() => tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep_until(next.min(Instant::now() + self.sooner_in_doubt(wait))) => {}
                },
            }
        }
    }

    /// Asks for metadata and keys once, and puts them to use.
    ///
    /// # Errors
    ///
    /// When either cannot be had; what was known before stays.
    pub async fn refresh(&self) -> Result<Duration, OidcError> {
        let known = self.ready().is_some();
        let discovered = self.source.discover().await;
        if known {
            self.source.observer().keys_refreshed(self.name(), KeyRefresh::Scheduled, discovered.is_ok());
        }
        let (asked_at, ready) = discovered?;
        let was_in_doubt = self.source.is_in_doubt();
        let fresh_for = self.source.learn(asked_at, ready).keys.fresh_for;
        self.became_ready.send_replace(true);
        if was_in_doubt && !self.source.is_in_doubt() {
            self.tell_trust();
        } else {
            self.tell_readiness();
        }
        Ok(fresh_for)
    }

    pub(super) fn tell_readiness(&self) {
        self.source.observer().ready(self.name(), self.is_ready_for_logins());
    }

    pub(super) async fn send(
        &self,
        operation: Operation,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, NoAnswer> {
        self.source.send(operation, request).await
    }

    /// Where a browser is sent to for a login.
    ///
    /// # Errors
    ///
    /// [`OidcError::NotReady`] before the first discovery.
    pub fn authorization_url(&self, request: &AuthorizationRequest<'_>) -> Result<String, OidcError> {
        let ready = self.ready().ok_or(OidcError::NotReady)?;
        ready.authorization_url(&self.settings, request).map(String::from)
    }

    /// Where a browser is sent to for a logout; `None` where the provider has no such place.
    #[must_use]
    pub fn end_session_url(&self, request: &EndSessionRequest<'_>) -> Option<String> {
        self.ready()?.end_session_url(&self.settings, request).map(String::from)
    }

    /// Completes a login: redeems the code, verifies the ID token, and looks elsewhere for what is wanted and missing.
    ///
    /// # Errors
    ///
    /// When any of it fails; nobody is signed in then.
    pub async fn complete(&self, exchange: &CodeExchange<'_>, wanted: &WantedClaims) -> Result<Login, OidcError> {
        let ready = self.ready().ok_or(OidcError::NotReady)?;
        let asker = Asker::new(self, Operation::Token);
        let tokens = ready.redeem(&self.settings, exchange, &asker).await;
        let heard = asker.heard();
        self.note_answer(&tokens, heard.status);
        let tokens = tokens?;
        self.granted.verify(&self.settings.scopes, heard.extras.scope.as_deref())?;
        let verified = self.verify_id_token(&ready, ExpectedNonce::This(exchange.nonce), &tokens).await?;
        let mut login = Login::new(verified, heard.extras);
        let added = self.add_wanted_claims(&ready, &tokens, &mut login.claims, wanted).await?;
        login.userinfo_claims = added.map_err(|OtherSubject| {
            let flaw = Flaw::new("`sub` is not that of the ID token", Remedy::OtherSubject);
            OidcError::InvalidUserinfo(flaw)
        })?;
        Ok(login)
    }

    /// What the ID token among `tokens` says, verified by what the provider publishes now where what is known does not do.
    ///
    /// It comes from the provider itself: one that what it publishes does not verify stands for all logins, and until that has
    /// changed no login is possible.
    pub(super) async fn verify_id_token(
        &self,
        ready: &Arc<Ready>,
        nonce: ExpectedNonce<'_>,
        tokens: &Tokens,
    ) -> Result<Verified, OidcError> {
        let now = self.world.now();
        match self.with_newest(ready, |ready| ready.verify(&self.settings, nonce, tokens, now)).await {
            Ok(verified) => {
                self.trust();
                self.algorithms.add(verified.algorithm);
                Ok(verified)
            }
            Err(unfit) => {
                if let Some(error) = unfit.outdated {
                    tracing::warn!(identity_provider = self.name(), error = %WithCauses(&error), "metadata and keys cannot be refreshed");
                }
                if let Some(id_token) = tokens.id_token().filter(|_| unfit.stale) {
                    self.doubt(id_token, &unfit.token).await;
                }
                Err(OidcError::InvalidToken(unfit.token))
            }
        }
    }

    /// Verifies with what is known of the provider, and where that does not fit once more with what it publishes now.
    pub(super) async fn with_newest<T>(
        &self,
        ready: &Arc<Ready>,
        verify: impl Fn(&Ready) -> Result<T, Failure> + Send + Sync,
    ) -> Result<T, Unfit> {
        let token = match self.aside(|| verify(ready)).await {
            Ok(verified) => return Ok(verified),
            Err(Failure::Final(token)) => return Err(Unfit { token, stale: false, outdated: None }),
            Err(Failure::Stale(token)) => token,
        };
        let was_in_doubt = self.source.is_in_doubt();
        let newer = match self.source.newer_than(ready).await {
            Ok(newer) => newer,
            Err(error) => return Err(Unfit { token, stale: true, outdated: Some(error) }),
        };
        if was_in_doubt && !self.source.is_in_doubt() {
            self.tell_trust();
        }
        self.aside(|| verify(&newer.ready)).await.map_err(|failure| {
            let stale = matches!(failure, Failure::Stale(_));
            Unfit { token: failure.into(), stale, outdated: newer.outdated.filter(|_| stale) }
        })
    }

    /// Does what takes as long as a dozen checks where no check waits behind it: few at a time, and not in the runtime's turn.
    pub(super) async fn aside<T>(&self, work: impl FnOnce() -> T + Send) -> T {
        // Nobody closes the semaphore.
        let _turn = self.turns.acquire().await;
        match Handle::current().runtime_flavor() {
            RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
            _ => work(),
        }
    }

    /// How long to wait for the next look at the provider, where one is due after `wait`.
    fn sooner_in_doubt(&self, wait: Duration) -> Duration {
        let soon = self.jittered(self.settings.jwks_cooldown.max(FIRST_RETRY));
        if self.source.is_in_doubt() { wait.min(soon) } else { wait }
    }

    /// Up to a fifth more, so that daemons started together do not ask together.
    fn jittered(&self, pause: Duration) -> Duration {
        let [byte] = self.world.random::<1>().unwrap_or_default();
        pause + pause.mul_f32(f32::from(byte) / 255.0 / 5.0)
    }
}
