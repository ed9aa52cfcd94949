//! What comes back on a page, and in its headers.

use http::Method;

use super::{APP, START, stage};
use crate::support::Reply;

const MARKUP: [&str; 8] = [
    "<script>alert(1)</script>",
    "\"><svg onload=alert(1)>",
    "'><img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "</title><script>alert(1)</script>",
    "{{7*7}}{%25 x %25}",
    "%s%n%x{}",
    "\u{202e}<b>",
];

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// Nothing of the markup works, and the policy would stop it.
#[track_caller]
fn harmless(reply: &Reply) {
    let body = reply.body.to_ascii_lowercase();
    for part in ["<script", "<svg", "<img", "\"javascript:", "<b>"] {
        assert!(!body.contains(part), "{part} is in {reply:#?}");
    }
    if reply.header("content-type").starts_with("text/html") {
        let policy = reply.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    }
    assert!(reply.body.is_empty() || reply.header("x-content-type-options") == "nosniff", "{reply:#?}");
    for value in reply.headers.values() {
        assert!(!value.as_bytes().iter().any(|byte| *byte < b' '), "{reply:#?}");
    }
}

/// SECURITY: 51, 57, 75, 76
#[tokio::test]
async fn nothing_reflected_is_markup() {
    let stage = stage().await;
    let mut browser = stage.browser();
    for text in MARKUP {
        let value = encoded(text);
        for url in [
            format!("{START}?rd={value}"),
            format!("{START}?rd=/{value}"),
            format!("{}?error={value}&error_description={value}", START.replace("start", "callback")),
            format!("{}?error={value}&state={value}&code={value}", START.replace("start", "callback")),
            format!("{}?rd={value}", START.replace("start", "sign_out")),
            format!("{}?{value}", START.replace("start", "signed_out")),
            format!("https://app.example.com/{value}"),
            format!("https://app.example.com/outpost.goauthentik.io/{value}"),
        ] {
            let headers =
                [("referer", "https://evil.test/"), ("user-agent", "<script>"), ("x-forwarded-host", "\"><svg>")];
            harmless(&browser.send(Method::GET, &url, &headers, None).await);
            harmless(&browser.fetch(&url).await);
        }
        let referer = format!("https://app.example.com/{value}");
        let fetch = [("accept", "application/json"), ("referer", referer.as_str())];
        harmless(&stage.ask("traefik", &mut browser, Method::GET, APP, &fetch).await);
        harmless(&stage.ask("traefik", &mut browser, Method::GET, APP, &[("x-forwarded-host", text)]).await);

        // The provider's words, with a state of ours: the page of a failed login, with its link for another try.
        stage.provider.set(|behaviour| {
            behaviour.refuse = Some("invalid_request");
            behaviour.callback = crate::provider::Behaviour::default().callback;
            behaviour.callback.set("error", text).set("error_description", text);
        });
        let login = browser.get(&format!("{START}?rd=/x/{value}?{value}")).await;
        let page = stage.come_back(&mut browser, login, "alice").await;
        harmless(page.is(400));
        assert!(
            !page.body.contains("alert(1)") || page.body.contains("rd="),
            "only the link may hold it, encoded: {page:#?}"
        );
    }
}

/// SECURITY: 51, 57, 76
#[tokio::test]
async fn names_are_no_markup() {
    let stage = stage().await;
    for text in MARKUP {
        stage.provider.set(|behaviour| {
            behaviour.id_token = crate::provider::Behaviour::default().id_token;
            behaviour.id_token.set("preferred_username", text).set("groups", "none");
        });
        let page = stage.sign_in(&mut stage.browser(), "https://admin.example.com/sub/", "bob").await;
        harmless(page.is(403));
    }
}

/// SECURITY: 35, 75
#[tokio::test]
async fn pages_give_nothing_back() {
    let stage = stage().await;
    let mut browser = stage.browser();
    let secrets = [("authorization", "Bearer given-back"), ("cookie", "a=given-back"), ("x-secret", "given-back")];
    for path in ["start", "callback?code=given-back&state=given-back", "sign_out", "signed_out", "nothing", "ping"] {
        let url = format!("https://app.example.com/outpost.goauthentik.io/{path}");
        for headers in [&secrets[..], &[&secrets[..], &[("accept", "application/json")]].concat()] {
            let reply = browser.send(Method::GET, &url, headers, None).await;
            assert!(!format!("{:?}{}", reply.headers, reply.body).contains("given-back"), "{reply:#?}");
        }
    }
    for dialect in super::DIALECTS {
        let reply = stage.ask(dialect, &mut browser, Method::GET, APP, &secrets).await;
        assert!(!format!("{:?}{}", reply.headers, reply.body).contains("given-back"), "{reply:#?}");
    }
}

/// SECURITY: 21, 71
#[tokio::test]
async fn metrics_have_a_listener_of_their_own() {
    let stage = stage().await;
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, APP, "alice").await.is(200);
    for path in [
        "/metrics",
        "/ready",
        "/debug/pprof/",
        "/debug",
        "/config",
        "/.well-known/openid-configuration",
        "/outpost.goauthentik.io/metrics",
    ] {
        browser.get(&format!("https://app.example.com{path}")).await.is(404);
    }
}
