//! Traefik in front of the page, as in our example.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::time::Instant;

use super::Fallible;
use super::connection::sample;
use super::nginx::replaced;
use super::request::{HOST, Request};
use super::servers::{Place, STARTS_WITHIN, Server, free_address, pinned};

/// How Traefik is told to ask, as people are.
const EXAMPLE: &str = include_str!("../../examples/traefik/dynamic.yaml");

/// Its flags are here.
const COMPOSE: &str = include_str!("../../examples/traefik/compose.yaml");

impl Place {
    /// A Traefik as in our example, with nothing replaced but addresses and whether it asks; `None`: there is none here.
    pub(crate) fn traefik(&self, asks: bool, forepost: SocketAddr, page: SocketAddr) -> Fallible<Option<Server>> {
        let Some(program) = program() else { return Ok(None) };
        let address = free_address()?;
        let file = self.folder.join(format!("traefik-{}.yaml", address.port()));
        let mut text = replaced(EXAMPLE, "http://forepost:9000", &format!("http://{forepost}"))?;
        text = replaced(&text, "http://whoami:80", &format!("http://{page}"))?;
        text = replaced(&text, "app.example.com", HOST)?;
        if !asks {
            text = replaced(&text, "middlewares: [client-headers, forepost]", "middlewares: [client-headers]")?;
        }
        fs::write(&file, text)?;
        let flags = COMPOSE.lines().filter_map(|line| line.trim().strip_prefix("- --entryPoints."));
        let flags = flags.flat_map(|flag| ["--entryPoints.", flag, "\n"]).collect::<String>();
        let flags = replaced(&flags, "0.0.0.0:8080", &address.to_string())?;
        let mut command = pinned(self.core, program.as_os_str());
        command.args(flags.lines()).args(["--global.checkNewVersion=false", "--global.sendAnonymousUsage=false"]);
        command.arg(format!("--providers.file.filename={}", file.display()));
        command.stderr(fs::File::create(self.folder.join(format!("traefik-{}.log", address.port())))?);
        let server = Server::start(command, address)?.listening()?;
        knows_its_routes(&server)?;
        Ok(Some(server))
    }
}

/// Traefik listens before it has read what it serves.
fn knows_its_routes(server: &Server) -> Fallible<()> {
    let (began, request) = (Instant::now(), Request::of_browser("unknown"));
    while sample(server.address, &request, None)?.starts_with(b"HTTP/1.1 404 ") {
        if began.elapsed() > STARTS_WITHIN {
            return Err("Traefik does not take its configuration".into());
        }
    }
    Ok(())
}

/// The system's Traefik, or else the one of the tests.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = std::env::var_os("FOREPOST_TEST_TOOLS").map(|tools| PathBuf::from(tools).join("bin"));
    let folders: Vec<_> = std::env::split_paths(&path).chain(tools).collect();
    folders.iter().map(|folder| folder.join("traefik")).find(|program| program.is_file())
}
