use std::time::Duration;

use cookie::{Cookie, SameSite};
use http::HeaderValue;

use super::CookieName;
use crate::host::{CookieDomain, Host, Scheme};

/// The most cookies that one answer expires.
const MOST_EXPIRED: usize = 24;

/// The names and attributes of the cookies of one application. Only this type makes `Set-Cookie` values.
#[derive(Clone, Debug)]
pub struct CookiePolicy {
    session: CookieName,
    attempt_prefix: String,
    domain: Option<String>,
    secure: bool,
}

impl CookiePolicy {
    /// Derives names and attributes from the application's address.
    ///
    /// The name is that of authentik's outpost: `authentik_proxy_` and eight hexadecimal digits of SHA-256 over the client id. Before
    /// it stands the strictest prefix that browsers accept for the cookie (RFC 6265bis §4.1.3): `__Host-` for one host over https,
    /// `__Secure-` for a domain over https, none over http.
    #[must_use]
    pub(crate) fn new(scheme: Scheme, domain: Option<&CookieDomain>, client_id: &str) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, client_id.as_bytes());
        let first = digest.as_ref().first_chunk().map_or(0, |four| u32::from_be_bytes(*four));
        let id = format!("{first:08x}");
        let prefix = match (scheme, domain) {
            (Scheme::Http, _) => "",
            (Scheme::Https, None) => "__Host-",
            (Scheme::Https, Some(_)) => "__Secure-",
        };
        Self {
            session: CookieName::new(&format!("{prefix}authentik_proxy_{id}")),
            attempt_prefix: format!("{prefix}authentik_proxy_login_"),
            domain: domain.map(|it| it.as_str().to_owned()),
            secure: scheme == Scheme::Https,
        }
    }

    /// The session cookie's name.
    #[must_use]
    pub const fn session(&self) -> &CookieName {
        &self.session
    }

    /// The prefix of the name of a login attempt's cookie; the attempt's id follows.
    #[must_use]
    pub(crate) fn attempt_prefix(&self) -> &str {
        &self.attempt_prefix
    }

    /// Sets the session cookie for the longest life of the session.
    #[must_use]
    pub(crate) fn set_session(&self, value: &str, lifetime: Duration) -> HeaderValue {
        self.build(self.session.as_str(), value, lifetime)
    }

    /// Expires the session cookie.
    #[must_use]
    pub(crate) fn expire_session(&self) -> HeaderValue {
        self.build(self.session.as_str(), "", Duration::ZERO)
    }

    /// Sets the cookie with the secret part of a login attempt.
    #[must_use]
    pub(crate) fn set_attempt(&self, id: &str, value: &str, lifetime: Duration) -> HeaderValue {
        self.build(&format!("{}{id}", self.attempt_prefix), value, lifetime)
    }

    /// Expires the cookie of an attempt, by its full name.
    #[must_use]
    pub(crate) fn expire(&self, name: &str) -> HeaderValue {
        self.build(name, "", Duration::ZERO)
    }

    /// Expires the cookies of the session's name that other hosts can make a browser send to `path` of `visited`: for each part of
    /// the path, and for each domain that `visited` and `answering`, the host of this answer, share.
    ///
    /// Returns none if other hosts cannot set such a cookie (`__Host-`), and 24 at most, for the shortest paths first, because an
    /// answer must fit into a proxy's buffers. An answer cannot expire a cookie of a domain that its own host is not under.
    #[must_use]
    pub(crate) fn expire_planted(&self, answering: &Host<'_>, visited: &Host<'_>, path: &str) -> Vec<HeaderValue> {
        if self.session.as_str().starts_with("__Host-") {
            return Vec::new();
        }
        let domains =
            std::iter::successors(Some(answering.as_str()), |it| it.split_once('.').map(|(_, parent)| parent));
        let domains =
            domains.filter_map(|text| CookieDomain::parse(text).ok()).filter(|domain| domain.contains(visited));
        let domains: Vec<_> = domains.collect();
        // A cookie path with a final slash is another one than without, and both match the paths below (RFC 6265 §5.1.4).
        let below = path.match_indices('/').skip(1).flat_map(|(end, _)| [&path[..end], &path[..=end]]);
        let mut paths: Vec<_> = ["/"].into_iter().chain(below).chain([path]).filter(|it| !it.contains(';')).collect();
        paths.dedup();
        let all = paths.iter().flat_map(|path| domains.iter().map(move |domain| (*path, domain.as_str())));
        let expired = |(path, domain)| self.made(self.session.as_str(), "", Duration::ZERO, path, Some(domain));
        all.take(MOST_EXPIRED).filter_map(expired).collect()
    }

    /// `SameSite=Lax`: the callback is a cross-site navigation, on which `Strict` cookies are not sent.
    fn build(&self, name: &str, value: &str, lifetime: Duration) -> HeaderValue {
        self.made(name, value, lifetime, "/", self.domain.as_deref())
            .expect("names and values are of our own making and visible ASCII")
    }

    fn made(
        &self,
        name: &str,
        value: &str,
        lifetime: Duration,
        path: &str,
        domain: Option<&str>,
    ) -> Option<HeaderValue> {
        let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        let mut cookie = Cookie::build((name, value))
            .path(path)
            .http_only(true)
            .secure(self.secure)
            .same_site(SameSite::Lax)
            .max_age(cookie::time::Duration::seconds(seconds));
        if let Some(domain) = domain {
            cookie = cookie.domain(domain);
        }
        HeaderValue::try_from(cookie.to_string()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(scheme: Scheme, domain: Option<&str>, expected: &str) {
        let domain = domain.map(|text| CookieDomain::parse(text).unwrap());
        let policy = CookiePolicy::new(scheme, domain.as_ref(), "proxy");
        assert_eq!(policy.expire_session(), expected);
        assert_eq!(policy.session().as_str(), expected.split('=').next().unwrap());
    }

    #[test]
    fn the_strictest_prefix_that_works() {
        check(
            Scheme::Https,
            None,
            "__Host-authentik_proxy_1241936d=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0",
        );
        check(
            Scheme::Https,
            Some(".example.com"),
            "__Secure-authentik_proxy_1241936d=; HttpOnly; SameSite=Lax; Secure; Path=/; Domain=example.com; Max-Age=0",
        );
        check(Scheme::Http, None, "authentik_proxy_1241936d=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0");
    }

    /// Paths and domains of the expired cookies.
    #[track_caller]
    fn planted(scheme: Scheme, domain: Option<&str>, hosts: [&str; 2], path: &str, expected: &[(&str, &str)]) {
        let domain = domain.map(|text| CookieDomain::parse(text).unwrap());
        let policy = CookiePolicy::new(scheme, domain.as_ref(), "proxy");
        let [answering, visited] = hosts.map(|host| Host::parse(host).unwrap());
        let expired = policy.expire_planted(&answering, &visited, path);
        let attributes = |line: &HeaderValue| {
            let line = line.to_str().unwrap().to_owned();
            assert!(line.starts_with(&format!("{}=; ", policy.session().as_str())), "{line}");
            assert!(line.contains("; Max-Age=0"), "{line}");
            let value =
                |name: &str| line.split("; ").find_map(|it| it.strip_prefix(name)).unwrap_or_default().to_owned();
            (value("Path="), value("Domain="))
        };
        let got: Vec<_> = expired.iter().map(attributes).collect();
        let got: Vec<_> = got.iter().map(|(path, domain)| (path.as_str(), domain.as_str())).collect();
        assert_eq!(got, expected, "{hosts:?} {path}");
    }

    #[test]
    fn what_other_hosts_planted_is_taken_back_for_each_part_of_the_path() {
        let (domain, own) = (Some("example.com"), Scheme::Https);
        planted(own, None, ["app.example.com"; 2], "/a", &[]);
        planted(own, domain, ["a.example.com"; 2], "/", &[("/", "a.example.com"), ("/", "example.com")]);
        let of_domain = |paths: &[&'static str]| paths.iter().map(|path| (*path, "example.com")).collect::<Vec<_>>();
        let hosts = ["auth.example.com", "wiki.dev.example.com"];
        planted(own, domain, hosts, "/a/b", &of_domain(&["/", "/a", "/a/", "/a/b"]));
        planted(own, domain, hosts, "/a/", &of_domain(&["/", "/a", "/a/"]));
        planted(own, domain, hosts, "//a;b/c", &of_domain(&["/", "//"]));
        planted(own, domain, ["example.com", "wiki.example.com"], "/", &of_domain(&["/"]));
        planted(Scheme::Http, None, ["example.com"; 2], "/", &of_domain(&["/"]));
        for alone in ["localhost", "127.0.0.1", "[::1]"] {
            planted(Scheme::Http, None, [alone; 2], "/a", &[]);
        }
        let many = CookiePolicy::new(Scheme::Http, None, "proxy");
        let host = Host::parse("a.b.c.example.com").unwrap();
        assert_eq!(many.expire_planted(&host, &host, &"/a".repeat(1000)).len(), MOST_EXPIRED);
    }
}
