//! Paths that one server reads as public and the next as protected.

use super::raw::{self, is_2xx};
use super::{DIALECTS, stage};

/// None of these passes without a login, whatever the dialect.
async fn denied(targets: &[&[u8]]) {
    let stage = stage().await;
    for dialect in DIALECTS {
        for target in targets {
            // A request line has no fragment (RFC 9112 §3.2): the HTTP library drops one, and Envoy sends none.
            if dialect == "envoy" && target.contains(&b'#') {
                continue;
            }
            let status = raw::ask(&stage, dialect, "app.example.com", target, &[]).await;
            assert!(!is_2xx(status), "{dialect} {status} {}", target.escape_ascii());
        }
    }
    // The rules do work, so that the refusals mean something.
    for dialect in DIALECTS {
        for target in ["/public/x", "/api/7/status?x", "/foo/x/bar", "/allowed", "/public/a%2Fb"] {
            let status = raw::ask(&stage, dialect, "app.example.com", target.as_bytes(), &[]).await;
            assert_eq!(status, 200, "{dialect} {target}");
        }
    }
}

/// SECURITY: 8, 56
#[tokio::test]
async fn rules_never_see_the_query() {
    denied(&[
        b"/api/private?path=/status",
        b"/api/private?/status",
        b"/api/private%3F/status",
        b"/admin?x=/public/",
        b"/admin?/public/a",
        b"/admin?/../public/a",
        b"/admin?foo",
        b"/secret?next=/allowed",
        b"/?/allowed",
        b"/%3F/../allowed/x",
        b"?/public/a",
    ])
    .await;
}

/// SECURITY: 13, 38
#[tokio::test]
async fn a_fragment_ends_no_path() {
    denied(&[
        b"/foo/secret%23/bar",
        b"/foo/secret#/bar",
        b"/foo/secret%2523/bar",
        b"/public#/../admin",
        b"/public%23/../admin",
        b"/admin#/public/",
        b"/admin%23/../public/x",
        b"/public/%23/../../admin",
        b"#/public",
    ])
    .await;
}

/// SECURITY: 34, 41, 44, 56, 69, 72, 93
#[tokio::test]
async fn a_rule_grants_under_every_reading() {
    denied(&[
        b"/public/../admin",
        b"/public/../admin/secrets",
        b"/public/%2e%2e/admin",
        b"/public/%2E%2E/admin",
        b"/public/.%2e/admin",
        b"/public/%2e%2e%2fadmin",
        b"/public/..%2fadmin",
        b"/public/..%2Fadmin",
        b"/public%2f..%2fadmin",
        b"/public/..%252fadmin",
        b"/public/%252e%252e/admin",
        b"/public/%25252e%25252e/admin",
        b"/public/..;/admin",
        b"/public/..;x=1/admin",
        b"/public/..%3b/admin",
        b"/public;x/../admin",
        b"/public;/../admin",
        b"/admin;jsessionid=1",
        b"/admin;/public",
        b"/public\\..\\admin",
        b"/public/..\\admin",
        b"/public/..%5cadmin",
        b"/public//../admin",
        b"/public//..//../admin",
        b"/public/./../admin",
        b"/public/x/../../admin",
        b"/public/..",
        b"/public/../",
        b"/user/../admin",
        b"/%2e%2e/admin",
        b"/..%2fadmin",
        b"/%61dmin",
        b"/%2Fadmin",
        b"//admin",
        b"///public/../admin",
        b"/admin%00/public",
        b"/allowed%00",
        b"/allowed/../admin",
        b"/allowed%2f..%2fadmin",
        b"/foo/x/bar/../../../admin",
        b"/foo/x/../../admin/bar/../x",
        b"/api/x/../../admin/status",
        b"/publicity",
        b"/PUBLIC/x",
        b"/%70ublicx",
        b"/public%c0%af..%c0%afadmin",
        b"/public/%u002e%u002e/admin",
        b"/public/..%00/admin",
        b"/public/%",
        b"/public/%4",
        b"/public/%zz",
        b"public",
        b"public/x",
        b"*",
        b"",
        b"http://app.example.com/public/x",
    ])
    .await;
}

