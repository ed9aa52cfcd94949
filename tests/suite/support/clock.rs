//! A clock that the test turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use forepost::world::{Clock, UnixTime, World};

/// The hands of a clock; clones are those of the same one.
#[derive(Clone)]
pub(crate) struct Hands(Arc<AtomicU64>);

impl Hands {
    /// A clock that is right, and stands still.
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(World::system().now().as_secs())))
    }

    /// Turns it back, by whole seconds.
    pub(crate) fn set_back(&self, time: Duration) {
        self.0.fetch_sub(time.as_secs(), Ordering::Relaxed);
    }

    /// Turns it forward, by whole seconds.
    pub(crate) fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_secs(), Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.0.load(Ordering::Relaxed))
    }
}
