//! Session cookies that are broken, planted, borrowed from elsewhere, or too many.

use std::collections::HashSet;

use http::Method;
use url::Url;

use super::raw::{self, is_2xx};
use super::{APP, DIALECTS, START, stage};
use crate::support::{Browser, Stage};

/// A signed-in browser, and the name and value of its session cookie.
async fn signed_in(stage: &Stage) -> (Browser, String, String) {
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, APP, "alice").await.is(200);
    let app = Url::parse(APP).unwrap();
    let name = browser.cookie_names(&app).remove(0);
    let value = browser.cookie(&app, "authentik_proxy").unwrap();
    (browser, name, value)
}

/// SECURITY: 16, 42, 85
#[tokio::test]
async fn broken_cookies_open_nothing() {
    let stage = stage().await;
    let (_, name, good) = signed_in(&stage).await;
    let mut cookies = vec![
        String::new(),
        ";".into(),
        "=".into(),
        "a".into(),
        "==;;".into(),
        ";;;;====;,,,".into(),
        name.clone(),
        format!("{name}="),
        format!("{name}=;"),
        format!("{name}=\"\""),
        format!("={good}"),
        good.clone(),
        format!("{name}=garbage"),
        format!("{name}=null"),
        format!("{name}={}", "A".repeat(43)),
        format!("{name}={}", "=".repeat(43)),
        format!("{name}={}", &good[..42]),
        format!("{name}={}", &good[1..]),
        format!("{name}={good}="),
        format!("{name}={good}A"),
        format!("{name}={good}%00"),
        format!("{name}={good}.{good}"),
        format!("{name}={}", good.to_ascii_lowercase().to_ascii_uppercase()),
        format!("{name}={}", "A".repeat(8192)),
        format!("{}={good}", name.trim_start_matches("__Host-")),
        format!("{}={good}", name.to_ascii_lowercase()),
        format!("__Secure-{}={good}", name.trim_start_matches("__Host-")),
        format!("{name}_0={good}"),
        format!("{name} {good}"),
        format!("$Version=1; ${name}={good}"),
        format!("authentik_session={good}; user=alice; admin=true"),
    ];
    // One character in another place makes another token.
    for at in 0..good.len() {
        let other = if &good[at..=at] == "A" { "B" } else { "A" };
        cookies.push(format!("{name}={}{other}{}", &good[..at], &good[at + 1..]));
    }
    for cookie in &cookies {
        let line = format!("Cookie: {cookie}");
        for dialect in DIALECTS {
            let status = raw::ask(&stage, dialect, "app.example.com", b"/page", &[line.as_bytes()]).await;
            assert!(status == 302 || status == 401, "{dialect} {status} {cookie}");
        }
    }
    let line = format!("Cookie: {name}={good}");
    assert_eq!(raw::ask(&stage, "caddy", "app.example.com", b"/page", &[line.as_bytes()]).await, 200);
}

/// SECURITY: 17, 89
#[tokio::test]
async fn no_other_credential_opens_anything() {
    let stage = stage().await;
    let (mut browser, _, good) = signed_in(&stage).await;
    let token = stage.check("traefik", &mut browser, APP).await.header("x-authentik-jwt");
    let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
    for credential in [
        format!("Bearer {token}"),
        format!("Bearer {unsigned}"),
        format!("Bearer {good}"),
        "Bearer".into(),
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJpZC1hbGljZSJ9.".into(),
        "Basic YWxpY2U6eA==".into(),
        "Basic YWxpY2U=".into(),
        "Basic \u{7f}".into(),
        "Negotiate YII=".into(),
        "Digest username=\"alice\"".into(),
    ] {
        for name in ["Authorization", "Proxy-Authorization", "X-Authorization", "X-Forwarded-Access-Token"] {
            let line = format!("{name}: {credential}");
            for dialect in DIALECTS {
                let status = raw::ask(&stage, dialect, "app.example.com", b"/page", &[line.as_bytes()]).await;
                assert!(!is_2xx(status), "{dialect} {status} {line}");
            }
        }
    }
    let mut anonymous = stage.browser();
    for query in ["access_token", "token", "id_token", "authentik_proxy_session"] {
        stage.check("traefik", &mut anonymous, &format!("{APP}?{query}={token}")).await.is(302);
    }
}

