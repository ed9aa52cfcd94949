//! A client of the Model Context Protocol finds out by itself where it gets a token, and comes through.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::proxy::{Addresses, Proxy};
use super::raw;
use crate::support::port::reserved_address;
use crate::support::tool::{self, Running, START_DEADLINE};
use crate::support::{OpenIdProvider, start_daemon};

fn mcp(arguments: &[&str]) -> Command {
    let mut command = tool::command("node");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/provider/mcp.mjs")).args(arguments);
    command
}

/// The configuration of the application that the server stands behind.
fn settings(issuer: &str, origin: &str) -> String {
    let (id, secret) = (OpenIdProvider::CLIENT_ID, OpenIdProvider::CLIENT_SECRET);
    format!(
        r#"
        [identity_provider.op]
        issuer = "{issuer}"
        client_id = "{id}"
        client_secret = "{secret}"

        [[application]]
        slug = "mcp"
        external_host = "{origin}"
        public_paths = [{{ prefix = "/public" }}]

        [application.tokens]
        bearer = "jwt"
        accept_clients = ["{id}"]
        scopes = ["read"]
        "#
    )
}

async fn comes_through(proxy: Proxy) {
    let address = reserved_address();
    let origin = format!("http://app.localhost:{}", address.port());
    let resources = json!({"resources": {&origin: "jwt"}});
    let provider = OpenIdProvider::with(&origin, &json!({}), resources);
    let folder = tempfile::tempdir().unwrap();
    let mut command = mcp(&["server"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = Running::start(command, folder.path());
    let mut line = String::new();
    BufReader::new(server.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let started: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no server: {}", server.messages()));
    let application = SocketAddr::from(([127, 0, 0, 1], u16::try_from(started["port"].as_u64().unwrap()).unwrap()));

    let daemon = start_daemon(&settings(&provider.issuer, &origin)).await;
    daemon.ready().await;
    let forepost = [daemon.http_address().unwrap()];
    let addresses = Addresses { proxy: address, forepost: &forepost, application };
    let folder = tempfile::tempdir().unwrap();
    let mut running = Running::start(proxy.prepare(folder.path(), addresses), folder.path());
    let host = origin.trim_start_matches("http://");
    let ready = format!("GET /mcp HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\nConnection: close\r\n\r\n");
    // Forepost refuses; before it is asked, a proxy may say anything else.
    let is_up = async || raw::status(address, &ready).await.is_ok_and(|status| status == 401);
    running.until_ready("the proxy", START_DEADLINE, is_up).await;

    let url = format!("{origin}/mcp");
    let mut client = mcp(&["client", &url, &provider.issuer, OpenIdProvider::CLIENT_ID, OpenIdProvider::CLIENT_SECRET]);
    client.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || client.output().unwrap()).await.unwrap();
    let told: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{proxy:?}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(told["x-authentik-uid"], "proxy", "{told:#}");
    // As the documents say: it also comes to the application, unless the operator keeps it from it.
    assert!(told["authorization"].as_str().is_some_and(|it| it.starts_with("Bearer ")), "{told:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mcp_clients_come_through_nginx() {
    comes_through(Proxy::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mcp_clients_come_through_caddy() {
    comes_through(Proxy::Caddy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mcp_clients_come_through_traefik() {
    comes_through(Proxy::Traefik).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mcp_clients_come_through_envoy() {
    comes_through(Proxy::Envoy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mcp_clients_come_through_haproxy() {
    comes_through(Proxy::Haproxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mcp_clients_come_through_nginx_of_the_distribution() {
    comes_through(Proxy::DistroNginx).await;
}
