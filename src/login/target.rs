use std::fmt;

use http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use url::Url;

use crate::access::{is_plain, readings};
use crate::app::{Application, OUTPOST_PATH};
use crate::forwarded::OriginalRequest;
use crate::host::{AbsoluteUrl, Authority};

/// Longer targets would not fit into the state that travels through the provider.
const LONGEST: usize = 2048;

/// What may not stand in a `Location` as it is; everything else is kept as the client wrote it.
const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'`');

/// An absolute URL that a browser may be sent back to: it lies within one application.
///
/// Exists only if it was built against that application.
#[derive(Clone, PartialEq, Eq)]
pub struct ReturnTarget(String);

impl ReturnTarget {
    /// The application's own address.
    #[must_use]
    pub fn home(app: &Application) -> Self {
        Self(app.home_url())
    }

    /// Where the original request wanted to go.
    #[must_use]
    pub fn of(app: &Application, original: &OriginalRequest<'_>) -> Self {
        let target = &original.target;
        let rest = match target.query() {
            // A raw `#` in a query would begin a fragment.
            Some(query) => format!("{}?{}", target.path(), query.replace('#', "%23")),
            None => target.path().to_owned(),
        };
        Self::build(app, Some(&original.authority), &rest).unwrap_or_else(|| Self::home(app))
    }

    /// What a link asked for: an absolute `http(s)` URL within the application, or a path of it.
    ///
    /// For a single host the URL is rebuilt on the application's address; in a domain the host must be one of the
    /// domain's. The scheme is always the application's. `None` for everything else, for targets that begin another login
    /// or sign-out, and for overlong ones.
    #[must_use]
    pub fn parse(app: &Application, text: &str) -> Option<Self> {
        let clean = text.bytes().all(|byte| byte > b' ' && byte != 0x7f && byte != b'\\');
        if !clean {
            return None;
        }
        if text.starts_with('/') {
            return if text.starts_with("//") { None } else { Self::build(app, None, text) };
        }
        let AbsoluteUrl { scheme, authority, rest } = AbsoluteUrl::split(text)?;
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return None;
        }
        let authority = Authority::parse(authority).ok()?;
        if !app.owns(&authority.host) {
            return None;
        }
        if rest.starts_with('/') {
            Self::build(app, Some(&authority), rest)
        } else {
            Self::build(app, Some(&authority), &format!("/{rest}"))
        }
    }

    fn build(app: &Application, authority: Option<&Authority<'_>>, rest: &str) -> Option<Self> {
        let external = &app.external_host;
        let other = authority.filter(|authority| authority.host != external.host);
        let mut whole = match other {
            Some(authority) if !app.owns(&authority.host) => return None,
            Some(authority) => {
                let port = authority.port.filter(|port| *port != external.scheme.default_port());
                let authority = Authority { host: authority.host.clone(), port };
                format!("{}://{authority}", external.scheme)
            }
            None => String::with_capacity(app.origin.len() + rest.len()) + &app.origin,
        };
        let origin_end = whole.len();
        whole.extend(utf8_percent_encode(rest, UNSAFE));
        let path = whole[origin_end..].split(['?', '#']).next().unwrap_or_default();
        let is_own = if other.is_none() && is_plain(path) {
            is_outpost_path(app, path)
        } else {
            // As browsers read it: they resolve dot segments before they ask, and refuse some hosts that we do not.
            is_outpost_path(app, Url::parse(&whole).ok()?.path())
        };
        (!is_own && whole.len() <= LONGEST).then_some(Self(whole))
    }

    /// The URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Scheme, host and port of it.
    pub(super) fn origin(&self) -> &str {
        let rest = AbsoluteUrl::split(&self.0).map_or(0, |url| url.rest.len());
        &self.0[..self.0.len() - rest]
    }

    /// Takes back the session cookies that other hosts may have set for this place; for an answer at the application's own address.
    #[must_use]
    pub fn expire_planted(&self, app: &Application) -> Vec<HeaderValue> {
        let Some(url) = AbsoluteUrl::split(&self.0) else { return Vec::new() };
        let Ok(authority) = Authority::parse(url.authority) else { return Vec::new() };
        app.cookies.expire_planted(&app.external_host.host, &authority.host, url.path())
    }
}

