//! A proxy in front of forepost and an application, and a provider behind them.

use std::net::SocketAddr;

use forepost::daemon::Daemon;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::application::Application;
use super::proxy::{Addresses, Proxy};
use super::raw;
use crate::support::port::reserved_address;
use crate::support::tool::{Running, START_DEADLINE};
use crate::support::{Browser, OpenIdProvider, Reply, start_daemon};

/// Everything that a browser can meet.
pub(super) struct Front {
    /// Of the application, as browsers know it: `http://app.localhost:PORT`.
    pub(super) origin: String,
    /// Where the proxy listens.
    pub(super) address: SocketAddr,
    /// Where it speaks HTTP/2 without TLS, in [`Front::with_http2`] and [`Front::before`].
    pub(super) http2: SocketAddr,
    pub(super) application: Application,
    pub(super) provider: OpenIdProvider,
    daemon: Daemon,
    proxy: Running,
    folder: TempDir,
}

/// The application that is tested is for admins, and has `more` settings; the other one is there to be mistaken for it.
fn settings(issuer: &str, port: u16, more: &str) -> String {
    let (id, secret) = (OpenIdProvider::CLIENT_ID, OpenIdProvider::CLIENT_SECRET);
    format!(
        r#"
        [identity_provider.op]
        issuer = "{issuer}"
        client_id = "{id}"
        client_secret = "{secret}"
        scopes = ["openid", "profile", "email", "groups"]

        [[application]]
        name = "The App"
        slug = "app"
        external_host = "http://app.localhost:{port}"
        required_groups = ["admins"]
        public_paths = [{{ prefix = "/public" }}, {{ path = "/hook", methods = ["POST"] }}]
        {more}

        [[application.rule]]
        paths = [{{ prefix = "/internal" }}]
        deny = true

        [[application.rule]]
        paths = [{{ prefix = "/api" }}]
        methods = ["POST"]
        require = {{ groups_any = ["nonexistent"] }}

        [[application]]
        name = "Another"
        slug = "another"
        external_host = "http://another.localhost:{port}"
        public_paths = [{{ prefix = "/page" }}]
        "#
    )
}

impl Front {
    /// Starts all of it, and waits until a request comes through.
    pub(super) async fn start(proxy: Proxy) -> Self {
        Self::with(proxy, "", |_, text| text).await
    }

    /// The same with `more` settings of the application, and the files of the proxy as `edit` makes them.
    pub(super) async fn with(proxy: Proxy, more: &str, edit: impl Fn(&str, String) -> String) -> Self {
        Self::assemble(proxy, more, None, edit).await
    }

    /// The same with HTTP/2, which browsers speak over TLS and this speaks without.
    pub(super) async fn with_http2(proxy: Proxy) -> Self {
        Self::before(proxy, None).await
    }

    /// The same with another application behind it.
    pub(super) async fn before(proxy: Proxy, application: Option<SocketAddr>) -> Self {
        let other = reserved_address();
        let edit = |file: &str, text| proxy.add_http2(file, text, other);
        let mut front = Self::assemble(proxy, "", application, edit).await;
        front.http2 = if proxy.has_another_listener() { other } else { front.address };
        front
    }

    async fn assemble(
        proxy: Proxy,
        more: &str,
        behind: Option<SocketAddr>,
        edit: impl Fn(&str, String) -> String,
    ) -> Self {
        let address = reserved_address();
        let origin = format!("http://app.localhost:{}", address.port());
        let provider = OpenIdProvider::start(&origin);
        let application = Application::start().await;
        let daemon = start_daemon(&settings(&provider.issuer, address.port(), more)).await;
        daemon.ready().await;
        let forepost = [daemon.http_address().unwrap()];
        let behind = behind.unwrap_or(application.address);
        let addresses = Addresses { proxy: address, forepost: &forepost, application: behind };
        let folder = tempfile::tempdir().unwrap();
        let proxy = Running::start(proxy.prepare_edited(folder.path(), addresses, edit), folder.path());
        let mut front = Self { origin, address, http2: address, application, provider, daemon, proxy, folder };
        front.until_ready().await;
        front
    }

    /// Waits for the application's answer on a public path.
    async fn until_ready(&mut self) {
        let (address, request) = (self.address, self.request("GET /public/ready", &[]));
        let is_up = async || raw::status(address, &request).await.is_ok_and(|status| status == 200);
        self.proxy.until_ready("the proxy", START_DEADLINE, is_up).await;
        self.application.take();
    }

    /// The absolute address of a path of the application.
    pub(super) fn url(&self, target: &str) -> String {
        format!("{}{target}", self.origin)
    }

    /// A request to the letter, for [`raw`]; the connection is closed after it.
    pub(super) fn request(&self, line: &str, headers: &[&str]) -> String {
        let host = self.origin.trim_start_matches("http://");
        let mut request = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        for header in headers {
            request.push_str(header);
            request.push_str("\r\n");
        }
        request + "\r\n"
    }

    /// The application's host and port.
    pub(super) fn host(&self) -> &str {
        self.origin.trim_start_matches("http://")
    }

    /// A browser that reaches the proxy and the provider.
    pub(super) fn browser(&self) -> Browser {
        Browser::new().route("idp.localhost", self.provider.address).route("*", self.address)
    }

    /// Goes to `url` without a session and signs in; ends where that leads.
    pub(super) async fn sign_in(&self, browser: &mut Browser, url: &str, user: &str) -> Reply {
        let page = browser.open(url).await;
        let back = self.provider.sign_in(browser, &page, user).await;
        browser.follow(back).await
    }

    /// A browser where alice has signed in.
    pub(super) async fn alice(&self) -> Browser {
        let mut browser = self.browser();
        self.sign_in(&mut browser, &self.url("/"), "alice").await.is(200);
        self.application.take();
        browser
    }

    /// The `Cookie` line with which the browser comes to the application.
    pub(super) fn cookie_line(&self, browser: &Browser) -> String {
        let url = url::Url::parse(&self.origin).unwrap();
        let cookies = browser.cookie_names(&url).into_iter().map(|name| {
            let value = browser.cookie(&url, &name).unwrap();
            format!("{name}={value}")
        });
        format!("Cookie: {}", cookies.collect::<Vec<_>>().join("; "))
    }

    /// Stops forepost and leaves the rest.
    pub(super) async fn stop_forepost(self) -> Bereft {
        let forepost = self.daemon.http_address().unwrap();
        self.daemon.shutdown().await;
        let Self { address, application, proxy, folder, .. } = self;
        Bereft { address, forepost, application, proxy, _folder: folder }
    }
}

/// A proxy whose forepost is gone.
pub(super) struct Bereft {
    address: SocketAddr,
    forepost: SocketAddr,
    application: Application,
    proxy: Running,
    _folder: TempDir,
}

impl Bereft {
    /// Fails when a request is answered with anything but a refusal; all are sent at once, because HAProxy tries for a while.
    pub(super) async fn refuses(&mut self, requests: &[String]) {
        let address = self.address;
        let mut answers = JoinSet::new();
        for request in requests.iter().cloned() {
            answers.spawn(async move { (raw::status(address, &request).await.unwrap(), request) });
        }
        for (status, request) in answers.join_all().await {
            assert!(status >= 400, "{status} for {request}");
        }
        self.application.saw_nothing();
        self.proxy.still_runs();
    }

    /// Listens where forepost was, and hangs up on everybody; ends with the test's runtime.
    pub(super) async fn replace_forepost_by_something_broken(&self) {
        let listener = tokio::net::TcpListener::bind(self.forepost).await.unwrap();
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    }
}
