//! Parses what a proxy says about the browser's request, with a file for each dialect.
//!
//! A dialect only parses. [`crate::access`] decides whether the request may pass.

mod caddy;
mod envoy;
mod field;
#[cfg(any(test, fuzzing))]
pub(crate) mod invariants;
mod kind;
mod method;
mod nginx;
mod peer;
mod target;
mod traefik;

use http::{HeaderMap, Method, Uri};

pub use envoy::PREFIX as ENVOY_PREFIX;
pub(crate) use field::{forwarded_authority, request_authority, single};
pub(crate) use kind::{ClientHints, RequestKind};
pub(crate) use method::parse_method;
pub(crate) use peer::PeerAddress;
pub use peer::TrustedProxies;
pub(crate) use peer::network_of;
pub use target::Target;

use crate::host::{Authority, Host, Scheme};

/// How a proxy asks its question and reads the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Traefik's `ForwardAuth`.
    Traefik,
    /// Caddy's `forward_auth`.
    Caddy,
    /// nginx's `auth_request`, and HAProxy's scripts that imitate it.
    Nginx,
    /// Envoy's `ext_authz` over HTTP.
    Envoy,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Traefik, Self::Caddy, Self::Nginx, Self::Envoy];

    /// The name in paths, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Traefik => "traefik",
            Self::Caddy => "caddy",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
        }
    }

    /// Whether a browser gets our answer by way of the proxy, with its redirect and its cookies; of nginx it gets what the
    /// configuration there makes of the status and of `Location`.
    #[must_use]
    pub const fn relays_answers(self) -> bool {
        !matches!(self, Self::Nginx)
    }

    /// Whether the host of the URL that is asked about comes by other means than `X-Forwarded-Host`, which may then name
    /// another one.
    #[must_use]
    pub const fn leaves_forwarded_host(self) -> bool {
        matches!(self, Self::Nginx | Self::Envoy)
    }

    /// Parses the original request in the question.
    ///
    /// # Errors
    ///
    /// If the peer is not trusted, or if a field of this dialect is missing, repeated or malformed.
    pub fn parse<'r>(self, question: &Question<'r>) -> Result<OriginalRequest<'r>, ForwardedError> {
        method::check(question.method)?;
        match self {
            Self::Traefik => traefik::parse(question),
            Self::Caddy => caddy::parse(question),
            Self::Nginx => nginx::parse(question),
            Self::Envoy => envoy::parse(question),
        }
    }
}

/// A request to an authorisation endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Question<'r> {
    /// The proxy's method.
    pub method: &'r Method,
    /// The proxy's request target.
    pub uri: &'r Uri,
    /// All header fields, also those of the client.
    pub headers: &'r HeaderMap,
    /// Whether the peer is one of the trusted proxies.
    pub trusted: bool,
}

/// What the browser asked the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalRequest<'r> {
    /// As the proxy saw it; `None` if the dialect does not say it.
    pub(crate) scheme: Option<Scheme>,
    /// Host and port of the URL that is authorised. Nothing else chooses the application.
    pub(crate) authority: Authority<'r>,
    /// The host that the question itself is sent to, if it is another one and the dialect compares them. It is forepost's own if
    /// the proxy does not pass on the browser's `Host`.
    pub(crate) asked_at: Option<Host<'r>>,
    /// Path and query.
    pub(crate) target: Target<'r>,
    /// As [`parse_method`] parses it; `None` if a client could forge what the proxy says.
    pub(crate) method: Option<Method>,
    /// What the client says about itself. It can lie, so this only chooses the form of an answer.
    pub(crate) client: ClientHints<'r>,
}

impl OriginalRequest<'_> {
    /// What the client can do with an answer.
    #[must_use]
    pub(crate) fn kind(&self) -> RequestKind {
        self.client.kind(self.method.as_ref())
    }
}

/// Why forepost cannot read the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForwardedError {
    /// The peer is not in `server.trusted_proxies`.
    #[error("the peer is not one of server.trusted_proxies, so its forwarded headers are not read")]
    UntrustedPeer,
    /// The field is not there, or empty.
    #[error("{0} is missing: the proxy must set it")]
    Missing(&'static str),
    /// The field is there more than once, or holds a list.
    #[error("{0} has more than one value: the proxy must overwrite what the client sends")]
    Repeated(&'static str),
    /// The field has an invalid value.
    #[error("{0} is malformed")]
    Malformed(&'static str),
}

/// Scheme, authority and target from the three `X-Forwarded-…` fields that Traefik and Caddy overwrite.
fn from_forwarded<'r>(question: &Question<'r>) -> Result<(Scheme, bool, Authority<'r>, Target<'r>), ForwardedError> {
    let headers = question.headers;
    let (scheme, websocket) = field::scheme(field::required(headers, &field::X_FORWARDED_PROTO)?)?;
    let host = field::required(headers, &field::X_FORWARDED_HOST)?;
    let authority = field::authority(host, field::X_FORWARDED_HOST.as_str())?;
    let uri = field::required(headers, &field::X_FORWARDED_URI)?;
    let target = Target::parse(uri).map_err(|_| ForwardedError::Malformed(field::X_FORWARDED_URI.as_str()))?;
    Ok((scheme, websocket, authority, target))
}

/// The dialect of proxies that overwrite `X-Forwarded-Method`, `-Proto`, `-Host` and `-Uri` themselves.
fn parse_forwarded<'r>(question: &Question<'r>) -> Result<OriginalRequest<'r>, ForwardedError> {
    if !question.trusted {
        return Err(ForwardedError::UntrustedPeer);
    }
    let (scheme, websocket, authority, target) = from_forwarded(question)?;
    let method = method::named(question.headers)?;
    Ok(assemble(question, Some(scheme), websocket, authority, target, method))
}

fn assemble<'r>(
    question: &Question<'r>,
    scheme: Option<Scheme>,
    websocket: bool,
    authority: Authority<'r>,
    target: Target<'r>,
    method: Option<Method>,
) -> OriginalRequest<'r> {
    let client = ClientHints::new(question.headers, websocket);
    OriginalRequest { scheme, authority, asked_at: None, target, method, client }
}

#[cfg(test)]
mod tests;
