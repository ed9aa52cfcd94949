//! Trusted proxies, and the client's address.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

use super::field::X_FORWARDED_FOR;

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerAddress {
    /// Over TCP.
    Ip(IpAddr),
    /// Over the Unix socket, which only local processes reach.
    Local,
}

/// The networks of `server.trusted_proxies`.
#[derive(Clone, Debug)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Trusts these networks. With an empty list only peers on the Unix socket are trusted.
    #[must_use]
    pub(crate) const fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether forepost reads the forwarded fields of this peer.
    #[must_use]
    pub(crate) fn trust(&self, peer: PeerAddress) -> bool {
        match peer {
            PeerAddress::Ip(address) => self.contains(address),
            PeerAddress::Local => true,
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client's address as a trusted proxy reports it; `None` if there is no such report.
    ///
    /// Finds it as [`TrustedProxies::client`] does. A host in one of the trusted networks can claim any address.
    #[must_use]
    pub(crate) fn reported_client(&self, peer: PeerAddress, headers: &HeaderMap) -> Option<IpAddr> {
        let last = headers.get_all(&X_FORWARDED_FOR).iter().next_back()?.to_str().ok()?;
        parse_entry(last.rsplit(',').next()?.trim())?;
        if self.trust(peer) { self.client(peer, headers) } else { None }
    }

    /// The client's address, for logs: from the right of `X-Forwarded-For`, the first one that is not a trusted proxy.
    ///
    /// An untrusted peer is the client itself. An entry that is not an address ends the search: no trusted proxy wrote what is
    /// left of it.
    #[must_use]
    pub(crate) fn client(&self, peer: PeerAddress, headers: &HeaderMap) -> Option<IpAddr> {
        let mut client = match peer {
            PeerAddress::Ip(address) => Some(address.to_canonical()),
            PeerAddress::Local => None,
        };
        if !self.trust(peer) {
            return client;
        }
        for line in headers.get_all(&X_FORWARDED_FOR).iter().rev() {
            let Ok(line) = line.to_str() else {
                return client;
            };
            for entry in line.rsplit(',') {
                let Some(address) = parse_entry(entry.trim()) else {
                    return client;
                };
                client = Some(address);
                if !self.contains(address) {
                    return client;
                }
            }
        }
        client
    }
}

/// Parses an address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn parse_entry(entry: &str) -> Option<IpAddr> {
    let bare = entry.trim_start_matches('[').trim_end_matches(']');
    bare.parse()
        .or_else(|_| entry.parse().map(|socket: std::net::SocketAddr| socket.ip()))
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

/// An IPv4 address, or the /64 network of an IPv6 address, because a host can use every address of its network (RFC 6177).
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}
