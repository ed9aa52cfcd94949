//! Host names: normalised when they are parsed, compared by whole label.

mod absolute_url;
#[cfg(any(test, fuzzing))]
pub(crate) mod invariants;

use std::borrow::Cow;
use std::fmt;

pub(crate) use absolute_url::AbsoluteUrl;

/// The host of a URL: lower case, without port, brackets kept for IPv6, no trailing dot.
///
/// Two spellings of one host (`APP.Example.com.`, `app.example.com`) are equal values. A text that is already normal is borrowed.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host<'h>(Cow<'h, str>);

/// Why a text is not a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a host name")]
pub(crate) struct InvalidHost;

/// Limits of RFC 1035 §2.3.4, in bytes.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

impl<'h> Host<'h> {
    /// Parses a host without port.
    ///
    /// Letters, digits, `-`, `_` and dots make a name (RFC 1123 §2.1, and `_` because container networks use it); an
    /// IPv6 address is in brackets (RFC 3986 §3.2.2). International names are in their `xn--` form.
    ///
    /// # Errors
    ///
    /// If `text` is none of these.
    pub(crate) fn parse(text: &'h str) -> Result<Self, InvalidHost> {
        if let Some(inner) = text.strip_prefix('[') {
            let address = inner.strip_suffix(']').ok_or(InvalidHost)?;
            let address: std::net::Ipv6Addr = address.parse().map_err(|_| InvalidHost)?;
            return Ok(Self(format!("[{address}]").into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.len() > MAX_NAME || !has_labels(name) {
            return Err(InvalidHost);
        }
        // A name whose last label is numeric is an IPv4 address or invalid: browsers read `127.1` and `127.0x1` as
        // 127.0.0.1 (https://url.spec.whatwg.org/#ends-in-a-number-checker).
        let last = name.rsplit('.').next().unwrap_or(name);
        if is_number(last) && name.parse::<std::net::Ipv4Addr>().is_err() {
            return Err(InvalidHost);
        }
        let is_normal = !name.bytes().any(|byte| byte.is_ascii_uppercase());
        Ok(Self(if is_normal { name.into() } else { name.to_ascii_lowercase().into() }))
    }
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The same host as an owned value.
    #[must_use]
    pub(crate) fn into_owned(self) -> Host<'static> {
        Host(self.0.into_owned().into())
    }

    /// Whether this is an IP address rather than a name.
    #[must_use]
    pub(crate) fn is_address(&self) -> bool {
        self.0.starts_with('[') || self.0.parse::<std::net::Ipv4Addr>().is_ok()
    }
}

fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    label.bytes().all(|b| b.is_ascii_digit())
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Whether `name` consists of labels with dots between them.
fn has_labels(name: &str) -> bool {
    let mut length = 0;
    for byte in name.bytes() {
        match byte {
            b'.' if length == 0 => return false,
            b'.' => length = 0,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' if length < MAX_LABEL => length += 1,
            _ => return false,
        }
    }
    length > 0
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host with or without a port, as in a `Host` header (RFC 9110 §7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority<'h> {
    /// The host, normalised.
    pub(crate) host: Host<'h>,
    /// The port, if the text has one.
    pub(crate) port: Option<u16>,
}

impl<'h> Authority<'h> {
    /// Parses `host` or `host:port`, without user information, white space or an empty port.
    ///
    /// # Errors
    ///
    /// If the text has another form.
    pub(crate) fn parse(text: &'h str) -> Result<Self, InvalidHost> {
        let after_bracket = text.bytes().rposition(|byte| byte == b']').map_or(0, |at| at + 1);
        match text.bytes().skip(after_bracket).position(|byte| byte == b':') {
            None => Ok(Self { host: Host::parse(text)?, port: None }),
            Some(colon) => {
                let (host, port) = text.split_at(after_bracket + colon);
                let port = &port[1..];
                if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(InvalidHost);
                }
                Ok(Self { host: Host::parse(host)?, port: Some(port.parse().map_err(|_| InvalidHost)?) })
            }
        }
    }
}

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// The scheme of an application or of an original request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http`, or `ws`.
    Http,
    /// `https`, or `wss`.
    Https,
}

impl Scheme {
    /// The name in a URL.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The one of this name, as browsers write it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Http, Self::Https].into_iter().find(|scheme| scheme.as_str() == name)
    }
    #[must_use]
    pub(crate) const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The domain of a cookie that several hosts share (RFC 6265 §5.1.3).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CookieDomain(Host<'static>);

/// Why a text is not a usable cookie domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidCookieDomain {
    /// It is not a host name, or it is an address.
    #[error("not a domain name")]
    NotADomain,
    /// It is a public suffix: browsers refuse a cookie for it, because its hosts belong to different owners.
    #[error("a public suffix: browsers refuse a cookie for it")]
    PublicSuffix,
}

impl CookieDomain {
    /// Parses `example.com` or `.example.com`.
    ///
    /// # Errors
    ///
    /// For addresses, for texts that are not a domain, and for public suffixes (<https://publicsuffix.org>): `com`, `co.uk`,
    /// `localhost`.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidCookieDomain> {
        let host = Host::parse(text.strip_prefix('.').unwrap_or(text)).map_err(|_| InvalidCookieDomain::NotADomain)?;
        if host.is_address() {
            return Err(InvalidCookieDomain::NotADomain);
        }
        let name = host.as_str();
        if !name.contains('.') || psl::suffix_str(name).is_some_and(|suffix| suffix == name) {
            return Err(InvalidCookieDomain::PublicSuffix);
        }
        Ok(Self(host.into_owned()))
    }

