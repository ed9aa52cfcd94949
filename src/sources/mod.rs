//! Sources of configuration that can change while forepost runs.

#[cfg(test)]
mod contract;
mod docker;
mod files;
mod warnings;

use std::future::Future;

pub use self::docker::Docker;
pub(crate) use self::files::FILES;
pub use self::files::Files;
pub(crate) use self::warnings::warn_about;
use crate::catalog::{Declaration, ReloadRequest};

/// Where declarations of identity providers and applications come from.
pub trait Source: Send {
    /// The name for logs, metrics and commands: `files`, `docker`.
    fn name(&self) -> &'static str;

    /// Waits until what the source says has changed, and reads all of it.
    ///
    /// The future may be dropped while it waits; a later call misses nothing. A source logs its own mistakes.
    fn next(&mut self) -> impl Future<Output = Reading> + Send;
}

/// Everything that a source says.
#[derive(Debug, Default)]
pub struct Reading {
    /// All that it declares now. What cannot be read is declared as it was before.
    pub declarations: Vec<Declaration>,
    /// What is wrong, and stays as it was before; without secrets.
    pub mistakes: Vec<String>,
    /// Keys that differ from those of the running daemon and change with a restart only.
    pub needs_restart: Vec<&'static str>,
    /// Whether the source cannot be reached, so that this is what it said before.
    pub stale: bool,
    /// The request that caused this reading and waits for what comes of it.
    pub asked_by: Option<ReloadRequest>,
}
