//! The certified provider of `tests/provider/op.mjs`, and its forms.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::tool::{self, Running};
use crate::support::{Browser, Reply};

/// A running provider, where one client is registered.
#[derive(Debug)]
pub(super) struct OpenIdProvider {
    pub(super) issuer: String,
    pub(super) address: SocketAddr,
    _running: Running,
    _folder: TempDir,
}

impl OpenIdProvider {
    pub(super) const CLIENT_ID: &str = "proxy";
    pub(super) const CLIENT_SECRET: &str = "the secret of a test";

    /// Starts a provider that knows the application at `origin`.
    pub(super) fn start(origin: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let configuration = json!({
            "clients": [{
                "client_id": Self::CLIENT_ID,
                "client_secret": Self::CLIENT_SECRET,
                "redirect_uris": [format!("{origin}/outpost.goauthentik.io/callback?X-authentik-auth-callback=true")],
                "post_logout_redirect_uris": [format!("{origin}/outpost.goauthentik.io/signed_out")],
            }],
        });
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

    /// Fills in the login form of `page` and what follows it, to the end of all redirects.
    pub(super) async fn sign_in(&self, browser: &mut Browser, page: &Reply, user: &str) -> Reply {
        let consent = self.submit(browser, page, &format!("prompt=login&login={user}&password=x")).await;
        self.submit(browser, &consent, "prompt=consent").await
    }

    /// Confirms the sign-out that `page` asks for, to the end of all redirects.
    pub(super) async fn sign_out(&self, browser: &mut Browser, page: &Reply) -> Reply {
        let xsrf = between(page, "name=\"xsrf\" value=\"", "\"");
        self.submit(browser, page, &format!("xsrf={xsrf}&logout=yes")).await
    }

    async fn submit(&self, browser: &mut Browser, page: &Reply, form: &str) -> Reply {
        assert!(page.is(200).url.as_str().starts_with(&self.issuer), "{page:#?}");
        let action = between(page, "action=\"", "\"");
        let reply = browser.post(page.url.join(&action).unwrap().as_str(), form).await;
        browser.follow(reply).await
    }
}

#[track_caller]
fn between(page: &Reply, before: &str, after: &str) -> String {
    let rest = page.body.split_once(before).map(|(_, rest)| rest);
    let found = rest.and_then(|rest| rest.split_once(after)).map(|(found, _)| found);
    found.unwrap_or_else(|| panic!("{before} is not in {page:#?}")).to_owned()
}
