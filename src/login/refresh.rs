//! Refreshing: the provider is asked again whether it vouches for a user, beside the requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Logins;
use crate::app::Application;
use crate::identity::Identity;
use crate::oidc::{Consequence, PreviousLogin, Provider, RefreshFailure, Refreshed};
use crate::session::{
    Audited, Begun, Finished, Lease, ProviderSide, Refreshable, Renewal, Schedule, Session, SessionKey, SessionToken,
    StoreError,
};
use crate::telemetry::audit::Event;
use crate::world::UnixTime;

/// Between two tries while the provider does not answer.
const RETRY: Duration = Duration::from_secs(30);

/// So long a provider that made us wait for nothing is left alone.
const ABSENCE: Duration = Duration::from_secs(5);

/// A failure that took longer made us wait; a quick one costs nobody anything, and may concern one user alone.
const WAIT: Duration = Duration::from_secs(1);

/// Between two looks whether another replica is done.
const GLANCE: Duration = Duration::from_millis(100);

/// A store that cannot keep a new refresh token is given so long for it: without it the session cannot be refreshed again.
const LONGEST_SAVE: Duration = Duration::from_secs(30);

/// What the provider says of a session.
#[derive(Clone, Debug)]
pub enum Confirmed {
    /// It vouches for this one.
    Session(Arc<Session>),
    /// Nobody vouches for it any more.
    Ended,
    /// Nothing: it is away, or the store is.
    Unknown,
}

type Flight = watch::Receiver<Option<Confirmed>>;
type Pilot = watch::Sender<Option<Confirmed>>;

/// Refreshes under way in this process, by session: whoever needs one joins it.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<SessionKey, Flight>>);

