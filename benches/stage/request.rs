use forepost::forwarded::{Dialect, ENVOY_PREFIX};
use http::Request;
use http::request::Parts;

use super::HOST;

/// What the browser does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Browser {
    /// Goes to a page.
    Navigates,
    /// Runs a script that fetches.
    Fetches,
}

/// Cookies that browsers carry besides ours: five in all with a session, 430 bytes.
const OTHER_COOKIES: [&str; 4] = [
    "_ga=GA1.2.1234567890.1700000000",
    "_ga_ABCDEFGHIJ=GS1.1.1700000000.12.1.1700000500.0.0.0",
    "theme=dark",
    "csrftoken=q8Vx0Zr3kT7mYwB1nLpD5sGhJ2cFaE9uQ4iXoR6vNtKyMzWbHlSjPdCgUeA1f3I5",
];

/// The fields that every browser sends, in the order in which it does.
const BROWSER: [(&str, &str); 8] = [
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    ),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"),
    ("sec-ch-ua", "\"Chromium\";v=\"141\", \"Not?A_Brand\";v=\"8\", \"Google Chrome\";v=\"141\""),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", "\"Linux\""),
    ("sec-fetch-site", "same-origin"),
    ("referer", "https://app.example.com/dashboards/overview?period=week"),
];

const NAVIGATES: [(&str, &str); 5] = [
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-user", "?1"),
    ("upgrade-insecure-requests", "1"),
];

const FETCHES: [(&str, &str); 5] = [
    ("accept", "application/json, text/plain, */*"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-dest", "empty"),
    ("priority", "u=1, i"),
    ("cache-control", "no-cache"),
];

/// What `dialect`'s proxy asks when a browser with this session cookie, `NAME=VALUE`, wants `target`.
pub(crate) fn question(
    dialect: Dialect,
    browser: Browser,
    target: &str,
    session: Option<&str>,
) -> Result<Parts, http::Error> {
    let of_browser = match browser {
        Browser::Navigates => NAVIGATES,
        Browser::Fetches => FETCHES,
    };
    let cookies: Vec<_> = OTHER_COOKIES.into_iter().chain(session).collect();
    let endpoint = format!("/outpost.goauthentik.io/auth/{}", dialect.as_str());
    let whole = format!("https://{HOST}{target}");
    let (uri, host, said): (String, &str, &[(&str, &str)]) = match dialect {
        Dialect::Traefik | Dialect::Caddy => (
            endpoint,
            "forepost:9000",
            &[
                ("x-forwarded-method", "GET"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", HOST),
                ("x-forwarded-uri", target),
            ],
        ),
        Dialect::Nginx => (endpoint, HOST, &[("x-original-url", &whole), ("x-forwarded-proto", "https")]),
        Dialect::Envoy => (format!("{ENVOY_PREFIX}{target}"), HOST, &[("x-forwarded-proto", "https")]),
    };
    let mut request = Request::get(uri).header("host", host);
    let of_proxy = said.iter().chain(&[("x-forwarded-for", "198.51.100.7")]);
    for (name, value) in BROWSER.iter().chain(&of_browser).chain(of_proxy) {
        request = request.header(*name, *value);
    }
    Ok(request.header("cookie", cookies.join("; ")).body(())?.into_parts().0)
}
