//! Forepost: a forward-auth outpost for any OpenID provider.
//!
//! A reverse proxy asks about every request; the answer is 200 with identity headers, or the way to a login.
//! `docs/ARCHITECTURE.md` tells the life of a request.

pub mod access;
pub mod admin;
pub mod app;
pub mod application_id;
pub mod catalog;
pub mod cli;
pub mod cookie;
pub mod credentials;
pub mod daemon;
pub mod forwarded;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod host;
pub mod http;
pub mod identity;
pub mod lifecycle;
mod limit;
pub mod login;
pub mod logout;
pub mod oidc;
mod pages;
pub mod refresh;
pub mod serve;
pub mod session;
pub mod settings;
pub mod sources;
pub mod telemetry;
pub mod tls;
mod unicode;
pub mod world;
