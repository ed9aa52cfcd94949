use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::IdentityProvider;
use super::client_status::ClientStatus;
use super::endpoint_client::EndpointClient;
use super::flaw::{Flaw, Remedy};
use super::granted_scopes::GrantedScopes;
use super::mismatch::Algorithms;
use super::missing_claims::OtherSubject;
use super::source::{Parse, Source};
use super::token_response::TokenResponse;
use super::verify::{ExpectedNonce, VerificationError, Verified};
use super::{
    AuthorizationRequest, CodeExchange, EndSessionRequest, KeyRefresh, Keys, Login, Metadata, NoAnswer, Observer,
    OidcError, Operation, Unreachable,
};
use crate::identity::WantedClaims;
use crate::limit::Backoff;
use crate::telemetry::WithCauses;
use crate::tls::TlsError;
use crate::world::{UnixTime, World};

/// Pauses between attempts to reach a provider.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_mins(1);

/// Requests of one kind that the provider gets at once; others wait, those of other providers do not.
const REQUESTS_AT_ONCE: usize = 32;

/// An identity provider with its metadata and keys.
///
/// A background task discovers and refreshes these ([`Provider::keep_ready`]). The last ones serve until newer ones are there.
pub struct Provider {
    settings: Arc<IdentityProvider>,
    world: World,
    source: Arc<Source>,
    /// `true` once the provider was discovered.
    became_ready: watch::Sender<bool>,
    /// Limits the computations at once to the number of cores.
    turns: Semaphore,
    /// Refreshes that may be under way at once.
    refresh_turns: Semaphore,
    /// Questions about tokens and app passwords that may be under way at once.
    question_turns: Semaphore,
    /// Whether users sign in through it; otherwise only its tokens are verified.
    signs_people_in: bool,
    pub(super) client_status: ClientStatus,
    granted: GrantedScopes,
    /// The algorithms of ID tokens that were accepted.
    pub(super) algorithms: Algorithms,
}

/// Refuses an answer that says that the server is ill, or that comes from another place.
pub(super) fn checked(operation: Operation, response: Response<Vec<u8>>) -> Result<Response<Vec<u8>>, OidcError> {
    let status = response.status();
    let is_later =
        matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS);
    if status.is_server_error() || is_later || status.is_redirection() {
        return Err(OidcError::Unreachable(Unreachable::Status { operation, status }));
    }
    Ok(response)
}

/// The metadata and keys of a provider that was discovered.
#[derive(Debug)]
pub struct Ready {
    /// The provider's metadata.
    pub metadata: Metadata,
    /// Its keys.
    pub keys: Keys,
    /// The value of `X-authentik-meta-jwks`.
    pub jwks_header: HeaderValue,
}

/// A token that metadata and keys do not verify.
pub(super) struct NotVerified {
    /// Why.
    pub(super) token: Flaw,
    /// Whether newer metadata or keys could verify it.
    pub(super) stale: bool,
    /// Why there are no newer ones, where these might have helped.
    pub(super) outdated: Option<OidcError>,
}

