//! What tests stand on: a browser, a daemon on free ports, a provider.

mod browser;
pub(crate) mod process;
mod stage;

pub(crate) use browser::{Browser, Reply};
pub(crate) use stage::{APPLICATIONS, Stage, client, fill_in, start_daemon};
