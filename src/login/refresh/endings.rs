use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use super::GLANCE;
use crate::app::Application;
use crate::limit::Backoff;
use crate::login::Logins;
use crate::session::{Audited, Session, SessionKey, SessionToken};
use crate::telemetry::audit::{Asker, Event};

/// Whoever ends a session waits so long for the store; after that it is ended beside the requests.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two tries, once there were some.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Sessions for which nobody vouches any more, while the store has not removed them yet: here nobody is let in with them.
#[derive(Default)]
pub(in crate::login) struct Endings {
    /// How many there are, so that a check looks no further.
    count: AtomicUsize,
    keys: Mutex<HashSet<SessionKey>>,
}

impl Endings {
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

    fn have(&self, token: &SessionToken) -> bool {
        self.count.load(Ordering::Acquire) != 0 && self.keys.lock().contains(&token.key())
    }
}

impl Logins {
    /// Whether the session behind `token` has ended, although the store still has it.
    #[must_use]
    pub fn has_ended(&self, token: &SessionToken) -> bool {
        self.endings.have(token)
    }

    /// Ends sessions that one request brought, as `Logins::end` does.
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

    /// Ends a session for which nobody vouches any more: in this process at once, and for all as soon as the store does it.
    pub(in crate::login) async fn end(
        self: &Arc<Self>,
        app: &Arc<Application>,
        token: &SessionToken,
        session: &Session,
        reason: &str,
        asker: Option<&Asker>,
    ) {
        if !self.endings.begin(token.key()) {
            return;
        }
        {
            let ended = Audited::new(&app.id, app.provider.name(), token, session);
            let line = ended.line(Event::Logout, reason);
            asker.map_or(line, |asker| line.asked_by(asker)).write();
        }
        let (logins, app, token, until) = (Arc::clone(self), Arc::clone(app), token.clone(), session.expires_at());
        // In a task of its own, so that it is done whoever no longer waits for it.
        let task = self.tasks.spawn(async move {
            let mut backoff = Backoff::new(GLANCE, LONGEST_PAUSE);
            while let Err(error) = logins.store.remove(&token).await {
                logins.store_failed(&app, &error);
                if until <= logins.world.now() {
                    break;
                }
                sleep(backoff.pause()).await;
            }
            logins.endings.finish(&token.key());
        });
        // It goes on where this ends.
        let _ = timeout(PATIENCE, task).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    #[test]
    fn what_ends_is_known_until_it_has_ended() {
        let endings = Endings::default();
        let token = || SessionToken::generate(&World::system()).unwrap();
        let (one, other) = (token(), token());
        assert!(!endings.have(&one));
        assert!(endings.begin(one.key()) && !endings.begin(one.key()));
        assert!(endings.begin(other.key()));
        endings.finish(&other.key());
        assert!(endings.have(&one) && !endings.have(&other));
        endings.finish(&one.key());
        assert!(!endings.have(&one));
    }
}