/// SECURITY: 34, 41, 44, 69, 72, 93
#[tokio::test]
async fn endless_paths_are_not_judged_but_refused() {
    let long = format!("/public/{}", "a".repeat(20_000));
    let nested = format!("/public/%{}2e", "25".repeat(300));
    let segments = format!("/public/{}admin", "x/../".repeat(1500));
    let encoded = format!("/public/{}", "%2e%2e%5c;%2f".repeat(100));
    denied(&[long.as_bytes(), nested.as_bytes(), segments.as_bytes(), encoded.as_bytes()]).await;
}

/// SECURITY: 40, 78
#[tokio::test]
async fn paths_that_are_not_text_are_refused() {
    let stage = stage().await;
    for dialect in DIALECTS {
        for target in
            [&b"/public/\xff"[..], b"/public/\xc3\x28", b"/\xff", b"/public/\x80\x81", b"/public/\xed\xa0\x80"]
        {
            let status = raw::ask(&stage, dialect, "app.example.com", target, &[]).await;
            assert!([0, 400, 403].contains(&status), "{dialect} {status} {}", target.escape_ascii());
        }
        for line in [
            &b"Cookie: __Host-authentik_proxy_deadbeef=\xff\xfe"[..],
            b"Cookie: \xff=\xff; \xff",
            b"Accept: \xff\xff",
            b"Origin: \xff",
            b"Sec-Fetch-Mode: \xff",
            b"X-Anything: \xff",
            b"Authorization: Bearer \xff",
        ] {
            let status = raw::ask(&stage, dialect, "app.example.com", b"/page", &[line]).await;
            assert!(status == 302 || status == 401, "{dialect} {status} {}", line.escape_ascii());
        }
    }
}

/// SECURITY: 41
#[tokio::test]
async fn questions_without_a_path_are_refused_and_harm_no_other() {
    let stage = stage().await;
    let auth = "/outpost.goauthentik.io/auth/envoy";
    for line in [
        "GET  HTTP/1.1".to_owned(),
        "GET HTTP/1.1".to_owned(),
        "GET".to_owned(),
        "GET * HTTP/1.1".to_owned(),
        "OPTIONS * HTTP/1.1".to_owned(),
        "CONNECT app.example.com:443 HTTP/1.1".to_owned(),
        "GET https://app.example.com HTTP/1.1".to_owned(),
        format!("GET {auth}public/x HTTP/1.1"),
        format!("GET {auth}?/public/x HTTP/1.1"),
        format!("GET {auth}%2fpublic HTTP/1.1"),
        format!("GET {auth}\\public HTTP/1.1"),
        format!("GET https://open.example.test{auth}/public/x HTTP/1.1"),
    ] {
        let status = raw::status(&stage, &[line.as_bytes(), b"Host: app.example.com"]).await;
        assert!(!is_2xx(status), "{line} {status}");
    }
    // HTTP/2: preface, empty SETTINGS, HEADERS with :method GET, :scheme http, :authority and no :path, GOAWAY.
    let frames = [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        b"\0\0\0\x04\0\0\0\0\0",
        b"\0\0\x13\x01\x05\0\0\0\x01\x82\x86\x41\x0fapp.example.com",
        b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ];
    let answer = raw::exchange(stage.daemon.http_address().unwrap(), &frames.concat()).await;
    // 0x88 is `:status: 200`; what must come is a reset of the stream.
    assert!(!answer.contains(&0x88) && answer.windows(9).any(|it| it == b"\0\0\x04\x03\0\0\0\0\x01"), "{answer:?}");
    assert_eq!(raw::ask(&stage, "envoy", "app.example.com", b"/public", &[]).await, 200);
}

/// SECURITY: 10
#[tokio::test]
async fn no_user_agent_opens_anything() {
    let stage = stage().await;
    for dialect in DIALECTS {
        for agent in
            ["GoogleHC/1.0", "kube-probe/1.30", "ELB-HealthChecker/2.0", "Go-http-client/1.1", "Blackbox-Exporter", ""]
        {
            let line = format!("User-Agent: {agent}");
            for target in ["/page", "/ping", "/healthz", "/outpost.goauthentik.io/ping"] {
                let status = raw::ask(&stage, dialect, "app.example.com", target.as_bytes(), &[line.as_bytes()]).await;
                assert!(!is_2xx(status), "{dialect} {agent} {target} {status}");
            }
        }
    }
}
