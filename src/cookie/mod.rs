//! Cookies: names, attributes, reading them as proxies pass them on, and sealing their values.

#[cfg(any(test, fuzzing))]
pub(crate) mod invariants;
mod policy;
mod scan;
mod seal;

pub use policy::CookiePolicy;
pub use scan::{CookieName, cookies};
pub use seal::{Sealer, SealerError};
