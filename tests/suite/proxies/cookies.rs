//! Which cookies forepost and the application see.

use http::header::COOKIE;

use super::application::Seen;
use super::front::Front;
use super::hosts::{Http2, get};
use super::proxy::Proxy;
use super::raw;

impl Proxy {
    /// Traefik has no way to take one cookie out of a field.
    const fn hands_on_all_cookies(self) -> bool {
        matches!(self, Self::Traefik)
    }
}

/// Fields of a browser, and what the application gets of them. None of these opens anything.
const FIELDS: [(&[&str], &[&str]); 13] = [
    (&["a=1;\tauthentik_proxy_5aef9624=T;\tb=2"], &["a=1", "b=2"]),
    (&["a=1; b=\"2; c=d,e; f"], &["a=1", "b=\"2", "c=d,e", "f"]),
    (&["authentik_proxy_5aef9624=T"], &[]),
    (&["authentik_proxy_5aef9624=T; a=1"], &["a=1"]),
    (&["a=1; __Host-authentik_proxy_5aef9624=T"], &["a=1"]),
    (&["a=1;__Secure-authentik_proxy_5aef9624=T;b=2"], &["a=1", "b=2"]),
    (&["a=1; authentik_proxy_login_x=T; authentik_proxy_5aef9624=T; b=2"], &["a=1", "b=2"]),
    (&["a=1; authentik_proxy_5aef9624=T; b=2; authentik_proxy_login_x=T; c=3"], &["a=1", "b=2", "c=3"]),
    (&["a=1; authentik_proxy_5aef9624"], &["a=1"]),
    (
        &["a=1, authentik_proxy_5aef9624=2; b=authentik_proxy_3=4"],
        &["a=1, authentik_proxy_5aef9624=2", "b=authentik_proxy_3=4"],
    ),
    (
        &["xauthentik_proxy_1=2; authentik_session=3; __Host-a=4"],
        &["xauthentik_proxy_1=2", "authentik_session=3", "__Host-a=4"],
    ),
    (&["a=1", "authentik_proxy_5aef9624=T", "b=2; authentik_proxy_login_x=T"], &["a=1", "b=2"]),
    (&["a=1", "b=2"], &["a=1", "b=2"]),
];

/// The cookies that reached the application, in whatever fields.
fn cookies(seen: &Seen) -> Vec<String> {
    let fields = seen.headers.get_all(COOKIE).iter().map(|field| field.to_str().unwrap());
    fields.flat_map(|field| field.split(';')).map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()).collect()
}

pub(super) async fn the_application_gets_its_own(proxy: Proxy) {
    let front = Front::start(proxy).await;
    for (fields, expected) in FIELDS {
        let fields: Vec<_> = fields.iter().map(|field| format!("Cookie: {field}")).collect();
        let fields: Vec<_> = fields.iter().map(String::as_str).collect();
        let request = front.request("GET /public/page", &fields);
        assert_eq!(raw::status(front.address, &request).await.unwrap(), 200, "{fields:?}");
        let seen = front.application.take_one();
        if proxy.hands_on_all_cookies() {
            assert!(
                expected.iter().all(|cookie| cookies(&seen).iter().any(|it| it == cookie)),
                "{fields:?}: {seen:#?}"
            );
        } else {
            assert_eq!(cookies(&seen), expected, "{fields:?}");
            assert!(!expected.is_empty() || !seen.headers.contains_key(COOKIE), "{fields:?}: {seen:#?}");
        }
    }

    // As documented: nginx takes out four runs of them, and hands on nothing where there are more.
    for runs in 1..=6 {
        let own: Vec<_> = (0..runs).map(|number| format!("own{number}={number}")).collect();
        let between =
            own.iter().map(|cookie| format!("authentik_proxy_5aef9624=T; authentik_proxy_login_x=T; {cookie}"));
        let field = format!("Cookie: {}", between.collect::<Vec<_>>().join("; "));
        assert_eq!(raw::status(front.address, &front.request("GET /public/page", &[&field])).await.unwrap(), 200);
        let mut got = cookies(&front.application.take_one());
        if proxy.hands_on_all_cookies() {
            got.retain(|cookie| !cookie.starts_with("authentik_proxy_"));
        }
        let none = runs > 4 && matches!(proxy, Proxy::Nginx | Proxy::DistroNginx);
        assert_eq!(got, if none { vec![] } else { own }, "{field}");
    }

    // Blanks within a cookie cost a proxy no more than other bytes.
    let wide = format!("Cookie: a=1{}2", " ".repeat(30_000));
    assert_eq!(raw::status(front.address, &front.request("GET /public/page", &[&wide])).await.unwrap(), 200);
    front.application.take_one();

    // A session opens the application, between its own cookies, and does not reach it.
    let session = front.cookie_line(&front.alice().await);
    let session = session.trim_start_matches("Cookie: ");
    for field in
        [session.to_owned(), format!("a=1; {session}"), format!("{session}; a=1"), format!("a=1; {session}; b=2")]
    {
        let request = front.request("GET /page", &[&format!("Cookie: {field}")]);
        assert_eq!(raw::status(front.address, &request).await.unwrap(), 200, "{field}");
        let seen = front.application.take_one();
        assert_eq!(seen.header("x-authentik-username"), "alice", "{field}");
        let mut own = cookies(&seen);
        if proxy.hands_on_all_cookies() {
            own.retain(|cookie| !session.contains(cookie));
        }
        let expected: Vec<_> = field.split("; ").filter(|cookie| !session.contains(cookie)).collect();
        assert_eq!(own, expected, "{field}");
    }
}

/// Several `Cookie` fields (RFC 9113 §8.2.3, and HTTP/1 clients that do it though they should not) are several cookies, and a comma
/// is a part of one.
pub(super) async fn stay_apart_on_the_way(proxy: Proxy) {
    let front = Front::with_http2(proxy).await;
    let line = front.cookie_line(&front.alice().await);
    let ours = line.trim_start_matches("Cookie: ");
    let joined = format!("theme=dark; {ours}");
    let with_comma = format!("theme=dark,{ours}");
    let mut http2 = Http2::to(front.http2);
    for (cookies, expected) in [
        (&[ours][..], 200),
        (&[&joined], 200),
        (&["theme=dark", ours], 200),
        (&[ours, "theme=dark"], 200),
        (&["a=1,b=2", ours, "c=3"], 200),
        (&["a=1; b=2", "c=3", ours], 200),
        // A sibling host can set this, and browsers send it.
        (&[&with_comma], 401),
        (&["a=1", &with_comma], 401),
    ] {
        let lines: Vec<_> = cookies.iter().map(|cookie| format!("Cookie: {cookie}")).collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).chain(["Accept: application/json"]).collect();
        let status = raw::status(front.address, &front.request("GET /page", &lines)).await.unwrap();
        assert_eq!(status, expected, "{cookies:?}");

        let of_host = [(":authority", front.host()), ("accept", "application/json")];
        let all: Vec<_> = of_host.into_iter().chain(cookies.iter().map(|cookie| ("cookie", *cookie))).collect();
        assert_eq!(http2.status(&get("/page", &all)).await, Some(expected), "HTTP/2: {cookies:?}");

        for seen in front.application.take() {
            assert_eq!((seen.header("x-authentik-username").as_str(), expected), ("alice", 200), "{cookies:?}");
        }
    }
}
