//! The demo as a visitor meets it: provider, forepost and proxy together.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use http::header::{LOCATION, SET_COOKIE};
use http::{Method, StatusCode};
use serde_json::Value;
use url::Url;

use super::{Reply, Visitor};
use crate::running::Running;
use crate::web;

/// Keeps cookies by host, and follows redirects.
struct Browser {
    cookies: BTreeMap<(String, String), String>,
    port: u16,
}

/// Where a visit ended.
struct Page {
    url: Url,
    reply: Reply,
}

impl Page {
    #[track_caller]
    fn ends(&self, status: StatusCode, url: &str) {
        assert_eq!((self.reply.status, self.url.as_str()), (status, url), "{}", self.reply.body);
    }
}

impl Browser {
    fn new(port: u16) -> Self {
        Self { cookies: BTreeMap::new(), port }
    }

    fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}.localhost:{}{path}", self.port)
    }

    /// One request, with the headers of a browser that navigates.
    async fn request(&mut self, method: Method, url: &Url, site: &str, accept: &str, form: &str) -> Reply {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, url.port_or_known_default().unwrap()));
        let host = url.host_str().unwrap().to_owned();
        let cookies = self.cookies.iter().filter(|((at, _), _)| *at == host);
        let cookies: Vec<_> = cookies.map(|((_, name), value)| format!("{name}={value}")).collect();
        let authority = format!("{host}:{}", address.port());
        let cookies = cookies.join("; ");
        let headers =
            [("host", authority.as_str()), ("sec-fetch-site", site), ("accept", accept), ("cookie", cookies.as_str())];
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let reply = Visitor::new(address).send(method, path, &headers, form.to_owned()).await;
        for line in reply.headers.get_all(SET_COOKIE) {
            let line = line.to_str().unwrap();
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            let key = (host.clone(), name.to_owned());
            if value.is_empty() || line.contains("Max-Age=0") {
                self.cookies.remove(&key);
            } else {
                self.cookies.insert(key, value.to_owned());
            }
        }
        reply
    }

    /// Follows redirects to their end.
    async fn follow(&mut self, mut url: Url, mut reply: Reply) -> Page {
        for _ in 0..10 {
            if !reply.headers.contains_key(LOCATION) {
                return Page { url, reply };
            }
            url = reply.location();
            reply = self.request(Method::GET, &url, "cross-site", "text/html", "").await;
        }
        panic!("a redirect loop at {url}");
    }

    async fn visit(&mut self, host: &str, path: &str) -> Page {
        let url = Url::parse(&self.url(host, path)).unwrap();
        let reply = self.request(Method::GET, &url, "same-origin", "text/html", "").await;
        self.follow(url, reply).await
    }

    /// Fills in the form of the provider's page.
    async fn sign_in(&mut self, page: Page, login: &str) -> Page {
        assert!(page.reply.body.contains("name=\"password\""), "{}", page.reply.body);
        let request = page.url.query().unwrap();
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("request", request), ("login", login), ("password", "x")])
            .finish();
        let url = page.url.join("/login").unwrap();
        let reply = self.request(Method::POST, &url, "same-origin", "text/html", &form).await;
        self.follow(url, reply).await
    }

    async fn told(&mut self, host: &str) -> Value {
        let page = self.visit(host, "/api").await;
        assert_eq!(page.reply.status, StatusCode::OK, "{}", page.reply.body);
        page.reply.json()["headers"].clone()
    }
}

async fn start() -> (Running, Browser) {
    let (listener, address) = web::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let running = Running::start(listener, address).await.unwrap();
    (running, Browser::new(address.port()))
}

#[tokio::test]
async fn alice_signs_in_once_for_all_applications_and_out() {
    let (running, mut browser) = start().await;
    let login = browser.visit("whoami", "/a%20b?x=1&y=%2F").await;
    let page = browser.sign_in(login, "alice").await;
    page.ends(StatusCode::OK, &browser.url("whoami", "/a%20b?x=1&y=%2F"));
    let told = browser.told("whoami").await;
    assert_eq!(told["x-authentik-username"], "alice");
    assert_eq!(told["x-authentik-name"], "Alice Ärger");
    assert_eq!(told["x-authentik-groups"], "admins|staff");

    let second = browser.visit("notes", "/").await;
    second.ends(StatusCode::OK, &browser.url("notes", "/"));
    let admin = browser.visit("whoami", "/admin").await;
    admin.ends(StatusCode::OK, &browser.url("admin", "/"));

    let out = browser.visit("whoami", "/outpost.goauthentik.io/sign_out").await;
    out.ends(StatusCode::OK, &browser.url("whoami", "/public/signed-out"));
    let again = browser.visit("whoami", "/").await;
    assert!(again.reply.body.contains("name=\"password\""), "{}", again.reply.body);
    running.stop().await;
}

#[tokio::test]
async fn bob_is_no_administrator() {
    let (running, mut browser) = start().await;
    let login = browser.visit("whoami", "/admin").await;
    let page = browser.sign_in(login, "bob").await;
    page.ends(StatusCode::FORBIDDEN, &browser.url("admin", "/"));
    running.stop().await;
}

#[tokio::test]
async fn the_public_path_needs_no_login_and_says_so() {
    let (running, mut browser) = start().await;
    let page = browser.visit("whoami", "/public/").await;
    page.ends(StatusCode::OK, &browser.url("whoami", "/public/"));
    assert!(page.reply.body.contains("not signed in"), "{}", page.reply.body);
    running.stop().await;
}

#[tokio::test]
async fn a_client_that_takes_json_is_told_where_to_log_in() {
    let (running, mut browser) = start().await;
    let url = Url::parse(&browser.url("whoami", "/")).unwrap();
    let reply = browser.request(Method::GET, &url, "none", "application/json", "").await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    let login = reply.json()["login_url"].as_str().unwrap().to_owned();
    let login = Url::parse(&login).unwrap();
    let reply = browser.request(Method::GET, &login, "none", "text/html", "").await;
    let page = browser.follow(login, reply).await;
    let page = browser.sign_in(page, "alice").await;
    page.ends(StatusCode::OK, url.as_str());
    running.stop().await;
}
