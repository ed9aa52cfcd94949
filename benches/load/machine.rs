//! Where it was measured.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::Fallible;
use super::nginx::nginx_version;

/// Cores of the client and of the servers: the first and the last that this process may use.
pub(crate) fn cores() -> Fallible<(usize, usize)> {
    let status = fs::read_to_string("/proc/self/status")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default().trim();
    let mut numbers = list.split([',', '-']).filter_map(|number| number.parse().ok());
    let first = numbers.next().ok_or("the kernel does not say which cores may be used")?;
    Ok((first, numbers.next_back().unwrap_or(first)))
}

/// How many others computed when the benchmark began: above some tenths its numbers are not to be quoted.
const LOAD: &str = "load before";

/// Processor, kernel, and the versions of what is compared.
#[derive(Clone, Debug)]
pub(crate) struct Machine(Vec<(&'static str, String)>);

impl Machine {
    /// Of this machine.
    pub(crate) fn look() -> Fallible<Self> {
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        let cores = processor.lines().filter(|line| line.starts_with("processor")).count();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let rustc = Command::new("rustc").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let (major, minor, patch) = nginx_version()?;
        Ok(Self(vec![
            ("processor", model.trim_start_matches([' ', '\t', ':']).to_owned()),
            ("cores", cores.to_string()),
            ("kernel", kernel.trim().to_owned()),
            ("nginx", format!("{major}.{minor}.{patch}")),
            ("rustc", String::from_utf8_lossy(&rustc).trim().split(' ').nth(1).unwrap_or_default().to_owned()),
            ("forepost", env!("CARGO_PKG_VERSION").to_owned()),
            (LOAD, load.split(' ').next().unwrap_or_default().to_owned()),
        ]))
    }

    /// One line, without what else went on.
    pub(crate) fn line(&self) -> String {
        self.0
            .iter()
            .filter(|(name, _)| *name != LOAD)
            .map(|(name, value)| format!("{name} {value}"))
            .collect::<Vec<_>>()
            .join(" · ")
    }

    /// The load average when the benchmark began.
    pub(crate) fn load(&self) -> &str {
        self.0.iter().find(|(name, _)| *name == LOAD).map_or("", |(_, value)| value)
    }

    /// All of it as an object.
    pub(crate) fn json(&self) -> Value {
        self.0.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
    }
}
