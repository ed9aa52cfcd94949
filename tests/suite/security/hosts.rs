//! The host that is asked about, however it is spelt, and the one that a request only claims.

use http::Method;

use super::raw::{self, is_2xx};
use super::{APP, DIALECTS, stage};
use crate::provider::{Config, Provider};
use crate::support::{Browser, Reply, Stage, client};

/// SECURITY: 43, 48
#[tokio::test]
async fn spellings_of_a_host_are_one_host() {
    let stage = stage().await;
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, APP, "bob").await.is(200);
    stage.sign_in(&mut browser, "https://deep.example.test/", "bob").await.is(200);
    for dialect in DIALECTS {
        // Bob is not an admin, however the host is written.
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
async fn a_host_pasted_into_a_url_opens_nothing() {
    let stage = stage().await;
    let app = "app.example.com";
    for byte in (0x21..=0x7e).map(char::from) {
        for host in [
            format!("{app}{byte}public/x?"),
            format!("{app}/public/x{byte}"),
            format!("open.example.test/public/x{byte}"),
            format!("open.example.test{byte}{app}"),
        ] {
            for dialect in DIALECTS {
                let answer = raw::ask(&stage, dialect, &host, b"/page", &[]).await;
                assert!(!is_2xx(answer), "{dialect} {host} {answer}");
            }
        }
    }
}

#[tokio::test]
async fn an_application_is_not_asked_about_at_another_ones_host() {
    let stage = stage().await;
    let (app, open) = ("https://app.example.com/public/x", "https://open.example.test/public/x");
    for (asked_at, url, expected) in [
        ("app.example.com", app, 200),
        ("APP.example.com.:8443", app, 200),
        // Names of forepost: of its own, or of the domain's login.
        ("forepost:9000", app, 200),
        ("127.0.0.1:9000", app, 200),
        ("[::1]", open, 200),
        ("auth.example.test", app, 200),
        ("auth.example.test", open, 200),
        ("admin.example.com", app, 403),
        ("app.example.com", open, 403),
        ("wiki.example.test", app, 403),
        ("wiki.example.test", open, 403),
        ("app.example.com, app.example.com", app, 403),
        ("app.example.com:", app, 403),
        ("", app, 403),
    ] {
        let (host, url) = (format!("Host: {asked_at}"), format!("X-Original-URL: {url}"));
        let lines = [&b"GET /outpost.goauthentik.io/auth/nginx HTTP/1.1"[..], host.as_bytes(), url.as_bytes()];
        assert_eq!(raw::status(&stage, &lines).await, expected, "{asked_at:?} {url}");
    }
}

/// SECURITY: 101
#[tokio::test]
async fn the_host_field_moves_no_redirect_uri() {
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
        // What a trusted proxy says of a host that is none of ours opens nothing.
        for claim in ["evil.test", "app.example.com, evil.test", "\"app.example.com\"", "app.example.com.evil.test"] {
            browser.send(Method::GET, url, &[("x-forwarded-host", claim)], None).await.is(400);
        }
        let claims = [("x-forwarded-proto", "javascript"), ("forwarded", "host=evil.test")];
        let login = browser.send(Method::GET, url, &claims, None).await;
        let expected = format!("{expected}/outpost.goauthentik.io/callback?X-authentik-auth-callback=true");
        assert_eq!(login.parameter("redirect_uri").unwrap(), expected, "{url}");
    }
}

/// An application for all hosts of a domain, where forepost has one of its own, and one that is alone on a host in it.
const ALL: &str = "https://auth.example.com";
const STRICT: &str = "https://strict.example.com";
const FOREPOST: &str = "forepost.example.com";

async fn two_of_a_domain(server: &str) -> Stage {
    let config = Config { clients: vec![client("proxy", Some("proxy-secret"), &[ALL, STRICT])], ..Config::default() };
    let applications = format!(
        "{server}[[application]]\nname = \"All\"\nslug = \"all\"\nexternal_host = \"{ALL}\"\ncookie_domain = \"example.com\"\n\
         [[application]]\nname = \"Strict\"\nslug = \"strict\"\nexternal_host = \"{STRICT}\"\n"
    );
    Stage::of(Provider::start(config).await.unwrap(), "proxy-secret", "", &applications).await
}

/// A page of ours, where the proxy names `host` in `Host` and `forwarded` as the browser's own.
async fn page(browser: &mut Browser, path: &str, host: &str, forwarded: Option<&str>) -> Reply {
    let url = format!("{STRICT}/outpost.goauthentik.io/{path}");
    let mut headers = vec![("host", host), ("sec-fetch-site", "same-origin")];
    headers.extend(forwarded.map(|forwarded| ("x-forwarded-host", forwarded)));
    browser.send(Method::GET, &url, &headers, None).await
}