    /// Whether `host` is this domain or a host under it, by whole label.
    #[must_use]
    pub(crate) fn contains(&self, host: &Host<'_>) -> bool {
        match host.as_str().strip_suffix(self.0.as_str()) {
            Some("") => true,
            Some(below) => below.ends_with('.') && !host.is_address(),
            None => false,
        }
    }
    /// The domain itself, as a host.
    #[must_use]
    pub(crate) const fn as_host(&self) -> &Host<'static> {
        &self.0
    }

    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for CookieDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CookieDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn host(text: &str, expected: Option<&str>) {
        let got = Host::parse(text).ok();
        assert_eq!(got.as_ref().map(Host::as_str), expected, "{text:?}");
    }

    #[test]
    fn hosts_are_normalised() {
        host("app.example.com", Some("app.example.com"));
        host("APP.Example.COM.", Some("app.example.com"));
        host("localhost", Some("localhost"));
        host("my_service", Some("my_service"));
        host("xn--bcher-kva.example", Some("xn--bcher-kva.example"));
        host("127.0.0.1", Some("127.0.0.1"));
        host("[::1]", Some("[::1]"));
        host("[0:0:0:0:0:0:0:1]", Some("[::1]"));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a.b..",
            "a b",
            "a\tb",
            "a\0b",
            "a/b",
            "a\\b",
            "a@b",
            "a:80",
            "a,b",
            "bücher.example",
            "a%2eb",
            "::1",
            "[::1",
            "[::1]x",
            "[::1%25eth0]",
            "127.1",
            "1.2.3.4.5",
            "127.0.0.0x1",
            "0x7f000001",
            "a.0X",
            "256.1.1.1",
            "example.com。",
            "ex\u{ff41}mple.com",
        ] {
            host(text, None);
        }
        host(&"a".repeat(64), None);
        host(&["abcdefgh"; 40].join("."), None);
    }

    #[track_caller]
    fn authority(text: &str, expected: Option<(&str, Option<u16>)>) {
        let got = Authority::parse(text).ok();
        let got = got.as_ref().map(|a| (a.host.as_str(), a.port));
        assert_eq!(got, expected, "{text:?}");
    }

    #[test]
    fn authorities() {
        authority("a.test", Some(("a.test", None)));
        authority("A.test:8443", Some(("a.test", Some(8443))));
        authority("a.test.:443", Some(("a.test", Some(443))));
        authority("[::1]:9000", Some(("[::1]", Some(9000))));
        for text in [
            "a.test:",
            "a.test:x",
            "a.test:70000",
            "a.test:80:80",
            "u@a.test",
            "a.test:+80",
            ":80",
            "a.test, b.test",
            "[::1]:",
            "é:80",
        ] {
            authority(text, None);
        }
    }

    #[track_caller]
    fn domain(text: &str, expected: Result<&str, InvalidCookieDomain>) {
        let got = CookieDomain::parse(text);
        assert_eq!(got.as_ref().map(CookieDomain::as_str), expected.as_ref().map(|s| *s), "{text:?}");
    }

    #[test]
    fn cookie_domains() {
        domain("example.com", Ok("example.com"));
        domain(".Example.com", Ok("example.com"));
        domain("a.b.example.co.uk", Ok("a.b.example.co.uk"));
        domain("example.test", Ok("example.test"));
        domain("com", Err(InvalidCookieDomain::PublicSuffix));
        domain("co.uk", Err(InvalidCookieDomain::PublicSuffix));
        domain("github.io", Err(InvalidCookieDomain::PublicSuffix));
        domain("localhost", Err(InvalidCookieDomain::PublicSuffix));
        domain("test", Err(InvalidCookieDomain::PublicSuffix));
        domain("10.0.0.1", Err(InvalidCookieDomain::NotADomain));
        domain("..example.com", Err(InvalidCookieDomain::NotADomain));
        domain("", Err(InvalidCookieDomain::NotADomain));
    }

    #[track_caller]
    fn contains(domain: &str, host: &str, expected: bool) {
        let domain = CookieDomain::parse(domain).unwrap();
        assert_eq!(domain.contains(&Host::parse(host).unwrap()), expected, "{domain} {host}");
    }

    #[test]
    fn domains_contain_by_whole_label() {
        contains("example.com", "example.com", true);
        contains("example.com", "app.example.com", true);
        contains("example.com", "a.b.example.com", true);
        contains("example.com", "evilexample.com", false);
        contains("example.com", "example.com.evil.test", false);
        contains("example.com", "com", false);
        contains("example.com", "xexample.com", false);
    }
}
