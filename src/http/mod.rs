//! HTTP: which path is whose, what is answered, and the handlers that tie the parts together.

mod addressed;
mod browser;
mod check;
mod credentials;
mod failure;
#[cfg(any(test, fuzzing))]
pub(crate) mod invariants;
mod logout;
mod outpost;
mod refusal;
mod reply;
mod request;
mod route;
mod status;
mod verdict;

pub use outpost::{Outpost, OutpostParts};
pub use route::{BrowserRoute, Route};
pub use status::Status;
pub(crate) use verdict::{DIALECTS, VERDICTS};

#[cfg(test)]
mod tests;