/// Going back to the outpost's own endpoints would begin another login, or end the session at once.
///
/// The proxy may read more into a path than the browser did (`..%2f`): whatever has a reading that leads there counts, and so does what
/// has more readings than are looked at.
fn is_outpost_path(app: &Application, path: &str) -> bool {
    let is_own = |path: &str| {
        let below = path.strip_prefix(app.external_host.base_path.as_str()).unwrap_or(path);
        [path, below].iter().any(|it| it.trim_start_matches('/').starts_with(&OUTPOST_PATH[1..]))
    };
    if is_plain(path) {
        return is_own(path);
    }
    let readings = readings(path, &app.external_host.base_path);
    !readings.is_complete
        || is_own(&percent_decode_str(path).decode_utf8_lossy())
        || readings.paths.iter().any(|path| is_own(path))
}

impl fmt::Debug for ReturnTarget {
    /// Without the query, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.split(['?', '#']).next().unwrap_or_default())
    }
}

/// The value of `rd` in the query of a start link, decoded.
///
/// Some proxies put the original URL there without escapes (`rd=/x?a=1&b=2`): where `rd` comes first and holds a raw `?`,
/// all that follows belongs to it. `+` is kept: it never means a space in a URL's own spelling.
#[must_use]
pub fn requested_target(query: &str) -> Option<String> {
    if let Some(first) = query.strip_prefix("rd=")
        && first.contains('?')
    {
        return Some(first.to_owned());
    }
    let value = query.split('&').find_map(|pair| pair.strip_prefix("rd="))?;
    percent_decode_str(value).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::samples::{application, domain, single};

    #[track_caller]
    fn keeps(app: &Application, text: &str, expected: &str) {
        let got = ReturnTarget::parse(app, text);
        assert_eq!(got.as_ref().map(ReturnTarget::as_str), Some(expected), "{text}");
    }

    #[test]
    fn friendly_targets_are_kept() {
        let app = single("https://app.example.com");
        keeps(&app, "/", "https://app.example.com/");
        keeps(&app, "/a%2Fb?x=1&y=a+b#frag", "https://app.example.com/a%2Fb?x=1&y=a+b#frag");
        keeps(&app, "/caf\u{e9}", "https://app.example.com/caf%C3%A9");
        keeps(&app, "/a?next=https://evil.test/", "https://app.example.com/a?next=https://evil.test/");
        keeps(&app, "/a//b/../c;d?{x}|y^z", "https://app.example.com/a//b/../c;d?{x}|y^z");
        keeps(&app, "https://app.example.com", "https://app.example.com/");
        keeps(&app, "https://app.example.com?x=1", "https://app.example.com/?x=1");
        keeps(&app, "https://app.example.com#f", "https://app.example.com/#f");
        keeps(&app, "HTTPS://APP.Example.com.:443/x", "https://app.example.com/x");
        keeps(&app, "http://app.example.com/x", "https://app.example.com/x");
        keeps(&app, "https://app.example.com:8443/x", "https://app.example.com/x");

        let sub = single("https://app.example.com:8443/sub");
        keeps(&sub, "/sub/x", "https://app.example.com:8443/sub/x");
        keeps(&sub, "https://app.example.com/sub/x", "https://app.example.com:8443/sub/x");

        let whole = domain("https://auth.example.com", "example.com");
        keeps(&whole, "https://a.b.example.com/x?y", "https://a.b.example.com/x?y");
        keeps(&whole, "https://example.com:8443/", "https://example.com:8443/");
        keeps(&whole, "http://a.example.com:443/", "https://a.example.com/");
        keeps(&whole, "/x", "https://auth.example.com/x");
    }

    #[test]
    fn hostile_targets_are_not_taken() {
        let single = single("https://app.example.com");
        let whole = domain("https://auth.example.com", "example.com");
        for text in [
            "",
            " ",
            "x",
            "app.example.com/x",
            "//evil.test",
            "///evil.test",
            "/\\evil.test",
            "\\/evil.test",
            "/\t/evil.test",
            "/\n/evil.test",
            " //evil.test",
            "/ /evil.test",
            "https://evil.test/",
            "https:evil.test",
            "https:/evil.test",
            "https:///evil.test",
            "https://",
            "https:// /",
            "javascript:alert(1)",
            "JaVaScRiPt://app.example.com/%0aalert(1)",
            "data:text/html,x",
            "ftp://app.example.com/",
            "https://app.example.com@evil.test/",
            "https://user:pass@app.example.com/",
            "https://app.example.com:x/",
            "https://app.example.com\\@evil.test/",
            "https://app.example.com.evil.test/",
            "https://evilexample.com/",
            "https://app.example.com%2eevil.test/",
            "https://\u{ff45}vil.test/",
            "https://app.example.com\u{3002}/",
            "https://[::1]/",
            "https://127.0.0.1/",
            "http://2130706433/",
            "https://app.example.com:99999/",
            "/\u{7f}x",
        ] {
            assert_eq!(ReturnTarget::parse(&single, text), None, "{text:?}");
            assert_eq!(ReturnTarget::parse(&whole, text), None, "{text:?}");
        }
        assert_eq!(ReturnTarget::parse(&single, "https://other.example.com/"), None);
        assert_eq!(ReturnTarget::parse(&single, &format!("/{}", "a".repeat(5000))), None);
        assert_eq!(ReturnTarget::parse(&single, &format!("/{}", "\u{e9}".repeat(500))), None, "too long once escaped");
    }

    #[test]
    fn the_outposts_own_endpoints_are_no_target() {
        let sub = application("https://app.example.com/sub", None, |_| ());
        for text in [
            "/outpost.goauthentik.io/start?rd=/x",
            "/outpost.goauthentik.io/sign_out",
            "/sub/outpost.goauthentik.io/sign_out",
            "/%6futpost.goauthentik.io/start",
            "/x/../outpost.goauthentik.io/sign_out",
            "/sub/./%2e%2e/outpost.goauthentik.io/sign_out",
            "/x/..%2foutpost.goauthentik.io/sign_out",
            "/x/..;/sub/outpost.goauthentik.io/sign_out",
            "/./outpost.goauthentik.io/start",
            "/x/..//outpost.goauthentik.io/start",
            "https://app.example.com/sub/x/%2E./outpost.goauthentik.io/start",
            "https://app.example.com/outpost.goauthentik.io/callback",
        ] {
            assert_eq!(ReturnTarget::parse(&sub, text), None, "{text}");
        }
    }

    #[track_caller]
    fn rd(query: &str, expected: Option<&str>) {
        assert_eq!(requested_target(query).as_deref(), expected, "{query}");
    }

    #[test]
    fn links_ask_with_and_without_escapes() {
        rd("rd=%2Fx%3Fa%3D1%26b%3D2", Some("/x?a=1&b=2"));
        rd("rd=/x?a=1&b=2", Some("/x?a=1&b=2"));
        rd("rd=https://app.example.com/x?a=%20&b=2", Some("https://app.example.com/x?a=%20&b=2"));
        rd("rd=/x&other=1", Some("/x"));
        rd("other=1&rd=%2Fx", Some("/x"));
        rd("rd=/a+b", Some("/a+b"));
        rd("rd=%2F%09%2Fevil.test", Some("/\t/evil.test"));
        rd("rd=%ff", None);
        rd("rd=", Some(""));
        rd("xrd=/x", None);
        rd("", None);
    }
}
