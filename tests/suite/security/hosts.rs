//! The host that is asked about, however it is spelt, and the one that a request only claims.

use http::Method;

use super::raw::{self, is_2xx};
use super::{APP, DIALECTS, stage};

#[tokio::test]
async fn case_043_048_spellings_of_a_host_are_one_host() {
    let stage = stage().await;
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, APP, "bob").await.is(200);
    stage.sign_in(&mut browser, "https://deep.example.test/", "bob").await.is(200);
    for dialect in DIALECTS {
        // Bob is no admin, however the host is written.
        let mut bob = stage.browser();
        stage.sign_in(&mut bob, "https://admin.example.com/sub/", "bob").await.is(403);
        let admin = url::Url::parse("https://admin.example.com/").unwrap();
        let cookie = format!("{}={}", bob.cookie_names(&admin)[0], bob.cookie(&admin, "authentik_proxy").unwrap());
        let cookie = format!("Cookie: {cookie}");
        for host in [
            "admin.example.com",
            "ADMIN.Example.COM",
            "admin.example.com.",
            "admin.example.com:443",
            "ADMIN.example.com.:443",
        ] {
            let answer = raw::ask(&stage, dialect, host, b"/sub/x", &[cookie.as_bytes()]).await;
            assert_eq!(answer, 403, "{dialect} {host}");
        }
        for (host, public) in [
            ("APP.Example.COM", true),
            ("app.example.com.", true),
            ("app.example.com:443", true),
            ("OPEN.EXAMPLE.TEST", true),
            ("open.example.test.:8443", true),
            ("other.example.test", false),
            ("SECURE.ADMIN.EXAMPLE.TEST", false),
            ("open.example.test.evil.test", false),
            ("openexample.test", false),
            ("open.example.test..", false),
            ("open.example.test:0443:1", false),
            ("open.example.test@app.example.com", false),
        ] {
            let answer = raw::ask(&stage, dialect, host, b"/public/x", &[]).await;
            assert_eq!(is_2xx(answer), public, "{dialect} {host} {answer}");
        }
    }
}

#[tokio::test]
async fn case_101_the_host_field_moves_no_redirect_uri() {
    let stage = stage().await;
    for host in
        ["evil.test", "app.example.com.evil.test", "evilapp.example.com", "app.example.com@evil.test", "evil.test:443"]
    {
        let lines = [&b"GET /outpost.goauthentik.io/start HTTP/1.1"[..], &[b"Host: ", host.as_bytes()].concat()];
        assert_eq!(raw::status(&stage, &lines).await, 400, "{host}");
    }
    let mut browser = stage.browser();
    for (url, expected) in [
        ("https://app.example.com:8443/outpost.goauthentik.io/start", "https://app.example.com"),
        ("https://deep.example.test/outpost.goauthentik.io/start", "https://auth.example.test"),
        ("https://deep.example.test:1/outpost.goauthentik.io/start", "https://auth.example.test"),
    ] {
        let claims =
            [("x-forwarded-host", "evil.test"), ("x-forwarded-proto", "javascript"), ("forwarded", "host=evil.test")];
        let login = browser.send(Method::GET, url, &claims, None).await;
        let expected = format!("{expected}/outpost.goauthentik.io/callback?X-authentik-auth-callback=true");
        assert_eq!(login.parameter("redirect_uri").unwrap(), expected, "{url}");
    }
}