#[tokio::test]
async fn the_host_that_a_trusted_proxy_names_chooses_the_application() {
    let stage = two_of_a_domain("").await;
    for (host, forwarded, expected) in [
        // As the browser named it, and as nothing that anybody has.
        ("strict.example.com", None, Some(STRICT)),
        ("strict.example.com", Some("strict.example.com"), Some(STRICT)),
        ("STRICT.example.com.:443", Some("strict.example.com:8443"), Some(STRICT)),
        ("forepost:9000", Some("strict.example.com"), Some(STRICT)),
        ("127.0.0.1:9000", Some("strict.example.com"), Some(STRICT)),
        ("forepost", Some("wiki.example.com"), Some(ALL)),
        (FOREPOST, Some("wiki.example.com"), Some(ALL)),
        (FOREPOST, None, Some(ALL)),
        ("forepost:9000", None, None),
        // Two names of two applications.
        (FOREPOST, Some("strict.example.com"), None),
        ("auth.example.com", Some("strict.example.com"), None),
        ("strict.example.com", Some("wiki.example.com"), None),
        // A name that is none.
        ("strict.example.com", Some("evil.test"), None),
        ("strict.example.com", Some("strict.example.com, strict.example.com"), None),
        ("strict.example.com", Some("strict.example.com/"), None),
        ("strict.example.com", Some(""), None),
    ] {
        let start = page(&mut stage.browser(), "start?rd=/", host, forwarded).await;
        let what = format!("{host} {forwarded:?}");
        match expected {
            Some(origin) => {
                let callback = start.is(302).parameter("redirect_uri").unwrap();
                assert!(callback.starts_with(&format!("{origin}/")), "{what}: {callback}");
            }
            None => drop(start.is(400)),
        }
        for path in ["callback?code=x&state=y", "sign_out", "signed_out"] {
            let reply = page(&mut stage.browser(), path, host, forwarded).await;
            let answers = if path.starts_with("callback") || expected.is_none() { 400 } else { 200 };
            assert_eq!(reply.status, answers, "{what} {path}: {reply:#?}");
        }
    }
}

#[tokio::test]
async fn what_others_name_chooses_no_application() {
    let stage = two_of_a_domain("[server]\ntrusted_proxies = [\"192.0.2.1\"]\n").await;
    for forwarded in ["wiki.example.com", "evil.test", "a, b"] {
        let start = page(&mut stage.browser(), "start?rd=/", "strict.example.com", Some(forwarded)).await;
        assert!(start.is(302).parameter("redirect_uri").unwrap().starts_with(STRICT), "{forwarded}");
        page(&mut stage.browser(), "start?rd=/", "forepost:9000", Some("strict.example.com")).await.is(400);
    }
}

/// A whole login and sign-out through a proxy that puts its own name for forepost into `Host`.
#[tokio::test]
async fn a_sign_out_ends_the_session_of_the_host_that_the_browser_is_at() {
    let stage = two_of_a_domain("").await;
    let (strict, wiki) = (format!("{STRICT}/"), "https://wiki.example.com/");
    for host in ["forepost:9000", FOREPOST] {
        let mut alice = stage.browser();
        let login = stage.check("caddy", &mut alice, &strict).await;
        let back = alice.get(login.is(302).location().as_str()).await;
        let back = crate::support::fill_in(&mut alice, &back, "alice").await.location();
        let (_, query) = back.as_str().split_once('?').unwrap();
        stage.sign_in(&mut alice, wiki, "alice").await.is(200);
        let callback = page(&mut alice, &format!("callback?{query}"), host, Some("strict.example.com")).await;
        if host == FOREPOST {
            // It is not known whose session it would open, or end.
            callback.is(400);
            page(&mut alice, "sign_out", host, Some("strict.example.com")).await.is(400);
            stage.check("caddy", &mut alice, wiki).await.is(200);
            continue;
        }
        assert_eq!(callback.is(302).header("location"), strict);
        stage.check("caddy", &mut alice, &strict).await.is(200);
        let leaving = page(&mut alice, "sign_out", host, Some("strict.example.com")).await;
        assert!(leaving.is(302).header("set-cookie").contains("__Host-"), "{leaving:#?}");
        stage.check("caddy", &mut alice, &strict).await.is(302);
    }
}

/// A question has one name, too.
#[tokio::test]
async fn a_question_that_names_two_applications_is_refused() {
    let stage = two_of_a_domain("").await;
    let mut alice = stage.browser();
    stage.sign_in(&mut alice, &format!("{STRICT}/"), "alice").await.is(200);
    for (forwarded, refused) in
        [("strict.example.com", false), ("forepost", false), ("evil.test", false), ("wiki.example.com", true)]
    {
        for (dialect, refusal) in [("nginx", 403), ("envoy", 400)] {
            let headers = [("x-forwarded-host", forwarded)];
            let reply = stage.ask(dialect, &mut alice, Method::GET, &format!("{STRICT}/"), &headers).await;
            reply.is(if refused { refusal } else { 200 });
        }
    }
}