impl Flights {
    /// Joins the flight of `key`; where there is none, the sender for a new one, if one may begin.
    fn join(&self, key: SessionKey, may_begin: impl FnOnce() -> bool) -> Option<(Flight, Option<Pilot>)> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&key) {
            return Some((flight.clone(), None));
        }
        if !may_begin() {
            return None;
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(key, receiver.clone());
        Some((receiver, Some(sender)))
    }

    fn land(&self, key: &SessionKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// Ends a flight however its task ends.
struct Landing {
    logins: Arc<Logins>,
    key: SessionKey,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.logins.flights.land(&self.key);
    }
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
            self.fly(app, token, session, || true);
        }
    }

    /// Asks the provider about a session that counts only after that; about each once a second at most.
    pub async fn confirm(
        self: &Arc<Self>,
        app: &Arc<Application>,
        token: &SessionToken,
        session: &Arc<Session>,
    ) -> Confirmed {
        let asks = || session.refreshable().is_some_and(|it| it.schedule.take_confirmation(self.world.now()));
        let confirmed = match self.fly(app, token, session, asks) {
            // Fails when the flight ended in a panic.
            Some(mut flight) => flight.wait_for(Option::is_some).await.ok().and_then(|confirmed| confirmed.clone()),
            // A flight has just landed, well or not.
            None => self.newest(app, token).await,
        };
        let now = self.world.now();
        match confirmed {
            Some(Confirmed::Session(session)) if session.needs_confirmation(now) => Confirmed::Unknown,
            Some(confirmed) => confirmed,
            None => Confirmed::Unknown,
        }
    }

    async fn newest(&self, app: &Application, token: &SessionToken) -> Option<Confirmed> {
        match self.store.load(token).await {
            Ok(Some(session)) => Some(alive(&session, self.world.now())),
            Ok(None) => Some(Confirmed::Ended),
            Err(error) => {
                self.store_failed(app, &error);
                None
            }
        }
    }

    /// A refresh in a task of its own, so that it ends in order whoever no longer waits for it.
    fn fly(
        self: &Arc<Self>,
        app: &Arc<Application>,
        token: &SessionToken,
        session: &Arc<Session>,
        may_begin: impl FnOnce() -> bool,
    ) -> Option<Flight> {
        let key = token.key();
        let (flight, pilot) = self.flights.join(key, may_begin)?;
        if let Some(pilot) = pilot {
            let landing = Landing { logins: Arc::clone(self), key };
            let (app, token, session) = (Arc::clone(app), token.clone(), Arc::clone(session));
            self.tasks.spawn(async move {
                let confirmed = landing.logins.refresh(&app, &token, &session).await;
                drop(landing);
                pilot.send_replace(Some(confirmed));
            });
        }
        Some(flight)
    }

    /// Waits until no refresh is under way any more, so that no new refresh token is lost.
    pub async fn finish_refreshes(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn refresh(&self, app: &Application, token: &SessionToken, session: &Arc<Session>) -> Confirmed {
        let Some(provider) = self.provider(app) else { return Confirmed::Unknown };
        // Many sessions may be due at once, after a start or an absence of the provider; another provider's wait for none of them.
        let Some(turns) = self.refresh_turns.get(provider.name()) else { return Confirmed::Unknown };
        let Ok(_turn) = turns.acquire().await else { return Confirmed::Unknown };
        if self.absences.lasts(provider.name(), self.world.now()) {
            return Confirmed::Unknown;
        }
        match self.begin_refresh(token, provider.settings().timeout).await {
            Ok(Begun::Lease(lease, newest)) => {
                let is_newer = !Arc::ptr_eq(&newest, session);
                let now = self.world.now();
                let wants = |it: &Refreshable| !is_newer || it.schedule.is_due(now) || it.schedule.is_over(now);
                if newest.refreshable().is_some_and(wants) {
                    Asking { logins: self, app, provider, token, session: &newest, lease: &lease }.ask().await
                } else {
                    // Another replica was faster, or the store had not let go of an older session.
                    self.finish(app, token, &lease, Finished::Untouched).await;
                    Confirmed::Session(newest)
                }
            }
            Ok(Begun::Busy) => Confirmed::Unknown,
            Ok(Begun::Spent) => {
                if let Some(refreshable) = session.refreshable() {
                    refreshable.give_up();
                }
                audit(Event::RefreshFailure, app, token, session, "token_may_be_spent");
                alive(session, self.world.now())
            }
            Ok(Begun::Gone) => Confirmed::Ended,
            Err(error) => {
                self.store_failed(app, &error);
                Confirmed::Unknown
            }
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

    fn store_failed(&self, app: &Application, error: &StoreError) {
        if let Some(further) = self.rarely_store.due() {
            tracing::warn!(application = %app.slug, %error, further, "a refresh could not be written down");
        }
    }
}

/// A refresh by the one who has the right to it.
struct Asking<'a> {
    logins: &'a Logins,
    app: &'a Application,
    provider: &'a Provider,
    token: &'a SessionToken,
    session: &'a Arc<Session>,
    lease: &'a Lease,
}

impl Asking<'_> {
    async fn ask(&self) -> Confirmed {
        let Some(refreshable) = self.session.refreshable() else { return Confirmed::Unknown };
        let id_token = self.session.identity().id_token();
        let previous = PreviousLogin { id_token, refresh_token: &refreshable.token };
        let began = Instant::now();
        let result = self.provider.refresh_login(&previous).await;
        if matches!(&result, Err(failure) if failure.error.is_absence() && began.elapsed() >= WAIT) {
            self.logins.absences.begin(self.provider.name(), self.logins.world.now());
        }
        let name = result.as_ref().map_or_else(|failure| failure.error.as_str(), |_| "renewed");
        self.logins.metrics.refresh(&self.app.identity_provider, name);
        match result {
            Ok(refreshed) if refreshed.lost_sid => self.end("provider_session_ended").await,
            Ok(refreshed) => self.renew(refreshed).await,
            Err(failure) => self.fall_back(refreshable, failure).await,
        }
    }

    async fn renew(&self, refreshed: Refreshed) -> Confirmed {
        let Ok(identity) = Identity::from_claims(&refreshed.claims, &self.provider.settings().claims) else {
            return self.end("claims_name_nobody").await;
        };
        let now = self.logins.world.now();
        let ends = [refreshed.id_token_expires_at(), refreshed.access_token_lifetime.map(|lifetime| now + lifetime)];
        let schedule = self.logins.schedule(now, ends);
        let id_token = refreshed.id_token.as_deref().unwrap_or_else(|| self.session.identity().id_token());
        // A provider that gives no new ID token says nothing about its session either.
        let session_id = refreshed.session_id().or_else(|| self.session.session_id()).map(str::to_owned);
        // OIDC Core §12.2: a refresh changes nothing about how the user signed in, and need not repeat it.
        let mut claims = refreshed.claims;
        for name in ["acr", "auth_time", "amr"] {
            if let (None, Some(claim)) = (claims.get(name), self.session.identity().claims().get(name)) {
                claims.insert(name.to_owned(), claim.clone());
            }
        }
        let renewal = Renewal {
            identity: self.app.pack(identity, id_token, &claims),
            provider: ProviderSide {
                session_id,
                refreshable: schedule.map(|schedule| Refreshable {
                    token: refreshed.refresh_token,
                    rotates: Some(refreshed.rotated),
                    schedule,
                }),
                silent_login: None,
                asked: self.session.asked().cloned().unwrap_or_default(),
            },
        };
        self.keep(Arc::new(self.session.renewed(renewal))).await
    }

    async fn fall_back(&self, refreshable: &Refreshable, failure: RefreshFailure) -> Confirmed {
        let (consequence, now) = (failure.consequence(), self.logins.world.now());
        if consequence == Consequence::EndSession {
            return self.end(failure.error.as_str()).await;
        }
        self.tell(&failure);
        match (consequence, failure.rotated) {
            (Consequence::TokenSpent, _) => {
                self.finish(Finished::Unanswered).await;
                if refreshable.is_reusable() {
                    return Confirmed::Unknown;
                }
                refreshable.give_up();
                audit(Event::RefreshFailure, self.app, self.token, self.session, "token_may_be_spent");
                alive(self.session, now)
            }
            (Consequence::TryLater | Consequence::EndSession, Some(token)) => {
                let schedule = Schedule::new(now + RETRY, refreshable.schedule.confirm_by());
                let renewal = Renewal {
                    identity: self.session.identity().clone(),
                    provider: ProviderSide {
                        session_id: self.session.session_id().map(str::to_owned),
                        refreshable: Some(Refreshable { token, rotates: Some(true), schedule }),
                        silent_login: None,
                        asked: self.session.asked().cloned().unwrap_or_default(),
                    },
                };
                self.keep(Arc::new(self.session.renewed(renewal))).await
            }
            (Consequence::TryLater | Consequence::EndSession, None) => {
                self.finish(Finished::Untouched).await;
                Confirmed::Unknown
            }
        }
    }

    /// Once a minute for a provider that is away: it concerns all sessions, and requests go on.
    fn tell(&self, failure: &RefreshFailure) {
        if let Some(further) = self.logins.rarely_refreshed.due() {
            tracing::warn!(
                application = %self.app.slug,
                identity_provider = %self.app.identity_provider,
                user = self.session.identity().label(),
                error = %failure.error,
                further,
                "a login could not be refreshed"
            );
        }
    }

    /// Writes down what a refresh brought.
    async fn keep(&self, renewed: Arc<Session>) -> Confirmed {
        match self.finish(Finished::Renewed(Arc::clone(&renewed))).await {
            Some(true) => Confirmed::Session(renewed),
            // It was signed out or revoked meanwhile, or an earlier try was heard and its answer lost.
            Some(false) => {
                let newest = self.reload().await;
                if let (Confirmed::Ended, Some(refreshable)) = (&newest, renewed.refreshable()) {
                    // Nobody will use the new token; where the provider does not hear it, it ends there by itself.
                    let _ = self.provider.revoke(&refreshable.token).await;
                }
                newest
            }
            None => {
                if let Some(refreshable) = self.session.refreshable() {
                    refreshable.give_up();
                }
                Confirmed::Unknown
            }
        }
    }

    async fn finish(&self, finished: Finished) -> Option<bool> {
        self.logins.finish(self.app, self.token, self.lease, finished).await
    }

    async fn reload(&self) -> Confirmed {
        match self.logins.store.load(self.token).await {
            Ok(session) => session.map_or(Confirmed::Ended, Confirmed::Session),
            Err(_) => Confirmed::Unknown,
        }
    }

    async fn end(&self, reason: &str) -> Confirmed {
        match self.logins.store.remove(self.token).await {
            Ok(_) => {
                audit(Event::Logout, self.app, self.token, self.session, reason);
                Confirmed::Ended
            }
            Err(error) => {
                self.logins.store_failed(self.app, &error);
                Confirmed::Unknown
            }
        }
    }
}

