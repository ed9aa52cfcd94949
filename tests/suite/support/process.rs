//! The `forepost` command as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::Value;

use super::client;
use crate::provider::{Config, Provider};

const ORIGIN: &str = "https://app.example.com";

/// The command with no settings of this machine.
pub(crate) fn forepost(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forepost"));
    command.args(arguments).env_clear().envs(environment.iter().copied());
    // No ./forepost.toml lies here.
    command.current_dir(env!("CARGO_TARGET_TMPDIR")).stdin(Stdio::null());
    command
}

/// An honest provider that knows us.
pub(crate) async fn provider() -> Provider {
    let config = Config { clients: vec![client("proxy", Some("proxy-secret"), &[ORIGIN])], ..Config::default() };
    Provider::start(config).await.unwrap()
}

/// The environment of one application at `issuer`, on free ports.
pub(crate) fn quick_start(issuer: &str) -> Vec<(&'static str, String)> {
    vec![
        ("FOREPOST_ISSUER", issuer.to_owned()),
        ("FOREPOST_CLIENT_ID", "proxy".into()),
        ("FOREPOST_CLIENT_SECRET", "proxy-secret".into()),
        ("FOREPOST_EXTERNAL_HOST", ORIGIN.into()),
        ("FOREPOST_SERVER__HTTP", "127.0.0.1:0".into()),
        ("FOREPOST_SERVER__METRICS", "127.0.0.1:0".into()),
    ]
}

/// The same, as [`forepost`] takes it.
pub(crate) fn borrowed<'a>(environment: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    environment.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// A running daemon; ended when dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    pub(crate) fn start(environment: &[(&str, &str)]) -> Self {
        let mut child = forepost(&["--set", "log.format=json"], environment).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// The first line of the log of which `wanted` makes something, waited for where it has not come yet; lines of
    /// different tasks come in any order.
    pub(crate) fn until<T>(&mut self, wanted: impl Fn(&Value) -> Option<T>) -> T {
        let mut at = 0;
        loop {
            if at == self.seen.len() {
                let line = self.lines.recv().unwrap_or_else(|_| panic!("the log ended: {:#?}", self.seen));
                self.seen.push(line);
            }
            let line = &self.seen[at];
            let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            if let Some(found) = wanted(&value) {
                return found;
            }
            at += 1;
        }
    }

    /// Leaves the lines that were read so far out of what [`Self::until`] looks at.
    pub(crate) fn forget(&mut self) {
        self.seen.extend(self.lines.try_iter());
        self.seen.clear();
    }

    pub(crate) fn address(&mut self, listener: &str) -> SocketAddr {
        self.until(|line| (line["listener"] == listener).then(|| line["address"].as_str().unwrap().parse().unwrap()))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end; the exit code and the whole log.
    pub(crate) fn end(mut self) -> (Option<i32>, Vec<String>) {
        let code = self.child.wait().unwrap().code();
        self.seen.extend(self.lines.iter());
        (code, std::mem::take(&mut self.seen))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already ended where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
