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
const STARTS_WITHIN: Duration = Duration::from_secs(10);

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
    fn start(mut command: Command, address: SocketAddr) -> Fallible<Self> {
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
        // By TERM, so that a master takes its workers along; whoever is gone already needs none.
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
fn pinned(core: usize, program: &OsStr) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--", "taskset", "-c", &core.to_string()]).arg(program);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// An address of this machine on which nobody listens.
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

    /// An nginx with one worker that answers 200 with these headers, one a line, and writes no log; `more` is what it is
    /// told beside its defaults.
    pub(crate) fn nginx(&self, headers: &str, more: &str) -> Fallible<Server> {
        let address = free_address()?;
        let headers = headers.lines().map(|line| add_header(line) + "\n").collect::<String>();
        let folder = self.folder.join(format!("nginx-{}", address.port()));
        fs::create_dir(&folder)?;
        let paths =
            ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|name| format!("{name}_temp_path {name};\n"));
        // Before 1.25.1 a port speaks either version.
        let http2 = free_address()?;
        let switch = if nginx_version()? >= (1, 25, 1) { "; http2 on" } else { " http2" };
        fs::write(
            folder.join("nginx.conf"),
            format!(
                "daemon off;\nworker_processes 1;\nerror_log stderr error;\npid nginx.pid;\n\
                 events {{ worker_connections 4096; }}\n\
                 http {{\naccess_log off;\nkeepalive_requests 1000000000;\nkeepalive_timeout 1h;\n\
                 {}{}\
                 server {{\nlisten {address};\nlisten {http2}{switch};\n{headers}return 200;\n}}\n}}\n",
                more,
                paths.concat()
            ),
        )?;
        let mut command = pinned(self.core, nginx_program()?.as_os_str());
        command.arg("-p").arg(&folder).args(["-e", "stderr", "-c", "nginx.conf"]);
        command.stderr(fs::File::create(folder.join("log"))?);
        let mut server = Server::start(command, address)?;
        server.http2 = http2;
        Ok(server)
    }
}

/// A line of nginx's configuration for a header; nginx leaves out what is empty and has no escape for a variable's sign.
fn add_header(line: &str) -> String {
    let (name, value) = line.split_once(": ").unwrap_or((line.trim_end_matches(':'), ""));
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "S");
    let value = if value.is_empty() { "-" } else { &value };
    format!("add_header {name} \"{value}\";")
}

/// An nginx as people run it: the system's, or else the one of the tests. A build for size costs three times as much and
/// would flatter everybody beside it.
fn nginx_program() -> Fallible<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = std::env::var_os("FOREPOST_TEST_TOOLS").map(|tools| PathBuf::from(tools).join("bin"));
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]).chain(tools);
    let fast = |program: &PathBuf| {
        let built = Command::new(program).arg("-V").output();
        built.is_ok_and(|built| built.status.success() && !String::from_utf8_lossy(&built.stderr).contains("-Os"))
    };
    folders.map(|folder| folder.join("nginx")).find(fast).ok_or_else(|| {
        "there is no nginx to compare with (one that was not built for size): install your system's".into()
    })
}

/// nginx's version.
pub(crate) fn nginx_version() -> Fallible<(u32, u32, u32)> {
    let output = Command::new(nginx_program()?).arg("-v").output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = text.trim().rsplit('/').next().unwrap_or_default().split(' ').next().unwrap_or_default();
    let mut parts = version.split('.').map(str::parse);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch))) => Ok((major, minor, patch)),
        _ => Err(format!("nginx has a version that is none: {text}").into()),
    }
}
