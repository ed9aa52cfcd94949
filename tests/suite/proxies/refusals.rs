//! How those are turned away who may not pass.

use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::application::WEBSOCKET_KEY;
use super::front::Front;
use super::proxy::Proxy;
use super::raw;

const HANDSHAKE: [&str; 3] = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];

impl Proxy {
    /// nginx and HAProxy make a redirect out of forepost's 401 themselves, and do not tell methods apart.
    const fn redirect_after_post(self) -> u16 {
        match self {
            Self::Nginx | Self::DistroNginx | Self::Haproxy => 302,
            Self::Caddy | Self::DistroCaddy | Self::Envoy | Self::Traefik => 303,
        }
    }
}

pub(super) async fn only_navigations_are_redirected(proxy: Proxy) {
    let front = Front::start(proxy).await;
    let mut browser = front.browser();
    let page = front.url("/page");

    let navigation = browser.get(&page).await;
    assert!(["idp.localhost", "app.localhost"].contains(&navigation.is(302).location().host_str().unwrap()));
    let form = browser.post(&page, "x=y").await;
    form.is(proxy.redirect_after_post());
    browser.follow(form).await.is(200).contains("prompt\" value=\"login\"");

    for header in [
        ("accept", "application/json"),
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-mode", "websocket"),
        ("x-requested-with", "XMLHttpRequest"),
        ("authorization", "Bearer nonsense"),
    ] {
        let refused = browser.send(Method::GET, &page, &[header], None).await;
        assert_eq!(refused.is(401).header("location"), "", "{header:?}");
        assert!(!refused.header("www-authenticate").is_empty(), "{header:?}");
    }
    let embedded = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "object")];
    browser.send(Method::GET, &page, &embedded, None).await.is(401);
    front.application.saw_nothing();

    let mut browser = front.alice().await;
    browser.fetch(&page).await.is(200);
    browser.post(&page, "x=y").await.is(200);
    let methods: Vec<_> = front.application.take().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods, [Method::GET, Method::POST]);
}

/// Paths that lead out of `/public`, for a user who is signed in: what proxy and forepost make of them must be the same.
const LEADING_OUT: [&str; 16] = [
    "/public#/../secret",
    "/public/x#/../../secret",
    "/public?x#/../secret",
    "/public%23/../secret",
    "/public/../secret",
    "/public/%2e%2e/secret",
    "/public/..%2fsecret",
    "/public%2f..%2fsecret",
    "/public/..;/secret",
    "/public;x/../secret",
    "/public/..\\secret",
    "/public/..%5csecret",
    "/public/%252e%252e/secret",
    "//public/../secret",
    "/public//../secret",
    "/secret?/public/",
];

pub(super) async fn no_spelling_of_a_path_passes_for_a_public_one(proxy: Proxy) {
    let front = Front::start(proxy).await;
    for target in LEADING_OUT {
        let status = raw::status(front.address, &front.request(&format!("GET {target}"), &[])).await;
        // A proxy may cut the fragment, or the query's, off: then the application must not see it either.
        for seen in front.application.take() {
            let path = seen.target.split('?').next().unwrap_or_default();
            assert!(path.starts_with("/public") && !path.contains("secret"), "{target} {status:?}: {seen:#?}");
        }
    }
}

/// Paths that some application reads as `/internal`, or below.
const DENIED: [&str; 16] = [
    "/internal",
    "/internal/x",
    "/page/../internal",
    "//y/internal",
    "///internal",
    "////y/internal",
    "/\\y/internal",
    "/%5cy/internal",
    "/%2fy/internal",
    "/internal%0a",
    "/internal%00",
    "/in%09ternal",
    "/internal;x=1",
    "/internal%20",
    "/internal.",
    "/page%ff/..%c0%afinternal",
];

/// What alice may not see is not served to her, however it is spelled; what a proxy repairs is not that path any more.
pub(super) async fn no_spelling_of_a_denied_path_passes(proxy: Proxy) {
    let front = Front::start(proxy).await;
    let cookies = front.cookie_line(&front.alice().await);
    for target in DENIED {
        let status = raw::status(front.address, &front.request(&format!("GET {target}"), &[&cookies])).await;
        for seen in front.application.take() {
            let path = seen.target.split('?').next().unwrap_or_default();
            let is_plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/');
            let is_odd = !is_plain || path.starts_with("//") || path.starts_with("/internal");
            assert!(!is_odd, "{target} {status:?}: {seen:#?}");
        }
    }
    assert_eq!(raw::status(front.address, &front.request("GET /page", &[&cookies])).await.unwrap(), 200);
}

/// No user who may not POST reaches an application that reads `post` as `POST`.
pub(super) async fn no_spelling_of_a_method_passes_for_another(proxy: Proxy) {
    let front = Front::start(proxy).await;
    let cookies = front.cookie_line(&front.alice().await);
    for line in ["post /api/x", "Post /api/x", "POSt /api/x", "post /hook", "get /page", "G_ET /page", "GET2 /page"] {
        for cookies in [Some(cookies.as_str()), None] {
            let headers: Vec<_> = ["Content-Length: 0"].into_iter().chain(cookies).collect();
            let status = raw::status(front.address, &front.request(line, &headers)).await;
            assert!(status.as_ref().is_ok_and(|status| (400..=501).contains(status)), "{line} {status:?}");
            front.application.saw_nothing();
        }
    }
    let status = async |line: &str| raw::status(front.address, &front.request(line, &[&cookies])).await.unwrap();
    assert_eq!(status("POST /api/x").await, 403);
    front.application.saw_nothing();
    for line in ["PROPFIND /page", "VERSION-CONTROL /page", "M-SEARCH /page"] {
        // Envoy knows few methods, and refuses others itself.
        let expected: &[u16] = if proxy == Proxy::Envoy { &[200, 400] } else { &[200] };
        assert!(expected.contains(&status(line).await), "{line}");
    }
}

pub(super) async fn websockets_need_a_login(proxy: Proxy) {
    let front = Front::start(proxy).await;
    let handshake = |cookies: Option<&str>| {
        let key = format!("Sec-WebSocket-Key: {WEBSOCKET_KEY}");
        let headers: Vec<_> = HANDSHAKE.into_iter().chain([key.as_str()]).chain(cookies).collect();
        front.request("GET /socket", &headers).replace("Connection: close\r\n", "")
    };
    let (_, (status, head)) = raw::exchange(front.address, &handshake(None)).await.unwrap();
    assert_eq!(status, 401, "{head}");
    front.application.saw_nothing();

    let cookies = front.cookie_line(&front.alice().await);
    let (mut socket, (status, head)) = raw::exchange(front.address, &handshake(Some(&cookies))).await.unwrap();
    assert_eq!(status, 101, "{head}");
    assert_eq!(front.application.take_one().header("x-authentik-username"), "alice");
    socket.write_all(b"echo").await.unwrap();
    let mut echo = [0; 4];
    socket.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"echo");
}

pub(super) async fn no_request_passes_without_forepost(proxy: Proxy) {
    let front = Front::start(proxy).await;
    let cookies = front.cookie_line(&front.alice().await);
    let requests = [
        front.request("GET /page", &[]),
        front.request("GET /page", &[&cookies]),
        front.request("GET /public/page", &[&cookies]),
        front.request("GET /outpost.goauthentik.io/start", &[&cookies]),
        front.request("POST /page", &[&cookies, "Content-Length: 0"]),
    ];
    let mut bereft = front.stop_forepost().await;
    bereft.refuses(&requests).await;
    bereft.replace_forepost_by_something_broken().await;
    bereft.refuses(&requests).await;
}
