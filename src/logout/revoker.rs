//! Revocation of the refresh tokens of sessions that were signed out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::oidc::{OidcError, Provider};
use crate::session::Session;
use crate::telemetry::WithCauses;

/// The time from a sign-out to the revocation, when the browser does not come back before.
const BROWSER_WAIT: Duration = Duration::from_mins(1);

/// Sign-outs whose tokens wait; each keeps a session in memory.
const MOST_WAITING: usize = 10_000;

/// Requests under way at once; a provider that is slow must not fill the memory.
const MOST_AT_ONCE: usize = 256;

/// Revokes refresh tokens at the provider (RFC 7009), after its own sign-out and beside the requests.
///
/// A provider may hang its own session on the token: with the token Keycloak takes the client out of the session, and then
/// tells neither the client's other applications nor the provider behind it of the sign-out that the browser is on its way
/// to. So that one comes first. A token that it ended already loses nothing by a revocation (RFC 7009 §2.2), and one that
/// outlives it, as offline tokens do, ends.
///
/// What waits is in memory. An orderly stop of the daemon revokes it first; after a crash the provider ends it.
pub struct Revoker {
    tasks: TaskTracker,
    turns: Arc<Semaphore>,
    waiting: Mutex<HashMap<String, Waiting>>,
    unnamed: AtomicU64,
    hurry: CancellationToken,
    wait: Duration,
}

/// A sign-out whose browser is at the provider.
struct Waiting {
    provider: Arc<Provider>,
    sessions: Vec<Arc<Session>>,
    /// Ends the wait.
    came_back: oneshot::Sender<()>,
}

impl Revoker {
    /// Works in tasks of `tasks`.
    #[must_use]
    pub fn new(tasks: TaskTracker) -> Arc<Self> {
        Self::with_wait(tasks, BROWSER_WAIT)
    }

    fn with_wait(tasks: TaskTracker, wait: Duration) -> Arc<Self> {
        Arc::new(Self {
            tasks,
            turns: Arc::new(Semaphore::new(MOST_AT_ONCE)),
            waiting: Mutex::default(),
            unnamed: AtomicU64::new(0),
            hurry: CancellationToken::new(),
            wait,
        })
    }

    /// Revokes the refresh tokens of sessions that are gone, each tried once.
    pub fn revoke(self: &Arc<Self>, provider: &Arc<Provider>, sessions: Vec<Arc<Session>>) {
        for session in sessions.into_iter().filter(|session| session.refreshable().is_some()) {
            let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() else {
                warn(provider, "too many are being revoked");
                continue;
            };
            let provider = Arc::clone(provider);
            self.tasks.spawn(async move {
                let _turn = turn;
                revoke(&provider, &session).await;
            });
        }
    }

