//! HTTP: which path is whose, what is answered, and the handlers that tie the parts together.

mod addressed;
mod browser;
mod check;
mod failure;
mod handler;
#[cfg(any(test, fuzzing))]
pub(crate) mod invariants;
mod logout;
mod outcome;
mod outpost;
mod render;
mod reply;
mod request;
mod resource;
mod route;
mod sessions;
mod status;
mod verdict;
mod visited;

pub use outpost::{Outpost, OutpostParts};
pub use route::{BrowserRoute, Route};
pub use status::Status;
pub(crate) use verdict::{DIALECTS, VERDICTS};

#[cfg(test)]
mod tests;
