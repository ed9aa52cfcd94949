//! What is said about a request beside the request: forwarded fields, hosts, schemes, addresses.

use http::Method;

use super::raw::{self, is_2xx};
use super::{APP, DIALECTS, RULES, stage};
use crate::provider::Endpoint;
use crate::support::Stage;

const TRAEFIK: &[u8] = b"GET /outpost.goauthentik.io/auth/traefik HTTP/1.1";
const NGINX: &[u8] = b"GET /outpost.goauthentik.io/auth/nginx HTTP/1.1";
const ENVOY: &[u8] = b"GET /outpost.goauthentik.io/auth/envoy/page HTTP/1.1";

/// The status of this question with these lines and the host of the application.
async fn status(stage: &Stage, line: &[u8], more: &[&str]) -> u16 {
    let lines: Vec<&[u8]> =
        [line, b"Host: app.example.com"].into_iter().chain(more.iter().map(|it| it.as_bytes())).collect();
    raw::status(stage, &lines).await
}

/// SECURITY: 11, 12
#[tokio::test]
async fn strangers_are_not_believed() {
    for trusted in ["[]", "[\"192.0.2.0/24\"]"] {
        let stage = Stage::with("", &format!("[server]\ntrusted_proxies = {trusted}\n{RULES}")).await;
        for dialect in ["traefik", "caddy", "nginx"] {
            for target in ["/public/x", "/page"] {
                assert_eq!(
                    raw::ask(&stage, dialect, "app.example.com", target.as_bytes(), &[]).await,
                    403,
                    "{dialect}"
                );
            }
        }
        // Envoy's question is the request itself; what stands beside it is not read.
        let claims: [&[u8]; 3] = [
            b"X-Forwarded-Uri: /public/x",
            b"X-Forwarded-Host: open.example.test",
            b"X-Original-URL: https://app.example.com/public/x",
        ];
        assert!(!is_2xx(raw::ask(&stage, "envoy", "app.example.com", b"/admin", &claims).await));
        let mut browser = stage.browser();
        let claimed = [("x-forwarded-host", "app.example.com"), ("host", "evil.test")];
        browser.send(Method::GET, "https://evil.test/outpost.goauthentik.io/start", &claimed, None).await.is(400);
    }
}

/// SECURITY: 9, 28, 32, 33
#[tokio::test]
async fn look_alike_fields_are_not_read() {
    let stage = stage().await;
    let public = [
        "X_Forwarded_Uri: /public/x",
        "X.Forwarded.Uri: /public/x",
        "X-Forwarded_Uri: /public/x",
        "X_Forwarded_Host: open.example.test",
        "X_Original_URL: https://app.example.com/public/x",
        "X_Forwarded_User: root",
        "X_Auth_Request_Email: root@example.com",
        "X-authentik-username: alice",
        "X_authentik_username: alice",
        "X.Authenticated.User: alice",
        "Remote-User: alice",
    ];
    // In place of the fields that count: something is missing.
    let proto = ["X-Forwarded-Proto: https", "X-Forwarded-Method: GET"];
    assert_eq!(status(&stage, TRAEFIK, &[&proto[..], &public].concat()).await, 400);
    assert_eq!(status(&stage, NGINX, &public).await, 403);
    // Beside them: without meaning, in any dialect.
    let lines: Vec<&[u8]> = public.iter().map(|line| line.as_bytes()).collect();
    for dialect in DIALECTS {
        let answer = raw::ask(&stage, dialect, "app.example.com", b"/page", &lines).await;
        assert!(answer == 302 || answer == 401, "{dialect} {answer}");
    }
    // The case of a name makes no difference, and two spellings are two values.
    let shouted = ["X-FORWARDED-PROTO: https", "x-forwarded-host: app.example.com", "X-forwarded-URI: /public/x"];
    assert_eq!(status(&stage, TRAEFIK, &shouted).await, 200);
    assert_eq!(status(&stage, TRAEFIK, &[&shouted[..], &["X-Forwarded-Uri: /public/x"]].concat()).await, 400);
}