    /// The same once the provider's own sign-out had its turn: when the browser comes back with `name`, or after a minute.
    pub fn revoke_later(
        self: &Arc<Self>,
        provider: &Arc<Provider>,
        mut sessions: Vec<Arc<Session>>,
        name: Option<String>,
    ) {
        sessions.retain(|session| session.refreshable().is_some());
        if sessions.is_empty() {
            return;
        }
        // No browser can send a name like this.
        let name = name.unwrap_or_else(|| format!("#{}", self.unnamed.fetch_add(1, Ordering::Relaxed)));
        let (sender, came_back) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            if waiting.len() >= MOST_WAITING {
                drop(waiting);
                return self.revoke(provider, sessions);
            }
            waiting.insert(name.clone(), Waiting { provider: Arc::clone(provider), sessions, came_back: sender });
        }
        let revoker = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::select! {
                _ = came_back => {}
                () = tokio::time::sleep(revoker.wait) => {}
                () = revoker.hurry.cancelled() => {}
            }
            revoker.wait_no_longer(&name).await;
        });
    }

    /// The refresh token of a session that ended while it was refreshed: revoked with those of its sign-out, where there is one
    /// whose browser is at the provider, else now.
    pub fn revoke_renewed(self: &Arc<Self>, provider: &Arc<Provider>, session: Arc<Session>) {
        let is_it = |other: &Arc<Session>| {
            let named = other.session_id();
            other.is_of_user_of(&session)
                && (named == session.session_id() || named.is_some_and(|named| session.was_made_in(named)))
        };
        if let Some(waiting) = self.waiting().values_mut().find(|waiting| waiting.sessions.iter().any(is_it)) {
            waiting.sessions.push(session);
            return;
        }
        self.revoke(provider, vec![session]);
    }

    /// The browser of the sign-out that has this name was at the provider.
    pub fn came_back(&self, name: &str) {
        if let Some(waiting) = self.waiting().get_mut(name) {
            let (done, _) = oneshot::channel();
            // The task that waits for it may have stopped just now.
            let _ = std::mem::replace(&mut waiting.came_back, done).send(());
        }
    }

    /// Leaves alone the tokens of the provider's session in which a user has signed in again: many providers take back with
    /// one what the next login got as well. Where the provider says nothing of its session, the login may be another browser's,
    /// and cancels nothing.
    pub fn signed_in(&self, provider: &Provider, session: &Session) {
        let origin = session.origin();
        for waiting in self.waiting().values_mut() {
            if waiting.provider.settings().issuer == provider.settings().issuer {
                waiting.sessions.retain(|it| !it.origin().is_surely(&origin));
            }
        }
    }

    /// Revokes all waiting tokens at once, and lets none wait from now on, because the daemon ends.
    pub fn hurry(&self) {
        self.hurry.cancel();
    }

    /// How many sign-outs wait.
    #[cfg(test)]
    fn count(&self) -> usize {
        self.waiting().len()
    }

    async fn wait_no_longer(&self, name: &str) {
        let Some(Waiting { provider, sessions, .. }) = self.waiting().remove(name) else { return };
        for session in sessions {
            let Ok(_turn) = self.turns.acquire().await else { return };
            revoke(&provider, &session).await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.waiting.lock()
    }
}

async fn revoke(provider: &Provider, session: &Session) {
    let Some(refreshable) = session.refreshable() else { return };
    match provider.revoke(&refreshable.token).await {
        Ok(_) => {}
        // What RFC 7009 answers with 200: the sign-out has ended it.
        Err(OidcError::Refused { code, .. }) if matches!(&*code, "invalid_token" | "invalid_grant") => {}
        Err(error) => warn(provider, WithCauses(&error)),
    }
}

