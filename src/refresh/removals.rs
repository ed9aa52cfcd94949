use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use super::{Refresher, STORE_PAUSE};
use crate::app::Application;
use crate::limit::Backoff;
use crate::session::{Audited, Session, SessionKey, SessionToken};
use crate::telemetry::audit::{Asker, Event};

/// How long a request waits for the removal of a session; it goes on beside the requests after that.
const WAIT: Duration = Duration::from_secs(1);

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Sessions that have ended and that the store has not removed yet. In this process they do not count any more.
#[derive(Default)]
pub(super) struct PendingRemovals {
    /// The number of them: mostly zero, and then a check takes no lock.
    count: AtomicUsize,
    keys: Mutex<HashSet<SessionKey>>,
}

impl PendingRemovals {
    fn begin(&self, key: SessionKey) -> bool {
        let mut keys = self.keys.lock();
        let is_new = keys.insert(key);
        self.count.store(keys.len(), Ordering::Release);
        is_new
    }

    fn finish(&self, key: &SessionKey) {
        let mut keys = self.keys.lock();
        keys.remove(key);
        self.count.store(keys.len(), Ordering::Release);
    }

    fn contains(&self, token: &SessionToken) -> bool {
        self.count.load(Ordering::Acquire) != 0 && self.keys.lock().contains(&token.key())
    }
}

impl Refresher {
    /// Whether the session of `token` has ended, although the store still has it.
    #[must_use]
    pub fn has_ended(&self, token: &SessionToken) -> bool {
        self.removals.contains(token)
    }

    /// Ends sessions that one request brought, as `Refresher::end` does.
    pub async fn end_all<'s>(
        self: &Arc<Self>,
        app: &Arc<Application>,
        sessions: impl Iterator<Item = (&'s SessionToken, &'s Session)>,
        reason: &str,
        asker: &Asker,
    ) {
        for (token, session) in sessions {
            self.end(app, token, session, reason, Some(asker)).await;
        }
    }

    /// Ends a session for which the provider does not vouch any more: in this process at once, and in others with its removal from
    /// the store.
    pub(crate) async fn end(
        self: &Arc<Self>,
        app: &Arc<Application>,
        token: &SessionToken,
        session: &Session,
        reason: &str,
        asker: Option<&Asker>,
    ) {
        if !self.removals.begin(token.key()) {
            return;
        }
        {
            let ended = Audited::new(app.provider.name(), token, session);
            let line = ended.line(Event::Logout, reason);
            asker.map_or(line, |asker| line.asked_by(asker)).write();
        }
        let (refresher, app, token, until) = (Arc::clone(self), Arc::clone(app), token.clone(), session.expires_at());
        // In a task of its own, so that it goes on when the request ends.
        let task = self.tasks.spawn(async move {
            let mut backoff = Backoff::new(STORE_PAUSE, LONGEST_PAUSE);
            while let Err(error) = refresher.store.remove(&token).await {
                refresher.store_failed(&app, &error);
                if until <= refresher.world.now() {
                    break;
                }
                sleep(backoff.pause()).await;
            }
            refresher.removals.finish(&token.key());
        });
        // The task goes on after the time-out.
        let _ = timeout(WAIT, task).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    #[test]
    fn what_ends_is_known_until_it_has_ended() {
        let removals = PendingRemovals::default();
        let token = || SessionToken::generate(&World::system()).unwrap();
        let (one, other) = (token(), token());
        assert!(!removals.contains(&one));
        assert!(removals.begin(one.key()) && !removals.begin(one.key()));
        assert!(removals.begin(other.key()));
        removals.finish(&other.key());
        assert!(removals.contains(&one) && !removals.contains(&other));
        removals.finish(&one.key());
        assert!(!removals.contains(&one));
    }
}
