//! Refresh tokens of sessions that were signed out.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::oidc::Provider;
use crate::session::Session;

/// Requests under way at once; a provider that is slow must not fill the memory.
const MOST_AT_ONCE: usize = 256;

/// Takes refresh tokens back at the provider, while nobody waits for it (RFC 7009).
#[derive(Debug)]
pub(super) struct Revoker {
    tasks: TaskTracker,
    room: Arc<Semaphore>,
}

impl Revoker {
    pub(super) fn new(tasks: TaskTracker) -> Self {
        Self { tasks, room: Arc::new(Semaphore::new(MOST_AT_ONCE)) }
    }

    /// Revokes the refresh token of a session that is gone, where it had one; tried once.
    pub(super) fn revoke(&self, provider: &Arc<Provider>, session: &Arc<Session>) {
        if session.refreshable().is_none() {
            return;
        }
        let (provider, session) = (Arc::clone(provider), Arc::clone(session));
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            return warn(&provider, &"too many are being revoked");
        };
        self.tasks.spawn(async move {
            let _room = room;
            if let Some(refreshable) = session.refreshable()
                && let Err(error) = provider.revoke(&refreshable.token).await
            {
                warn(&provider, &error);
            }
        });
    }
}

fn warn(provider: &Provider, error: &dyn std::fmt::Display) {
    tracing::warn!(
        identity_provider = provider.name(),
        %error,
        "a refresh token was not revoked at sign-out and lives on at the provider"
    );
}
