use std::net::IpAddr;

use http::request::Parts;
use http::{HeaderMap, Method};

use crate::catalog::Catalog;
use crate::forwarded::{ClientHints, OriginalRequest, PeerAddress, TrustedProxies};
use crate::host::Host;
use crate::serve::Peer;
use crate::telemetry::RequestId;
use crate::telemetry::audit::Asker;

/// A request as received, with what is known about its sender.
pub(super) struct Received<'r> {
    pub(super) parts: &'r Parts,
    /// What is configured.
    pub(super) catalog: &'r Catalog,
    pub(super) id: RequestId,
    /// Whether the peer may speak for a client.
    pub(super) trusted: bool,
    peer: PeerAddress,
    proxies: &'r TrustedProxies,
}

impl<'r> Received<'r> {
    pub(super) fn new(
        parts: &'r Parts,
        catalog: &'r Catalog,
        peer: Peer,
        proxies: &'r TrustedProxies,
        id: RequestId,
    ) -> Self {
        let peer = match peer {
            Peer::Ip(address) => PeerAddress::Ip(address.ip()),
            Peer::UnixSocket { .. } => PeerAddress::Local,
        };
        Self { parts, catalog, id, trusted: proxies.trust(peer), peer, proxies }
    }

    /// The client, for logs.
    pub(super) fn client(&self) -> Option<IpAddr> {
        self.proxies.client(self.peer, &self.parts.headers)
    }

    pub(super) fn asker(&self) -> Asker {
        Asker { client: self.client(), request_id: self.id }
    }

    /// The client, for rules: only what a trusted proxy says about it.
    pub(super) fn reported_client(&self) -> Option<IpAddr> {
        self.proxies.reported_client(self.peer, &self.parts.headers)
    }
}

/// A browser's request to the outpost itself, wherever it arrived.
pub(super) struct Visit<'r> {
    pub(super) method: Method,
    /// What is configured.
    pub(super) catalog: &'r Catalog,
    /// The application's host that the browser asked.
    pub(super) host: Option<Host<'r>>,
    pub(super) headers: &'r HeaderMap,
    pub(super) query: &'r str,
    pub(super) html: bool,
    pub(super) request_id: RequestId,
    /// For the audit log.
    pub(super) client: Option<IpAddr>,
}

impl<'r> Visit<'r> {
    /// One that a proxy asks about rather than routing it here.
    pub(super) fn forwarded(original: &OriginalRequest<'r>, received: &Received<'r>) -> Self {
        Self {
            method: original.method.clone().unwrap_or(Method::GET),
            catalog: received.catalog,
            host: Some(original.authority.host.clone()),
            headers: &received.parts.headers,
            query: original.target.query().unwrap_or_default(),
            html: original.client.accepts_html(),
            request_id: received.id,
            client: received.client(),
        }
    }

    /// One that came to us directly, for a page on `host`.
    pub(super) fn direct(host: Option<Host<'r>>, received: &Received<'r>) -> Self {
        Self {
            method: received.parts.method.clone(),
            catalog: received.catalog,
            host,
            headers: &received.parts.headers,
            query: received.parts.uri.query().unwrap_or_default(),
            html: ClientHints::new(&received.parts.headers, false).accepts_html(),
            request_id: received.id,
            client: received.client(),
        }
    }

    pub(super) const fn asker(&self) -> Asker {
        Asker { client: self.client, request_id: self.request_id }
    }

    pub(super) fn is_post(&self) -> bool {
        self.method == Method::POST
    }
}
