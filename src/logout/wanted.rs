//! Whether a sign-out is wanted, and not the work of another page.

use http::{HeaderMap, HeaderName, Method};

use crate::app::Application;
use crate::forwarded::single;
use crate::host::{AbsoluteUrl, Authority, Host, Scheme};

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
static ORIGIN: HeaderName = http::header::ORIGIN;
static REFERER: HeaderName = http::header::REFERER;

/// Whether a sign-out was asked for by one of the application's own pages.
///
/// A link on any other host must not sign a user out. Nor does an address that the user types, or opens from another program
/// (`none`): a page at that address may redirect here, and browsers do not tell the two apart. Fetch Metadata tells where browsers send
/// it; else `Origin`, which
/// browsers put on every POST, and at last `Referer`, must name one of the application's origins. A whole site
/// (`same-site`) is never the application's: another host of it, or another port of this one, may belong to any operator; only
/// where the application has a cookie domain, its hosts may ask for each other.
#[must_use]
pub fn is_wanted(app: &Application, method: &Method, headers: &HeaderMap) -> bool {
    match single(headers, &SEC_FETCH_SITE) {
        Ok(Some("same-origin")) => return true,
        Ok(Some("same-site")) if app.cookie_domain.is_some() => {}
        Ok(Some(_)) | Err(_) => return false,
        Ok(None) => {}
    }
    let named = match single(headers, &ORIGIN) {
        Ok(Some(origin)) => Some(origin),
        Ok(None) if *method == Method::GET || *method == Method::HEAD => single(headers, &REFERER).ok().flatten(),
        Ok(None) | Err(_) => None,
    };
    named.and_then(origin_of).is_some_and(|(scheme, authority)| app.has_origin(scheme, &authority))
}

/// Whether a sign-out everywhere was asked for by a page of this very host, the one that offers it.
///
/// A neighbour under the same domain may end the session here, whose cookie it can overwrite anyway, and no other.
#[must_use]
pub fn is_wanted_everywhere(app: &Application, host: &Host<'_>, method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::POST
        && match single(headers, &SEC_FETCH_SITE) {
            Ok(Some(site)) => site == "same-origin",
            Ok(None) => single(headers, &ORIGIN).ok().flatten().is_some_and(|it| it == app.origin_on(host)),
            Err(_) => false,
        }
}

