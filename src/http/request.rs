use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use http::request::Parts;
use http::{HeaderMap, Method};

use crate::forwarded::{OriginalRequest, PeerAddress, TrustedProxies};
use crate::serve::Peer;
use crate::world::World;

/// Gives each request an id that pages, answers and log lines share: a prefix of this process and a number.
pub(super) struct RequestIds {
    prefix: u32,
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new(world: &World) -> Self {
        let prefix = world.random::<4>().map_or(0, u32::from_be_bytes);
        Self { prefix, next: AtomicU64::new(1) }
    }

    pub(super) fn next(&self) -> String {
        format!("{:08x}-{}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// A request as received, with what is known about its sender.
pub(super) struct Received<'r> {
    pub(super) parts: &'r Parts,
    pub(super) id: String,
    /// Whether the peer may speak for a client.
    pub(super) trusted: bool,
    /// The client, for logs.
    pub(super) client: Option<IpAddr>,
}

impl<'r> Received<'r> {
    pub(super) fn new(parts: &'r Parts, peer: Peer, trusted: &TrustedProxies, id: String) -> Self {
        let peer = match peer {
            Peer::Ip(address) => PeerAddress::Ip(address.ip()),
            Peer::UnixSocket => PeerAddress::Local,
        };
        Self { parts, id, trusted: trusted.trust(peer), client: trusted.client(peer, &parts.headers) }
    }

    pub(super) fn client(&self) -> Option<&dyn fmt::Display> {
        self.client.as_ref().map(|it| it as &dyn fmt::Display)
    }
}

/// A browser's request to the outpost itself, wherever it arrived.
pub(super) struct Visit<'r> {
    pub(super) method: Method,
    pub(super) headers: &'r HeaderMap,
    pub(super) query: &'r str,
    pub(super) html: bool,
    pub(super) request_id: &'r str,
}

impl<'r> Visit<'r> {
    /// One that a proxy asks about rather than routing it here.
    pub(super) fn forwarded(original: &OriginalRequest<'r>, received: &'r Received<'_>) -> Self {
        Self {
            method: original.method.clone().unwrap_or(Method::GET),
            headers: &received.parts.headers,
            query: original.target.query().unwrap_or_default(),
            html: original.accepts_html,
            request_id: &received.id,
        }
    }

    /// One that came to us directly.
    pub(super) fn direct(received: &'r Received<'_>) -> Self {
        Self {
            method: received.parts.method.clone(),
            headers: &received.parts.headers,
            query: received.parts.uri.query().unwrap_or_default(),
            html: crate::forwarded::accepts_html(&received.parts.headers),
            request_id: &received.id,
        }
    }

    pub(super) fn is_post(&self) -> bool {
        self.method == Method::POST
    }
}
