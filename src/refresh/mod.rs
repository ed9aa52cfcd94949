//! Refreshes of sessions: the provider is asked again whether it vouches for a user, beside the requests.

mod leased;
mod removals;
mod schedule;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use self::leased::LeasedRefresh;
use self::removals::PendingRemovals;
use crate::app::Application;
use crate::limit::{Call, Cooldowns, Follower, SingleFlight};
use crate::logout::Revoker;
use crate::session::{
    Audited, Finished, Lease, LeaseAnswer, Refreshable, Revalidation, Session, SessionKey, SessionStore, SessionToken,
    StoreError,
};
use crate::telemetry::LogThrottle;
use crate::telemetry::audit::Event;
use crate::telemetry::metrics::Metrics;
use crate::world::{UnixTime, World};

/// The pause between two tries while the provider does not answer.
const RETRY: Duration = Duration::from_secs(30);

/// The pause after a provider did not answer, in which no session is refreshed there: a try for each of many sessions would take
/// a time-out each.
const UNANSWERED: Duration = Duration::from_secs(5);

/// The pause between two questions to the store.
const STORE_PAUSE: Duration = Duration::from_millis(100);

/// How long the store is asked to keep a new refresh token, without which the session cannot be refreshed again.
const SAVE_TIMEOUT: Duration = Duration::from_secs(30);

/// The reason in the audit log when a refresh token may have been used.
const TOKEN_MAY_BE_SPENT: &str = "token_may_be_spent";

/// How long a request that waits for a refresh waits for the store, in addition to the provider's time-out.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether the provider vouches for the user of a session.
#[derive(Clone, Debug)]
pub enum Confirmation {
    /// It does; this is the session now.
    Session(Arc<Session>),
    /// It does not: the session has ended, or the provider answers and refuses. Only another login helps.
    Refused,
    /// The provider, or the store, does not answer.
    Unknown,
}

/// What those who wait for a refresh learn of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Completion {
    /// The session has ended.
    Ended,
    /// The store has the newest session.
    Stored,
}

/// Refreshes sessions at their providers, and ends those for which a provider does not vouch any more.
pub struct Refresher {
    world: World,
    store: Arc<dyn SessionStore>,
    metrics: Arc<Metrics>,
    revalidation: Revalidation,
    revoker: Arc<Revoker>,
    refreshes: SingleFlight<SessionKey, Completion>,
    tasks: TaskTracker,
    /// Providers that did not answer a moment ago.
    unanswered: Cooldowns<String>,
    removals: PendingRemovals,
    /// Failures that the audit log has: while a request waits, a session fails once a second.
    audited_failures: Cooldowns<(SessionKey, &'static str)>,
    failure_log: LogThrottle,
    store_failure_log: LogThrottle,
    token_end_log: LogThrottle,
}

impl Refresher {
    /// A refresher with nothing to do.
    #[must_use]
    pub fn new(
        world: World,
        store: Arc<dyn SessionStore>,
        metrics: Arc<Metrics>,
        revalidation: Revalidation,
        revoker: Arc<Revoker>,
    ) -> Self {
        Self {
            world,
            store,
            metrics,
            revalidation,
            revoker,
            refreshes: SingleFlight::default(),
            tasks: TaskTracker::new(),
            unanswered: Cooldowns::new(UNANSWERED),
            removals: PendingRemovals::default(),
            audited_failures: Cooldowns::new(RETRY),
            failure_log: LogThrottle::default(),
            store_failure_log: LogThrottle::default(),
            token_end_log: LogThrottle::default(),
        }
    }

    /// Begins a refresh when one is due, and does not wait for it. Of several calls at once, one begins it.
    pub fn refresh_if_due(
        self: &Arc<Self>,
        app: &Arc<Application>,
        token: &SessionToken,
        session: &Arc<Session>,
        now: UnixTime,
    ) {
        if session.refreshable().is_some_and(|it| it.schedule.take_turn(now, now + RETRY)) {
            self.spawn_refresh(app, token, session, || true);
        }
    }

    /// Refreshes a session that does not count without; each at most once in a second.
    ///
    /// Waits no longer than the provider and the store may take; the refresh goes on.
    pub async fn confirm(
        self: &Arc<Self>,
        app: &Arc<Application>,
        token: &SessionToken,
        session: &Arc<Session>,
    ) -> Confirmation {
        let asks = || session.refreshable().is_some_and(|it| it.schedule.take_confirmation(self.world.now()));
        self.ask(app, token, session, asks).await
    }