/// SECURITY: 86, 98, 106
#[tokio::test]
async fn many_cookies_are_bounded_work() {
    let stage = stage().await;
    let (_, name, good) = signed_in(&stage).await;
    let bad = |count: usize| (0..count).map(|it| format!("{name}={it:042}A")).collect::<Vec<_>>().join("; ");
    for (cookie, expected) in [
        // What a sibling host sets beside ours, before or behind it: no login loop.
        (format!("{}; {name}={good}", bad(3)), 200),
        (format!("{name}={good}; {}", bad(3)), 200),
        (format!("{}; {name}={good}", bad(7)), 200),
        // Among so many there may be another user's.
        (format!("{}; {name}={good}", bad(8)), 302),
        (format!("{name}={good}; {}", bad(8)), 302),
        (format!("{name}={good}; {}", bad(1000)), 302),
        (bad(1000), 302),
        (format!("{name}_chunks=99999999; {name}_0={good}; {name}=99999999"), 302),
        (format!("{name}=99999999"), 302),
    ] {
        let line = format!("Cookie: {cookie}");
        let status = raw::ask(&stage, "traefik", "app.example.com", b"/page", &[line.as_bytes()]).await;
        assert_eq!(status, expected, "{line:.100}");
    }
}

/// A host of the same domain may plant cookies for the path of the sign-out alone, and they come first.
#[tokio::test]
async fn no_planted_cookie_hides_a_session_from_its_end() {
    let stage = stage().await;
    let sign_out = START.replace("start", "sign_out");
    let token = |number: u32| format!("{number:042}A");
    let is_in = async |name: &str, good: &str| {
        let line = format!("Cookie: {name}={good}");
        raw::ask(&stage, "traefik", "app.example.com", b"/page", &[line.as_bytes()]).await == 200
    };
    let cookie = |name: &str, tokens: &[String]| {
        tokens.iter().map(|token| format!("{name}={token}")).collect::<Vec<_>>().join("; ")
    };
    let same_origin = ("sec-fetch-site", "same-origin");
    for planted in [vec![token(1); 8], vec![token(1); 300], (0..9).map(token).collect(), (0..199).map(token).collect()]
    {
        let (_, name, good) = signed_in(&stage).await;
        let all = cookie(&name, &[planted.clone(), vec![good.clone()]].concat());
        let reply = stage.browser().send(Method::GET, &sign_out, &[("cookie", &all), same_origin], None).await;
        assert_eq!(reply.is(302).location().path(), "/end-session");
        assert!(!is_in(&name, &good).await, "{} planted", planted.len());

        // A login replaces the session as well.
        let (_, name, good) = signed_in(&stage).await;
        let mut browser = stage.browser();
        let login = browser.get(&format!("{START}?rd=/page")).await;
        let attempt = login.header("set-cookie").split(';').next().unwrap().to_owned();
        let page = browser.get(login.location().as_str()).await;
        let callback = crate::support::fill_in(&mut browser, &page, "alice").await.location();
        let all = format!("{}; {attempt}", cookie(&name, &[planted, vec![good.clone()]].concat()));
        stage.browser().send(Method::GET, callback.as_str(), &[("cookie", &all)], None).await.is(302);
        assert!(!is_in(&name, &good).await, "replaced");
    }

    // Sessions beyond those that are looked at are not reported as ended.
    let planted: Vec<_> = (0..200).map(token).collect();
    for is_first in [false, true] {
        let (_, name, good) = signed_in(&stage).await;
        let (own, others) = (cookie(&name, std::slice::from_ref(&good)), cookie(&name, &planted));
        let all = if is_first { format!("{own}; {others}") } else { format!("{others}; {own}") };
        for accept in ["application/json", "text/html"] {
            let headers = [("cookie", &*all), same_origin, ("accept", accept)];
            let reply = stage.browser().send(Method::GET, &sign_out, &headers, None).await;
            assert_eq!((reply.is(431).header("location"), reply.header("set-cookie")), (String::new(), String::new()));
            if accept == "text/html" {
                reply.contains("<h1>Not signed out</h1>").contains(">Sign out again</a>");
            } else {
                assert_eq!(reply.json()["error"], "not_signed_out");
            }
        }
        assert_eq!(is_in(&name, &good).await, !is_first);
    }
}

