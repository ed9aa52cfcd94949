//! A real browser: headless Chromium behind the demo's proxy, driven by one Node.js script per theme.
//!
//! A script gets its parameters as JSON in its first argument. It fails by ending with another status than 0, and says why on
//! standard error.

mod demo;
mod domain;
mod pages;
mod planted;
mod restart;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// A browser keeps a core busy; more of them at once would only time each other out.
static TURN: Semaphore = Semaphore::const_new(2);

/// Runs `SCRIPT.mjs` with these parameters to its end, and gives the JSON that it wrote.
async fn run(script: &str, mut parameters: Value) -> Value {
    let tools = std::env::var_os("FOREPOST_TEST_TOOLS");
    let tools = PathBuf::from(tools.expect("FOREPOST_TEST_TOOLS is not set: run tests/run, which installs the tools"));
    parameters["screenshots"] = json!(screenshots());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/browser");
    let mut node = Command::new(tools.join("bin/node"));
    node.arg(folder.join(script).with_extension("mjs")).arg(parameters.to_string()).stdin(Stdio::null());
    let _turn = TURN.acquire().await.unwrap();
    let ended = tokio::task::spawn_blocking(move || node.output());
    let ended = ended.await.unwrap().expect("node is missing: run tests/run, which installs the tools");
    let written = String::from_utf8_lossy(&ended.stdout);
    let failure = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{script}.mjs: {}\n{failure}", ended.status);
    serde_json::from_str(&written).unwrap_or_else(|error| panic!("{script}.mjs: {error}: {written:?}\n{failure}"))
}

/// For these hosts. The certificate is its own authority, and the browser is told to take it.
fn tls(names: &[&str]) -> Arc<ServerConfig> {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
    let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], signing_key.into());
    Arc::new(tls.unwrap())
}

/// Where pictures of the pages are kept: the directory that `FOREPOST_SCREENSHOTS` names, else one of the build.
fn screenshots() -> PathBuf {
    let folder = std::env::var_os("FOREPOST_SCREENSHOTS");
    let folder = folder.map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots"), PathBuf::from);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