    /// Whether the ID token of a session has expired, and a new one is worth waiting for: a refresh is due, or under way, or has
    /// ended since the request took this session out of memory.
    ///
    /// After a failure the next refresh is due after a pause, and requests go on without the token meanwhile.
    #[must_use]
    pub fn awaits_id_token(&self, token: &SessionToken, session: &Arc<Session>, now: UnixTime) -> bool {
        let is_due = || session.refreshable().is_some_and(|it| it.schedule.is_due(now));
        // In this order: a refresh replaces the session in memory before it ends.
        let is_replaced = || !self.store.cached(token).is_some_and(|newest| Arc::ptr_eq(&newest, session));
        session.wants_token(now) && (is_due() || self.refreshes.is_running(&token.key()) || is_replaced())
    }

    /// Refreshes a session whose ID token has expired. Waits no longer than [`Refresher::confirm`] does.
    pub async fn renew_id_token(
        self: &Arc<Self>,
        app: &Arc<Application>,
        token: &SessionToken,
        session: &Arc<Session>,
    ) -> Confirmation {
        let now = self.world.now();
        let asks = || session.refreshable().is_some_and(|it| it.schedule.take_turn(now, now + RETRY));
        self.ask(app, token, session, asks).await
    }

    /// Waits for a refresh that is under way, or for a new one where one may begin.
    async fn ask(
        self: &Arc<Self>,
        app: &Arc<Application>,
        token: &SessionToken,
        session: &Arc<Session>,
        asks: impl FnOnce() -> bool,
    ) -> Confirmation {
        if let Some(refresh) = self.spawn_refresh(app, token, session, asks) {
            let provider = app.provider.settings().timeout;
            // After the time-out the outcome is not known yet.
            if timeout(provider + STORE_TIMEOUT, refresh.value()).await == Ok(Some(Completion::Ended)) {
                return Confirmation::Refused;
            }
        }
        self.newest(app, token).await
    }

    /// What counts now. Only the store knows what was revoked or removed since the refresh.
    async fn newest(&self, app: &Application, token: &SessionToken) -> Confirmation {
        let newest = self.store.load(token).await;
        let now = self.world.now();
        match newest {
            Ok(Some(session)) if !session.is_valid_for(&app.realm, now) || self.has_ended(token) => {
                Confirmation::Refused
            }
            Ok(Some(session)) if session.needs_confirmation(&app.wanted_claims, now) => {
                let refused = session.refreshable().is_some_and(|it| it.schedule.was_refused());
                if refused { Confirmation::Refused } else { Confirmation::Unknown }
            }
            Ok(Some(session)) => Confirmation::Session(session),
            Ok(None) => Confirmation::Refused,
            Err(error) => {
                self.store_failed(app, &error);
                Confirmation::Unknown
            }
        }
    }

    /// Joins the refresh of a session, or begins one in a task of its own, so that it goes on when the request ends.
    fn spawn_refresh(
        self: &Arc<Self>,
        app: &Arc<Application>,
        token: &SessionToken,
        session: &Arc<Session>,
        may_begin: impl FnOnce() -> bool,
    ) -> Option<Follower<Completion>> {
        let Call { follower, leader } = self.refreshes.join(token.key(), may_begin)?;
        if let Some(leader) = leader {
            let (refresher, app, token, session) =
                (Arc::clone(self), Arc::clone(app), token.clone(), Arc::clone(session));
            self.tasks.spawn(async move { leader.finish(refresher.refresh(&app, &token, &session).await) });
        }
        Some(follower)
    }