fn origin_of(url: &str) -> Option<(Scheme, Authority<'_>)> {
    let url = AbsoluteUrl::split(url).filter(|url| url.rest.is_empty() || url.rest.starts_with('/'))?;
    Some((Scheme::named(url.scheme)?, Authority::parse(url.authority).ok()?))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::app::samples::{domain, single};

    #[track_caller]
    fn check(app: &Application, method: Method, fields: &[(&'static str, &str)], expected: bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::try_from(*value).unwrap());
        }
        assert_eq!(is_wanted(app, &method, &headers), expected, "{method} {fields:?}");
    }

    #[test]
    fn only_the_applications_own_pages_sign_out() {
        let app = single("https://app.example.com");
        let get = || Method::GET;
        check(&app, get(), &[("sec-fetch-site", "same-origin")], true);
        check(&app, get(), &[("sec-fetch-site", "same-site")], false);
        check(&app, get(), &[("sec-fetch-site", "same-site"), ("referer", "https://evil.example.com/")], false);
        check(&app, get(), &[("sec-fetch-site", "same-site"), ("referer", "https://app.example.com:8443/")], false);
        check(&app, get(), &[("sec-fetch-site", "Same-Origin")], false);
        check(&app, get(), &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")], false);
        check(&app, Method::POST, &[("sec-fetch-site", "same-site"), ("origin", "https://evil.example.com")], false);
        check(&app, get(), &[("sec-fetch-site", "none")], false);
        check(&app, get(), &[("sec-fetch-site", "cross-site")], false);
        check(&app, get(), &[("sec-fetch-site", "cross-site"), ("referer", "https://app.example.com/")], false);
        check(&app, get(), &[("referer", "https://app.example.com/x")], true);
        check(&app, get(), &[("referer", "https://evil.test/app.example.com")], false);
        check(&app, get(), &[("referer", "https://app.example.com.evil.test/")], false);
        check(&app, get(), &[], false);
        check(&app, Method::POST, &[("origin", "https://app.example.com")], true);
        check(&app, Method::POST, &[("origin", "https://evil.test")], false);
        check(&app, Method::POST, &[("origin", "null")], false);
        check(&app, Method::POST, &[("referer", "https://app.example.com/")], false);
        check(&app, Method::POST, &[], false);

        let whole = domain("https://auth.example.com", "example.com");
        let dev = domain("https://auth.dev.example.com", "dev.example.com");
        let same_site = |field| [("sec-fetch-site", "same-site"), field];
        for app in [&whole, &dev] {
            check(app, get(), &same_site(("referer", "https://wiki.dev.example.com/")), true);
            check(app, Method::POST, &same_site(("origin", "https://wiki.dev.example.com")), true);
            check(app, Method::POST, &same_site(("referer", "https://wiki.dev.example.com/")), false);
            check(app, get(), &[("sec-fetch-site", "same-site")], false);
            check(app, get(), &[("sec-fetch-site", "cross-site"), ("referer", "https://wiki.dev.example.com/")], false);
        }
        check(&whole, get(), &same_site(("referer", "https://evil.example.com/")), true);
        check(&dev, get(), &same_site(("referer", "https://evil.example.com/")), false);
        check(&whole, get(), &[("referer", "https://portal.example.com/")], true);
        check(&whole, get(), &[("referer", "https://evilexample.com/")], false);
    }

    /// Another port or scheme is another origin: what answers there is not the application.
    #[test]
    fn pages_of_another_port_or_scheme_are_not_the_applications() {
        let all = |address: &str| {
            let usual = single(&format!("https://{address}"));
            let with_port = single(&format!("https://{address}:8443"));
            let plain = single(&format!("http://{address}"));
            let plain_with_port = single(&format!("http://{address}:8080"));
            [usual, with_port, plain, plain_with_port]
        };
        let named = |address: &str| {
            [
                format!("https://{address}"),
                format!("https://{address}:8443"),
                format!("http://{address}"),
                format!("http://{address}:8080"),
            ]
        };
        for address in ["app.example.com", "[::1]"] {
            for (at, app) in all(address).iter().enumerate() {
                for (named_at, origin) in named(address).iter().enumerate() {
                    check(app, Method::POST, &[("origin", origin)], at == named_at);
                    check(app, Method::GET, &[("origin", origin)], at == named_at);
                    check(app, Method::GET, &[("referer", &format!("{origin}/page"))], at == named_at);
                    check(app, Method::GET, &[("referer", origin)], at == named_at);
                    check(app, Method::POST, &[("referer", &format!("{origin}/page"))], false);
                }
            }
        }
        let app = single("https://app.example.com");
        check(&app, Method::GET, &[("referer", "https://app.example.com:443/page")], true);
        check(&app, Method::GET, &[("referer", "https://app.example.com:80/page")], false);
        for nonsense in
            ["https://app.example.com:/", "https://app.example.com:x/", "wss://app.example.com", "//app.example.com/"]
        {
            check(&app, Method::GET, &[("referer", nonsense)], false);
        }
        for (address, port) in [("https://auth.example.com", ""), ("https://auth.example.com:8443", ":8443")] {
            let whole = domain(address, "example.com");
            for other in ["", ":8443", ":444"] {
                let origin = format!("https://wiki.example.com{other}");
                let same_site = [("sec-fetch-site", "same-site"), ("origin", &*origin)];
                check(&whole, Method::POST, &same_site, other == port);
                check(&whole, Method::POST, &[("origin", &origin.replace("https", "http"))], false);
            }
        }
    }

    #[track_caller]
    fn everywhere(app: &Application, host: &str, fields: &[(&'static str, &str)], expected: bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::try_from(*value).unwrap());
        }
        let host = Host::parse(host).unwrap();
        assert_eq!(is_wanted_everywhere(app, &host, &Method::POST, &headers), expected, "{host} {fields:?}");
        assert!(!is_wanted_everywhere(app, &host, &Method::GET, &headers), "{host} {fields:?}");
    }

    #[test]
    fn only_the_page_that_offers_it_signs_out_everywhere() {
        let app = single("https://app.example.com:8443");
        let check = |fields, expected| everywhere(&app, "app.example.com", fields, expected);
        check(&[("sec-fetch-site", "same-origin")], true);
        check(&[("sec-fetch-site", "same-site"), ("origin", "https://app.example.com:8443")], false);
        check(&[("sec-fetch-site", "none")], false);
        check(&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")], false);
        check(&[("origin", "https://app.example.com:8443")], true);
        check(&[("origin", "https://app.example.com")], false);
        check(&[("origin", "http://app.example.com:8443")], false);
        check(&[("origin", "https://other.example.com:8443")], false);
        check(&[("origin", "https://app.example.com:8443"), ("origin", "https://app.example.com:8443")], false);
        check(&[("referer", "https://app.example.com:8443/")], false);
        check(&[], false);
        let whole = domain("https://auth.example.com", "example.com");
        everywhere(&whole, "wiki.example.com", &[("origin", "https://wiki.example.com")], true);
        everywhere(&whole, "wiki.example.com", &[("origin", "https://auth.example.com")], false);
    }
}
