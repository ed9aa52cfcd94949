//! What a client says in headers that are not its to set.

use http::Method;
use http::header::COOKIE;

use super::front::Front;
use super::proxy::Proxy;
use super::raw;

/// The client's own identity headers, as applications would read them.
const SPOOFED: [&str; 20] = [
    "X-authentik-username: spoofed",
    "X-authentik-username: spoofed",
    "x-AUTHENTIK-Username: spoofed",
    "X_authentik_username: spoofed",
    "X_AUTHENTIK-username: spoofed",
    "X-authentik_username: spoofed",
    "X.authentik.username: spoofed",
    "X~authentik~username: spoofed",
    "X-authentik-groups: spoofed",
    "X_authentik_groups: spoofed",
    "X-authentik-entitlements: spoofed",
    "X-authentik-email: spoofed",
    "X-authentik-name: spoofed",
    "X-authentik-uid: spoofed",
    "X-authentik-jwt: spoofed",
    "X-authentik-meta-jwks: spoofed",
    "X-authentik-meta-outpost: spoofed",
    "X-authentik-meta-provider: spoofed",
    "X-authentik-meta-app: spoofed",
    "X-authentik-meta-version: spoofed",
];

pub(super) async fn spoofed_identity_never_reaches_the_application(proxy: Proxy) {
    let front = Front::start(proxy).await;
    let browser = front.alice().await;
    let cookies = front.cookie_line(&browser);
    for (target, cookies, name, groups, jwt_parts) in [
        ("/page", Some(cookies.as_str()), "alice", "admins|staff", 3),
        ("/public/page", Some(cookies.as_str()), "alice", "admins|staff", 3),
        ("/public/page", None, "", "", 1),
    ] {
        let headers: Vec<_> = SPOOFED.into_iter().chain(cookies).collect();
        let request = front.request(&format!("GET {target}"), &headers);
        assert_eq!(raw::status(front.address, &request).await.unwrap(), 200, "{target}");
        let seen = front.application.take_one();
        for (header, value) in &seen.headers {
            assert!(!value.as_bytes().windows(7).any(|part| part == b"spoofed"), "{header} in {seen:#?}");
        }
        assert_eq!(seen.header("x-authentik-username"), name, "{target}");
        assert_eq!(seen.header("x-authentik-groups"), groups, "{target}");
        assert_eq!(seen.header("x-authentik-jwt").split('.').count(), jwt_parts, "{target}");
        assert_eq!(seen.header("x-authentik-meta-app"), "app", "{target}");
    }
    // What a client's Connection names is for the proxy alone; forepost's headers are none of that.
    for named in ["X-authentik-username, x-authentik-groups", "X-authentik-jwt, upgrade, x-authentik-username"] {
        let request = front.request("GET /page", &[&cookies, &format!("Connection: {named}")]);
        let status = raw::status(front.address, &request).await.unwrap();
        if status == 400 && proxy == Proxy::Haproxy && named.contains("upgrade") {
            // An upgrade to nothing.
            front.application.saw_nothing();
            continue;
        }
        assert_eq!(status, 200, "{named}");
        let seen = front.application.take_one();
        assert_eq!(seen.header("x-authentik-username"), "alice", "{named}");
        assert_eq!(seen.header("x-authentik-groups"), "admins|staff", "{named}");
        assert_eq!(seen.header("x-authentik-jwt").split('.').count(), 3, "{named}");
    }
    // Nor does anything of it let a client in.
    let request = front.request("GET /page", &SPOOFED);
    assert!(matches!(raw::status(front.address, &request).await.unwrap(), 302 | 401));
    front.application.saw_nothing();
}

/// The ways to write a name that applications take for the same one, or servers do before them.
pub(super) fn spellings(name: &str) -> Vec<String> {
    let mut spellings = vec![name.to_owned(), name.to_ascii_uppercase(), name.to_ascii_lowercase()];
    for separator in ["_", ".", "~", "!", "*"] {
        spellings.push(name.replace('-', separator));
        spellings.push(name.to_ascii_uppercase().replace('-', separator));
        // One of several, at the beginning and at the end.
        spellings.push(name.replacen('-', separator, 1));
        spellings
            .push(name.rsplit_once('-').map_or_else(String::new, |(start, end)| format!("{start}{separator}{end}")));
    }
    spellings
        .retain(|it| !it.is_empty() && (it.eq_ignore_ascii_case(name) || it.contains(|it: char| "_.~!*".contains(it))));
    spellings.sort_unstable();
    spellings.dedup();
    spellings
}

