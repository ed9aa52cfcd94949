//! The credential that a request presents in `Authorization`.

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};

use crate::app::{AcceptedTokens, Basic, Bearer};
use crate::oidc::claimed_issuer;

/// More than any header section holds.
const LONGEST: usize = 64 << 10;

/// A user name, and a password of a user, in bytes; RFC 7617 knows no limit.
const LONGEST_PART: usize = 1024;

/// A token in the place of a password, in bytes: access tokens of authentik are JWTs with all of the user's groups.
const LONGEST_TOKEN: usize = 16 << 10;

/// The user name that makes the password a token, at authentik.
const TOKEN_USER: &str = "goauthentik.io/token";

/// A hash of a credential, by which results are cached.
pub(super) type Key = [u8; 32];

/// A credential of a scheme that the application accepts, not verified.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Presented<'r> {
    scheme: Scheme,
    /// The text after the scheme; `None` when it is malformed.
    text: Option<&'r str>,
}

/// An authentication scheme (RFC 9110 §11.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 6750.
    Bearer,
    /// RFC 7617.
    Basic,
}

impl Scheme {
    /// The name in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Basic => "basic",
        }
    }
}

/// A parsed credential.
#[derive(PartialEq, Eq)]
pub(super) enum Credential<'r> {
    Token(&'r str),
    /// For the user name [`TOKEN_USER`].
    TokenAsPassword(String),
    Password {
        user: String,
        password: String,
    },
}

impl<'r> Presented<'r> {
    /// Finds a credential of an accepted scheme in `headers`; one of another scheme is for the application.
    ///
    /// Several fields are malformed when one of them has an accepted scheme: applications differ in which one they read.
    #[must_use]
    pub fn find(accepted: &AcceptedTokens, headers: &'r HeaderMap) -> Option<Self> {
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        let first = fields.next()?;
        let several = fields.next().is_some();
        for field in headers.get_all(header::AUTHORIZATION) {
            let bytes = field.as_bytes();
            let end = bytes.iter().position(|byte| *byte == b' ').unwrap_or(bytes.len());
            let is = |name: &str| bytes[..end].eq_ignore_ascii_case(name.as_bytes());
            let scheme = if accepted.bearer != Bearer::Off && is("bearer") {
                Scheme::Bearer
            } else if accepted.basic != Basic::Off && is("basic") {
                Scheme::Basic
            } else {
                continue;
            };
            let text = first.to_str().ok().and_then(|text| text.get(end..)).map(|text| text.trim_matches(' '));
            let usable =
                |text: &&str| !several && text.len() <= LONGEST && !text.is_empty() && text.bytes().all(is_token68);
            return Some(Self { scheme, text: text.filter(usable) });
        }
        None
    }

    /// Its scheme.
    #[must_use]
    pub const fn scheme(self) -> Scheme {
        self.scheme
    }

    /// Whether it is plainly not meant for forepost: it is not a JWT and only JWTs are accepted, or it is a JWT of another issuer than
    /// those of the application and `issuer`, that of its provider.
    #[must_use]
    pub fn is_foreign(self, accepted: &AcceptedTokens, issuer: &str) -> bool {
        let Some(token) = self.text.filter(|_| self.scheme == Scheme::Bearer) else { return false };
        // The provider may accept tokens of other clients under other issuers.
        let asks_about_others = accepted.needs_introspection() && !accepted.accept_clients.is_empty();
        match claimed_issuer(token) {
            Some(named) => {
                named != issuer && !asks_about_others && accepted.issuers.iter().all(|known| known.issuer != named)
            }
            None => !accepted.needs_introspection(),
        }
    }

    /// Its key in the cache, for this [instance](crate::app::Application) of an application.
    pub(super) fn key(self, instance: u64) -> Key {
        let mut context = Context::new(&SHA256);
        context.update(&instance.to_be_bytes());
        // A scheme has no space.
        context.update(self.scheme.as_str().as_bytes());
        context.update(b" ");
        context.update(self.text.unwrap_or_default().as_bytes());
        let mut key = Key::default();
        key.copy_from_slice(context.finish().as_ref());
        key
    }

    /// Parses it; `None` when it is malformed.
    pub(super) fn credential(self) -> Option<Credential<'r>> {
        let text = self.text?;
        if self.scheme == Scheme::Bearer {
            return Some(Credential::Token(text));
        }
        let decoded = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
        let (user, password) = decoded.split_once(':')?;
        let usable =
            |part: &str, longest| !part.is_empty() && part.len() <= longest && !part.chars().any(char::is_control);
        if user == TOKEN_USER {
            let is_token = usable(password, LONGEST_TOKEN) && password.bytes().all(is_token68);
            return is_token.then(|| Credential::TokenAsPassword(password.to_owned()));
        }
        (usable(user, LONGEST_PART) && usable(password, LONGEST_PART))
            .then(|| Credential::Password { user: user.to_owned(), password: password.to_owned() })
    }
}

