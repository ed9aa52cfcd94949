use http::header::{CONNECTION, HOST};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tempfile::TempDir;

use super::{METADATA, Run};
use crate::provider::{Client, Config, Endpoint, Provider};
use crate::support::process::forepost;
use crate::support::{Browser, Reply, ask, client, start_daemon};
use crate::web::{self, Answer, HangUp, Server};

/// Proxy and application in one: forepost decides, and answers below its own path.
async fn serve(mut to_forepost: Browser, origin: String, request: Request<Incoming>) -> Result<Answer, HangUp> {
    let own = |name: &&http::HeaderName| **name != HOST && **name != CONNECTION;
    let names = request.headers().keys().filter(own);
    let fields: Vec<_> = names.map(|name| (name.as_str(), request.headers()[name].to_str().unwrap())).collect();
    let url = format!("{origin}{}", request.uri());
    // What the client sent, and nothing of a browser.
    to_forepost.headers = HeaderMap::new();
    if request.uri().path().starts_with("/outpost.goauthentik.io/") {
        return Ok(passed(to_forepost.send(request.method().clone(), &url, &fields, None).await));
    }
    let reply = ask("traefik", &mut to_forepost, request.method().clone(), &url, &fields).await;
    if reply.status != 200 {
        return Ok(passed(reply));
    }
    Ok(web::text(reply.status, &format!("Welcome, {}", reply.header("x-authentik-username"))))
}

fn passed(reply: Reply) -> Answer {
    let mut answer = Response::new(Full::from(reply.body));
    *answer.status_mut() = reply.status;
    *answer.headers_mut() = reply.headers;
    answer
}

/// A login for an application that forepost protects: found by its challenge, and good for it.
#[tokio::test(flavor = "multi_thread")]
async fn the_token_opens_what_forepost_protects() {
    let (listener, address) = web::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let origin = format!("http://app.localhost:{}", address.port());
    let cli = Client { id: "cli".to_owned(), ..Client::default() };
    let clients = vec![client("proxy", Some("proxy-secret"), &[&origin]), cli];
    let provider = Provider::start(Config { clients, ..Config::default() }).await.unwrap();
    provider.set(|it| it.introspection_of_all = true);
    let daemon = start_daemon(&format!(
        r#"
        [identity_provider.idp]
        issuer = "{}"
        client_id = "proxy"
        client_secret = "proxy-secret"
        cli_client_id = "cli"
        [[application]]
        slug = "app"
        external_host = "{origin}"
        [application.tokens]
        bearer = "introspection"
        accept_clients = ["cli"]
        scopes = ["profile"]
        "#,
        provider.issuer()
    ))
    .await;
    daemon.ready().await;
    let to_forepost = Browser::new().route("*", daemon.http_address().unwrap());
    let at = origin.clone();
    let _app = Server::run(listener, None, move |request, _| serve(to_forepost.clone(), at.clone(), request));

    let url = format!("{origin}/api/files?all");
    let get = async |authorization: &[(&str, &str)]| {
        let fields = [&[("accept", "application/json")], authorization].concat();
        Browser::new().route("*", address).send(Method::GET, &url, &fields, None).await
    };
    let refused = get(&[]).await;
    let challenge = refused.is(401).header("www-authenticate");
    assert_eq!(challenge, format!("Bearer resource_metadata=\"{origin}{METADATA}\""));

    let home: TempDir = tempfile::tempdir().unwrap();
    let start = |more: &[&str]| {
        let arguments = [&["token", &*url], more].concat();
        Run::start(forepost(&arguments, &[("HOME", home.path().to_str().unwrap())]))
    };
    let mut run = start(&[]);
    let page = run.until("or open ");
    let code = page.rsplit_once('=').unwrap().1.to_owned();
    let mut browser = Browser::new().route("idp.localhost", provider.address());
    browser.post(&page, &format!("user_code={code}&login=alice")).await.is(200).contains("The program knows");
    let (status, first, said) = run.end();
    assert_eq!(status, Some(0), "{said}");

    let silent = |more: &[&str]| {
        let (status, token, said) = start(more).end();
        assert!(status == Some(0) && said.is_empty(), "{status:?} {said}");
        token
    };
    let (kept, renewed) = (silent(&[]), silent(&["--renew"]));
    assert!(kept == first && renewed != first);
    for token in [first, kept, renewed] {
        let bearer = format!("Bearer {}", token.trim_end());
        get(&[("authorization", &bearer)]).await.is(200).contains("Welcome, alice");
    }
    assert_eq!(provider.requests(Endpoint::DeviceAuthorization), 1);

    let strangers = provider.opaque_token("stranger", "alice", "openid profile").unwrap();
    let reply = get(&[("authorization", &format!("Bearer {strangers}"))]).await;
    assert!(reply.is(401).header("www-authenticate").contains("invalid_token"), "{reply:#?}");
}