/// The names that `examples/README.md` promises to remove.
fn removed() -> Vec<String> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/README.md")).unwrap();
    let (_, section) = readme.split_once("## What is removed from clients\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")).skip(1);
    let names = rows.filter_map(|row| row.split(" | ").nth(1)).flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.map(str::to_owned).collect()
}

/// What the proxies themselves tell the application under such a name, and never in a client's words.
pub(super) async fn what_only_a_proxy_may_say_is_removed(proxy: Proxy) {
    let front = Front::start(proxy).await;
    let cookies = front.cookie_line(&front.alice().await);
    let names = removed();
    for name in [
        "Remote-User",
        "X-Forwarded-User",
        "X-Original-URL",
        "X-Original-URI",
        "X-Rewrite-URL",
        "X-Forwarded-Uri",
        "X-Forwarded-Prefix",
        "X-Forwarded-Server",
        "X-Forwarded-Method",
        "Forwarded",
        "X-Real-IP",
        "X-Script-Name",
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "True-Client-IP",
        "Proxy",
    ] {
        assert!(names.iter().any(|it| it == name), "examples/README.md does not promise to remove {name}: {names:?}");
    }
    for name in &names {
        let fields = spellings(name).into_iter().map(|it| format!("{it}: spoofed")).collect::<Vec<_>>();
        // One alone, and all at once.
        let all: Vec<_> = fields.iter().map(String::as_str).collect();
        for fields in all.chunks(1).chain([all.as_slice()]) {
            for (target, cookies) in [("/page", Some(cookies.as_str())), ("/public/page", None)] {
                let headers: Vec<_> = fields.iter().copied().chain(cookies).collect();
                let request = front.request(&format!("GET {target}"), &headers);
                assert_eq!(raw::status(front.address, &request).await.unwrap(), 200, "{fields:?} {target}");
                let seen = front.application.take_one();
                let spoofed = seen.headers.values().any(|value| value.as_bytes().windows(7).any(|it| it == b"spoofed"));
                assert!(!spoofed, "{fields:?} {target}: {seen:#?}");
            }
        }
    }
    // What an application without basic_auth is told by its own clients comes through.
    let request = front.request("GET /public/page", &["Authorization: Basic b3duOm93bg==", "X-Own: 1"]);
    assert_eq!(raw::status(front.address, &request).await.unwrap(), 200);
    let seen = front.application.take_one();
    assert_eq!((seen.header("authorization").as_str(), seen.header("x-own").as_str()), ("Basic b3duOm93bg==", "1"));
}

/// Browsers keep about 4 kB in a cookie, and an application may set several beside ours.
pub(super) async fn there_is_room_for_many_cookies(proxy: Proxy) {
    let front = Front::start(proxy).await;
    let mut browser = front.alice().await;
    let origin = url::Url::parse(&front.origin).unwrap();
    for number in 0..8 {
        browser.set_cookie(&origin, &format!("big{number}={}", "x".repeat(4000)));
    }
    browser.get(&front.url("/page")).await.is(200);
    assert!(front.application.take_one().headers[COOKIE].len() > 32_000);
    browser.get(&front.url("/outpost.goauthentik.io/start?rd=/page")).await.is(302);
}

/// A body arrives while forepost is asked, and takes room in the proxy's buffers. nginx takes a megabyte of it.
pub(super) async fn uploads_arrive(proxy: Proxy) {
    let front = Front::start(proxy).await;
    let mut browser = front.alice().await;
    for size in [1_000, 40_000, 60_000, 64_000, 66_000, 100_000, 900_000] {
        let body = "x".repeat(size);
        for target in ["/page", "/public/page"] {
            for _ in 0..3 {
                let reply = browser.send(http::Method::POST, &front.url(target), &[], Some(&body)).await;
                assert_eq!((reply.status.as_u16(), reply.body), (200, size.to_string()), "{target}");
                assert_eq!(front.application.take_one().header("x-authentik-meta-app"), "app", "{size} {target}");
            }
        }
    }
}

