//! Domain-wide login and a single host, both over https.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::ServerConfig;
use serde_json::json;

use super::run;
use crate::provider::{Config, Provider};
use crate::proxy::Proxy;
use crate::support::{client, start_daemon};
use crate::web;

/// The certificate is its own authority, and the browser is told to take it.
fn tls() -> Arc<ServerConfig> {
    let names = ["*.example.test", "*.single.localhost"].map(str::to_owned);
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
    let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], signing_key.into());
    Arc::new(tls.unwrap())
}

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
    let proxy = Proxy::serve(listener, Some(tls()), daemon.http_address().unwrap());
    run("domain", json!({"port": port})).await;
    proxy.stop().await;
}
