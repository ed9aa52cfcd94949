//! Every page of forepost, as it is served.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

use super::run;
use crate::provider::{Config, Endpoint, Fault, Provider, SigningKey};
use crate::proxy::Proxy;
use crate::support::{client, start_daemon};
use crate::web::{self, HangUp, Server};

async fn provider(origin: &str) -> Provider {
    let config = Config { clients: vec![client("proxy", Some("secret"), &[origin])], ..Config::default() };
    Provider::start(config).await.unwrap()
}

#[tokio::test]
async fn every_page_is_fit_to_be_seen() {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (listener, address) = web::bind(loopback).await.unwrap();
    let port = address.port();
    let mut toml = String::new();
    let mut providers = Vec::new();
    for (slug, name, label, groups) in [
        ("honest", "Who am I?", "whoami", ""),
        ("closed", "Team wiki and archive", "admin.closed", "\"admins\""),
        ("denied", "Notes", "notes.denied", ""),
        ("away", "Notes", "notes.away", ""),
        ("forged", "Notes", "notes.forged", ""),
        ("forgetful", "Notes", "notes.forgetful", ""),
    ] {
        let origin = format!("http://{label}.localhost:{port}");
        let provider = provider(&origin).await;
        write!(
            toml,
            "[identity_provider.{slug}]\nissuer = \"{}\"\nclient_id = \"proxy\"\nclient_secret = \"secret\"\n\
             scopes = [\"openid\", \"profile\", \"groups\"]\n\
             [[application]]\nname = \"{name}\"\nslug = \"{slug}\"\nexternal_host = \"{origin}\"\n\
             identity_provider = \"{slug}\"\nrequired_groups = [{groups}]\nshow_required = true\n",
            provider.issuer(),
        )
        .unwrap();
        provider.set(|behaviour| match slug {
            "denied" => behaviour.refuse = Some("access_denied"),
            "away" => {
                let hung_up = Fault { hang_up: true, ..Fault::default() };
                behaviour.faults.insert(Endpoint::Token, hung_up);
            }
            "forged" => behaviour.signing_key = SigningKey::Stray,
            _ => {}
        });
        providers.push(provider);
    }
    let daemon = start_daemon(&format!("{toml}[session]\nsign_out_everywhere = true\n")).await;
    daemon.ready().await;
    let proxy = Proxy::serve(listener, None, daemon.http_address().unwrap());

    let (listener, elsewhere) = web::bind(loopback).await.unwrap();
    let link = format!("<a href=\"http://whoami.localhost:{port}/outpost.goauthentik.io/sign_out\">A kitten</a>");
    let link = Bytes::from(link);
    let other_site = Server::run(listener, None, move |_, _| {
        let page = web::answer(StatusCode::OK, "text/html", link.clone());
        async { Ok::<_, HangUp>(page) }
    });
    run("pages", json!({"port": port, "elsewhere": format!("http://elsewhere.localhost:{}/", elsewhere.port())})).await;
    other_site.stop().await;
    proxy.stop().await;
}