/// SECURITY: 97, 98
#[tokio::test]
async fn cookies_are_bound_to_their_host_and_their_use() {
    let stage = stage().await;
    let (browser, name, good) = signed_in(&stage).await;
    assert!(name.starts_with("__Host-"), "{name}");
    let mut domain = stage.browser();
    let login = stage.check("traefik", &mut domain, "https://deep.example.test/").await;
    let mut names: Vec<String> =
        login.headers.get_all("set-cookie").iter().map(|it| it.to_str().unwrap().to_owned()).collect();
    let back = stage.come_back(&mut domain, login, "alice").await;
    names.extend(back.headers.get_all("set-cookie").iter().map(|it| it.to_str().unwrap().to_owned()));
    for line in &names {
        assert!(line.starts_with("__Secure-authentik_proxy_"), "{line}");
        for attribute in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/", "Domain=example.test"] {
            assert!(line.split("; ").any(|it| it == attribute), "{attribute} is not in {line}");
        }
    }

    // States and attempt cookies are not sessions, and a session is not a state.
    let mut other = stage.browser();
    let login = stage.check("traefik", &mut other, APP).await;
    let state = login.parameter("state").unwrap();
    let attempt = login.header("set-cookie").split(['=', ';']).nth(1).unwrap().to_owned();
    for value in [&state, &attempt, &state[..43].to_owned(), &attempt[..43].to_owned()] {
        let line = format!("Cookie: {name}={value}");
        assert_eq!(raw::ask(&stage, "traefik", "app.example.com", b"/page", &[line.as_bytes()]).await, 302);
    }
    let callback = "https://app.example.com/outpost.goauthentik.io/callback";
    for state in [&good, &attempt] {
        other.get(&format!("{callback}?code=x&state={state}")).await.is(400);
    }
    drop(browser);
}

/// SECURITY: 15, 97, 97b
#[tokio::test]
async fn session_ids_change_at_login_and_stand_in_no_url() {
    let stage = stage().await;
    let app = Url::parse(APP).unwrap();
    let (mut browser, _, mut last) = signed_in(&stage).await;
    for _ in 0..5 {
        let before = browser.clone();
        let start = browser.get(&format!("{START}?rd=/page")).await;
        let state = start.parameter("state").unwrap();
        let way = browser.get(start.location().as_str()).await;
        let back = browser.get(way.location().as_str()).await;
        let token = browser.cookie(&app, "authentik_proxy").unwrap();
        assert!(token != last && token != state);
        for url in [start.location(), way.location(), back.location()] {
            assert!(!url.as_str().contains(&token) && !url.as_str().contains(&last), "{url}");
        }
        // The old session ended with the new one, for everybody who has its cookie.
        stage.check("traefik", &mut before.clone(), APP).await.is(302);
        stage.check("traefik", &mut browser, APP).await.is(200);
        last = token;
    }
    let out = START.replace("start", "sign_out");
    let done = browser.send(Method::POST, &out, &[("origin", "https://app.example.com")], None).await;
    assert!(!done.is(303).header("location").contains(&last));
}

/// SECURITY: 61
#[tokio::test]
async fn nothing_secret_is_short_or_seen_twice() {
    let stage = stage().await;
    let app = Url::parse(APP).unwrap();
    let mut seen = HashSet::new();
    for _ in 0..50 {
        let mut browser = stage.browser();
        let login = stage.check("traefik", &mut browser, APP).await;
        let attempt = login.header("set-cookie").split(['=', ';']).nth(1).unwrap().to_owned();
        let parameters = ["state", "nonce", "code_challenge"].map(|name| login.parameter(name).unwrap());
        stage.complete(&mut browser, login, "alice").await.is(200);
        let token = browser.cookie(&app, "authentik_proxy").unwrap();
        // 128 bits are 22 characters of base64url, 256 are 43.
        assert!(token.len() == 43 && parameters.iter().all(|it| it.len() >= 22));
        for secret in parameters.into_iter().chain([attempt, token]) {
            assert!(seen.insert(secret.clone()), "{secret} twice");
        }
    }
}