/// SECURITY: 18, 19, 45, 60
#[tokio::test]
async fn client_addresses_decide_nothing() {
    let stage = stage().await;
    let long = format!("X-Forwarded-For: {}", "127.0.0.1, ".repeat(900));
    for line in [
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-For: a",
        "X-Forwarded-For: unknown",
        "X-Forwarded-For: ::::",
        "X-Forwarded-For:",
        "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-For: 10.0.0.1",
        "X-Real-IP: 127.0.0.1",
        "Forwarded: for=\"127.0.0.1, 1.2.3.4\"",
        "Forwarded: for=127.0.0.1;host=open.example.test;proto=http",
        "Forwarded: host=\"open.example.test\"; path=\"/public\"",
        "True-Client-IP: 127.0.0.1",
        &long,
    ] {
        for dialect in DIALECTS {
            let answer = raw::ask(&stage, dialect, "app.example.com", b"/page", &[line.as_bytes()]).await;
            assert!(answer == 302 || answer == 401, "{dialect} {answer} {line}");
        }
    }
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, APP, "alice").await.is(200);
    stage.ask("traefik", &mut browser, Method::GET, APP, &[("x-forwarded-for", "a, b, ::::")]).await.is(200);
}

/// SECURITY: 31, 66
#[tokio::test]
async fn prefixes_never_reach_a_location() {
    let stage = stage().await;
    for prefix in ["//evil.test", "%0d//evil.test", "%2f%2fevil.test", "/\\evil.test", "https://evil.test", "/public"] {
        for name in ["x-forwarded-prefix", "x-forwarded-path", "x-script-name", "x-original-prefix", "x-replaced-path"]
        {
            let mut browser = stage.browser();
            let login = stage.ask("traefik", &mut browser, Method::GET, APP, &[(name, prefix)]).await;
            assert!(login.is(302).header("location").starts_with(stage.provider.issuer()));
            let nginx = stage.ask("nginx", &mut browser, Method::GET, APP, &[(name, prefix)]).await;
            let expected =
                "https://app.example.com/outpost.goauthentik.io/start?rd=https%3A%2F%2Fapp%2Eexample%2Ecom%2Fpage";
            assert_eq!(nginx.is(401).header("location"), expected);
        }
    }
}

/// SECURITY: 36, 37
#[tokio::test]
async fn two_values_are_none() {
    let stage = stage().await;
    let (public, admin) = ("X-Forwarded-Uri: /public/x", "X-Forwarded-Uri: /admin");
    let (host, open) = ("X-Forwarded-Host: app.example.com", "X-Forwarded-Host: open.example.test");
    let proto = "X-Forwarded-Proto: https";
    for lines in [
        &[proto, host, public, admin][..],
        &[proto, host, admin, public],
        &[proto, host, public, public],
        &[proto, host, open, public],
        &[proto, open, host, public],
        &[proto, proto, host, public],
        &[proto, "X-Forwarded-Host: app.example.com, open.example.test", public],
        &["X-Forwarded-Proto: https,http", host, public],
        &[proto, host, public, "X-Forwarded-Method: POST", "X-Forwarded-Method: GET"],
        &[proto, host, "X-Forwarded-Uri: /public/x, /admin"],
    ] {
        let answer = status(&stage, TRAEFIK, lines).await;
        assert!(answer == 400 || answer == 302, "{answer} {lines:?}");
    }
    let (public, admin) =
        ("X-Original-URL: https://app.example.com/public/x", "X-Original-URL: https://app.example.com/admin");
    for lines in [[public, admin], [admin, public], [public, public]] {
        assert_eq!(status(&stage, NGINX, &lines).await, 403);
    }
    assert_eq!(status(&stage, ENVOY, &["Host: open.example.test"]).await, 400);
    // Cookies are different: of several, any good one counts, wherever it stands.
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, APP, "alice").await.is(200);
    let app = url::Url::parse(APP).unwrap();
    let name = browser.cookie_names(&app).remove(0);
    let good = format!("Cookie: {name}={}", browser.cookie(&app, "authentik_proxy").unwrap());
    let bad = format!("Cookie: {name}={}", "B".repeat(43));
    for (lines, expected) in [([&good, &bad], 200), ([&bad, &good], 200), ([&bad, &bad], 302)] {
        let lines = lines.map(String::as_bytes);
        assert_eq!(raw::ask(&stage, "traefik", "app.example.com", b"/page", &lines).await, expected);
    }
}

