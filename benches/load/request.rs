//! What a Traefik asks on behalf of a browser, as bytes with one place for the session's token.

use std::fmt::Write as _;
use std::ops::Range;

/// Where the application's proxy asks.
pub(crate) const PATH: &str = "/outpost.goauthentik.io/auth/traefik";

/// The application's host.
pub(crate) const HOST: &str = "app.example.com";

/// What the browser wants of it.
const ASKED: &str = "/projects/4711/board?view=month&sort=due";

/// Base64url of 32 bytes.
pub(crate) const TOKEN_LENGTH: usize = 43;

/// Headers of a browser's request that do not tell its kind, in the order in which Traefik (Go) writes them: by name.
const BROWSER: [(&str, &str); 12] = [
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    ),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-GB,en;q=0.9,de-DE;q=0.8,de;q=0.7"),
    ("Cache-Control", "max-age=0"),
    ("Priority", "u=0, i"),
    ("Referer", "https://app.example.com/projects/4711/board?view=week"),
    ("Sec-Ch-Ua", "\"Chromium\";v=\"141\", \"Not?A_Brand\";v=\"8\""),
    ("Sec-Ch-Ua-Mobile", "?0"),
    ("Sec-Ch-Ua-Platform", "\"Linux\""),
    ("Sec-Fetch-Site", "same-origin"),
    ("X-Forwarded-For", "203.0.113.77"),
    ("X-Real-Ip", "203.0.113.77"),
];

const NAVIGATION: [(&str, &str); 4] = [
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Upgrade-Insecure-Requests", "1"),
];

const FETCH: [(&str, &str); 3] =
    [("Accept", "application/json"), ("Sec-Fetch-Dest", "empty"), ("Sec-Fetch-Mode", "cors")];

/// Cookies of the application itself.
const COOKIES: [(&str, &str); 4] = [
    ("_ga_4QZ7XK2M1B", "GS2.1.s1761034822$o17$g1$t1761036011$j42$l0$h0"),
    ("theme", "dark"),
    ("csrftoken", "pXk3v0QyqGm7cZr5WnT1sLhB8uJdEaFo"),
    (
        "app_session",
        "eyJfcGVybWFuZW50Ijp0cnVlLCJsb2NhbGUiOiJlbiIsInNpZGViYXIiOiJjb2xsYXBzZWQiLCJjYXJ0IjpbNDcxMSw0NzEyXX0\
         .aP9dXw.kT0fV2bN7xqLrYw3uZsGd5hJmPc",
    ),
];

/// The question about one request of a browser.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question {
    /// A navigation with the session's cookie under this name.
    Allowed,
    /// A script's request without a session.
    Denied,
    /// A navigation without a session to a path that needs none.
    Public,
}

impl Question {
    /// The headers, `Host` first, and the cookies with a token of zeros where a session belongs.
    pub(crate) fn headers(self, session_cookie: &str) -> Vec<(&'static str, String)> {
        let kind = match self {
            Self::Allowed | Self::Public => &NAVIGATION[..],
            Self::Denied => &FETCH,
        };
        let uri = match self {
            Self::Allowed => ASKED,
            Self::Denied => "/api/projects/4711/tasks?state=open",
            Self::Public => "/static/app/main.7f3a2c.css",
        };
        let mut cookies: Vec<_> = COOKIES.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if matches!(self, Self::Allowed) {
            // Neither first nor last, as it comes.
            cookies.insert(2, format!("{session_cookie}={}", "0".repeat(TOKEN_LENGTH)));
        }
        let own = [
            ("Host", "forepost:9000".to_owned()),
            ("Cookie", cookies.join("; ")),
            ("X-Forwarded-Host", HOST.to_owned()),
            ("X-Forwarded-Method", "GET".to_owned()),
            ("X-Forwarded-Port", "443".to_owned()),
            ("X-Forwarded-Proto", "https".to_owned()),
            ("X-Forwarded-Server", "traefik-0".to_owned()),
            ("X-Forwarded-Uri", uri.to_owned()),
        ];
        let constant = BROWSER.iter().chain(kind).map(|(name, value)| (*name, (*value).to_owned()));
        let mut headers: Vec<_> = own.into_iter().chain(constant).collect();
        headers[1..].sort_by_key(|(name, _)| *name);
        headers
    }
}

/// The bytes of a request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// From the request line to the empty line.
    pub(crate) bytes: Vec<u8>,
    /// Where the token is, in a request that has one.
    pub(crate) token: Option<Range<usize>>,
}

impl Request {
    /// `question` over HTTP/1.1.
    pub(crate) fn new(question: Question, session_cookie: &str) -> Self {
        Self::of(PATH, &question.headers(session_cookie))
    }

    /// What the browser itself sends to the application's proxy.
    pub(crate) fn of_browser(session_cookie: &str) -> Self {
        let mut headers = Question::Allowed.headers(session_cookie);
        headers.retain(|(name, _)| !name.starts_with("X-"));
        HOST.clone_into(&mut headers[0].1);
        Self::of(ASKED, &headers)
    }

    fn of(path: &str, headers: &[(&str, String)]) -> Self {
        let mut text = format!("GET {path} HTTP/1.1\r\n");
        for (name, value) in headers {
            // Writing to a string cannot fail.
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text.push_str("\r\n");
        let token = text.find(&"0".repeat(TOKEN_LENGTH)).map(|at| at..at + TOKEN_LENGTH);
        Self { bytes: text.into_bytes(), token }
    }
}
