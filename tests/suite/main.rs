//! Black-box tests over HTTP: forepost between proxies, providers and browsers.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

#[expect(dead_code, reason = "the demo uses the rest")]
#[path = "../../examples/demo/provider/mod.rs"]
mod provider;
#[path = "../../examples/demo/web.rs"]
mod web;

mod command;
mod contract;
mod hostile;
mod login;
mod support;
