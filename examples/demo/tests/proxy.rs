//! The proxy: what forepost is asked, and what applications and clients get.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::header::{LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;

use super::Visitor;
use crate::proxy::Proxy;
use crate::web::{self, Answer, HangUp, Server};

const LOOPBACK: &str = "127.0.0.1:0";

/// A proxy in front of a forepost that gives one answer and remembers what it was asked.
struct Scene {
    visitor: Visitor,
    asked: Arc<Mutex<Vec<(String, HeaderMap)>>>,
    forepost: SocketAddr,
    _proxy: Proxy,
    _forepost: Server,
}

impl Scene {
    async fn new(answer: fn() -> Answer) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (listener, forepost) = web::bind(LOOPBACK.parse().unwrap()).await.unwrap();
        let seen = Arc::clone(&asked);
        let server = Server::run(listener, None, move |request: Request<Incoming>, _| {
            let line = format!("{} {}", request.method(), request.uri());
            seen.lock().unwrap().push((line, request.headers().clone()));
            async move { Ok::<_, HangUp>(answer()) }
        });
        let (listener, address) = web::bind(LOOPBACK.parse().unwrap()).await.unwrap();
        let proxy = Proxy::serve(listener, None, forepost);
        Self { visitor: Visitor::new(address), asked, forepost, _proxy: proxy, _forepost: server }
    }

    fn asked(&self) -> (String, HeaderMap) {
        self.asked.lock().unwrap().pop().expect("forepost was asked")
    }
}

fn allow() -> Answer {
    let mut answer = web::text(StatusCode::OK, "");
    let headers = answer.headers_mut();
    headers.insert("x-authentik-username", HeaderValue::from_static("alice"));
    headers.insert("x-authentik-email", HeaderValue::from_static(""));
    headers.insert("x-authentik-name", HeaderValue::from_static("<script>"));
    headers.insert("x-unlisted", HeaderValue::from_static("1"));
    answer
}

fn refuse() -> Answer {
    let mut answer = web::text(StatusCode::FOUND, "go away");
    let headers = answer.headers_mut();
    headers.append(SET_COOKIE, HeaderValue::from_static("a=1"));
    headers.append(SET_COOKIE, HeaderValue::from_static("b=2"));
    headers.insert(LOCATION, HeaderValue::from_static("/login"));
    answer
}

#[tokio::test]
async fn the_question_tells_the_request_and_nothing_the_client_made_up_about_it() {
    let mut scene = Scene::new(allow).await;
    let headers = [
        ("host", "Whoami.localhost:81"),
        ("x-forwarded-host", "evil.test"),
        ("x-forwarded-uri", "/public/"),
        ("x_forwarded_uri", "/public/"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-prefix", "/evil"),
        ("x-real-ip", "6.6.6.6"),
        ("connection", "x-dropped"),
        ("x-dropped", "1"),
        ("cookie", "c=1"),
    ];
    let reply = scene.visitor.send(Method::POST, "/a%20b?x=1", &headers, "body".to_owned()).await;
    assert_eq!(reply.status, StatusCode::OK);
    let (line, asked) = scene.asked();
    assert_eq!(line, "GET /outpost.goauthentik.io/auth/traefik");
    for (name, value) in [
        ("host", scene.forepost.to_string().as_str()),
        ("x-forwarded-method", "POST"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "Whoami.localhost:81"),
        ("x-forwarded-port", "81"),
        ("x-forwarded-uri", "/a%20b?x=1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("cookie", "c=1"),
    ] {
        let values: Vec<_> = asked.get_all(name).iter().collect();
        assert_eq!(values, [value], "{name}");
    }
    for name in ["x_forwarded_uri", "x-forwarded-prefix", "x-dropped", "content-length", "transfer-encoding"] {
        assert!(!asked.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn the_application_gets_the_identity_of_forepost_only() {
    let mut scene = Scene::new(allow).await;
    let headers = [
        ("host", "whoami.localhost"),
        ("x-authentik-username", "admin"),
        ("x_authentik_username", "admin"),
        ("x-authentik_groups", "admins"),
        ("x-authentik-groups", "admins"),
        ("x.authentik.username", "admin"),
        ("remote-user", "admin"),
        ("remote_user", "admin"),
        ("remote~user", "admin"),
        ("x-forwarded-user", "admin"),
        ("cookie", "authentik_proxy_5aef9624=token; __Host-authentik_proxy_login_x=y"),
    ];
    let reply = scene.visitor.send(Method::GET, "/api", &headers, String::new()).await;
    let expected = serde_json::json!({
        "x-authentik-username": "alice", "x-authentik-email": "", "x-authentik-name": "<script>"
    });
    assert_eq!(reply.json()["headers"], expected);
    let headers =
        [("host", "whoami.localhost"), ("cookie", "a=1; authentik_proxy_5aef9624=token;b=c, authentik_proxy_d=e")];
    let reply = scene.visitor.send(Method::GET, "/api", &headers, String::new()).await;
    assert_eq!(reply.json()["headers"]["cookie"], "a=1; b=c, authentik_proxy_d=e");
    let reply = scene.visitor.get_at("whoami.localhost", "/").await;
    assert!(reply.body.contains("alice") && !reply.body.contains("<script>"), "{}", reply.body);
}

#[tokio::test]
async fn a_refusal_reaches_the_client_as_it_is() {
    let mut scene = Scene::new(refuse).await;
    let reply = scene.visitor.get_at("whoami.localhost", "/").await;
    assert_eq!((reply.status, reply.body.as_str()), (StatusCode::FOUND, "go away\n"));
    let cookies: Vec<_> = reply.headers.get_all(SET_COOKIE).iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(reply.location().as_str(), format!("http://{}/login", scene.forepost));
}

#[tokio::test]
async fn forepost_has_its_own_paths_on_every_host() {
    let mut scene = Scene::new(refuse).await;
    let path = "/outpost.goauthentik.io/callback?code=1";
    let reply = scene.visitor.get_at("notes.localhost:82", path).await;
    assert_eq!(reply.status, StatusCode::FOUND);
    let (line, asked) = scene.asked();
    assert_eq!(line, format!("GET {path}"));
    assert_eq!(asked["host"], "notes.localhost:82");
}

#[tokio::test]
async fn hosts_choose_the_application() {
    for (host, path, status, location) in [
        ("whoami.localhost:83", "/", StatusCode::OK, None),
        ("NOTES.localhost:83", "/", StatusCode::OK, None),
        ("whoami.localhost:83", "/admin", StatusCode::SEE_OTHER, Some("http://admin.localhost:83/")),
        ("localhost:83", "/", StatusCode::SEE_OTHER, Some("http://whoami.localhost:83/")),
        ("other.localhost:83", "/", StatusCode::NOT_FOUND, None),
    ] {
        let mut scene = Scene::new(allow).await;
        let reply = scene.visitor.get_at(host, path).await;
        assert_eq!(reply.status, status, "{host}{path}");
        let found = reply.headers.get(LOCATION).map(|value| value.to_str().unwrap());
        assert_eq!(found, location);
    }
}
