//! Sign-out: the record gone, the cookie taken back, the provider told by way of the browser; and logout by the provider.

mod back_channel;
mod front_channel;
mod tokens;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio_util::task::TaskTracker;

pub use back_channel::{BackChannelError, Obeyed};
pub use front_channel::{FrontChannelError, Left};

use crate::app::Application;
use crate::forwarded::single;
use crate::host::{Authority, Scheme};
use crate::oidc::{EndSessionRequest, Provider};
use crate::session::{Revocation, Session, SessionKey, SessionStore, SessionToken, StoreError, Whom};
use crate::world::World;
use front_channel::Budget;
use tokens::Revoker;

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

/// What logouts need.
pub struct Logouts {
    world: World,
    store: Arc<dyn SessionStore>,
    /// Asked in the order of their names.
    providers: BTreeMap<String, Arc<Provider>>,
    everywhere: bool,
    unproved: Budget,
    revoker: Revoker,
}

/// What [`Logouts`] is made of.
pub struct LogoutParts {
    /// The time.
    pub world: World,
    /// Where sessions are.
    pub store: Arc<dyn SessionStore>,
    /// All identity providers, by name.
    pub providers: HashMap<String, Arc<Provider>>,
    /// Of a session; so long a revocation is remembered.
    pub lifetime: Duration,
    /// Whether users may end all of their sessions.
    pub everywhere: bool,
    /// What nobody waits for; the process should before it ends.
    pub background: TaskTracker,
}

/// A session that its browser ended.
#[derive(Debug)]
pub struct Ended {
    /// The name of the session; it opens nothing.
    pub session: SessionKey,
    /// How the user is called in logs.
    pub user: String,
    /// `sub`.
    pub subject: String,
}

impl Ended {
    fn new(token: &SessionToken, session: &Session) -> Self {
        let identity = session.identity();
        Self { session: token.key(), user: identity.label().to_owned(), subject: identity.subject().to_owned() }
    }
}

/// What a sign-out did.
pub struct SignedOut {
    /// Where the browser goes to sign out at the provider too; `None`: the provider has no such place, or nobody was
    /// signed in.
    pub location: Option<String>,
    /// Takes the session cookie back.
    pub cookie: HeaderValue,
    /// Who was signed in.
    pub ended: Option<Ended>,
    /// Whether all other sessions of the user were ended as well.
    pub everywhere: bool,
}

impl Logouts {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: LogoutParts) -> Self {
        Self {
            world: parts.world,
            store: parts.store,
            providers: parts.providers.into_iter().collect(),
            everywhere: parts.everywhere,
            unproved: Budget::new(parts.lifetime),
            revoker: Revoker::new(parts.background),
        }
    }

    /// Whether users may end all of their sessions.
    #[must_use]
    pub const fn offers_everywhere(&self) -> bool {
        self.everywhere
    }

    /// Forgets every session of `app` that the request carries, and has its refresh token revoked; with `everywhere` it also
    /// ends all sessions of the user, in all applications of the provider and in every browser.
    ///
    /// # Errors
    ///
    /// When the store does not answer; sessions may still be there.
    pub async fn sign_out(
        &self,
        app: &Application,
        headers: &HeaderMap,
        everywhere: bool,
    ) -> Result<SignedOut, StoreError> {
        let provider = self.providers.get(&app.identity_provider);
        let now = self.world.now();
        let mut found = Vec::new();
        for token in SessionToken::all(app.cookies.session(), headers) {
            let session = self.store.load(&token).await?.filter(|session| session.is_of(app));
            found.push((token, session));
        }
        let valid = |session: &Option<Arc<Session>>| session.as_ref().is_some_and(|it| it.is_valid_for(app, now));
        // Before the session is gone that shows who asks: where it fails, the user can ask again.
        let asker = found.iter().find_map(|(_, session)| session.as_ref().filter(|_| everywhere && valid(session)));
        let done = match (asker, provider) {
            (Some(session), Some(provider)) if self.everywhere => {
                let (issuer, subject) = (&*provider.settings().issuer, session.identity().subject());
                let order = Revocation { whom: Whom::Subject { issuer, subject }, at: now, once: None };
                self.store.revoke(&order).await?
            }
            _ => false,
        };
        for (token, session) in &mut found {
            // A refresh may have replaced it meanwhile; what was revoked is not given back.
            let newest = self.store.remove(token).await?.filter(|session| session.is_of(app));
            *session = newest.or(session.take());
            if let (Some(provider), Some(session)) = (provider, &*session) {
                self.revoker.revoke(provider, session);
            }
        }
        found.sort_by_key(|(_, session)| !valid(session));
        let own = found.into_iter().find_map(|(token, session)| Some((token, session?)));
        let location = own.as_ref().and_then(|(_, session)| {
            provider?.end_session_url(&EndSessionRequest {
                id_token_hint: session.identity().id_token(),
                post_logout_redirect_uri: &app.post_logout_redirect_uri,
            })
        });
        Ok(SignedOut {
            location,
            cookie: app.cookies.expire_session(),
            ended: own.map(|(token, session)| Ended::new(&token, &session)),
            everywhere: done,
        })
    }
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
