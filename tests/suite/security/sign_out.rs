//! Sign-out: it ends the session at once, everywhere, and no other site chooses when or where to.

use http::Method;

use super::{APP, DIALECTS, START, stage};

/// SECURITY: 15, 22, 58
#[tokio::test]
async fn a_session_ends_with_its_sign_out() {
    let stage = stage().await;
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, APP, "alice").await.is(200);
    let stolen = browser.clone();
    let out = START.replace("start", "sign_out");
    let done = browser.send(Method::POST, &out, &[("origin", "https://app.example.com")], None).await;
    let taken_back = done.is(303).header("set-cookie");
    assert!(taken_back.contains("authentik_proxy_") && taken_back.contains("Max-Age=0"), "{taken_back}");
    for dialect in DIALECTS {
        let reply = stage.check(dialect, &mut stolen.clone(), APP).await;
        assert!(!reply.status.is_success(), "{dialect}");
    }
    // Nor does the old cookie sign anybody out again, or lead anywhere.
    let again = stolen.clone().send(Method::POST, &out, &[("origin", "https://app.example.com")], None).await;
    again.is(200).contains("Signed out");
}

/// SECURITY: 47, 80, 90, 107
#[tokio::test]
async fn other_sites_sign_no_user_out() {
    let stage = stage().await;
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, APP, "alice").await.is(200);
    let out = START.replace("start", "sign_out");
    for (method, headers) in [
        (Method::GET, &[("sec-fetch-site", "cross-site")][..]),
        (Method::GET, &[("sec-fetch-site", "same-site")]),
        (Method::GET, &[("sec-fetch-site", "same-site"), ("referer", "https://evil.example.com/")]),
        (Method::POST, &[("sec-fetch-site", "same-site"), ("origin", "https://evil.example.com")]),
        (Method::GET, &[("referer", "https://evil.test/")]),
        (Method::GET, &[("referer", "https://app.example.com.evil.test/")]),
        (Method::GET, &[("referer", "https://app.example.com@evil.test/")]),
        (Method::GET, &[("referer", "https://evil.test/https://app.example.com/")]),
        (Method::GET, &[("origin", "null")]),
        (Method::GET, &[]),
        (Method::HEAD, &[]),
        (Method::POST, &[("origin", "https://evil.test")]),
        (Method::POST, &[("origin", "null")]),
        (Method::POST, &[("origin", "http://evilapp.example.com")]),
        (Method::POST, &[("sec-fetch-site", "cross-site"), ("origin", "https://app.example.com")]),
        (Method::POST, &[]),
        (Method::PUT, &[]),
    ] {
        let reply = browser.clone().send(method.clone(), &out, headers, None).await;
        assert_eq!(reply.header("location"), "", "{method} {headers:?}");
        stage.check("traefik", &mut browser, APP).await.is(200);
    }
    // Front-channel logout is off, and there is no marker that any link could carry.
    for url in [
        "https://app.example.com/page?X-authentik-logout=true".to_owned(),
        format!("{out}?X-authentik-logout=true"),
        format!("{}?iss=x&sid=y", START.replace("start", "frontchannel-logout")),
        format!("{}?logout_token=x", START.replace("start", "backchannel-logout")),
    ] {
        browser.clone().get(&url).await;
        stage.check("traefik", &mut browser, APP).await.is(200);
    }
}
