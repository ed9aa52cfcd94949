//! `[server]`: listeners, limits and trusted proxies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::mistakes::{Complaint, complaint, shown};
use super::reader::Table;
use super::values::is_off;
use crate::serve::{Admin, Https, Server};

/// The length of Linux's `sun_path` without its final zero byte (unix(7)).
pub(super) const LONGEST_SOCKET_PATH: usize = 107;
/// Traefik keeps an idle connection for this time. A shorter time here would close connections that Traefik writes to.
const PROXY_KEEPS_IDLE: Duration = Duration::from_secs(90);
/// hyper refuses to work with a smaller buffer.
const SMALLEST_BUFFER: usize = 8192;

const HOUR: Duration = Duration::from_hours(1);

/// Reads the table.
pub(super) fn read(mut table: Table<'_>) -> Server {
    let seconds = Duration::from_secs;
    let name = table.read("name", |item| header_text(item.text()?)).unwrap_or_else(|| "forepost".to_owned());
    let http = listener(&mut table, "http", 9000);
    let metrics = listener(&mut table, "metrics", 9300);
    let unix_socket = table.read("unix_socket", |item| socket_path(item.raw_text()?)).flatten();
    let admin = table.read("admin", |item| admin_socket(item.raw_text()?)).unwrap_or(Admin::Usual(None));
    let trusted_proxies =
        table.each("trusted_proxies", &[',', ' '], |item| network(item.text()?)).unwrap_or_else(private_networks);
    let idle_timeout = table.duration("idle_timeout", seconds(120), Duration::ZERO..=HOUR * 24);
    if idle_timeout < PROXY_KEEPS_IDLE {
        table.wrong(
            "idle_timeout",
            complaint(
                "is below 90s",
                "proxies keep idle connections for 90 s (Traefik) and would meet closed ones: give 90s or more",
            ),
        );
    }
    let server = Server {
        name,
        http,
        https: https(table.table("https")),
        metrics,
        unix_socket,
        admin,
        trusted_proxies,
        max_connections: table.number("max_connections", 10_000, 1..=1_000_000),
        max_header_bytes: table.number("max_header_bytes", 98_304, SMALLEST_BUFFER..=1_048_576),
        max_headers: table.number("max_headers", 100, 16..=4096),
        header_timeout: table.duration("header_timeout", seconds(10), seconds(1)..=seconds(300)),
        request_timeout: table.duration("request_timeout", seconds(30), seconds(1)..=seconds(600)),
        idle_timeout,
        tls_handshake_timeout: table.duration("tls_handshake_timeout", seconds(10), seconds(1)..=seconds(300)),
        shutdown_timeout: table.duration("shutdown_timeout", seconds(8), Duration::ZERO..=HOUR),
        watch: table.boolean("watch", true),
        danger_any_host: table.boolean("danger_any_host", false),
    };
    check_listeners(&table, &server);
    table.finish();
    server
}

fn https(mut table: Table<'_>) -> Option<Https> {
    let listen = listener(&mut table, "listen", 9443);
    let certificate = table.text("certificate").map(PathBuf::from);
    let key = table.text("key").map(PathBuf::from);
    let reload_interval =
        table.duration("reload_interval", Duration::from_secs(10), Duration::from_secs(1)..=HOUR * 24);
    if table.was_given("certificate") && !table.was_given("key") {
        table.missing("key", "a certificate needs its private key");
    }
    if table.was_given("key") && !table.was_given("certificate") {
        table.missing("certificate", "a private key needs its certificate");
    }
    table.finish();
    Some(Https { listen: listen?, certificate: certificate?, key: key?, reload_interval })
}

fn check_listeners(table: &Table<'_>, server: &Server) {
    let https = server.https.as_ref().map(|https| https.listen);
    if server.http.is_none() && https.is_none() && server.unix_socket.is_none() {
        table.wrong("http", complaint("nothing listens for requests", "switch on one of http, https or unix_socket"));
    }
    if matches!(&server.admin, Admin::At(path) if server.unix_socket.as_ref() == Some(path)) {
        let hint = "give each its own path: who may ask as a proxy need not be an operator";
        table.wrong("admin", complaint("is the path of unix_socket too", hint));
    }
    let listeners = [("http", server.http), ("https", https), ("metrics", server.metrics)];
    for (i, (key, address)) in listeners.iter().enumerate() {
        let earlier =
            listeners[..i].iter().find(|(_, other)| other == address && address.is_some_and(|a| a.port() != 0));
        if let Some((other, _)) = earlier {
            table.wrong(key, complaint(format!("is the address of {other} too"), "give each its own port"));
        }
    }
}

