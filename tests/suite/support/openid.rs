//! The certified provider of `tests/provider/op.mjs`, and its forms.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::form_urlencoded;

use super::tool::{self, Running};
use super::{Browser, Reply};

/// A running provider, where one client is registered.
#[derive(Debug)]
pub(crate) struct OpenIdProvider {
    pub(crate) issuer: String,
    pub(crate) address: SocketAddr,
    _running: Running,
    _folder: TempDir,
}

impl OpenIdProvider {
    pub(crate) const CLIENT_ID: &str = "proxy";
    pub(crate) const CLIENT_SECRET: &str = "the secret of a test";

    /// Starts a provider that knows the application at `origin`.
    pub(crate) fn start(origin: &str) -> Self {
        Self::with(origin, &json!({}), json!({}))
    }

    /// The same, with changes to our registration (`null` takes a member out) and to the configuration of `op.mjs`.
    pub(crate) fn with(origin: &str, registration: &Value, mut configuration: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut client = json!({
            "client_id": Self::CLIENT_ID,
            "client_secret": Self::CLIENT_SECRET,
            "redirect_uris": [format!("{origin}/outpost.goauthentik.io/callback?X-authentik-auth-callback=true")],
            "post_logout_redirect_uris": [format!("{origin}/outpost.goauthentik.io/signed_out")],
        });
        for (name, value) in registration.as_object().unwrap() {
            client[name] = value.clone();
        }
        client.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        configuration["clients"] = json!([client]);
        let mut command = tool::command("node");
        command
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/provider/op.mjs"))
            .arg(configuration.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut running = Running::start(command, folder.path());
        let mut line = String::new();
        BufReader::new(running.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let started: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("no provider: {line}{}", running.messages()));
        let port = started["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap();
        Self {
            issuer: started["issuer"].as_str().unwrap().to_owned(),
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            _running: running,
            _folder: folder,
        }
    }

    /// Fills in the login form of `page` and what follows it, up to the redirect that leaves the provider.
    pub(crate) async fn sign_in(&self, browser: &mut Browser, page: &Reply, user: &str) -> Reply {
        let consent = self.submit(browser, page, &format!("prompt=login&login={user}&password=x")).await;
        self.submit(browser, &consent, "prompt=consent").await
    }

    /// Confirms the sign-out that `page` asks for, up to the redirect that leaves the provider.
    pub(crate) async fn sign_out(&self, browser: &mut Browser, page: &Reply) -> Reply {
        let xsrf = between(page, "name=\"xsrf\" value=\"", "\"");
        self.submit(browser, page, &format!("xsrf={xsrf}&logout=yes")).await
    }

    async fn submit(&self, browser: &mut Browser, page: &Reply, form: &str) -> Reply {
        assert!(page.is(200).url.as_str().starts_with(&self.issuer), "{page:#?}");
        let action = between(page, "action=\"", "\"");
        let reply = browser.post(page.url.join(&action).unwrap().as_str(), form).await;
        browser.follow_on_host(reply).await
    }

    /// Has logouts sent there (OpenID Connect Back-Channel Logout 1.0 §2.2), with the session named; loopback addresses will do.
    pub(crate) async fn tell_logouts(&self, uri: &str) {
        let changes = json!({"backchannel_logout_uri": uri, "backchannel_logout_session_required": true}).to_string();
        let changes = form_urlencoded::byte_serialize(changes.as_bytes()).collect::<String>();
        self.hook(&format!("client?{changes}")).await;
    }

    /// What a client hears when a user's sessions end here.
    pub(crate) async fn logout_token(&self, user: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.tell_logouts(&format!("http://{}/", listener.local_addr().unwrap())).await;
        let hook = format!("end-sessions?{user}");
        let (ended, told) = tokio::join!(self.hook(&hook), told(&listener));
        assert_eq!(ended[0]["told"], true, "{ended}");
        told.split_once("logout_token=").unwrap().1.to_owned()
    }

    /// Calls a hook: `rotate`, `rotate?keep`, `down`, `up`, `stats`, `client?…`, `end-sessions?USER`.
    pub(crate) async fn hook(&self, name: &str) -> Value {
        let mut operator = Browser::new().route("*", self.address);
        operator.get(&format!("{}/_test/{name}", self.issuer)).await.is(200).json()
    }
}

#[track_caller]
fn between(page: &Reply, before: &str, after: &str) -> String {
    let rest = page.body.split_once(before).map(|(_, rest)| rest);
    let found = rest.and_then(|rest| rest.split_once(after)).map(|(found, _)| found);
    found.unwrap_or_else(|| panic!("{before} is not in {page:#?}")).to_owned()
}

/// The next request there, answered as by a client that ended the session.
pub(crate) async fn told(listener: &TcpListener) -> String {
    let (mut connection, _) = listener.accept().await.unwrap();
    let (mut heard, mut part) = (String::new(), [0; 4096]);
    loop {
        let length = connection.read(&mut part).await.unwrap();
        assert_ne!(length, 0, "{heard}");
        heard.push_str(str::from_utf8(&part[..length]).unwrap());
        let Some((head, body)) = heard.split_once("\r\n\r\n") else { continue };
        let size = head.to_ascii_lowercase().split_once("content-length: ").map(|(_, rest)| rest.to_owned());
        let size: usize = size.unwrap().lines().next().unwrap().parse().unwrap();
        if body.len() >= size {
            break;
        }
    }
    connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.unwrap();
    heard
}
