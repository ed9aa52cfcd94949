//! Request ids, which pages, answers and log lines show.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::world::World;

/// The id of a request. It is formatted only when it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    prefix: u32,
    number: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.prefix, self.number)
    }
}

/// Makes request ids: a prefix of this process and a number.
#[derive(Debug)]
pub struct RequestIds {
    prefix: u32,
    next: AtomicU64,
}

impl RequestIds {
    /// Takes a random prefix, so that the ids of two runs differ in a log.
    #[must_use]
    pub fn new(world: &World) -> Self {
        let prefix = world.random::<4>().map_or(0, u32::from_be_bytes);
        Self { prefix, next: AtomicU64::new(1) }
    }

    /// The next id.
    pub fn next(&self) -> RequestId {
        RequestId { prefix: self.prefix, number: self.next.fetch_add(1, Ordering::Relaxed) }
    }
}
