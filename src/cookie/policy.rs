use std::time::Duration;

use cookie::{Cookie, SameSite};
use http::HeaderValue;

use super::CookieName;
use crate::host::{CookieDomain, Scheme};
use crate::session::SessionToken;

/// What the cookies of one application are called, and their attributes; nobody else sets any.
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
    /// The name is the contract's, `authentik_proxy_` and eight hexadecimal digits of SHA-256 over the client id, behind
    /// the strictest prefix that browsers accept here (RFC 6265bis §4.1.3): `__Host-` for one host over https, `__Secure-`
    /// for a domain over https, none over http.
    #[must_use]
    pub fn new(scheme: Scheme, domain: Option<&CookieDomain>, client_id: &str) -> Self {
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

    /// What the name of a login attempt's cookie begins with; the attempt's id follows.
    #[must_use]
    pub fn attempt_prefix(&self) -> &str {
        &self.attempt_prefix
    }

    /// Hands a session to the browser for as long as it can live.
    #[must_use]
    pub fn set_session(&self, token: &SessionToken, lifetime: Duration) -> HeaderValue {
        self.build(self.session.as_str(), &token.encode(), lifetime)
    }

    /// Takes the session cookie back.
    #[must_use]
    pub fn expire_session(&self) -> HeaderValue {
        self.build(self.session.as_str(), "", Duration::ZERO)
    }

    /// Hands the secret half of a login attempt to the browser.
    #[must_use]
    pub fn set_attempt(&self, id: &str, value: &str, lifetime: Duration) -> HeaderValue {
        self.build(&format!("{}{id}", self.attempt_prefix), value, lifetime)
    }

    /// Takes the cookie of an attempt back, by its full name.
    #[must_use]
    pub fn expire(&self, name: &str) -> HeaderValue {
        self.build(name, "", Duration::ZERO)
    }

    /// `SameSite=Lax`: the callback is a cross-site navigation, on which `Strict` cookies are not sent.
    fn build(&self, name: &str, value: &str, lifetime: Duration) -> HeaderValue {
        let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        let mut cookie = Cookie::build((name, value))
            .path("/")
            .http_only(true)
            .secure(self.secure)
            .same_site(SameSite::Lax)
            .max_age(cookie::time::Duration::seconds(seconds));
        if let Some(domain) = &self.domain {
            cookie = cookie.domain(domain.as_str());
        }
        HeaderValue::try_from(cookie.to_string()).expect("names and values are of our own making and visible ASCII")
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
}