fn warn(provider: &Provider, error: impl std::fmt::Display) {
    tracing::warn!(
        identity_provider = provider.name(),
        %error,
        "a refresh token was not revoked at sign-out and lives on at the provider"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::samples::{provider_settings, single};
    use crate::session::samples::{alice, bob, tied};
    use crate::session::{ProviderSide, Refreshable, Schedule};
    use crate::telemetry::metrics::Metrics;
    use crate::world::{UnixTime, World};

    struct Scene {
        provider: Arc<Provider>,
        revoker: Arc<Revoker>,
    }

    impl Scene {
        /// With a provider that revokes nothing, so that it is asked for nothing.
        fn new() -> Self {
            Self::with_wait(BROWSER_WAIT)
        }

        fn with_wait(wait: Duration) -> Self {
            let metrics = Arc::new(Metrics::new("test", &[], &[]));
            let settings = provider_settings("https://id.example.com");
            let provider = Arc::new(Provider::known("idp", settings, World::system(), metrics));
            Self { provider, revoker: Revoker::with_wait(TaskTracker::new(), wait) }
        }

        fn leave(&self, session: &Arc<Session>, name: Option<&str>) {
            self.revoker.revoke_later(&self.provider, vec![Arc::clone(session)], name.map(str::to_owned));
        }

        /// How many tokens wait, once all has been done that can be.
        async fn waiting(&self) -> usize {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            self.revoker.waiting().values().map(|waiting| waiting.sessions.len()).sum()
        }
    }

    fn of(session: Session, session_id: Option<&str>) -> Arc<Session> {
        with_times(session, session_id, &[])
    }

    fn with_times(session: Session, session_id: Option<&str>, auth_times: &[u64]) -> Arc<Session> {
        let (session_id, auth_times) = (session_id.map(str::to_owned), auth_times.to_vec());
        let schedule = Schedule::new(UnixTime::from_secs(10), UnixTime::from_secs(20));
        let refreshable = Some(Refreshable { token: "token".to_owned().into(), rotates: None, schedule });
        Arc::new(tied(session, ProviderSide { session_id, auth_times, refreshable, ..ProviderSide::default() }))
    }

    fn alices(session_id: Option<&str>) -> Arc<Session> {
        of(alice(&single("https://app.example.com"), UnixTime::from_secs(1), BROWSER_WAIT, None), session_id)
    }

    #[tokio::test]
    async fn a_token_is_revoked_when_the_browser_is_back() {
        let scene = Scene::new();
        for name in [Some("one"), None, Some("other")] {
            scene.leave(&alices(None), name);
        }
        assert_eq!(scene.waiting().await, 3);
        for stranger in ["", "One", "one ", "another"] {
            scene.revoker.came_back(stranger);
            assert_eq!(scene.waiting().await, 3, "{stranger:?}");
        }
        for _ in 0..2 {
            scene.revoker.came_back("one");
            assert_eq!(scene.waiting().await, 2);
        }
        let scene = Scene::new();
        let without_token = alice(&single("https://app.example.com"), UnixTime::from_secs(1), BROWSER_WAIT, None);
        scene.leave(&Arc::new(without_token), None);
        assert_eq!(scene.revoker.count(), 0, "nothing waits for nothing");
    }

    #[tokio::test]
    async fn a_browser_that_does_not_come_back_is_not_waited_for() {
        let scene = Scene::with_wait(Duration::from_millis(1));
        scene.leave(&alices(None), Some("one"));
        while scene.waiting().await > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn nothing_waits_once_the_daemon_ends() {
        let scene = Scene::new();
        scene.leave(&alices(None), None);
        assert_eq!(scene.waiting().await, 1);
        scene.revoker.hurry();
        assert_eq!(scene.waiting().await, 0);
        scene.leave(&alices(None), None);
        assert_eq!(scene.waiting().await, 0);
    }

    #[tokio::test]
    async fn who_signs_in_again_in_the_same_session_keeps_it() {
        for (left, entered, waits) in [
            (Some("a"), alices(Some("a")), 0),
            (Some("a"), alices(Some("b")), 1),
            (Some("a"), alices(None), 1),
            // It may be another browser.
            (None, alices(None), 1),
            (None, alices(Some("a")), 1),
            (None, of(bob(&single("https://app.example.com"), UnixTime::from_secs(1), BROWSER_WAIT), None), 1),
        ] {
            let scene = Scene::new();
            scene.leave(&alices(left), Some("one"));
            scene.revoker.signed_in(&scene.provider, &entered);
            assert_eq!(scene.waiting().await, waits, "{left:?} {:?}", entered.session_id());
        }
    }

    #[tokio::test]
    async fn without_the_name_of_a_session_the_time_of_the_login_tells() {
        let app = single("https://app.example.com");
        let of = |times: &[u64]| with_times(alice(&app, UnixTime::from_secs(1), BROWSER_WAIT, None), None, times);
        for (left, entered, waits) in [
            (&[7][..], &[7][..], 0),
            (&[7, 8], &[8], 0),
            (&[7], &[8, 7], 0),
            // Another browser's.
            (&[7], &[8], 1),
            (&[7], &[], 1),
            (&[], &[7], 1),
        ] {
            let scene = Scene::new();
            scene.leave(&of(left), Some("one"));
            scene.revoker.signed_in(&scene.provider, &of(entered));
            assert_eq!(scene.waiting().await, waits, "{left:?} {entered:?}");
        }
    }

    #[tokio::test]
    async fn what_a_refresh_brought_too_late_waits_with_its_sign_out() {
        for (left, renewed, waits) in [(Some("a"), Some("a"), 2), (Some("a"), Some("b"), 1), (None, None, 2)] {
            let scene = Scene::new();
            scene.leave(&alices(left), Some("one"));
            scene.revoker.revoke_renewed(&scene.provider, alices(renewed));
            assert_eq!(scene.waiting().await, waits, "{left:?} {renewed:?}");
            scene.revoker.came_back("one");
            assert_eq!(scene.waiting().await, 0);
        }
    }

    #[tokio::test]
    async fn what_waits_is_bounded() {
        let scene = Scene::new();
        let session = alices(None);
        for _ in 0..MOST_WAITING + 10 {
            scene.leave(&session, None);
        }
        assert_eq!(scene.revoker.count(), MOST_WAITING);
    }
}
