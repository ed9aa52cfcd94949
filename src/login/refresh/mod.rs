//! Refreshing: the provider is asked again whether it vouches for a user, beside the requests.

mod asking;
mod endings;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use self::asking::Asking;
pub(super) use self::endings::Endings;
use super::Logins;
use crate::app::Application;
use crate::limit::{Call, Follower};
use crate::session::{Audited, Begun, Finished, Lease, Refreshable, Session, SessionToken, StoreError};
use crate::telemetry::audit::Event;
use crate::world::UnixTime;

/// Between two tries while the provider does not answer.
pub(super) const RETRY: Duration = Duration::from_secs(30);

/// A provider that did not answer is asked about no session for so long: asking for each of many would take a time-out each.
pub(super) const UNANSWERED: Duration = Duration::from_secs(5);

/// Between two looks whether another replica is done.
const GLANCE: Duration = Duration::from_millis(100);

/// A store that cannot keep a new refresh token is given so long for it: without it the session cannot be refreshed again.
const LONGEST_SAVE: Duration = Duration::from_secs(30);

/// Why a session is not refreshed whose refresh token may have been used.
const TOKEN_MAY_BE_SPENT: &str = "token_may_be_spent";

/// A request that waits for a refresh gives the store so long, beside what the provider may take.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// What the provider says of a session.
#[derive(Clone, Debug)]
pub enum Confirmed {
    /// It vouches for this one.
    Session(Arc<Session>),
    /// It does not vouch: the session has ended, or the provider answers and refuses. Only another login helps.
    Refused,
    /// Nothing: it is away, or the store is.
    Unknown,
}

/// What came of a refresh for those who waited for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nobody vouches for the session any more.
    Ended,
    /// The store has what there is to know.
    Open,
}

impl Logins {
    /// Begins a refresh where one is due; of all who ask at once, one causes it, and nobody waits.
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

    /// Asks the provider about a session that counts only after that; about each once a second at most.
    ///
    /// It waits no longer than provider and store may take for an answer; the refresh goes on.
    pub async fn confirm(
        self: &Arc<Self>,
        app: &Arc<Application>,
        token: &SessionToken,
        session: &Arc<Session>,
    ) -> Confirmed {
        let asks = || session.refreshable().is_some_and(|it| it.schedule.take_confirmation(self.world.now()));
        self.ask(app, token, session, asks).await
    }

    /// Whether the ID token of a session has ended, and one is to be waited for: a refresh is due, or under way.
    ///
    /// Where one failed, the next is due after a pause only, and requests go on without the token meanwhile.
    #[must_use]
    pub fn awaits_id_token(&self, token: &SessionToken, session: &Session, now: UnixTime) -> bool {
        let is_due = || session.refreshable().is_some_and(|it| it.schedule.is_due(now));
        session.wants_token(now) && (is_due() || self.refreshes.is_running(&token.key()))
    }

    /// Gets a session an ID token in the place of one that has ended; no longer than [`Logins::confirm`] waits for an answer.
    pub async fn renew_id_token(
        self: &Arc<Self>,
        app: &Arc<Application>,
        token: &SessionToken,
        session: &Arc<Session>,
    ) -> Confirmed {
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
    ) -> Confirmed {
        if let Some(refresh) = self.spawn_refresh(app, token, session, asks) {
            let provider = app.provider.settings().timeout;
            // Where it takes longer, nothing is known yet.
            if timeout(provider + STORE_PATIENCE, refresh.value()).await == Ok(Some(Outcome::Ended)) {
                return Confirmed::Refused;
            }
        }
        self.newest(app, token).await
    }

    /// What counts now. Whatever a refresh brought, the store alone knows what was revoked or removed meanwhile.
    async fn newest(&self, app: &Application, token: &SessionToken) -> Confirmed {
        let newest = self.store.load(token).await;
        let now = self.world.now();
        match newest {
            Ok(Some(session)) if !session.is_valid_for(&app.id, now) || self.has_ended(token) => Confirmed::Refused,
            Ok(Some(session)) if session.needs_confirmation(&app.wanted_claims, now) => {
                let refused = session.refreshable().is_some_and(|it| it.schedule.was_refused());
                if refused { Confirmed::Refused } else { Confirmed::Unknown }
            }
            Ok(Some(session)) => Confirmed::Session(session),
            Ok(None) => Confirmed::Refused,
            Err(error) => {
                self.store_failed(app, &error);
                Confirmed::Unknown
            }
        }
    }

