//! Domain-wide login and a single host, both over https.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::json;

use super::{run, tls};
use crate::provider::{Config, Provider};
use crate::proxy::Proxy;
use crate::support::{client, start_daemon};
use crate::web;

#[tokio::test]
async fn one_login_opens_the_domain_and_one_sign_out_closes_it() {
    let (listener, address) = web::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let port = address.port();
    let portal = format!("https://auth.example.test:{port}");
    let single = format!("https://whoami.single.localhost:{port}");
    let config = Config { clients: vec![client("proxy", Some("secret"), &[&portal, &single])], ..Config::default() };
    let provider = Provider::start(config).await.unwrap();
    let daemon = start_daemon(&format!(
        r#"
[identity_provider.idp]
issuer = "{}"
client_id = "proxy"
client_secret = "secret"

[[application]]
name = "Everything"
slug = "domain"
external_host = "{portal}"
cookie_domain = "example.test"
public_paths = [{{ prefix = "/public" }}]

[[application]]
name = "Alone"
slug = "single"
external_host = "{single}"
"#,
        provider.issuer()
    ))
    .await;
    daemon.ready().await;
    let proxy =
        Proxy::serve(listener, Some(tls(&["*.example.test", "*.single.localhost"])), daemon.http_address().unwrap());
    run("domain", json!({"port": port})).await;
    proxy.stop().await;
}
