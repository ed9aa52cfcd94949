//! Cookies: names, attributes, parsing of `Cookie` fields, sealing of values.

#[cfg(any(test, fuzzing))]
pub(crate) mod invariants;
mod policy;
mod scan;
mod seal;

pub use policy::CookiePolicy;
pub use scan::{CookieName, cookies};
pub use seal::{Sealer, SealerError};
