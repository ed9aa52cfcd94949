use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::settings::Settings;

const TIMEOUT: Duration = Duration::from_secs(3);

const PING: &[u8] = b"GET /outpost.goauthentik.io/ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

pub(super) async fn run(settings: &Settings) -> ExitCode {
    let Some(address) = settings.server.metrics.or(settings.server.http) else {
        eprintln!("forepost: neither server.metrics nor server.http is on, so there is nothing to ask");
        return ExitCode::FAILURE;
    };
    let address = reachable(address);
    let failure = match tokio::time::timeout(TIMEOUT, ping(address)).await {
        Ok(Ok(status)) if status == *b"HTTP/1.1 204" => return ExitCode::SUCCESS,
        Ok(Ok(_)) => "the answer is not that of a healthy forepost".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", TIMEOUT.as_secs()),
    };
    eprintln!("forepost: {address}: {failure}");
    ExitCode::FAILURE
}

async fn ping(address: SocketAddr) -> io::Result<[u8; 12]> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(PING).await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    Ok(status)
}

/// Replaces the address of all interfaces by loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}
