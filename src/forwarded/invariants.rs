//! Properties of every question of a proxy.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::{Dialect, ForwardedError, OriginalRequest, PeerAddress, Question, Target, TrustedProxies};
use crate::app::samples;
use crate::host::Authority;
use crate::http::invariants::route_holds;
use crate::login::ReturnTarget;
use crate::login::invariants::target_holds;

/// A question as one text: `traefik trusted GET /path`, then a header field in each line.
struct Written {
    dialect: Dialect,
    trusted: bool,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Written {
    fn parse(text: &[u8]) -> Option<Self> {
        let mut lines = text.split(|byte| *byte == b'\n');
        let mut words = std::str::from_utf8(lines.next()?).ok()?.split(' ');
        let dialect = words.next()?;
        Some(Self {
            dialect: Dialect::ALL.into_iter().find(|it| it.as_str() == dialect)?,
            trusted: words.next()? == "trusted",
            method: words.next()?.parse().ok()?,
            uri: words.next()?.parse().ok()?,
            headers: lines.filter_map(field).collect(),
        })
    }

    fn ask<'r>(&'r self, headers: &'r HeaderMap) -> Result<OriginalRequest<'r>, ForwardedError> {
        let question = Question { method: &self.method, uri: &self.uri, headers, trusted: self.trusted };
        self.dialect.parse(&question)
    }

    /// The fields that the dialect may read. All others may come from the client.
    fn own_fields(&self) -> &'static [&'static str] {
        match self.dialect {
            Dialect::Traefik | Dialect::Caddy => {
                &["x-forwarded-proto", "x-forwarded-host", "x-forwarded-uri", "x-forwarded-method"]
            }
            Dialect::Nginx if self.headers.contains_key("x-original-url") => {
                &["x-original-url", "host", "x-forwarded-method"]
            }
            Dialect::Nginx => &[
                "x-original-uri",
                "x-forwarded-proto",
                "x-forwarded-host",
                "x-forwarded-uri",
                "host",
                "x-forwarded-method",
            ],
            Dialect::Envoy => &["host", "x-forwarded-proto"],
        }
    }
}

fn field(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let value = line[colon + 1..].trim_ascii();
    Some((HeaderName::from_bytes(&line[..colon]).ok()?, HeaderValue::from_bytes(value).ok()?))
}

/// Parses the question in `text`.
pub(crate) fn hold(text: &[u8]) {
    let Some(written) = Written::parse(text) else { return };
    client_holds(&written.headers);
    route_holds(written.uri.path());
    let Ok(original) = written.ask(&written.headers) else { return };
    assert!(written.trusted || written.dialect == Dialect::Envoy, "a stranger spoke for a client");
    original_holds(&original);
    assert!(original.asked_at.is_none() || written.dialect == Dialect::Nginx, "no other dialect compares them");
    if written.dialect == Dialect::Nginx {
        named_host_holds(&written, &original);
        assert_eq!(original.method, None, "nginx's clients choose it");
    }
    only_own_fields_count(&written, &original);
    for app in [samples::single("https://app.example.com/sub"), samples::domain("https://a.example.com", "example.com")]
    {
        target_holds(&app, &ReturnTarget::of(&app, &original));
    }
}

/// The question's own `Host` is a host, and has one value.
fn named_host_holds(written: &Written, original: &OriginalRequest<'_>) {
    let named = super::request_authority(&written.uri, &written.headers).expect("a question has a host").host;
    assert_eq!(original.asked_at.as_ref(), (named != original.authority.host).then_some(&named));
}