/// SECURITY: 39
#[tokio::test]
async fn fields_of_other_dialects_are_not_read() {
    let stage = stage().await;
    let claims: Vec<&[u8]> = vec![
        b"X-Envoy-Original-Path: /public/x",
        b"X-Envoy-Original-Method: POST",
        b"X-Envoy-Original-Host: open.example.test",
        b"X-Envoy-Internal: true",
        b"X-Rewrite-URL: /public/x",
        b"X-Original-URI: /public/x",
        b"X-Original-Host: open.example.test",
        b"X-Original-Method: POST",
        b"X-HTTP-Method-Override: POST",
        b"X-Forwarded-Path: /public/x",
        b"X-Forwarded-Server: open.example.test",
        b"X-Auth-Request-Redirect: /public/x",
    ];
    for (dialect, more) in [
        ("traefik", &[&b"X-Original-URL: https://app.example.com/public/x"[..]][..]),
        ("caddy", &[b"X-Original-URL: https://app.example.com/public/x"]),
        (
            "nginx",
            &[b"X-Forwarded-Uri: /public/x", b"X-Forwarded-Host: open.example.test", b"X-Forwarded-Proto: https"],
        ),
        ("envoy", &[b"X-Forwarded-Uri: /public/x", b"X-Forwarded-Host: open.example.test"]),
    ] {
        let all = [&claims[..], more].concat();
        for target in [&b"/page"[..], b"/hook"] {
            let answer = raw::ask(&stage, dialect, "app.example.com", target, &all).await;
            assert!(!is_2xx(answer), "{dialect} {answer} {}", target.escape_ascii());
        }
    }
}

/// SECURITY: 45, 46
#[tokio::test]
async fn control_bytes_and_quotes_are_refused() {
    let stage = stage().await;
    for url in [
        &b"https://\0app.example.com/public/x"[..],
        b"https://app.example.com\0/public/x",
        b"https://app.example.com/public/\x01",
        b"https://app.example.com/public/\x7f",
        b"https://app.example.com/public/ x",
        b"https://app.example.com/public/\tx",
        b"",
        b"/public/x",
        b"public/x",
        b"//app.example.com/public/x",
        b"https:/app.example.com/public/x",
        b"https:app.example.com/public/x",
        b"https://app.example.com",
        b"https://app.example.com?/public/x",
        b"https:///public/x",
        b"https://user@app.example.com/public/x",
        b"https://app.example.com\\@evil.test/public/x",
        b"https://app.example.com:/public/x",
        b"https://app.example.com:x/public/x",
        b"javascript://app.example.com/public/x",
        b"ftp://app.example.com/public/x",
        b"https://app.example.com, https://evil.test/public/x",
        b"https://[::1]/public/x",
        b"https://app.example.com\xff/public/x",
        b"https://xn--/public/x",
    ] {
        let line = [b"X-Original-URL: ", url].concat();
        let answer = raw::status(&stage, &[NGINX, b"Host: app.example.com", &line]).await;
        // 400 is the HTTP parser's word, 403 ours: nginx would make a 500 out of any other.
        assert!(answer == 403 || answer == 400, "{answer} {}", url.escape_ascii());
    }
    for host in [
        &b"app.example.com\r\n X-Injected: 1"[..],
        b"\"app.example.com\"",
        b"app.example.com\";for=127.0.0.1",
        b"app.example.com\0",
        b"app.example.com evil.test",
        b"app.example.com/public",
        b"app.example.com#",
        b"app.example.com?",
        b"",
    ] {
        let envoy = b"GET /outpost.goauthentik.io/auth/envoy/public/x HTTP/1.1";
        let answer = raw::status(&stage, &[envoy, &[b"Host: ", host].concat()]).await;
        assert!(answer == 400 || answer == 0, "{answer} {}", host.escape_ascii());
        let forwarded = [b"X-Forwarded-Host: ", host].concat();
        let uri = b"X-Forwarded-Uri: /public/x";
        let answer =
            raw::status(&stage, &[TRAEFIK, b"Host: app.example.com", b"X-Forwarded-Proto: https", &forwarded, uri])
                .await;
        assert_eq!(answer, 400, "{}", host.escape_ascii());
    }
}

