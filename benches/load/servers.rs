//! The servers that are compared: processes of their own, on one core, that end with the benchmark.

use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::cpu::{self, Memory};
use super::options::Options;
use super::sessions::CLIENT;
use super::{Fallible, request};

/// For a server to listen.
pub(crate) const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// A running server; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Where it serves HTTP.
    pub(crate) address: SocketAddr,
    /// The same with HTTP/2, known in advance.
    pub(crate) http2: SocketAddr,
}

impl Server {
    pub(crate) fn start(mut command: Command, address: SocketAddr) -> Fallible<Self> {
        let child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        Ok(Self { child, address, http2: address })
    }

    /// Waits until it listens.
    pub(crate) fn listening(mut self) -> Fallible<Self> {
        let began = tokio::time::Instant::now();
        while std::net::TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!(
                    "a server ended with {status} before it listened; forepost says why with --log FILE"
                )
                .into());
            }
            if began.elapsed() > STARTS_WITHIN {
                return Err("a server does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(self)
    }

    /// Nanoseconds that it and its children have computed.
    pub(crate) fn cpu(&self) -> Fallible<u64> {
        cpu::nanoseconds(self.child.id())
    }

    /// What it and its children hold.
    pub(crate) fn memory(&self) -> Fallible<Memory> {
        Memory::of(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // By TERM, so that a master takes its workers along; a process that has ended needs none.
        let _ = Command::new("kill").arg(self.child.id().to_string()).stderr(Stdio::null()).status();
        let began = tokio::time::Instant::now();
        while began.elapsed() < Duration::from_secs(2) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command on core `core` that the kernel kills when the benchmark ends, however that happens.
pub(crate) fn pinned(core: usize, program: &OsStr) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--", "taskset", "-c", &core.to_string()]).arg(program);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// An address of this machine on which no process listens.
pub(crate) fn free_address() -> Fallible<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Where and how servers are started.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// For configurations and logs.
    pub(crate) folder: PathBuf,
    /// The servers' core.
    pub(crate) core: usize,
}

impl Place {
    /// The daemon for sessions of `issuer`, with a configuration as a user has it.
    pub(crate) fn forepost(&self, issuer: &str, options: &Options) -> Fallible<Server> {
        let (http, metrics) = (free_address()?, free_address()?);
        let config = self.folder.join(format!("forepost-{}.toml", http.port()));
        let max_sessions = 2 * options.growth().last().copied().unwrap_or_default();
        let (id, secret) = CLIENT;
        let host = request::HOST;
        fs::write(
            &config,
            format!(
                r#"
[server]
http = "{http}"
metrics = "{metrics}"
trusted_proxies = ["127.0.0.0/8"]

[identity_provider.company]
issuer = "{issuer}"
client_id = "{id}"
client_secret = "{secret}"
scopes = ["openid", "profile", "email", "groups"]

[[application]]
name = "Projects"
external_host = "https://{host}"
required_groups = ["staff", "contractors"]
public_paths = [
    {{ path = "/robots.txt" }},
    {{ prefix = "/static", methods = ["GET", "HEAD"] }},
    {{ regex = '/api/v[0-9]+/health' }},
]

[session]
max_sessions = {max_sessions}
"#
            ),
        )?;
        let mut command = pinned(self.core, env!("CARGO_BIN_EXE_forepost").as_ref());
        command.arg("--config").arg(&config).stderr(fs::File::options().create(true).append(true).open(&options.log)?);
        for setting in &options.set {
            command.arg("--set").arg(setting);
        }
        Server::start(command, http)
    }

    /// This program as the server that says the same to everybody.
    pub(crate) fn hello(&self, headers: &str) -> Fallible<Server> {
        let address = free_address()?;
        let file = self.folder.join("hello.headers");
        fs::write(&file, headers)?;
        let mut command = pinned(self.core, std::env::current_exe()?.as_os_str());
        command.args(["--bench", "--hello", &address.to_string(), "--headers"]).arg(file);
        Server::start(command, address)
    }
}
