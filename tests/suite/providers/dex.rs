//! Dex, with two users of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;
use url::Url;

use crate::support::port::reserved_address;
use crate::support::tool::{self, Running, START_DEADLINE};
use crate::support::{Browser, Reply};

/// bcrypt of the password `x`.
const PASSWORD_HASH: &str = "$2a$10$jzwPsMrOd12nYWe3mZ/rpuQ3CFpdhSRhLV9Z0ESgZUDtsppcpABxm";

/// A running provider, where the clients `proxy` and `other` are registered.
#[derive(Debug)]
pub(super) struct Dex {
    pub(super) issuer: String,
    pub(super) address: SocketAddr,
    _running: Running,
    _folder: TempDir,
}

impl Dex {
    pub(super) const CLIENT_ID: &str = "proxy";
    pub(super) const CLIENT_SECRET: &str = "the-secret_of.a-test";

    /// Starts a provider that knows the applications at `origins`, alice and bob. Users have no `preferred_username`.
    pub(super) async fn start(origins: &[&str]) -> Self {
        let address = reserved_address();
        let folder = tempfile::tempdir().unwrap();
        let issuer = format!("http://idp.localhost:{}/dex", address.port());
        let file = folder.path().join("configuration.json");
        fs::write(&file, configuration(&issuer, address, origins)).unwrap();
        let mut command = tool::command("dex");
        command.arg("serve").arg(&file);
        let mut running = Running::start(command, folder.path());
        running.until_ready("Dex", START_DEADLINE, async || tool::listens(address).await).await;
        Self { issuer, address, _running: running, _folder: folder }
    }

    /// Answers an authorization request as a person would, up to the redirect that leaves Dex.
    pub(super) async fn sign_in(&self, browser: &mut Browser, authorization: &Url, user: &str) -> Reply {
        let page = browser.get(authorization.as_str()).await;
        let page = browser.follow_on_host(page).await;
        let action = page.is(200).body.split_once("<form method=\"post\" action=\"");
        let action = action.and_then(|(_, rest)| rest.split_once('"')).map(|(action, _)| action.replace("&amp;", "&"));
        let action = page.url.join(&action.unwrap_or_else(|| panic!("no form in {page:#?}"))).unwrap();
        let reply = browser.post(action.as_str(), &format!("login={user}%40example.test&password=x")).await;
        browser.follow_on_host(reply).await
    }
}

/// Dex reads YAML, of which JSON is a part.
fn configuration(issuer: &str, address: SocketAddr, origins: &[&str]) -> String {
    let callback = |origin: &&str| format!("{origin}/outpost.goauthentik.io/callback?X-authentik-auth-callback=true");
    let callbacks: Vec<_> = origins.iter().map(callback).collect();
    let client = |id: &str| json!({"id": id, "name": id, "secret": Dex::CLIENT_SECRET, "redirectURIs": callbacks});
    let user = |name: &str, groups: &[&str]| {
        json!({
            "email": format!("{name}@example.test"), "hash": PASSWORD_HASH, "username": name, "name": name,
            "userID": format!("{name}-id"), "groups": groups,
        })
    };
    json!({
        "issuer": issuer,
        "storage": {"type": "memory"},
        "web": {"http": address.to_string()},
        "frontend": {"dir": PathBuf::from(tool::folder()).join("dex-web")},
        "logger": {"level": "error"},
        "oauth2": {"skipApprovalScreen": true},
        "enablePasswordDB": true,
        "staticClients": [client(Dex::CLIENT_ID), client("other")],
        "staticPasswords": [user("alice", &["admins", "staff"]), user("bob", &["staff"])],
    })
    .to_string()
}
