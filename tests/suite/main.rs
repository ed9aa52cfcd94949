//! Black-box tests over HTTP: forepost between proxies, providers and browsers.

#[expect(dead_code, reason = "the demo uses the rest")]
#[path = "../../examples/demo/provider/mod.rs"]
mod provider;
#[path = "../../examples/demo/web.rs"]
mod web;

mod contract;
mod readme;
mod support;
