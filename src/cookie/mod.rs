//! Cookies: names, attributes, reading them as proxies pass them on, and sealing their values.

mod policy;
mod scan;
mod seal;

pub use policy::CookiePolicy;
pub use scan::cookies;
pub use seal::{Sealer, SealerError};
