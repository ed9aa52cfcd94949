//! What tests stand on: a browser, a daemon on free ports, providers, and programs that were installed for them.

mod browser;
mod clock;
mod openid;
pub(crate) mod podman;
pub(crate) mod port;
pub(crate) mod process;
pub(crate) mod redis;
pub(crate) mod relay;
mod stage;
pub(crate) mod tool;

pub(crate) use browser::{Browser, Reply};
pub(crate) use clock::Hands;
pub(crate) use openid::{OpenIdProvider, told};
pub(crate) use stage::{APPLICATIONS, Stage, ask, client, fill_in, start_daemon, start_tuned, until_answer};

/// The names of all dialects, in paths and on a [`Stage`].
pub(crate) const DIALECTS: [&str; 4] = ["traefik", "caddy", "nginx", "envoy"];
