//! A browser without a screen: keeps cookies as browsers do, connects by a table of addresses, follows redirects by hand.

use std::collections::HashMap;
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, COOKIE, HOST, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use url::Url;

/// More would be a loop.
const MOST_REDIRECTS: usize = 12;

/// What came back, and from where.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    /// The values of a header, joined; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> String {
        let values = self.headers.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect::<Vec<_>>().join(" & ")
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The claims of the ID token that the application gets.
    #[track_caller]
    pub(crate) fn token_claims(&self) -> Value {
        let token = self.header("x-authentik-jwt");
        let payload = token.split('.').nth(1).unwrap_or_else(|| panic!("no ID token: {self:#?}"));
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
    }

    /// The absolute address of a redirect.
    #[track_caller]
    pub(crate) fn location(&self) -> Url {
        Url::parse(&self.header("location")).unwrap_or_else(|_| panic!("no absolute Location: {self:?}"))
    }

    /// A parameter of the redirect's query.
    #[track_caller]
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.location().query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status.as_u16(), status, "{self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn contains(&self, text: &str) -> &Self {
        assert!(self.body.contains(text), "{text:?} is not in {self:#?}");
        self
    }
}

#[derive(Clone, Debug)]
struct Kept {
    name: String,
    value: String,
    domain: String,
    host_only: bool,
    path: String,
    secure: bool,
}

/// A browser; clones have the same cookies and go separate ways from then on.
#[derive(Clone)]
pub(crate) struct Browser {
    client: Client<HttpConnector, Full<Bytes>>,
    addresses: HashMap<String, SocketAddr>,
    cookies: Vec<Kept>,
    /// Sent with every request, in place of the browser's own.
    pub(crate) headers: HeaderMap,
}