fn original_holds(original: &OriginalRequest<'_>) {
    assert_eq!(Authority::parse(&original.authority.to_string()).as_ref(), Ok(&original.authority));
    let (path, query) = (original.target.path(), original.target.query());
    let whole = query.map_or(path.to_owned(), |query| format!("{path}?{query}"));
    assert_eq!(Target::parse(&whole), Ok(original.target));
    assert!(path.starts_with('/') && !path.contains(|c: char| c.is_ascii_control() || " #?".contains(c)), "{path}");
    if let Some(method) = &original.method {
        assert!(method.as_str().bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-'), "{method}");
    }
    if original.kind().is_navigation() {
        let method = original.method.as_ref();
        assert!(method.is_none_or(|it| [Method::GET, Method::HEAD, Method::POST].contains(it)), "{method:?}");
    }
}

/// Fields of other dialects do not change the parsed request, and a second value of an own field is refused.
fn only_own_fields_count(written: &Written, original: &OriginalRequest<'_>) {
    let own = written.own_fields();
    let is_own = |name: &HeaderName| own.contains(&name.as_str());
    let fewer: HeaderMap = written
        .headers
        .iter()
        .filter(|(name, _)| is_own(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let alone = written.ask(&fewer).expect("the own fields are enough");
    assert_eq!(
        (alone.scheme, &alone.authority, &alone.asked_at, alone.target, &alone.method),
        (original.scheme, &original.authority, &original.asked_at, original.target, &original.method)
    );
    for name in own.iter().filter(|name| fewer.contains_key(**name)) {
        let mut repeated = fewer.clone();
        repeated.append(*name, HeaderValue::from_static("x"));
        assert_eq!(written.ask(&repeated), Err(ForwardedError::Repeated(name)));
    }
}

/// An untrusted peer is the client, and entries left of the first untrusted address change nothing.
fn client_holds(headers: &HeaderMap) {
    const NAME: &str = "x-forwarded-for";
    let network = "10.0.0.0/8".parse().expect("a network");
    let trusted = TrustedProxies::new(vec![network]);
    let stranger = PeerAddress::Ip(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    assert_eq!(trusted.client(stranger, headers).map(PeerAddress::Ip), Some(stranger));

    let proxy = PeerAddress::Ip(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
    let client = trusted.client(proxy, headers).expect("the proxy at least");
    if !trusted.trust(PeerAddress::Ip(client)) {
        let mut longer = HeaderMap::new();
        longer.append(NAME, HeaderValue::from_static("127.0.0.1"));
        longer.extend(headers.get_all(NAME).iter().map(|value| (HeaderName::from_static(NAME), value.clone())));
        assert_eq!(trusted.client(proxy, &longer), Some(client));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    const NAMES: &[&str] = &[
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-uri",
        "x-forwarded-method",
        "x-forwarded-for",
        "x-original-url",
        "x-original-uri",
        "host",
        "accept",
        "sec-fetch-mode",
        "upgrade",
    ];

    fn value() -> impl Strategy<Value = String> {
        prop_oneof![
            "[ -~\u{80}-\u{ff}]{0,40}",
            "(https?|wss?)(://[a-z.:0-9]{1,20}/[a-z%2ef/?#;]{0,20})?",
            "[a-zA-Z]{1,8}\\.(test|example\\.com)(:[0-9]{1,5})?",
            "/[a-z%2ef./\\\\?#;&=]{0,30}",
            "(GET|POST|HEAD|PUT)",
            "[A-Za-z-]{1,5}",
            "([0-9]{1,3}\\.[0-9]{1,3}\\.0\\.1(, ?)?){1,3}",
        ]
    }

    fn fields(count: std::ops::Range<usize>) -> impl Strategy<Value = String> {
        let field = (prop::sample::select(NAMES), value()).prop_map(|(name, value)| format!("\n{name}: {value}"));
        prop::collection::vec(field, count).prop_map(|fields| fields.concat())
    }

    proptest! {
        #[test]
        fn of_any_question(
            dialect in "traefik|caddy|nginx|envoy",
            trust in "trusted|stranger",
            path in "[a-z/%2.]{0,12}",
            method in "GET|[A-Za-z-]{1,4}",
            fields in fields(0..8),
        ) {
            super::hold(format!("{dialect} {trust} {method} /outpost.goauthentik.io/auth/{dialect}/{path}{fields}").as_bytes());
        }

        #[test]
        fn of_whole_questions(
            dialect in "traefik|caddy|nginx",
            host in "[a-zA-Z]{1,8}\\.(test|example\\.com)(:[0-9]{1,5})?",
            target in "/[a-z%2ef./\\\\?#;&=]{0,30}",
            more in fields(0..2),
        ) {
            super::hold(format!(
                "{dialect} trusted GET /\nx-forwarded-proto: https\nx-forwarded-host: {host}\nx-forwarded-uri: {target}{more}"
            ).as_bytes());
            super::hold(format!("nginx trusted GET /\nhost: {host}\nx-original-url: https://{host}{target}{more}").as_bytes());
            super::hold(format!("nginx trusted GET /\nhost: forepost\nx-original-url: https://{host}{target}{more}").as_bytes());
        }
    }
}