impl Provider {
    /// A provider that was not discovered yet.
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
            client_status: ClientStatus::default(),
            granted: GrantedScopes::default(),
        })
    }

    /// An issuer that was not discovered yet, and whose tokens are only verified.
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

    /// Whether users sign in through it.
    #[must_use]
    pub const fn is_login_provider(&self) -> bool {
        self.signs_people_in
    }

    /// The configured name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// Our registration there.
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

    /// Metadata and keys; `None` before the first discovery.
    #[must_use]
    pub fn ready(&self) -> Option<Arc<Ready>> {
        self.source.ready()
    }

    /// Waits until the provider was discovered.
    pub async fn until_ready(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.became_ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Discovers the provider, then keeps its metadata and keys fresh, until `stop`.
    ///
    /// After a failure it tries again, with growing pauses; the last metadata and keys stay in use.
    pub async fn keep_ready(&self, stop: CancellationToken) {
        self.report_readiness();
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
                    self.sooner_on_mismatch(fresh_for.mul_f32(0.8))
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
                () = self.source.mismatch_noted() => tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep_until(next.min(Instant::now() + self.sooner_on_mismatch(wait))) => {}
                },
            }
        }
    }

    /// Fetches metadata and keys once. Returns how long the keys are fresh.
    ///
    /// # Errors
    ///
    /// When it cannot fetch one of them; the last ones stay in use.
    pub async fn refresh(&self) -> Result<Duration, OidcError> {
        let known = self.ready().is_some();
        let discovered = self.source.discover().await;
        if known {
            self.source.observer().keys_refreshed(self.name(), KeyRefresh::Scheduled, discovered.is_ok());
        }
        let (asked_at, ready) = discovered?;
        let had_mismatch = self.source.has_mismatch();
        let fresh_for = self.source.learn(asked_at, ready).keys.fresh_for;
        self.became_ready.send_replace(true);
        if had_mismatch && !self.source.has_mismatch() {
            self.log_match();
        } else {
            self.report_readiness();
        }
        Ok(fresh_for)
    }

    pub(super) fn report_readiness(&self) {
        self.source.observer().ready(self.name(), self.is_ready_for_logins());
    }

    pub(super) async fn send(
        &self,
        operation: Operation,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, NoAnswer> {
        self.source.send(operation, request).await
    }

    /// The URL of an authorisation request.
    ///
    /// # Errors
    ///
    /// [`OidcError::NotReady`] before the first discovery.
    pub fn authorization_url(&self, request: &AuthorizationRequest<'_>) -> Result<String, OidcError> {
        let ready = self.ready().ok_or(OidcError::NotReady)?;
        ready.authorization_url(&self.settings, request).map(String::from)
    }

    /// The URL of a logout request; `None` when the provider has no end session endpoint.
    #[must_use]
    pub fn end_session_url(&self, request: &EndSessionRequest<'_>) -> Option<String> {
        self.ready()?.end_session_url(&self.settings, request).map(String::from)
    }

    /// Completes a login: redeems the code, verifies the ID token, and gets wanted claims that it lacks from elsewhere.
    ///
    /// # Errors
    ///
    /// When any of it fails; the user is not signed in then.
    pub async fn complete(&self, exchange: &CodeExchange<'_>, wanted: &WantedClaims) -> Result<Login, OidcError> {
        let ready = self.ready().ok_or(OidcError::NotReady)?;
        let endpoint = EndpointClient::new(self, Operation::Token);
        let tokens = ready.redeem(&self.settings, exchange, &endpoint).await;
        let details = endpoint.details();
        self.note_answer(&tokens, details.status);
        let tokens = tokens?;
        self.granted.verify(&self.settings.scopes, details.extras.scope.as_deref())?;
        let verified = self.verify_id_token(&ready, ExpectedNonce::This(exchange.nonce), &tokens).await?;
        let mut login = Login::new(verified, details.extras);
        let added = self.add_wanted_claims(&ready, &tokens, &mut login.claims, wanted).await?;
        login.userinfo_claims = added.map_err(|OtherSubject| {
            let flaw = Flaw::new("`sub` is not that of the ID token", Remedy::OtherSubject);
            OidcError::InvalidUserinfo(flaw)
        })?;
        Ok(login)
    }

    /// Verifies the ID token in `tokens`; when metadata and keys do not fit, with newer ones.
    ///
    /// The token comes from the provider itself. When the provider's own keys do not verify it, no login works, until the
    /// provider has changed what it publishes.
    pub(super) async fn verify_id_token(
        &self,
        ready: &Arc<Ready>,
        nonce: ExpectedNonce<'_>,
        tokens: &TokenResponse,
    ) -> Result<Verified, OidcError> {
        let now = self.world.now();
        match self.with_newest(ready, |ready| ready.verify(&self.settings, nonce, tokens, now)).await {
            Ok(verified) => {
                self.note_match();
                self.algorithms.add(verified.algorithm);
                Ok(verified)
            }
            Err(unfit) => {
                if let Some(error) = unfit.outdated {
                    tracing::warn!(identity_provider = self.name(), error = %WithCauses(&error), "metadata and keys cannot be refreshed");
                }
                if let Some(id_token) = tokens.id_token().filter(|_| unfit.stale) {
                    self.note_mismatch(id_token, &unfit.token).await;
                }
                Err(OidcError::InvalidToken(unfit.token))
            }
        }
    }

    /// Verifies with the current metadata and keys; when these do not fit, once more with newer ones.
    pub(super) async fn with_newest<T>(
        &self,
        ready: &Arc<Ready>,
        verify: impl Fn(&Ready) -> Result<T, VerificationError> + Send + Sync,
    ) -> Result<T, NotVerified> {
        let token = match self.compute(|| verify(ready)).await {
            Ok(verified) => return Ok(verified),
            Err(VerificationError::Final(token)) => return Err(NotVerified { token, stale: false, outdated: None }),
            Err(VerificationError::Stale(token)) => token,
        };
        let had_mismatch = self.source.has_mismatch();
        let newer = match self.source.newer_than(ready).await {
            Ok(newer) => newer,
            Err(error) => return Err(NotVerified { token, stale: true, outdated: Some(error) }),
        };
        if had_mismatch && !self.source.has_mismatch() {
            self.log_match();
        }
        self.compute(|| verify(&newer.ready)).await.map_err(|failure| {
            let stale = matches!(failure, VerificationError::Stale(_));
            NotVerified { token: failure.into(), stale, outdated: newer.outdated.filter(|_| stale) }
        })
    }

    /// Does a computation that takes as long as a dozen checks: few at a time, and so that no other task of the runtime waits for it.
    pub(super) async fn compute<T>(&self, work: impl FnOnce() -> T + Send) -> T {
        // Nothing closes the semaphore.
        let _turn = self.turns.acquire().await;
        match Handle::current().runtime_flavor() {
            RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
            _ => work(),
        }
    }

    /// The pause before the next discovery: `wait`, or shorter while there is a mismatch.
    fn sooner_on_mismatch(&self, wait: Duration) -> Duration {
        let soon = self.jittered(self.settings.jwks_cooldown.max(FIRST_RETRY));
        if self.source.has_mismatch() { wait.min(soon) } else { wait }
    }

    /// Up to a fifth more, so that daemons started together do not ask together.
    fn jittered(&self, pause: Duration) -> Duration {
        let [byte] = self.world.random::<1>().unwrap_or_default();
        pause + pause.mul_f32(f32::from(byte) / 255.0 / 5.0)
    }
}