/// HAProxy drops headers that its buffer has no room for. So the client must not choose which of forepost's arrive.
#[tokio::test]
async fn haproxy_hands_on_all_identity_headers_or_refuses() {
    let front = Front::start(Proxy::Haproxy).await;
    let mut statuses = Vec::new();
    for size in (30_000..66_000).step_by(400) {
        let filler = "x".repeat(size / 8);
        let fields: Vec<_> = (0..8).map(|number| format!("X-Filler-{number}: {filler}")).collect();
        let fields: Vec<_> = fields.iter().map(String::as_str).collect();
        let status = raw::status(front.address, &front.request("GET /public/page", &fields)).await;
        statuses.push(status.as_ref().ok().copied());
        for seen in front.application.take() {
            assert_eq!(seen.header("x-authentik-meta-app"), "app", "{size}");
            assert!(seen.header("x-authentik-meta-version").starts_with("forepost/"), "{size}");
            assert_eq!(status.as_ref().ok(), Some(&200), "{size}");
        }
    }
    assert_eq!(statuses[0], Some(200));
    assert!(!matches!(statuses.last(), Some(Some(200))), "{statuses:?}");
}

/// What a proxy in front of this one might say, pointing at a page that is public.
fn claims(front: &Front) -> Vec<(&'static str, String)> {
    let another = front.origin.replace("app.", "another.");
    let host = another.trim_start_matches("http://").to_owned();
    vec![
        ("x-forwarded-host", host.clone()),
        ("x_forwarded_host", host.clone()),
        ("x-forwarded-uri", "/public/page".to_owned()),
        ("x_forwarded_uri", "/public/page".to_owned()),
        ("x-forwarded-path", "/public/page".to_owned()),
        ("x-forwarded-prefix", "/public".to_owned()),
        ("x-forwarded-proto", "https".to_owned()),
        ("x-forwarded-scheme", "https".to_owned()),
        ("x-forwarded-method", "POST".to_owned()),
        ("x-forwarded-port", "443".to_owned()),
        ("x-forwarded-server", host.clone()),
        ("x-original-url", format!("{another}/page")),
        ("x_original_url", format!("{another}/page")),
        ("x-original-uri", "/public/page".to_owned()),
        ("x-original-method", "POST".to_owned()),
        ("x-original-host", host.clone()),
        ("x-rewrite-url", "/public/page".to_owned()),
        ("x-http-method-override", "POST".to_owned()),
        ("forwarded", format!("host=\"{host}\";proto=https")),
    ]
}

pub(super) async fn claims_about_the_request_are_ignored(proxy: Proxy) {
    let front = Front::start(proxy).await;
    let claims = claims(&front);
    let all: Vec<_> = claims.iter().map(|(name, value)| (*name, value.as_str())).collect();
    // One by one they might work where together they contradict each other.
    for claim in all.chunks(1).chain([all.as_slice()]) {
        // The page of the other application, and a path that is only public for POST.
        for target in ["/page", "/hook"] {
            let mut browser = front.browser();
            browser.send(Method::GET, &front.url(target), &fetched(claim), None).await.is(401);
        }
        front.application.saw_nothing();
    }

    // A proxy that lets a client remove its own words would leave forepost with none, or with the client's.
    let named =
        "Connection: Host, X-Forwarded-Host, X-Forwarded-Uri, X-Forwarded-Method, X-Forwarded-Proto, X-Original-URL";
    let headers: Vec<_> = all.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let headers: Vec<_> = headers.iter().map(String::as_str).chain([named]).collect();
    for line in ["GET /page", "GET /hook"] {
        let status = raw::status(front.address, &front.request(line, &headers)).await.unwrap();
        assert!(status >= 300, "{status} for {line}");
    }
    front.application.saw_nothing();

    // The whole way through the provider leads back to the page that was asked for, with the claims on every request.
    let mut browser = front.browser();
    let target = "/page?and=more";
    for (name, value) in &all {
        browser.headers.insert(*name, value.parse().unwrap());
    }
    let page = front.sign_in(&mut browser, &front.url(target), "alice").await;
    page.is(200);
    assert_eq!(page.url.as_str(), front.url(target));
    let seen = front.application.take_one();
    assert_eq!((seen.target.as_str(), seen.header("x-authentik-meta-app").as_str()), (target, "app"));
}

/// The same headers on a request of a script.
fn fetched<'h>(claim: &[(&'h str, &'h str)]) -> Vec<(&'h str, &'h str)> {
    [("accept", "application/json"), ("sec-fetch-mode", "cors")].into_iter().chain(claim.iter().copied()).collect()
}