/// SECURITY: 53
#[tokio::test]
async fn an_empty_or_missing_field_is_refused() {
    let stage = stage().await;
    let whole = ["X-Forwarded-Proto: https", "X-Forwarded-Host: app.example.com", "X-Forwarded-Uri: /public/x"];
    for line in [TRAEFIK, b"GET /outpost.goauthentik.io/auth/caddy HTTP/1.1"] {
        assert_eq!(status(&stage, line, &whole).await, 200);
        for at in 0..whole.len() {
            let mut lines = whole.to_vec();
            let empty = lines.remove(at).split_inclusive(':').next().unwrap();
            assert_eq!(status(&stage, line, &lines).await, 400, "without {empty}");
            lines.push(empty);
            assert_eq!(status(&stage, line, &lines).await, 400, "{empty}");
        }
    }
    for lines in [&["X-Original-URL:"][..], &["X-Original-URL:", whole[0], whole[1], whole[2]], &[whole[0], whole[1]]] {
        assert_eq!(status(&stage, NGINX, lines).await, 403, "{lines:?}");
    }
    let envoy = b"GET /outpost.goauthentik.io/auth/envoy/public/x HTTP/1.1";
    assert_eq!(raw::status(&stage, &[envoy]).await, 400, "no Host at all");
}

/// SECURITY: 64, 94
#[tokio::test]
async fn schemes_are_http_and_https() {
    let stage = stage().await;
    for (scheme, expected) in [
        ("https", 200),
        ("http", 200),
        ("HTTPS", 200),
        ("https://evil/", 400),
        ("javascript", 400),
        ("HTTPS,http", 400),
        ("http, https", 400),
        ("ftp", 400),
        ("https:", 400),
        ("h\u{fb00}ps", 400),
        ("file", 400),
    ] {
        let lines = [format!("X-Forwarded-Proto: {scheme}")];
        let lines: Vec<&str> = lines
            .iter()
            .map(String::as_str)
            .chain(["X-Forwarded-Host: app.example.com", "X-Forwarded-Uri: /public"])
            .collect();
        assert_eq!(status(&stage, TRAEFIK, &lines).await, expected, "{scheme}");
    }
    // What is said about the scheme never comes back: return targets have the application's.
    for (dialect, claim) in [
        ("traefik", ("x-forwarded-proto", "http")),
        ("caddy", ("x-forwarded-proto", "ws")),
        ("envoy", ("x-forwarded-proto", "http")),
        ("nginx", ("x-original-url", "http://app.example.com/page")),
    ] {
        let mut browser = stage.browser();
        let html = ("sec-fetch-mode", "navigate");
        let mut login = stage.ask(dialect, &mut browser, Method::GET, APP, &[claim, html]).await;
        if login.status == 401 {
            let at = if dialect == "nginx" {
                login.header("location")
            } else {
                login.json()["login_url"].as_str().unwrap().to_owned()
            };
            login = browser.get(&at).await;
        }
        let back = stage.come_back(&mut browser, login, "alice").await;
        assert_eq!(back.is(302).header("location"), APP, "{dialect}");
        stage.check(dialect, &mut browser, APP).await.is(200);
    }
}

/// SECURITY: 63
#[tokio::test]
async fn no_request_makes_the_daemon_fetch_anything() {
    let stage = stage().await;
    let trap = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = trap.local_addr().unwrap().to_string();
    let url = format!("http://{address}/public/x");
    let asked = |endpoint| stage.provider.requests(endpoint);
    let before = [Endpoint::Discovery, Endpoint::Jwks, Endpoint::Token, Endpoint::Userinfo].map(asked);
    let mut browser = stage.browser();
    for dialect in DIALECTS {
        stage.check(dialect, &mut browser, &url).await;
        for name in ["x-forwarded-host", "host", "x-original-url", "referer", "origin", "x-forwarded-server"] {
            let value = if ["referer", "x-original-url", "origin"].contains(&name) { &url } else { &address };
            stage.ask(dialect, &mut browser, Method::GET, APP, &[(name, value)]).await;
        }
    }
    for query in ["iss", "issuer", "jku", "request_uri", "rd", "target_link_uri", "code"] {
        for endpoint in ["start", "callback", "sign_out"] {
            let url = format!("https://app.example.com/outpost.goauthentik.io/{endpoint}?{query}=http://{address}/");
            browser.get(&url).await;
        }
    }
    assert_eq!([Endpoint::Discovery, Endpoint::Jwks, Endpoint::Token, Endpoint::Userinfo].map(asked), before);
    let waiting = std::future::poll_fn(|context| std::task::Poll::Ready(trap.poll_accept(context).is_ready())).await;
    assert!(!waiting, "the provider was sent to fetch from us");
}