impl Browser {
    pub(crate) fn new() -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/html,application/xhtml+xml,*/*;q=0.8"));
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            addresses: HashMap::new(),
            cookies: Vec::new(),
            headers,
        }
    }

    /// Connects to `address` for this host, or for all others when it is `*`.
    pub(crate) fn route(mut self, host: &str, address: SocketAddr) -> Self {
        self.addresses.insert(host.to_owned(), address);
        self
    }

    /// Names of the cookies that would be sent to `url`.
    pub(crate) fn cookie_names(&self, url: &Url) -> Vec<String> {
        self.matching(url).map(|cookie| cookie.name.clone()).collect()
    }

    /// The value of the one cookie whose name contains `part`.
    pub(crate) fn cookie(&self, url: &Url, part: &str) -> Option<String> {
        self.matching(url).find(|cookie| cookie.name.contains(part)).map(|cookie| cookie.value.clone())
    }

    /// All that would be sent to `url`, as a value of `Cookie`.
    pub(crate) fn cookie_field(&self, url: &Url) -> String {
        self.matching(url).map(|it| format!("{}={}", it.name, it.value)).collect::<Vec<_>>().join("; ")
    }

    /// Sets a cookie as a page of `url`'s host could.
    pub(crate) fn set_cookie(&mut self, url: &Url, line: &str) {
        self.keep(url, line);
    }

    /// Takes over the cookies of a reply that another tab got; clones are the tabs.
    pub(crate) fn learn(&mut self, reply: &Reply) {
        for line in reply.headers.get_all(SET_COOKIE) {
            self.keep(&reply.url, line.to_str().unwrap());
        }
    }

    pub(crate) fn clear_cookies(&mut self) {
        self.cookies.clear();
    }

    /// One GET of a navigation, with its redirects.
    pub(crate) async fn open(&mut self, url: &str) -> Reply {
        let reply = self.get(url).await;
        self.follow(reply).await
    }

    /// One GET, without its redirects.
    pub(crate) async fn get(&mut self, url: &str) -> Reply {
        self.send(Method::GET, url, &[], None).await
    }

    /// One GET of a script.
    pub(crate) async fn fetch(&mut self, url: &str) -> Reply {
        self.send(Method::GET, url, &[("accept", "application/json"), ("sec-fetch-mode", "cors")], None).await
    }

    /// Sends a form.
    pub(crate) async fn post(&mut self, url: &str, form: &str) -> Reply {
        self.send(Method::POST, url, &[], Some(form)).await
    }

    /// Follows redirects to their end.
    pub(crate) async fn follow(&mut self, reply: Reply) -> Reply {
        self.follow_while(reply, |_| true).await
    }

    /// Follows redirects as long as they stay on the host of `reply`.
    pub(crate) async fn follow_on_host(&mut self, reply: Reply) -> Reply {
        let host = reply.url.host_str().unwrap().to_owned();
        self.follow_while(reply, |next| next.host_str() == Some(&host)).await
    }

    async fn follow_while(&mut self, mut reply: Reply, wanted: impl Fn(&Url) -> bool) -> Reply {
        for _ in 0..MOST_REDIRECTS {
            if !reply.status.is_redirection() || !reply.headers.contains_key(LOCATION) {
                return reply;
            }
            let next = reply.url.join(&reply.header("location")).unwrap();
            if !wanted(&next) {
                return reply;
            }
            reply = self.get(next.as_str()).await;
        }
        panic!("a redirect loop at {}", reply.url);
    }

    /// One request with these headers beside the usual ones, and its cookies kept.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        form: Option<&str>,
    ) -> Reply {
        let url = Url::parse(url).unwrap_or_else(|_| panic!("no absolute URL: {url}"));
        let host = url.host_str().unwrap();
        let address = self.addresses.get(host).or_else(|| self.addresses.get("*"));
        let address = address.unwrap_or_else(|| panic!("no address is known for {url}"));
        let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{address}{target}"))
            .body(Full::from(form.unwrap_or_default().to_owned()))
            .unwrap();
        let fields = request.headers_mut();
        *fields = self.headers.clone();
        fields.insert(HOST, HeaderValue::try_from(&url[url::Position::BeforeHost..url::Position::AfterPort]).unwrap());
        if form.is_some() {
            fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        let cookies = self.cookie_field(&url);
        if !cookies.is_empty() {
            fields.insert(COOKIE, HeaderValue::try_from(cookies).unwrap());
        }
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            fields.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let response = self.client.request(request).await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        for line in parts.headers.get_all(SET_COOKIE) {
            self.keep(&url, line.to_str().unwrap());
        }
        Reply { url, status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&body).into_owned() }
    }

    fn matching(&self, url: &Url) -> impl Iterator<Item = &Kept> {
        let host = url.host_str().unwrap().to_owned();
        let path = url.path().to_owned();
        let secure = is_secure(url);
        self.cookies.iter().filter(move |cookie| {
            let below = host.strip_suffix(&cookie.domain).is_some_and(|it| it.ends_with('.'));
            let of_host = host == cookie.domain || (!cookie.host_only && below);
            let below = path.strip_prefix(&cookie.path);
            let of_path = below.is_some_and(|it| it.is_empty() || it.starts_with('/') || cookie.path.ends_with('/'));
            of_host && of_path && (secure || !cookie.secure)
        })
    }

    /// RFC 6265 §5.3, as far as our cookies need it.
    fn keep(&mut self, url: &Url, line: &str) {
        let host = url.host_str().unwrap();
        let mut parts = line.split(';').map(str::trim);
        let (name, value) = parts.next().unwrap().split_once('=').unwrap();
        let attributes: Vec<_> = parts.map(|part| part.split_once('=').unwrap_or((part, ""))).collect();
        let attribute = |wanted: &str| {
            attributes.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value)
        };
        let domain = attribute("domain").map(|it| it.trim_start_matches('.'));
        if let Some(domain) = domain {
            let within = host == domain || host.strip_suffix(domain).is_some_and(|it| it.ends_with('.'));
            assert!(within, "{host} may not set a cookie for {domain}: {line}");
        }
        let secure = attribute("secure").is_some();
        assert!(!secure || is_secure(url), "{url} may not set a Secure cookie: {line}");
        assert!(
            !name.starts_with("__Host-") || (secure && domain.is_none() && attribute("path") == Some("/")),
            "{line}"
        );
        assert!(!name.starts_with("__Secure-") || secure, "{line}");
        let cookie = Kept {
            name: name.to_owned(),
            value: value.to_owned(),
            domain: domain.unwrap_or(host).to_owned(),
            host_only: domain.is_none(),
            path: attribute("path").unwrap_or("/").to_owned(),
            secure,
        };
        let which = |it: &Kept| (it.name.clone(), it.domain.clone(), it.host_only, it.path.clone());
        self.cookies.retain(|it| which(it) != which(&cookie));
        if attribute("max-age") != Some("0") {
            self.cookies.push(cookie);
        }
    }
}

/// Whether `Secure` cookies are kept for and sent to this address: browsers do so on loopback names, too.
fn is_secure(url: &Url) -> bool {
    let loopback = url.host_str().is_some_and(|host| host == "localhost" || host.ends_with(".localhost"));
    url.scheme() == "https" || loopback
}