fn listener(table: &mut Table<'_>, key: &'static str, default_port: u16) -> Option<SocketAddr> {
    let listener = table.read(key, |item| {
        let text = item.raw_text()?;
        if is_off(text) {
            return Ok(None);
        }
        let address = match text.strip_prefix(':') {
            Some(port) => port.parse().ok().map(|port: u16| (Ipv4Addr::UNSPECIFIED, port).into()),
            None => text.parse().ok(),
        };
        address.map(Some).ok_or_else(|| {
            complaint(
                format!("{} is not a listen address", shown(text)),
                "write \"0.0.0.0:9000\", \"[::]:9000\", \":9000\", or \"off\"",
            )
        })
    });
    listener.unwrap_or_else(|| Some((Ipv4Addr::UNSPECIFIED, default_port).into()))
}

fn socket_path(text: &str) -> Result<Option<PathBuf>, Complaint> {
    if is_off(text) {
        return Ok(None);
    }
    if text.len() > LONGEST_SOCKET_PATH || text.contains('\0') {
        return Err(complaint(
            format!("{} is not a path of a socket", shown(text)),
            format!("at most {LONGEST_SOCKET_PATH} bytes"),
        ));
    }
    Ok(Some(PathBuf::from(text)))
}

fn admin_socket(text: &str) -> Result<Admin, Complaint> {
    if is_off(text) {
        return Ok(Admin::Off);
    }
    let path = text.strip_prefix("unix:").filter(|path| !path.is_empty());
    let hint = "write \"unix:/run/forepost/admin.sock\" or \"off\": who may use the file may end sessions";
    let path = path.ok_or_else(|| complaint(format!("{} is not a Unix socket", shown(text)), hint))?;
    Ok(socket_path(path)?.map_or(Admin::Off, Admin::At))
}

pub(super) fn network(text: &str) -> Result<IpNet, Complaint> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    let network = address.or_else(|_| text.parse::<IpNet>()).map_err(|_| {
        complaint(
            format!("{} is not a network", shown(text)),
            "write it like \"10.0.0.0/8\", \"fd00::/8\" or \"192.168.1.7\"",
        )
    })?;
    if network != network.trunc() {
        return Err(complaint(
            format!("{} is an address within a network", shown(text)),
            format!(
                "write \"{}\" for the whole network, or \"{}\" for the one address",
                network.trunc(),
                network.addr()
            ),
        ));
    }
    if let IpNet::V6(mapped) = network
        && let Some(address) = mapped.addr().to_ipv4_mapped()
        && let Some(length) = mapped.prefix_len().checked_sub(96)
    {
        let hint = format!("clients are compared by their IPv4 address: write \"{address}/{length}\"");
        return Err(complaint(format!("{} is a network of IPv4 in the form of IPv6", shown(text)), hint));
    }
    Ok(network)
}

/// Loopback, private (RFC 1918), link-local and unique local (RFC 4193) networks.
pub(super) fn private_networks() -> Vec<IpNet> {
    let four = |a, b, prefix| IpNet::new(Ipv4Addr::new(a, b, 0, 0).into(), prefix);
    let six = |first, prefix| IpNet::new(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0).into(), prefix);
    let loopback = IpNet::from(IpAddr::from(Ipv6Addr::LOCALHOST));
    [
        four(127, 0, 8),
        four(10, 0, 8),
        four(172, 16, 12),
        four(192, 168, 16),
        Ok(loopback),
        six(0xfc00, 7),
        six(0xfe80, 10),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Parses a text that is a valid header value.
fn header_text(text: &str) -> Result<String, Complaint> {
    if text.len() <= 128 && text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Ok(text.to_owned());
    }
    Err(complaint(
        format!("{} cannot be sent in a header", shown(text)),
        "at most 128 letters, digits and signs of ASCII",
    ))
}