fn alive(session: &Arc<Session>, now: UnixTime) -> Confirmed {
    if session.lives(now) { Confirmed::Session(Arc::clone(session)) } else { Confirmed::Ended }
}

fn audit(event: Event, app: &Application, token: &SessionToken, session: &Session, reason: &str) {
    Audited::new(app, token, session).line(event, reason).write();
}

/// Providers that did not answer a moment ago: asking for each of many sessions would take a time-out each.
#[derive(Default)]
pub(super) struct Absences(Mutex<HashMap<String, UnixTime>>);

impl Absences {
    fn begin(&self, provider: &str, now: UnixTime) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(provider.to_owned(), now + ABSENCE);
    }

    fn lasts(&self, provider: &str, now: UnixTime) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(provider).is_some_and(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    #[tokio::test]
    async fn whoever_comes_during_a_flight_joins_it() {
        let flights = Flights::default();
        let key = || SessionToken::generate(&World::system()).unwrap().key();
        let (one, other) = (key(), key());
        assert!(flights.join(one, || false).is_none());
        let (mut first, pilot) = flights.join(one, || true).unwrap();
        let (mut second, none) = flights.join(one, || unreachable!("nobody begins another")).unwrap();
        assert!(none.is_none());
        let (mut panicked, fallen) = flights.join(other, || true).unwrap();
        flights.land(&one);
        pilot.unwrap().send_replace(Some(Confirmed::Ended));
        for flight in [&mut first, &mut second] {
            assert!(matches!(*flight.wait_for(Option::is_some).await.unwrap(), Some(Confirmed::Ended)));
        }
        assert!(flights.join(one, || true).unwrap().1.is_some(), "it has landed");
        drop(fallen);
        assert!(panicked.wait_for(Option::is_some).await.is_err());
    }

    #[test]
    fn an_absence_is_of_one_provider_and_ends() {
        let (absences, now) = (Absences::default(), UnixTime::from_secs(100));
        absences.begin("one", now);
        for (provider, later, expected) in [("one", 0, true), ("one", 4, true), ("one", 5, false), ("other", 0, false)]
        {
            assert_eq!(absences.lasts(provider, now + Duration::from_secs(later)), expected, "{provider} {later}");
        }
        absences.begin("one", now + Duration::from_secs(4));
        assert!(absences.lasts("one", now + Duration::from_secs(8)));
    }
}
