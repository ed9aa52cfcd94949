use http::header::HeaderName;
use http::{HeaderValue, Request};

use super::*;

fn question(line: &str, fields: &[(&str, &str)]) -> Request<()> {
    let (method, uri) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(uri).body(()).unwrap();
    for (name, value) in fields {
        request.headers_mut().append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    request
}

fn parse(dialect: Dialect, request: &Request<()>, trusted: bool) -> Result<String, ForwardedError> {
    let question = Question { method: request.method(), uri: request.uri(), headers: request.headers(), trusted };
    dialect.parse(&question).map(|original| {
        format!(
            "{} {}://{}{}{} {:?}",
            original.method.as_ref().map_or("?", Method::as_str),
            original.scheme.map_or("?", Scheme::as_str),
            original.authority,
            original.target.path(),
            original.target.query().map_or(String::new(), |q| format!("?{q}")),
            original.kind(),
        )
    })
}

#[track_caller]
fn check(dialect: Dialect, line: &str, fields: &[(&str, &str)], expected: Result<&str, ForwardedError>) {
    let got = parse(dialect, &question(line, fields), true);
    assert_eq!(got.as_deref(), expected.as_ref().map(|s| *s), "{dialect:?} {line} {fields:?}");
}

use Dialect::{Caddy, Envoy, Nginx, Traefik};
use ForwardedError::{Malformed, Missing, Repeated, UntrustedPeer};

const AUTH: &str = "GET /outpost.goauthentik.io/auth/traefik";
const PROTO: (&str, &str) = ("x-forwarded-proto", "https");
const HOST: (&str, &str) = ("x-forwarded-host", "app.test");
const URI: (&str, &str) = ("x-forwarded-uri", "/a%20b?x=1,2");
const METHOD: (&str, &str) = ("x-forwarded-method", "GET");

#[test]
fn traefik_and_caddy_read_the_forwarded_fields() {
    for dialect in [Traefik, Caddy] {
        check(dialect, AUTH, &[PROTO, HOST, URI, METHOD], Ok("GET https://app.test/a%20b?x=1,2 Navigation"));
        check(dialect, AUTH, &[PROTO, HOST, URI], Ok("? https://app.test/a%20b?x=1,2 Navigation"));
        check(
            dialect,
            "GET /auth?rd=https://evil.test&X-authentik-auth-callback=true",
            &[
                PROTO,
                ("x-forwarded-host", "APP.test.:8443"),
                ("x-forwarded-uri", "/"),
                ("x-forwarded-method", "PROPFIND"),
            ],
            Ok("PROPFIND https://app.test:8443/ Fetch"),
        );
        check(
            dialect,
            AUTH,
            &[("x-forwarded-proto", "wss"), HOST, URI],
            Ok("? https://app.test/a%20b?x=1,2 WebSocket"),
        );
        check(
            dialect,
            AUTH,
            &[
                PROTO,
                HOST,
                URI,
                ("x-original-url", "https://other.test/"),
                ("x-original-uri", "/p"),
                ("host", "other.test"),
            ],
            Ok("? https://app.test/a%20b?x=1,2 Navigation"),
        );
    }
}

#[test]
fn missing_empty_repeated_and_malformed_fields_are_refused() {
    for dialect in [Traefik, Caddy] {
        check(dialect, AUTH, &[], Err(Missing("x-forwarded-proto")));
        check(dialect, AUTH, &[PROTO, URI], Err(Missing("x-forwarded-host")));
        check(dialect, AUTH, &[PROTO, HOST], Err(Missing("x-forwarded-uri")));
        check(dialect, AUTH, &[PROTO, ("x-forwarded-host", ""), URI], Err(Missing("x-forwarded-host")));
        check(dialect, AUTH, &[PROTO, HOST, ("x-forwarded-uri", "")], Err(Missing("x-forwarded-uri")));
        check(dialect, AUTH, &[PROTO, PROTO, HOST, URI], Err(Repeated("x-forwarded-proto")));
        check(dialect, AUTH, &[("x-forwarded-proto", "HTTPS,http"), HOST, URI], Err(Repeated("x-forwarded-proto")));
        check(dialect, AUTH, &[PROTO, ("x-forwarded-host", "a.test, b.test"), URI], Err(Repeated("x-forwarded-host")));
        check(
            dialect,
            AUTH,
            &[PROTO, HOST, ("x-forwarded-uri", "/public"), ("x-forwarded-uri", "/admin")],
            Err(Repeated("x-forwarded-uri")),
        );
        check(dialect, AUTH, &[PROTO, HOST, URI, METHOD, METHOD], Err(Repeated("x-forwarded-method")));
        for method in ["post", "Post", "POST2", "PO_ST", "P/ST", "\u{ff30}OST"] {
            let fields = [PROTO, HOST, URI, ("x-forwarded-method", method)];
            check(dialect, AUTH, &fields, Err(Malformed("x-forwarded-method")));
        }
        check(dialect, "get /outpost.goauthentik.io/auth/caddy", &[PROTO, HOST, URI, METHOD], Err(Malformed("method")));
        for proto in ["javascript", "https://evil/", "ftp", " https"] {
            check(dialect, AUTH, &[("x-forwarded-proto", proto), HOST, URI], Err(Malformed("x-forwarded-proto")));
        }
        for host in ["a b", "app.test/", "u@app.test", "app.test:", "\u{ff41}pp.test", "app.test:99999"] {
            check(dialect, AUTH, &[PROTO, ("x-forwarded-host", host), URI], Err(Malformed("x-forwarded-host")));
        }
        for uri in ["public", "https://app.test/", "//x y", "/100%", "/%zz", "/a#b", "/a\tb", "?x", "*"] {
            check(dialect, AUTH, &[PROTO, HOST, ("x-forwarded-uri", uri)], Err(Malformed("x-forwarded-uri")));
        }
        check(
            dialect,
            AUTH,
            &[PROTO, HOST, ("x-forwarded-uri", "/ok?q=50%&#")],
            Ok("? https://app.test/ok?q=50%&# Navigation"),
        );
    }
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let mut request = question(AUTH, &[PROTO, HOST]);
    let headers = request.headers_mut();
    headers.insert("x-forwarded-uri", HeaderValue::from_bytes(b"/\xff").unwrap());
    assert_eq!(parse(Traefik, &request, true), Err(Malformed("x-forwarded-uri")));
}

const APP: (&str, &str) = ("host", "app.test");
const URL: (&str, &str) = ("x-original-url", "https://app.test:444/a/../b//c;d?x=/y#");

#[test]
fn nginx_believes_the_original_url_alone() {
    let line = "GET /outpost.goauthentik.io/auth/nginx";
    check(Nginx, line, &[APP, URL], Ok("? https://app.test:444/a/../b//c;d?x=/y# Navigation"));
    check(
        Nginx,
        line,
        &[
            APP,
            URL,
            ("x-forwarded-host", "evil.test"),
            ("x-forwarded-uri", "/public"),
            ("x-original-uri", "/evil"),
            ("x-forwarded-method", "OPTIONS"),
        ],
        Ok("? https://app.test:444/a/../b//c;d?x=/y# Navigation"),
    );
    check(Nginx, line, &[APP, URL, URL], Err(Repeated("x-original-url")));
    // HAProxy's script names the method: it grants nothing, and an invalid one is refused.
    check(Nginx, line, &[APP, URL, ("x-forwarded-method", "post")], Err(Malformed("x-forwarded-method")));
    check(Nginx, line, &[APP, URL, METHOD, METHOD], Err(Repeated("x-forwarded-method")));
    check(Nginx, "get /outpost.goauthentik.io/auth/nginx", &[APP, URL], Err(Malformed("method")));
    check(Nginx, line, &[APP, ("x-original-uri", "/a"), PROTO, HOST, URI], Err(Missing("x-original-url")));
    check(Nginx, line, &[], Err(Missing("x-original-url")));
    check(Nginx, line, &[APP, PROTO, HOST, URI, METHOD], Ok("? https://app.test/a%20b?x=1,2 Navigation"));
    for url in [
        "/relative",
        "https://",
        "https://app.test",
        "https:///x",
        "javascript://app.test/",
        "https://a@app.test/",
        "https://\tapp.test/",
    ] {
        check(Nginx, line, &[APP, ("x-original-url", url)], Err(Malformed("x-original-url")));
    }
}

/// The host that an nginx question for `https://app.test:444/…` is sent to, if it is another one.
#[track_caller]
fn asked_at(fields: &[(&str, &str)], expected: Result<Option<&str>, ForwardedError>) {
    let request = question("GET /outpost.goauthentik.io/auth/nginx", fields);
    let question = Question { method: request.method(), uri: request.uri(), headers: request.headers(), trusted: true };
    let got = Nginx.parse(&question).map(|original| original.asked_at.map(|host| host.as_str().to_owned()));
    assert_eq!(got.as_ref().map(Option::as_deref), expected.as_ref().map(|it| *it), "{fields:?}");
}

#[test]
fn nginx_is_asked_at_one_host() {
    for told in [&[URL][..], &[PROTO, HOST, URI]] {
        let with = |host| [&[("host", host)], told].concat();
        for host in ["app.test", "app.test:444", "app.test:8080", "APP.test.", "APP.test.:80"] {
            asked_at(&with(host), Ok(None));
        }
        for (host, expected) in [
            ("forepost:9000", "forepost"),
            ("127.0.0.1:9000", "127.0.0.1"),
            ("[::1]:9000", "[::1]"),
            ("AUTH.app.test", "auth.app.test"),
            ("app", "app"),
        ] {
            asked_at(&with(host), Ok(Some(expected)));
        }
        for host in [
            "app.test/open?",
            "app.test?",
            "app.test#",
            "app.test/",
            "x@app.test",
            "app.test:",
            "app.test:444/open?",
            "app.test:x",
            "app.test\\",
            "app.test;",
            "app.test/..",
            "http://app.test",
            "/",
            "?",
            "[app.test",
            "a b",
        ] {
            asked_at(&with(host), Err(Malformed("host")));
        }
        asked_at(&with("app.test, app.test"), Err(Repeated("host")));
        asked_at(&[with("app.test"), vec![("host", "app.test")]].concat(), Err(Repeated("host")));
        asked_at(&with(""), Err(Missing("host")));
        asked_at(told, Err(Missing("host")));
    }
}

#[test]
fn envoy_keeps_method_path_and_host() {
    let host = ("host", "App.test:8443");
    let line = |rest: &str| format!("POST /outpost.goauthentik.io/auth/envoy{rest}");
    check(Envoy, &line("/a%2Fb?x=1"), &[host], Ok("POST ?://app.test:8443/a%2Fb?x=1 FormSubmission"));
    check(Envoy, &line(""), &[host], Ok("POST ?://app.test:8443/ FormSubmission"));
    check(Envoy, &line("/../../start?rd=/x"), &[host], Ok("POST ?://app.test:8443/../../start?rd=/x FormSubmission"));
    check(Envoy, &line("/a"), &[host, PROTO], Ok("POST https://app.test:8443/a FormSubmission"));
    check(
        Envoy,
        &line("/a"),
        &[host, ("x-forwarded-host", "evil.test")],
        Ok("POST ?://app.test:8443/a FormSubmission"),
    );
    check(Envoy, &line("x/a"), &[host], Err(Malformed("path")));
    check(Envoy, &line("/a").replace("POST", "post"), &[host], Err(Malformed("method")));
    let webdav = line("/a").replace("POST", "VERSION-CONTROL");
    check(Envoy, &webdav, &[host], Ok("VERSION-CONTROL ?://app.test:8443/a Fetch"));
    check(Envoy, &line("?x"), &[host], Err(Malformed("path")));
    check(Envoy, &line("/a"), &[], Err(Missing("host")));
    check(Envoy, &line("/a"), &[host, host], Err(Repeated("host")));
}

#[test]
fn untrusted_peers_are_not_believed() {
    let request = question(AUTH, &[PROTO, HOST, URI, METHOD, URL]);
    for dialect in [Traefik, Caddy, Nginx] {
        assert_eq!(parse(dialect, &request, false), Err(UntrustedPeer));
    }
    let request = question("GET /outpost.goauthentik.io/auth/envoy/a", &[("host", "app.test"), PROTO]);
    assert_eq!(parse(Envoy, &request, false).unwrap(), "GET ?://app.test/a Navigation");
}

#[track_caller]
fn kind(method: &str, fields: &[(&str, &str)], expected: RequestKind) {
    let request = question(&format!("{method} /"), fields);
    let got = RequestKind::of(Some(request.method()), request.headers());
    assert_eq!(got, expected, "{method} {fields:?}");
}

#[test]
fn navigations_are_told_from_the_rest() {
    use RequestKind::{Fetch, FormSubmission, Navigation, Preflight, WebSocket};
    let html = ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");

    kind("GET", &[], Navigation);
    kind("HEAD", &[], Navigation);
    kind("GET", &[("accept", "*/*")], Navigation);
    kind("GET", &[html], Navigation);
    kind("POST", &[html], FormSubmission);
    kind("POST", &[], FormSubmission);
    kind("GET", &[("accept", "text/html;q=0")], Navigation);

    kind("GET", &[("accept", "application/json")], Fetch);
    kind("GET", &[("accept", "application/json, text/plain, */*")], Fetch);
    kind("GET", &[("accept", "image/avif,image/webp,*/*;q=0.8")], Fetch);
    kind("GET", &[("accept", "text/event-stream")], Fetch);
    kind("PUT", &[], Fetch);
    kind("DELETE", &[html], Fetch);
    kind("GET", &[html, ("x-requested-with", "XMLHttpRequest")], Fetch);
    kind("GET", &[("authorization", "Bearer x")], Fetch);

    kind("GET", &[html, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")], Navigation);
    kind("GET", &[html, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")], Navigation);
    kind("POST", &[("sec-fetch-mode", "navigate")], FormSubmission);
    kind("GET", &[html, ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")], Fetch);
    kind("GET", &[html, ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")], Fetch);
    kind("GET", &[html, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "object")], Fetch);

    kind("GET", &[("upgrade", "websocket")], WebSocket);
    kind("GET", &[("upgrade", "h2c, WebSocket")], WebSocket);
    kind("GET", &[("sec-websocket-key", "x")], WebSocket);
    kind("GET", &[("upgrade", "h2c")], Navigation);

    let cors = [("origin", "https://a.test"), ("access-control-request-method", "PUT")];
    kind("OPTIONS", &cors, Preflight);
    kind("GET", &cors, Navigation);
    kind("OPTIONS", &[("origin", "https://a.test")], Fetch);
}

#[track_caller]
fn client(peer: &str, lines: &[&str], expected: &str) {
    let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
    let fields: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
    let request = question("GET /", &fields);
    let got = trusted.client(PeerAddress::Ip(peer.parse().unwrap()), request.headers());
    assert_eq!(got.unwrap().to_string(), expected, "{peer} {lines:?}");
}

#[test]
fn the_client_is_the_first_untrusted_from_the_right() {
    client("10.0.0.1", &[], "10.0.0.1");
    client("10.0.0.1", &["192.0.2.7"], "192.0.2.7");
    client("10.0.0.1", &["127.0.0.1, 192.0.2.7, 10.0.0.9"], "192.0.2.7");
    client("10.0.0.1", &["127.0.0.1", "192.0.2.7"], "192.0.2.7");
    client("10.0.0.1", &["192.0.2.7:4711"], "192.0.2.7");
    client("10.0.0.1", &["[2001:db8::1]:80"], "2001:db8::1");
    client("::ffff:10.0.0.1", &["192.0.2.7"], "192.0.2.7");
    client("10.0.0.1", &["10.0.0.2"], "10.0.0.2");
    client("10.0.0.1", &["192.0.2.7, unknown"], "10.0.0.1");
    client("10.0.0.1", &["a"], "10.0.0.1");
    client("10.0.0.1", &[""], "10.0.0.1");
    client("10.0.0.1", &["::::"], "10.0.0.1");
    client("192.0.2.1", &["127.0.0.1"], "192.0.2.1");
}