    /// A refresh in a task of its own, so that it ends in order whoever no longer waits for it.
    fn spawn_refresh(
        self: &Arc<Self>,
        app: &Arc<Application>,
        token: &SessionToken,
        session: &Arc<Session>,
        may_begin: impl FnOnce() -> bool,
    ) -> Option<Follower<Outcome>> {
        let Call { follower, leader } = self.refreshes.join(token.key(), may_begin)?;
        if let Some(leader) = leader {
            let (logins, app, token, session) = (Arc::clone(self), Arc::clone(app), token.clone(), Arc::clone(session));
            self.tasks.spawn(async move { leader.finish(logins.refresh(&app, &token, &session).await) });
        }
        Some(follower)
    }

    /// Waits until no refresh is under way any more, so that no new refresh token is lost.
    pub async fn finish_refreshes(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn refresh(
        self: &Arc<Self>,
        app: &Arc<Application>,
        token: &SessionToken,
        session: &Arc<Session>,
    ) -> Outcome {
        let provider = &app.provider;
        // Many sessions may be due at once, after a start or an absence of the provider; another provider's wait for none of them.
        let _turn = provider.refresh_turn().await;
        if self.unanswered.is_running(provider.name(), self.world.now()) {
            if let Some(refreshable) = session.refreshable() {
                refreshable.schedule.note_failure(false);
            }
            return Outcome::Open;
        }
        match self.begin_refresh(token, provider.settings().timeout).await {
            Ok(Begun::Lease(lease, newest)) => {
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
                    Asking { logins: self, app, provider, token, session: &newest, lease: &lease }.ask().await
                } else {
                    // Another replica was faster, or the store had not let go of an older session.
                    self.finish(app, token, &lease, Finished::Untouched).await;
                    Outcome::Open
                }
            }
            Ok(Begun::Spent) => self.give_up(app, token).await,
            Ok(Begun::Busy) => Outcome::Open,
            Ok(Begun::Gone) => Outcome::Ended,
            Err(error) => {
                self.store_failed(app, &error);
                Outcome::Open
            }
        }
    }

    /// Notes that the refresh token may be spent, in the newest session that there is: it may be newer than the one that
    /// somebody asked about.
    ///
    /// The store is asked again later, as whoever sent the token may still tell it what came of that.
    async fn give_up(&self, app: &Application, token: &SessionToken) -> Outcome {
        let newest = match self.store.load(token).await {
            Ok(Some(newest)) => newest,
            Ok(None) => return Outcome::Ended,
            Err(error) => {
                self.store_failed(app, &error);
                return Outcome::Open;
            }
        };
        if let Some(refreshable) = newest.refreshable() {
            refreshable.give_up(self.world.now() + self.revalidation.after.unwrap_or(RETRY));
            self.failed(app, token, &newest, TOKEN_MAY_BE_SPENT);
        }
        // Memory may let go of what has ended, and with it of what is noted there.
        if newest.lives(self.world.now()) { Outcome::Open } else { Outcome::Ended }
    }

    /// Writes into the audit log that a session was not refreshed, and why.
    fn failed(&self, app: &Application, token: &SessionToken, session: &Session, reason: &'static str) {
        if self.audited_failures.try_start((token.key(), reason), self.world.now()) {
            audit(Event::RefreshFailure, app, token, session, reason);
        }
    }

    /// Asks for the right to refresh; while another replica has it, for as long as it may take that one.
    async fn begin_refresh(&self, token: &SessionToken, patience: Duration) -> Result<Begun, StoreError> {
        let deadline = Instant::now() + patience;
        loop {
            match self.store.begin_refresh(token).await? {
                Begun::Busy if Instant::now() < deadline => sleep(GLANCE).await,
                begun => return Ok(begun),
            }
        }
    }

    /// Tells the store how a refresh ended, with patience: else its refresh token counts as spent, and is so where there is
    /// a new one. `None` when the store would not hear it.
    async fn finish(&self, app: &Application, token: &SessionToken, lease: &Lease, finished: Finished) -> Option<bool> {
        let deadline = Instant::now() + LONGEST_SAVE;
        loop {
            match self.store.finish_refresh(token, lease, finished.clone()).await {
                Ok(done) => return Some(done),
                Err(error) => self.store_failed(app, &error),
            }
            if deadline <= Instant::now() {
                return None;
            }
            sleep(GLANCE).await;
        }
    }

    /// Says that an application will get no ID token for a part of a session.
    pub(super) fn tell_of_tokens_that_end(&self, app: &Application, session: &Session, why: &'static str) {
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
    Audited::new(&app.id, app.provider.name(), token, session).line(event, reason).write();
}
