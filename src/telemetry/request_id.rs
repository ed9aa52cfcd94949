//! Names for requests, which pages, answers and log lines share.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::world::World;

/// The name of one request; it becomes text only where it is shown.
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

/// Gives each request a name: a prefix of this process and a number.
#[derive(Debug)]
pub struct RequestIds {
    prefix: u32,
    next: AtomicU64,
}

impl RequestIds {
    /// With a random prefix, so that the names of two runs do not mix in a log.
    #[must_use]
    pub fn new(world: &World) -> Self {
        let prefix = world.random::<4>().map_or(0, u32::from_be_bytes);
        Self { prefix, next: AtomicU64::new(1) }
    }

    /// The next name.
    pub fn next(&self) -> RequestId {
        RequestId { prefix: self.prefix, number: self.next.fetch_add(1, Ordering::Relaxed) }
    }
}