/// RFC 9110 §11.2.
const fn is_token68(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::app::AcceptedTokens;

    fn accepted(bearer: Bearer, basic: Basic) -> AcceptedTokens {
        let empty = Vec::new;
        AcceptedTokens {
            bearer,
            basic,
            audiences: empty(),
            accept_clients: empty(),
            scopes: empty(),
            allow_unnamed: false,
            prefer_session: false,
            issuers: Vec::new(),
        }
    }

    #[track_caller]
    fn foreign(accepted: &AcceptedTokens, field: &str, expected: bool) {
        let mut headers = HeaderMap::new();
        headers.append(header::AUTHORIZATION, HeaderValue::from_str(field).unwrap());
        let found = Presented::find(accepted, &headers).unwrap();
        assert_eq!(found.is_foreign(accepted, "https://idp.example.com"), expected, "{field}");
    }

    #[test]
    fn only_what_is_plainly_not_ours_is_foreign() {
        let jwt = |claims: &str| {
            let part = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
            format!("Bearer {}.{}.c2ln", part(r#"{"alg":"RS256"}"#), part(claims))
        };
        let ours = jwt(r#"{"iss":"https://idp.example.com"}"#);
        let other = jwt(r#"{"iss":"https://other.example.com"}"#);
        let without_issuer = jwt("{}");
        for bearer in [Bearer::Jwt, Bearer::Both, Bearer::Introspection] {
            let accepted = accepted(bearer, Basic::Authentik);
            foreign(&accepted, &ours, false);
            foreign(&accepted, &other, true);
            for unknown in [without_issuer.as_str(), "Bearer opaque"] {
                foreign(&accepted, unknown, bearer == Bearer::Jwt);
            }
            foreign(&accepted, "Basic YTpi", false);
            foreign(&accepted, "Bearer a b", false);
            let mut accepted = accepted;
            accepted.accept_clients = vec!["friend".to_owned()];
            foreign(&accepted, &other, bearer == Bearer::Jwt);
        }
    }

    /// `None`: not our business; `Some(None)`: bad; else what is verified.
    #[track_caller]
    #[expect(clippy::option_option, reason = "the two are worlds apart: not ours, and bad")]
    fn check(bearer: Bearer, basic: Basic, fields: &[&str], expected: Option<Option<&str>>) {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(field.as_bytes()).unwrap());
        }
        let found = Presented::find(&accepted(bearer, basic), &headers);
        let shown = found.map(|it| {
            it.credential().map(|credential| match credential {
                Credential::Token(token) => token.to_owned(),
                Credential::TokenAsPassword(token) => format!("token|{token}"),
                Credential::Password { user, password } => format!("{user}|{password}"),
            })
        });
        assert_eq!(shown.as_ref().map(Option::as_deref), expected, "{fields:?}");
    }

    #[test]
    fn a_scheme_that_is_not_accepted_is_the_applications_business() {
        check(Bearer::Off, Basic::Authentik, &["Bearer abc"], None);
        check(Bearer::Jwt, Basic::Off, &["Basic YTpi"], None);
        check(Bearer::Jwt, Basic::Authentik, &["Digest x"], None);
        check(Bearer::Jwt, Basic::Authentik, &["Bearerx abc"], None);
        check(Bearer::Jwt, Basic::Authentik, &[""], None);
        check(Bearer::Jwt, Basic::Authentik, &[], None);
        check(Bearer::Jwt, Basic::Authentik, &["token abc", "Digest x"], None);
    }

    #[test]
    fn bearer_tokens() {
        let bearer = |field, expected| check(Bearer::Jwt, Basic::Off, &[field], Some(expected));
        bearer("Bearer abc", Some("abc"));
        bearer("bEARER  a.b-c_d~e+f/g== ", Some("a.b-c_d~e+f/g=="));
        bearer("Bearer", None);
        bearer("Bearer ", None);
        bearer("Bearer a b", None);
        bearer("Bearer a,b", None);
        bearer("Bearer ä", None);
        check(Bearer::Jwt, Basic::Off, &["Bearer a", "Bearer a"], Some(None));
        check(Bearer::Jwt, Basic::Off, &["Digest a", "Bearer a"], Some(None));
        check(Bearer::Jwt, Basic::Off, &["Bearer a", "Basic YTpi"], Some(None));
    }

    #[test]
    fn passwords() {
        let basic = |text: &str, expected| {
            let field = format!("Basic {}", STANDARD.encode(text));
            check(Bearer::Off, Basic::Authentik, &[&field], Some(expected));
        };
        basic("alice:secret", Some("alice|secret"));
        basic("alice:se:cret", Some("alice|se:cret"));
        basic("älice:ß", Some("älice|ß"));
        basic("alice:", None);
        basic(":secret", None);
        basic("alice", None);
        basic("alice:a\nb", None);
        basic(&format!("alice:{}", "x".repeat(1025)), None);
        let token = format!("goauthentik.io/token:{}", "x".repeat(1800));
        let split = token.replacen("goauthentik.io/token:", "token|", 1);
        basic(&token, Some(&split));
        basic(&format!("goauthentik.io/token:{}", "x".repeat((16 << 10) + 1)), None);
        for no_token in ["a b", "{}", "a,b", "ä"] {
            basic(&format!("goauthentik.io/token:{no_token}"), None);
        }
        check(Bearer::Off, Basic::Authentik, &["Basic !!!"], Some(None));
        check(Bearer::Off, Basic::Authentik, &["Basic /w=="], Some(None));
    }

    #[test]
    fn keys_tell_applications_and_schemes_apart() {
        let (bearer, basic) = (Scheme::Bearer, Scheme::Basic);
        let key = |scheme, text, instance| Presented { scheme, text: Some(text) }.key(instance);
        assert_eq!(key(bearer, "a", 1), key(bearer, "a", 1));
        assert_ne!(key(bearer, "a", 1), key(bearer, "a", 2));
        assert_ne!(key(bearer, "a", 1), key(basic, "a", 1));
        assert_ne!(key(bearer, "a", 1), key(bearer, "b", 1));
    }
}
