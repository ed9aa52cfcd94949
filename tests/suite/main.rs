//! Black-box tests over HTTP: forepost between proxies, providers and browsers.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

#[path = "../../examples/demo/configuration.rs"]
mod configuration;
#[path = "../../examples/demo/provider/mod.rs"]
mod provider;
#[path = "../../examples/demo/proxy/mod.rs"]
mod proxy;
#[expect(dead_code, reason = "the demo prints what it was started with")]
#[path = "../../examples/demo/running.rs"]
mod running;
#[path = "../../examples/demo/web.rs"]
mod web;

mod architecture;
mod attempts;
mod browser;
mod claims;
mod command;
mod concurrency;
mod contract;
mod docker;
mod faults;
mod hostile;
mod login;
mod logout;
mod policy;
mod providers;
mod proxies;
mod readme;
mod refresh;
mod reload;
mod replicas;
mod restart;
mod security;
mod sessions;
mod support;
mod token;
mod tokens;
