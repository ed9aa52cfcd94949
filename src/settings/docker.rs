//! `[docker]`: the engine whose containers have labels, and what these may say.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::address;
use super::mistakes::{Complaint, complaint, shown};
use super::reader::Table;
use super::server::LONGEST_SOCKET_PATH;
use super::values::is_off;
use crate::host::{Authority, Host};
use crate::serve::Server;

/// The port of an engine without TLS.
const PORT: u16 = 2375;
/// Values of `grace`.
const GRACES: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(24);

/// Where an engine answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// At a Unix socket.
    Unix(PathBuf),
    /// At a host and port, in cleartext.
    Tcp(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// `[docker]`, where it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Docker {
    /// The engine.
    pub endpoint: Endpoint,
    /// Labels may name these hosts and those below them; not empty.
    pub domains: Vec<Host<'static>>,
    /// How long the application of a container that stopped stays, denied.
    pub grace: Duration,
}

/// Reads the table; `None` if it is off.
pub(super) fn read(mut table: Table<'_>) -> Option<Docker> {
    let endpoint = table.read("endpoint", |item| endpoint(item.raw_text()?)).flatten();
    let domains = table.each("domains", &[',', ' '], |item| domain(item.text()?));
    let grace = table.duration("grace", Duration::from_mins(5), GRACES);
    let hint = "the domains whose hosts labels may name: [\"apps.example.com\"]";
    if endpoint.is_some() {
        table.missing("domains", hint);
    }
    if domains.as_ref().is_some_and(Vec::is_empty) && endpoint.is_some() {
        table.wrong("domains", complaint("names no domain", hint));
    }
    table.finish();
    Some(Docker { endpoint: endpoint?, domains: domains?, grace })
}

/// Reports `danger_any_host` beside labels: with an application out of a label, the one of the file is not the only one any more, or
/// the one of a label answers for every host.
pub(super) fn check_any_host(root: &Table<'_>, docker: Option<&Docker>, server: &Server) {
    if server.danger_any_host && docker.is_some() {
        let hint = "name the hosts of the application, or switch docker.endpoint off";
        let complaint = complaint("cannot be on beside [docker]", hint);
        root.report().note("server.danger_any_host".to_owned(), None, complaint);
    }
}

fn endpoint(text: &str) -> Result<Option<Endpoint>, Complaint> {
    if is_off(text) {
        return Ok(None);
    }
    let wrong = |hint: &str| complaint(format!("{} is not an engine", shown(text)), hint);
    if let Some(path) = text.strip_prefix("unix://") {
        if !path.starts_with('/') || path.len() > LONGEST_SOCKET_PATH || path.contains('\0') {
            return Err(wrong(&format!(
                "write it like unix:///var/run/docker.sock, {LONGEST_SOCKET_PATH} bytes at most"
            )));
        }
        return Ok(Some(Endpoint::Unix(path.into())));
    }
    if text.starts_with("https://") || text.starts_with("ssh://") {
        return Err(wrong(
            "forepost speaks to an engine in cleartext: name a Unix socket, or a socket proxy in a private network",
        ));
    }
    let address = ["tcp://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let address = address.ok_or_else(|| wrong("write unix:///var/run/docker.sock, or tcp://socket-proxy:2375"))?;
    let authority = Authority::parse(address.strip_suffix('/').unwrap_or(address))
        .ok()
        .filter(|authority| authority.port != Some(0))
        .ok_or_else(|| wrong("behind tcp:// there is a host and a port: tcp://socket-proxy:2375"))?;
    Ok(Some(Endpoint::Tcp(format!("{}:{}", authority.host, authority.port.unwrap_or(PORT)))))
}

/// Parses a domain that can have an owner. Names that no public suffix is known for are those of private networks.
fn domain(text: &str) -> Result<Host<'static>, Complaint> {
    if text.starts_with("*.") {
        return Err(complaint(
            format!("{} is a pattern", shown(text)),
            "without *: the hosts below a domain belong to it",
        ));
    }
    let host = address::host(text)?;
    let name = host.as_str();
    let is_public = psl::suffix(name.as_bytes()).is_some_and(|suffix| suffix.is_known() && suffix == name.as_bytes());
    // The domain of homes (RFC 8375) is a public suffix of which each home has a part for itself.
    if host.is_address() || (is_public && name != "home.arpa") {
        return Err(complaint(format!("{} is not a domain of yours", shown(text)), "write it like apps.example.com"));
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn at(text: &str, expected: Option<&str>) {
        assert_eq!(endpoint(text).ok().flatten().map(|it| it.to_string()).as_deref(), expected, "{text}");
    }

    #[test]
    fn engines() {
        at("unix:///var/run/docker.sock", Some("unix:///var/run/docker.sock"));
        at("tcp://socket-proxy:2375", Some("tcp://socket-proxy:2375"));
        at("http://socket-proxy/", Some("tcp://socket-proxy:2375"));
        at("tcp://[::1]:99", Some("tcp://[::1]:99"));
        at("tcp://127.0.0.1", Some("tcp://127.0.0.1:2375"));
        assert_eq!((endpoint("off"), endpoint("")), (Ok(None), Ok(None)));
        for text in [
            "unix://run/docker.sock",
            "/var/run/docker.sock",
            "https://a:2376",
            "tcp://",
            "tcp://a:0",
            "tcp://a:x",
            "tcp://a/b",
        ] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }

    #[track_caller]
    fn owned(text: &str, expected: Option<&str>) {
        assert_eq!(domain(text).ok().as_ref().map(Host::as_str), expected, "{text}");
    }

    #[test]
    fn domains_have_an_owner() {
        owned("Apps.Example.com.", Some("apps.example.com"));
        owned("example.co.uk", Some("example.co.uk"));
        owned("lan", Some("lan"));
        owned("home.arpa", Some("home.arpa"));
        for text in ["com", "co.uk", "github.io", "*.example.com", "192.0.2.1", "a b", "https://a.test", ""] {
            owned(text, None);
        }
    }
}
