//! The question to forepost and what follows from the answer: Traefik's `ForwardAuth`, with `trustForwardHeader` unset.
//!
//! <https://doc.traefik.io/traefik/reference/routing-configuration/http/middlewares/forwardauth/>

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HeaderName, LOCATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use url::Url;

use super::web::Answer;
use super::{Upstream, set, unreachable};

/// The address that forepost is asked at.
const QUESTION: &str = "/outpost.goauthentik.io/auth/traefik";

/// `authResponseHeaders`: what the application is told; the client's own are taken away first.
const IDENTITY: [&str; 20] = [
    "remote-user",
    "remote-groups",
    "remote-email",
    "remote-name",
    "x-forwarded-user",
    "x-forwarded-groups",
    "x-forwarded-email",
    "x-forwarded-preferred-username",
    "x-authentik-username",
    "x-authentik-groups",
    "x-authentik-entitlements",
    "x-authentik-email",
    "x-authentik-name",
    "x-authentik-uid",
    "x-authentik-jwt",
    "x-authentik-meta-jwks",
    "x-authentik-meta-outpost",
    "x-authentik-meta-provider",
    "x-authentik-meta-app",
    "x-authentik-meta-version",
];

/// What becomes of a request.
pub(super) enum Verdict {
    /// The application gets it, with the identity headers.
    Pass,
    /// The client gets this instead.
    Instead(Answer),
}

/// Asks forepost about a request and puts the identity headers on it.
pub(super) async fn ask(upstream: &Upstream, head: &mut Parts, host: &str, peer: SocketAddr) -> Verdict {
    let answer = upstream.send(question(upstream, head, host, peer)).await;
    let Some(mut answer) = answer else {
        return Verdict::Instead(unreachable());
    };
    if answer.status().is_success() {
        take_identity(&mut head.headers, answer.headers());
        keep_cookies_of_the_application(&mut head.headers);
        return Verdict::Pass;
    }
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Verdict::Instead(unreachable());
    }
    make_location_absolute(answer.headers_mut(), upstream.forepost);
    Verdict::Instead(answer)
}

fn question(upstream: &Upstream, head: &Parts, host: &str, peer: SocketAddr) -> Request<Full<Bytes>> {
    let mut question = Request::new(Full::new(Bytes::new()));
    *question.method_mut() = Method::GET;
    *question.uri_mut() = http::Uri::from_static(QUESTION);
    let headers = question.headers_mut();
    *headers = head.headers.clone();
    remove_hop_by_hop(headers);
    headers.remove(CONTENT_LENGTH);
    set(headers, "host", &upstream.forepost.to_string());
    set(headers, "x-forwarded-method", head.method.as_str());
    set(headers, "x-forwarded-proto", upstream.scheme);
    set(headers, "x-forwarded-host", host);
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    set(headers, "x-forwarded-uri", path);
    set(headers, "x-forwarded-for", &peer.ip().to_string());
    question
}

/// Forgets the client's identity headers, and sets forepost's.
fn take_identity(headers: &mut HeaderMap, told: &HeaderMap) {
    remove_if(headers, |name| name.starts_with("x-authentik-"));
    for name in IDENTITY {
        headers.remove(name);
        for value in told.get_all(name) {
            headers.append(name, value.clone());
        }
    }
}

/// Forepost's own cookies are for forepost alone.
fn keep_cookies_of_the_application(headers: &mut HeaderMap) {
    let is_foreposts = |cookie: &&[u8]| {
        let name = cookie.strip_prefix(b"__Host-").or_else(|| cookie.strip_prefix(b"__Secure-")).unwrap_or(cookie);
        name.starts_with(b"authentik_proxy_")
    };
    let fields = headers.get_all(COOKIE).iter();
    let cookies = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
    let kept =
        cookies.filter(|cookie| !cookie.is_empty() && !is_foreposts(cookie)).collect::<Vec<_>>().join(&b"; "[..]);
    headers.remove(COOKIE);
    if let Ok(kept) = HeaderValue::try_from(kept)
        && !kept.is_empty()
    {
        headers.insert(COOKIE, kept);
    }
}

/// What only a proxy or forepost may say.
fn is_reserved(name: &str) -> bool {
    const NAMES: [&str; 7] =
        ["proxy", "forwarded", "x-rewrite-url", "x-script-name", "x-method-override", "x-real-ip", "cf-connecting-ip"];
    const BEGINNINGS: [&str; 4] = ["remote-", "x-forwarded", "x-original-", "x-http-method"];
    NAMES.contains(&name) || BEGINNINGS.iter().any(|it| name.starts_with(it)) || name.ends_with("client-ip")
}

/// What the entry point does before anything else: the client's word about its own way here counts for nothing. Names with
/// anything but letters, digits and hyphens are other names to many applications.
pub(super) fn cleanse(headers: &mut HeaderMap, scheme: &str, host: &str, peer: SocketAddr) {
    let is_plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    remove_if(headers, |name| !is_plain(name) || is_reserved(name));
    let port = host.rsplit_once(':').map(|(_, port)| port);
    let port = port.filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    set(headers, "x-forwarded-for", &peer.ip().to_string());
    set(headers, "x-forwarded-host", host);
    set(headers, "x-forwarded-port", port.unwrap_or(if scheme == "https" { "443" } else { "80" }));
    set(headers, "x-forwarded-proto", scheme);
    set(headers, "x-forwarded-server", "demo");
    set(headers, "x-real-ip", &peer.ip().to_string());
}

/// Removes headers by name.
fn remove_if(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| unwanted(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Removes what concerns one connection only (RFC 9110 §7.6.1).
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in listed {
        headers.remove(name);
    }
    for name in [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}

/// Traefik resolves a relative `Location` against the address it asked, which is seldom what was meant.
fn make_location_absolute(headers: &mut HeaderMap, forepost: SocketAddr) {
    let Some(location) = headers.get(LOCATION).and_then(|value| value.to_str().ok()) else {
        return;
    };
    if Url::parse(location).is_ok() {
        return;
    }
    let absolute = Url::parse(&format!("http://{forepost}{QUESTION}")).and_then(|base| base.join(location));
    if let Ok(Ok(value)) = absolute.map(|url| HeaderValue::try_from(String::from(url))) {
        headers.insert(LOCATION, value);
    }
}
