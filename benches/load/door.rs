//! The way of one browser through a login, and what a proxy asks on its behalf.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use url::{Position, Url};

use super::sessions::Known;
use super::{Fallible, request};

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What came back; the body has been read and dropped.
type Answer = Response<()>;

/// How to reach both sides, over connections that stay.
pub(crate) struct Door {
    client: Client<HttpConnector, Full<Bytes>>,
    forepost: SocketAddr,
    provider: SocketAddr,
}

/// What a login gave.
pub(super) struct Login {
    pub(super) known: Known,
    /// What the daemon calls its session cookie.
    pub(super) cookie_name: String,
    /// The provider's cookie.
    pub(super) signed_on: String,
}

impl Door {
    pub(super) fn new(forepost: SocketAddr, provider: SocketAddr) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), forepost, provider }
    }

    /// Whether the daemon sends people to the provider.
    pub(super) async fn is_open(&self) -> Fallible<bool> {
        Ok(self.check("").await?.status().is_redirection())
    }

    /// A login of `user`, who may have signed in at the provider before, and a first check of the new session.
    pub(super) async fn login(&self, user: &str, signed_on: Option<String>) -> Fallible<Login> {
        let start = self.check("").await?;
        let attempt = cookies(start.headers());
        let authorize = location(&start)?;
        let (signed_on, there) = if let Some(cookie) = signed_on {
            let there = self.provider(Method::GET, &authorize, &[(COOKIE, &cookie)], "").await?;
            (cookie, there)
        } else {
            let there = self.sign_in(user, &authorize).await?;
            (cookies(there.headers()), there)
        };
        let back = location(&there)?;
        let headers = [(HOST, request::HOST), (COOKIE, &attempt), (FORWARDED_PROTO, "https")];
        let landed = self.send(self.forepost, Method::GET, &back, &headers, "").await?;
        let lines = cookies(landed.headers());
        let pair = lines.split("; ").find(|pair| pair.contains("authentik_proxy_") && !pair.contains("_login_"));
        let (name, token) = pair
            .and_then(|pair| pair.split_once('='))
            .ok_or_else(|| format!("the login of {user} ended with {} and without a session", landed.status()))?;
        let first = self.check(&format!("{name}={token}")).await?;
        let field = |name: &str| first.headers().get(name).map(HeaderValue::as_bytes).unwrap_or_default();
        let shown = field("x-authentik-username");
        if first.status() != StatusCode::OK || shown != user.as_bytes() {
            return Err(format!("{user} logged in and was answered {} as {shown:?}", first.status()).into());
        }
        let known = Known {
            token: token.as_bytes().try_into()?,
            user: shown.try_into()?,
            proof: *field("x-authentik-jwt").last_chunk().ok_or("there is no ID token in the answer")?,
        };
        Ok(Login { known, cookie_name: name.to_owned(), signed_on })
    }

    /// Fills in the provider's form; its page is not needed for that.
    async fn sign_in(&self, user: &str, authorize: &Url) -> Fallible<Answer> {
        let request = authorize.query().unwrap_or_default();
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("request", request), ("login", user), ("password", "x")])
            .finish();
        let form_type = (CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.provider(Method::POST, &authorize.join("/login")?, &[form_type], &form).await
    }

    /// What a Traefik asks about a navigation with this cookie.
    async fn check(&self, cookie: &str) -> Fallible<Answer> {
        let url = Url::parse(&format!("http://{}{}", request::HOST, request::PATH))?;
        let headers = [
            (HOST, request::HOST),
            (COOKIE, cookie),
            (FORWARDED_PROTO, "https"),
            (HeaderName::from_static("x-forwarded-host"), request::HOST),
            (HeaderName::from_static("x-forwarded-method"), "GET"),
            (HeaderName::from_static("x-forwarded-uri"), "/projects/4711"),
        ];
        self.send(self.forepost, Method::GET, &url, &headers, "").await
    }

    async fn provider(&self, method: Method, url: &Url, more: &[(HeaderName, &str)], form: &str) -> Fallible<Answer> {
        let authority = &url[Position::BeforeHost..Position::AfterPort];
        let headers: Vec<_> = [(HOST, authority)].into_iter().chain(more.iter().cloned()).collect();
        self.send(self.provider, method, url, &headers, form).await
    }

    /// One request to `address`, and its answer read to the end.
    async fn send(
        &self,
        address: SocketAddr,
        method: Method,
        url: &Url,
        headers: &[(HeaderName, &str)],
        body: &str,
    ) -> Fallible<Answer> {
        let target = &url[Position::BeforePath..Position::AfterQuery];
        let mut request = Request::new(Full::from(body.to_owned()));
        *request.method_mut() = method;
        *request.uri_mut() = format!("http://{address}{target}").parse()?;
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request.headers_mut().insert(name, HeaderValue::from_str(value)?);
        }
        let (head, body) = self.client.request(request).await?.into_parts();
        drop(body.collect().await?);
        Ok(Response::from_parts(head, ()))
    }
}

fn location(answer: &Answer) -> Fallible<Url> {
    let location = answer.headers().get(LOCATION).ok_or_else(|| format!("{} in place of a redirect", answer.status()));
    Ok(Url::parse(location?.to_str()?)?)
}

/// The cookies that an answer sets, as a request carries them.
fn cookies(headers: &HeaderMap) -> String {
    let lines = headers.get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.filter_map(|line| line.split(';').next()).filter(|pair| !pair.ends_with('='));
    pairs.collect::<Vec<_>>().join("; ")
}
