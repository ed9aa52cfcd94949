//! What a host of the same site can do to a browser, over https, with cookies that the browser itself accepts and sends.

use std::net::{Ipv4Addr, SocketAddr};

use http::header::SET_COOKIE;
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::{run, tls};
use crate::provider::{Config, Provider};
use crate::proxy::Proxy;
use crate::support::{client, start_daemon};
use crate::web::{self, HangUp, Parameters, Server};

/// Sets each `cookie` of the query to the letter, and has a link and a form that lead to `to`.
fn neighbour(query: &str) -> web::Answer {
    let parameters = url::form_urlencoded::parse(query.as_bytes());
    let to = Parameters::parse(query.as_bytes()).get("to").unwrap_or_default().to_owned();
    let page = format!(
        "<h1>A neighbour</h1><a href=\"{to}\">A kitten</a><form action=\"{to}\" method=post><button>Go</button></form>"
    );
    let mut answer = web::answer(StatusCode::OK, "text/html", page.into());
    for (_, line) in parameters.filter(|(name, _)| name == "cookie") {
        answer.headers_mut().append(SET_COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
    }
    // The pages of the demo have one that forbids forms.
    answer.headers_mut().remove(http::header::CONTENT_SECURITY_POLICY);
    answer
}

#[tokio::test]
async fn a_neighbour_signs_no_user_in_or_out() {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (listener, address) = web::bind(loopback).await.unwrap();
    let port = address.port();
    let alone = format!("https://whoami.example.test:{port}");
    let portal = format!("https://auth.domain.example.test:{port}");
    let config = Config { clients: vec![client("proxy", Some("secret"), &[&alone, &portal])], ..Config::default() };
    let provider = Provider::start(config).await.unwrap();
    let daemon = start_daemon(&format!(
        "[identity_provider.idp]\nissuer = \"{}\"\nclient_id = \"proxy\"\nclient_secret = \"secret\"\n\
         [[application]]\nname = \"Alone\"\nslug = \"alone\"\nexternal_host = \"{alone}\"\n\
         [[application]]\nname = \"Everything\"\nslug = \"domain\"\nexternal_host = \"{portal}\"\n\
         cookie_domain = \"domain.example.test\"\n",
        provider.issuer()
    ))
    .await;
    daemon.ready().await;
    let tls = tls(&["*.example.test", "*.domain.example.test"]);
    let proxy = Proxy::serve(listener, Some(tls.clone()), daemon.http_address().unwrap());
    let (listener, elsewhere) = web::bind(loopback).await.unwrap();
    let neighbours = Server::run(listener, Some(tls), |request, _| async move {
        Ok::<_, HangUp>(neighbour(request.uri().query().unwrap_or_default()))
    });
    run("planted", json!({"port": port, "neighbour": elsewhere.port()})).await;
    neighbours.stop().await;
    proxy.stop().await;
}
