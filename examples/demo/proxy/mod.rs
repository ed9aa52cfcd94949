//! A small reverse proxy in process that asks forepost the way Traefik's `ForwardAuth` does.
//!
//! Behind it stand the applications of the demo, chosen by the first label of the host: `whoami`, `notes`, `admin`. Needs the
//! module `web` beside it.

mod applications;
mod forward_auth;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ServerConfig;
use tokio::net::TcpListener;

use self::applications::Application;
use self::forward_auth::Verdict;
use super::web::{self, Answer, HangUp, Server};

/// What belongs to forepost on every host.
const OUTPOST: &str = "/outpost.goauthentik.io/";

/// A running proxy; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Proxy {
    server: Server,
}

impl Proxy {
    /// Serves on `listener`, in TLS where `tls` is given; `forepost` is asked about every request.
    ///
    /// The socket is bound by the caller, because forepost's settings name its port and forepost starts first.
    pub(crate) fn serve(listener: TcpListener, tls: Option<Arc<ServerConfig>>, forepost: SocketAddr) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let upstream = Upstream { client: Client::builder(TokioExecutor::new()).build_http(), forepost, scheme };
        let server = Server::run(listener, tls, move |request, peer| {
            let upstream = upstream.clone();
            async move { Ok::<_, HangUp>(handle(&upstream, request, peer).await) }
        });
        Self { server }
    }

    /// Stops, and waits for what is in flight.
    pub(crate) async fn stop(self) {
        self.server.stop().await;
    }
}

/// The way to forepost; connections are kept.
#[derive(Clone, Debug)]
struct Upstream {
    client: Client<HttpConnector, Full<Bytes>>,
    forepost: SocketAddr,
    /// What the browsers speak.
    scheme: &'static str,
}

impl Upstream {
    /// Sends a request to forepost's address; `None` when there is no whole answer.
    async fn send(&self, mut request: Request<Full<Bytes>>) -> Option<Answer> {
        let path = request.uri().path_and_query()?;
        *request.uri_mut() = format!("http://{}{path}", self.forepost).parse().ok()?;
        let response = self.client.request(request).await.ok()?;
        let (mut head, body) = response.into_parts();
        let body = web::read(body).await.ok()?;
        forward_auth::remove_hop_by_hop(&mut head.headers);
        Some(Answer::from_parts(head, Full::new(body)))
    }
}

async fn handle(upstream: &Upstream, request: Request<Incoming>, peer: SocketAddr) -> Answer {
    let (mut head, body) = request.into_parts();
    let Ok(body) = web::read(body).await else {
        return web::text(StatusCode::PAYLOAD_TOO_LARGE, "Too large.");
    };
    let Some(host) = host(&head) else {
        return web::text(StatusCode::BAD_REQUEST, "One Host is needed.");
    };
    forward_auth::cleanse(&mut head.headers, upstream.scheme, &host, peer);
    if head.uri.path().starts_with(OUTPOST) {
        return to_forepost(upstream, head, body).await;
    }
    let Some(application) = Application::of(&host) else {
        return applications::unknown(&host);
    };
    match forward_auth::ask(upstream, &mut head, &host, peer).await {
        Verdict::Pass => application.answer(&head, upstream.scheme, &host),
        Verdict::Instead(answer) => answer,
    }
}

/// The host that the client asked for, as it wrote it: from the header, or over HTTP/2 from the request line.
fn host(head: &Parts) -> Option<String> {
    let mut lines = head.headers.get_all(HOST).iter();
    match (lines.next(), lines.next()) {
        (Some(host), None) => host.to_str().ok().map(ToOwned::to_owned),
        (None, None) => head.uri.authority().map(ToString::to_string),
        _ => None,
    }
}

/// Hands the request on as it is, `Host` included.
async fn to_forepost(upstream: &Upstream, mut head: Parts, body: Bytes) -> Answer {
    forward_auth::remove_hop_by_hop(&mut head.headers);
    head.version = http::Version::HTTP_11;
    let request = Request::from_parts(head, Full::new(body));
    upstream.send(request).await.unwrap_or_else(unreachable)
}

fn unreachable() -> Answer {
    web::text(StatusCode::BAD_GATEWAY, "forepost does not answer.")
}

/// Sets a header to a text that came from a header or an address, so that it cannot fail; drops the header if it does.
fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    headers.remove(name);
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}
