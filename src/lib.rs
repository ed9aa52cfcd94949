//! Forepost: a forward-auth outpost for any OpenID provider.
//!
//! A reverse proxy asks about every request; the answer is 200 with identity headers, or the way to a login.
//! `docs/ARCHITECTURE.md` tells the life of a request.

pub mod host;
pub mod identity;
pub mod lifecycle;
pub mod serve;
pub mod settings;
pub mod world;
