//! What the demo consists of: the users' provider, forepost's settings, and what to try.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::provider::{Client, Config};

/// Forepost's registration at the provider. The provider lives as long as the process and only on loopback.
const CLIENT: &str = "forepost";
const SECRET: &str = "demo-secret";

/// Host label, name, and the groups of which one is required.
const APPLICATIONS: [(&str, &str, &[&str]); 3] =
    [("whoami", "Who am I?", &[]), ("notes", "Notes", &[]), ("admin", "Administration", &["admins"])];

/// The ports are known only when the demo runs.
#[derive(Debug)]
pub(crate) struct Demo {
    /// Where the proxy listens.
    pub(crate) port: u16,
    /// The provider.
    pub(crate) issuer: String,
}

impl Demo {
    /// The provider that fits.
    pub(crate) fn provider(port: u16) -> Config {
        Config { clients: vec![Self::client(port, None)], ..Config::default() }
    }

    /// Forepost's registration: it may come back to each application, and is told of logouts where `forepost` listens.
    pub(crate) fn client(port: u16, forepost: Option<SocketAddr>) -> Client {
        let origins = APPLICATIONS.map(|(label, ..)| format!("http://{label}.localhost:{port}"));
        let callback = |origin: &String| format!("{origin}/outpost.goauthentik.io/callback");
        let marked = |origin: &String| format!("{}?X-authentik-auth-callback=true", callback(origin));
        let signed_out = |origin: &String| format!("{origin}/public/signed-out");
        Client {
            id: CLIENT.to_owned(),
            secret: Some(SECRET.to_owned()),
            redirect_uris: origins.iter().map(callback).chain(origins.iter().map(marked)).collect(),
            post_logout_redirect_uris: origins.iter().map(signed_out).collect(),
            backchannel_logout_uri: forepost
                .map(|address| format!("http://{address}/outpost.goauthentik.io/backchannel-logout")),
        }
    }

    /// Forepost's settings.
    pub(crate) fn forepost_toml(&self) -> String {
        let Self { port, issuer } = self;
        let mut toml = format!(
            r#"[server]
http = "127.0.0.1:0"
metrics = "127.0.0.1:0"

[identity_provider.demo]
issuer = "{issuer}"
client_id = "{CLIENT}"
client_secret = "{SECRET}"
scopes = ["openid", "profile", "email", "groups"]

[log]
level = "warn"
"#
        );
        for (label, name, groups) in APPLICATIONS {
            let origin = format!("http://{label}.localhost:{port}");
            let groups = groups.iter().map(|group| format!("\"{group}\""));
            let groups = groups.collect::<Vec<_>>().join(", ");
            // Writing to a string cannot fail.
            let _ = write!(
                toml,
                r#"
[[application]]
name = "{name}"
slug = "{label}"
external_host = "{origin}"
identity_provider = "demo"
public_paths = [{{ prefix = "/public" }}]
required_groups = [{groups}]
post_logout_redirect_uri = "{origin}/public/signed-out"
"#
            );
        }
        toml
    }

    /// What is printed when all is up.
    pub(crate) fn introduction(&self) -> String {
        let Self { port, issuer } = self;
        format!(
            r"
  Open   http://whoami.localhost:{port}/

  Then try
    sign in        as alice (admins, staff) or bob (staff), with any password
    second one     http://notes.localhost:{port}/ asks for no second login
    /admin         http://whoami.localhost:{port}/admin opens for alice and is forbidden for bob
    public path    http://whoami.localhost:{port}/public/ needs no login
    sign out       http://whoami.localhost:{port}/outpost.goauthentik.io/sign_out asks, and ends it in all applications
    once more      http://whoami.localhost:{port}/ as another user, and /admin again
    no browser     curl -i -H 'Accept: application/json' http://whoami.localhost:{port}/
                   is answered 401, with the login URL

  The provider is {issuer}. --print-config shows forepost's configuration.
  Ctrl-C stops everything.
"
        )
    }
}
