//! Sign-out: the record gone, the cookie taken back, the provider told by way of the browser.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::app::Application;
use crate::forwarded::single;
use crate::host::{Authority, Scheme};
use crate::oidc::{EndSessionRequest, Provider};
use crate::session::{Session, SessionStore, SessionToken, StoreError};

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
static ORIGIN: HeaderName = http::header::ORIGIN;
static REFERER: HeaderName = http::header::REFERER;

/// Whether a sign-out was asked for by the application's own pages or by the person.
///
/// A link on any other site must not sign anybody out. Fetch Metadata tells where browsers send it; else `Origin`, which
/// browsers put on every POST, and at last `Referer`, must name one of the application's hosts.
#[must_use]
pub fn is_wanted(app: &Application, method: &Method, headers: &HeaderMap) -> bool {
    if let Ok(Some(site)) = single(headers, &SEC_FETCH_SITE) {
        return matches!(site, "same-origin" | "same-site" | "none");
    }
    let named = match single(headers, &ORIGIN) {
        Ok(Some(origin)) => Some(origin),
        Ok(None) if *method == Method::GET || *method == Method::HEAD => single(headers, &REFERER).ok().flatten(),
        Ok(None) | Err(_) => None,
    };
    named.and_then(authority_of).is_some_and(|authority| app.owns(&authority.host))
}

fn authority_of(url: &str) -> Option<Authority<'_>> {
    let (scheme, rest) = url.split_once("://")?;
    if ![Scheme::Http, Scheme::Https].iter().any(|it| it.as_str() == scheme) {
        return None;
    }
    Authority::parse(rest.split('/').next()?).ok()
}

/// What a sign-out did.
pub struct SignedOut {
    /// Where the browser goes to sign out at the provider too; `None`: the provider has no such place, or nobody was
    /// signed in.
    pub location: Option<String>,
    /// Takes the session cookie back.
    pub cookie: HeaderValue,
    /// Who was signed in.
    pub user: Option<String>,
}

/// Forgets every session of `app` that the request carries.
///
/// # Errors
///
/// When the store does not answer; the session may still be there.
pub async fn sign_out(
    app: &Application,
    provider: Option<&Provider>,
    store: &dyn SessionStore,
    headers: &HeaderMap,
) -> Result<SignedOut, StoreError> {
    let mut ended = None;
    for token in SessionToken::all(app.cookies.session(), headers) {
        let removed = store.remove(&token).await?;
        ended = removed.filter(|session| session.is_of(app)).or(ended);
    }
    let location = ended.as_deref().and_then(|session: &Session| {
        provider?.end_session_url(&EndSessionRequest {
            id_token_hint: session.identity().id_token(),
            post_logout_redirect_uri: &app.post_logout_redirect_uri,
        })
    });
    Ok(SignedOut {
        location,
        cookie: app.cookies.expire_session(),
        user: ended.map(|session| session.identity().label().to_owned()),
    })
}

#[cfg(test)]
mod tests {
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
        check(&app, get(), &[("sec-fetch-site", "same-site")], true);
        check(&app, get(), &[("sec-fetch-site", "none")], true);
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
        check(&whole, get(), &[("referer", "https://portal.example.com/")], true);
        check(&whole, get(), &[("referer", "https://evilexample.com/")], false);
    }
}
