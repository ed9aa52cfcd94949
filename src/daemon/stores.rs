//! The store of sessions that the settings ask for.

use std::sync::Arc;

use secrecy::ExposeSecret;

use super::StartError;
use crate::cookie::Sealer;
use crate::session::{FileStore, MemoryStore, RedisStore, SessionStore, StateDirectory, StoreError, StoreParts};
use crate::settings::{self, Settings};
use crate::world::World;

/// Where sessions are kept, and what seals the cookies of logins that are under way: both out of one secret.
pub(super) fn sessions(settings: &Settings, world: &World) -> Result<(Arc<dyn SessionStore>, Sealer), StartError> {
    let session = &settings.session;
    let parts = |secret| StoreParts {
        secret,
        max_sessions: session.max_sessions,
        lifetime: session.lifetime,
        idle_timeout: session.idle_timeout,
        world: world.clone(),
    };
    match &session.store {
        settings::Store::Memory => {
            let random = world.random::<32>()?;
            let secret = session.secret.as_ref().map_or(random.as_slice(), |secret| secret.expose_secret().as_bytes());
            tracing::info!(store = "memory", "sessions are kept");
            Ok((Arc::new(MemoryStore::new(parts(secret))), Sealer::new(secret)))
        }
        settings::Store::File(path) => {
            let directory = StateDirectory::open(path)?;
            let secret = match &session.secret {
                Some(secret) => secret.clone(),
                None => directory.secret(world)?,
            };
            let secret = secret.expose_secret().as_bytes();
            let store = FileStore::new(directory, parts(secret))?;
            tracing::info!(store = "file", directory = %path.display(), sessions = store.count(), "sessions are kept");
            Ok((Arc::new(store), Sealer::new(secret)))
        }
        settings::Store::Redis(redis) => {
            let missing = || StartError::Redis(StoreError("session.secret is missing".to_owned()));
            let secret = session.secret.as_ref().ok_or_else(missing)?.expose_secret().as_bytes();
            let store = RedisStore::new(redis, parts(secret)).map_err(StartError::Redis)?;
            let servers = redis.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            tracing::info!(store = "redis", servers, "sessions are kept");
            Ok((Arc::new(store), Sealer::new(secret)))
        }
    }
}