    /// Waits for the refreshes under way, so that no new refresh token is lost.
    pub async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn refresh(
        self: &Arc<Self>,
        app: &Arc<Application>,
        token: &SessionToken,
        session: &Arc<Session>,
    ) -> Completion {
        let provider = &app.provider;
        // Many sessions may be due at once, after a start or when the provider answers again; those of other providers do not wait.
        let _turn = provider.refresh_turn().await;
        if self.unanswered.is_running(provider.name(), self.world.now()) {
            if let Some(refreshable) = session.refreshable() {
                refreshable.schedule.note_failure(false);
            }
            return Completion::Stored;
        }
        match self.begin_refresh(token, provider.settings().timeout).await {
            Ok(LeaseAnswer::Lease(lease, newest)) => {
                let is_newer = !Arc::ptr_eq(&newest, session);
                let now = self.world.now();
                if let Some(refreshable) = newest.refreshable() {
                    refreshable.take_up();
                }
                let knows_enough = newest.knows_enough_for(&app.wanted_claims);
                let wants = |it: &Refreshable| {
                    !is_newer || it.schedule.is_due(now) || it.schedule.is_over(now) || !knows_enough
                };
                if newest.refreshable().is_some_and(wants) {
                    LeasedRefresh { refresher: self, app, provider, token, session: &newest, lease: &lease }.run().await
                } else {
                    // Another replica has refreshed it, or memory still had an older session.
                    self.finish_refresh(app, token, &lease, Finished::Untouched).await;
                    Completion::Stored
                }
            }
            Ok(LeaseAnswer::Spent) => self.give_up(app, token).await,
            Ok(LeaseAnswer::Busy) => Completion::Stored,
            Ok(LeaseAnswer::Gone) => Completion::Ended,
            Err(error) => {
                self.store_failed(app, &error);
                Completion::Stored
            }
        }
    }

    /// Notes that the refresh token may be spent, in the newest session.
    ///
    /// The store is asked again later, as the replica that sent the token may still write down the result.
    async fn give_up(&self, app: &Application, token: &SessionToken) -> Completion {
        let newest = match self.store.load(token).await {
            Ok(Some(newest)) => newest,
            Ok(None) => return Completion::Ended,
            Err(error) => {
                self.store_failed(app, &error);
                return Completion::Stored;
            }
        };
        if let Some(refreshable) = newest.refreshable() {
            refreshable.give_up(self.world.now() + self.revalidation.after.unwrap_or(RETRY));
            self.failed(app, token, &newest, TOKEN_MAY_BE_SPENT);
        }
        // Memory may forget a session that has ended, and the note with it.
        if newest.lives(self.world.now()) { Completion::Stored } else { Completion::Ended }
    }

    /// Writes a failed refresh into the audit log.
    fn failed(&self, app: &Application, token: &SessionToken, session: &Session, reason: &'static str) {
        if self.audited_failures.try_start((token.key(), reason), self.world.now()) {
            audit(Event::RefreshFailure, app, token, session, reason);
        }
    }

    /// Acquires the lease to refresh. While another replica has it, waits up to `patience`.
    async fn begin_refresh(&self, token: &SessionToken, patience: Duration) -> Result<LeaseAnswer, StoreError> {
        let deadline = Instant::now() + patience;
        loop {
            match self.store.begin_refresh(token).await? {
                LeaseAnswer::Busy if Instant::now() < deadline => sleep(STORE_PAUSE).await,
                begun => return Ok(begun),
            }
        }
    }

    /// Writes the end of a refresh into the store, and tries that for a while: otherwise the refresh token counts as spent. `None`
    /// when the store does not answer.
    async fn finish_refresh(
        &self,
        app: &Application,
        token: &SessionToken,
        lease: &Lease,
        finished: Finished,
    ) -> Option<bool> {
        let deadline = Instant::now() + SAVE_TIMEOUT;
        loop {
            match self.store.finish_refresh(token, lease, finished.clone()).await {
                Ok(done) => return Some(done),
                Err(error) => self.store_failed(app, &error),
            }
            if deadline <= Instant::now() {
                return None;
            }
            sleep(STORE_PAUSE).await;
        }
    }

    /// Warns that an application will get no ID token for a part of a session.
    pub(crate) fn warn_of_token_end(&self, app: &Application, session: &Session, why: &'static str) {
        let ends_early = session.identity().sent_until().is_some_and(|ends| ends < session.expires_at());
        if let (true, Some(further)) = (ends_early, self.token_end_log.admit()) {
            tracing::warn!(
                application = %app.id,
                identity_provider = app.provider.name(),
                why,
                further,
                "X-authentik-jwt is empty once the ID token has ended (application.headers.jwt)"
            );
        }
    }

    fn store_failed(&self, app: &Application, error: &StoreError) {
        if let Some(further) = self.store_failure_log.admit() {
            tracing::warn!(application = %app.id, %error, further, "a refresh could not be written down");
        }
    }
}

fn audit(event: Event, app: &Application, token: &SessionToken, session: &Session, reason: &str) {
    Audited::new(app.provider.name(), token, session).line(event, reason).write();
}
