//! nginx in its three parts: what a check is compared with, a page, and the proxy in front of both.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use super::Fallible;
use super::request::HOST;
use super::servers::{Place, Server, free_address, pinned};

/// How nginx is told to ask, as people are.
const EXAMPLE: &str = include_str!("../../examples/nginx/forepost.conf");

/// What an nginx in front of the page does about forepost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// Nothing.
    Never,
    /// Asks over connections that stay.
    KeepAlive,
    /// Asks over a new connection each time.
    Anew,
}

impl Place {
    /// An nginx with one worker that answers 200 with these headers, one a line; `more` is what it is told beside its defaults.
    pub(crate) fn nginx(&self, headers: &str, more: &str) -> Fallible<Server> {
        let address = free_address()?;
        let headers = headers.lines().map(|line| add_header(line) + "\n").collect::<String>();
        // Before 1.25.1 a port speaks either version.
        let http2 = free_address()?;
        let switch = if nginx_version()? >= (1, 25, 1) { "; http2 on" } else { " http2" };
        let server = format!("server {{\nlisten {address};\nlisten {http2}{switch};\n{headers}return 200;\n}}\n");
        let mut server = self.run_nginx(address, "", &format!("{more}{server}"))?;
        server.http2 = http2;
        Ok(server)
    }

    /// An nginx that serves `page`, whatever it is asked for, from a file, and says in a header which user it was told of.
    pub(crate) fn page(&self, page: &str) -> Fallible<Server> {
        let address = free_address()?;
        fs::write(self.folder.join("page.html"), page)?;
        let server = format!(
            "server {{\nlisten {address};\nroot {};\nlarge_client_header_buffers 8 64k;\ndefault_type text/html;\n\
             add_header X-authentik-username $http_x_authentik_username;\n\
             location / {{ try_files /page.html =404; }}\n}}\n",
            self.folder.display()
        );
        // A worker would be another user, who may not look into our folder.
        self.run_nginx(address, "master_process off;\n", &server)
    }

    /// An nginx as in our example, with nothing replaced but addresses and whether, and how, it asks.
    pub(crate) fn gateway(&self, asks: Asks, forepost: SocketAddr, page: SocketAddr) -> Fallible<Server> {
        let address = free_address()?;
        let mut text = replaced(EXAMPLE, "0.0.0.0:8080", &address.to_string())?;
        text = replaced(&text, "server forepost:9000", &format!("server {forepost}"))?;
        text = replaced(&text, "server whoami:80", &format!("server {page}"))?;
        text = replaced(&text, "app.example.com", HOST)?;
        match asks {
            Asks::KeepAlive => {}
            Asks::Anew => {
                let (before, behind) = text.split_once("upstream whoami").ok_or("the example has changed")?;
                text = without(before, &["keepalive 32;"])? + "upstream whoami" + behind;
            }
            // Without its identity headers, which would be empty, and whatever else is about the answer.
            Asks::Never => {
                let about = [
                    "auth_request /_forepost;",
                    "auth_request_set ",
                    "proxy_set_header X-authentik-",
                    "add_header Set-Cookie $forepost_cookie",
                    "error_page 401 = @forepost_login;",
                ];
                let (before, behind) = text.split_once("    # The question. ").ok_or("the example has changed")?;
                text = without(before, &about)? + behind.split_once("\n    }\n").ok_or("the example has changed")?.1;
                let (before, _) = text.split_once("    # No user is signed in").ok_or("the example has changed")?;
                text = format!("{before}}}\n");
            }
        }
        self.run_nginx(address, "", &text)
    }

    /// An nginx that writes no log, ends no connection early, and is told `main` and in its http block `http`.
    fn run_nginx(&self, address: SocketAddr, main: &str, http: &str) -> Fallible<Server> {
        let folder = self.folder.join(format!("nginx-{}", address.port()));
        fs::create_dir(&folder)?;
        let paths =
            ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|name| format!("{name}_temp_path {name};\n"));
        fs::write(
            folder.join("nginx.conf"),
            format!(
                "daemon off;\nworker_processes 1;\nerror_log stderr error;\npid nginx.pid;\n{main}\
                 events {{ worker_connections 4096; }}\n\
                 http {{\naccess_log off;\nkeepalive_requests 1000000000;\nkeepalive_timeout 1h;\n{}{http}}}\n",
                paths.concat()
            ),
        )?;
        let mut command = pinned(self.core, nginx_program()?.as_os_str());
        command.arg("-p").arg(&folder).args(["-e", "stderr", "-c", "nginx.conf"]);
        command.stderr(fs::File::create(folder.join("log"))?);
        Server::start(command, address)
    }
}

/// `text` with `new` for `old`, which is there.
pub(crate) fn replaced(text: &str, old: &str, new: &str) -> Fallible<String> {
    if text.contains(old) { Ok(text.replace(old, new)) } else { Err(format!("an example has no {old:?}").into()) }
}

/// `text` without the lines that begin so, of which there are some each.
pub(crate) fn without(text: &str, begins: &[&str]) -> Fallible<String> {
    let is = |line: &str, begin: &str| line.trim_start().starts_with(begin);
    if let Some(missing) = begins.iter().find(|begin| !text.lines().any(|line| is(line, begin))) {
        return Err(format!("an example has no line that begins with {missing:?}").into());
    }
    let kept = text.lines().filter(|line| !begins.iter().any(|begin| is(line, begin)));
    Ok(kept.flat_map(|line| [line, "\n"]).collect())
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
