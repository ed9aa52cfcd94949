//! Sign-out: the record gone, the cookie taken back, the provider told by way of the browser; and logout by the provider.

mod back_channel;
mod budget;
mod front_channel;
mod tokens;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

pub use back_channel::{BackChannelError, Obeyed};
pub use front_channel::{FrontChannelError, Left};
pub use tokens::Revoker;

use crate::app::Application;
use crate::forwarded::single;
use crate::host::{Authority, Host, Scheme};
use crate::lifecycle::to_the_end;
use crate::oidc::{EndSessionRequest, Provider};
use crate::session::{Audited, Revocation, Session, SessionStore, SessionToken, StoreError, Whom};
use crate::telemetry::audit::{Asker, Event};
use crate::world::World;
use budget::Budgets;

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
static ORIGIN: HeaderName = http::header::ORIGIN;
static REFERER: HeaderName = http::header::REFERER;

/// Whether a sign-out was asked for by the application's own pages or by the person.
///
/// A link on any other host must not sign anybody out. Fetch Metadata tells where browsers send it; else `Origin`, which
/// browsers put on every POST, and at last `Referer`, must name one of the application's hosts. A whole site
/// (`same-site`) is never the application's: another host of it, or another port of this one, may belong to anybody; only
/// where the application has a cookie domain, its hosts may ask for each other.
#[must_use]
pub fn is_wanted(app: &Application, method: &Method, headers: &HeaderMap) -> bool {
    match single(headers, &SEC_FETCH_SITE) {
        Ok(Some("same-origin" | "none")) => return true,
        Ok(Some("same-site")) if app.cookie_domain.is_some() => {}
        Ok(Some(_)) | Err(_) => return false,
        Ok(None) => {}
    }
    let named = match single(headers, &ORIGIN) {
        Ok(Some(origin)) => Some(origin),
        Ok(None) if *method == Method::GET || *method == Method::HEAD => single(headers, &REFERER).ok().flatten(),
        Ok(None) | Err(_) => None,
    };
    named.and_then(authority_of).is_some_and(|authority| app.owns(&authority.host))
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
    unproved: Budgets,
    revoker: Arc<Revoker>,
    /// Held by who looks at all sessions.
    looking: Mutex<()>,
    background: TaskTracker,
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
    /// Takes refresh tokens back.
    pub revoker: Arc<Revoker>,
    /// What goes on although nobody waits for it; the process should before it ends.
    pub background: TaskTracker,
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
    /// Whether all other sessions of the user were ended as well.
    pub everywhere: bool,
}

/// A session that its browser ends, with its token.
type Leaving = (SessionToken, Arc<Session>);

impl Logouts {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: LogoutParts) -> Self {
        Self {
            world: parts.world,
            store: parts.store,
            providers: parts.providers.into_iter().collect(),
            everywhere: parts.everywhere,
            unproved: Budgets::new(parts.lifetime),
            revoker: parts.revoker,
            looking: Mutex::default(),
            background: parts.background,
        }
    }

    /// Whether users may end all of their sessions.
    #[must_use]
    pub const fn offers_everywhere(&self) -> bool {
        self.everywhere
    }

    /// The browser of a sign-out is back from the provider; `query` is that of our page.
    pub fn came_back(&self, query: &str) {
        if let Some(name) = query.split('&').find_map(|pair| pair.strip_prefix("state=")) {
            self.revoker.came_back(name);
        }
    }

    /// Forgets every session of `app` that the request carries, and ends all that were made in the same session of the
    /// provider, in all of its applications; with `everywhere` all sessions of the user, in every browser.
    ///
    /// Refresh tokens of what the request carries are revoked, once the browser was at the provider. What has begun goes on to
    /// its end and into the audit log, also where the browser goes away meanwhile. A session that the request carries for
    /// another application is not looked at: where one cookie domain lies within another, their cookies may have one name.
    ///
    /// # Errors
    ///
    /// When the store does not answer; sessions may still be there.
    pub async fn sign_out(
        &self,
        app: &Arc<Application>,
        headers: &HeaderMap,
        everywhere: bool,
        asker: Asker,
    ) -> Result<SignedOut, StoreError> {
        let now = self.world.now();
        let mut found: Vec<Leaving> = Vec::new();
        for token in SessionToken::all(app.cookies.session(), headers) {
            if let Some(session) = self.store.load(&token).await?.filter(|session| session.is_of(app)) {
                found.push((token, session));
            }
        }
        let is_valid = |(_, session): &Leaving| session.is_valid_for(app, now);
        found.sort_by_key(|leaving| !is_valid(leaving));
        // Where there are sessions of different users, nobody knows which of them asks.
        let mut valid = found.iter().filter(|leaving| is_valid(leaving)).map(|(_, session)| session);
        let asks = valid.next().is_some_and(|first| valid.all(|other| other.is_of_user_of(first)));
        let everywhere = everywhere && self.everywhere && asks;
        let departure = Departure {
            app: Arc::clone(app),
            store: Arc::clone(&self.store),
            provider: self.providers.get(&app.identity_provider).map(Arc::clone),
            revoker: Arc::clone(&self.revoker),
            asker,
            // Without randomness it has no name, and a minute has to pass.
            name: self.world.random::<16>().ok().map(|name| URL_SAFE_NO_PAD.encode(name)),
        };
        to_the_end(&self.background, departure.of(found, everywhere)).await
    }
}

/// A sign-out that is carried out, with all that it needs.
struct Departure {
    app: Arc<Application>,
    store: Arc<dyn SessionStore>,
    provider: Option<Arc<Provider>>,
    revoker: Arc<Revoker>,
    asker: Asker,
    /// By which we know the browser again that comes back from the provider; tells nothing, and nobody can guess it.
    name: Option<String>,
}

impl Departure {
    /// Ends these sessions; the first one shows who asks.
    async fn of(self, found: Vec<Leaving>, everywhere: bool) -> Result<SignedOut, StoreError> {
        // Before the session is gone that shows who asks: where it fails, the user can ask again.
        let everywhere = match (found.first(), &self.provider) {
            (Some((token, session)), Some(provider)) if everywhere => {
                let (issuer, subject) = (&*provider.settings().issuer, session.identity().subject());
                let whom = Whom::Subject { issuer, subject };
                self.store.revoke(&Revocation { whom, once: None }).await?;
                self.audit(token, session, Event::Revocation, "sign_out_everywhere");
                true
            }
            (_, Some(provider)) => {
                self.end_what_began_with(&found, &provider.settings().issuer).await?;
                false
            }
            (_, None) => false,
        };
        let mut gone = Vec::new();
        for (number, (token, session)) in found.into_iter().enumerate() {
            // A refresh may have replaced it meanwhile; what was revoked is not given back.
            let session = self.store.remove(&token).await?.unwrap_or(session);
            if !(everywhere && number == 0) {
                self.audit(&token, &session, Event::Logout, "sign_out");
            }
            gone.push(session);
        }
        let user = gone.first().map(|session| session.identity().label().to_owned());
        let (cookie, location) = (self.app.cookies.expire_session(), self.go_to_the_provider(gone));
        Ok(SignedOut { location, cookie, user, everywhere })
    }

    /// Ends all sessions that were made in the same session of the provider as one of these.
    async fn end_what_began_with(&self, found: &[Leaving], issuer: &str) -> Result<(), StoreError> {
        let mut ended = Vec::new();
        for (_, session) in found {
            let origin = session.origin();
            if !ended.contains(&origin) {
                let whom = Whom::SameOrigin { issuer, origin: &origin };
                self.store.revoke(&Revocation { whom, once: None }).await?;
                ended.push(origin);
            }
        }
        Ok(())
    }

    /// Where the browser goes for the provider's own sign-out, and what becomes of the refresh tokens of these sessions.
    fn go_to_the_provider(self, gone: Vec<Arc<Session>>) -> Option<String> {
        let (provider, app) = (self.provider?, &*self.app);
        let location = provider.end_session_url(&EndSessionRequest {
            id_token_hint: gone.first()?.identity().id_token(),
            post_logout_redirect_uri: &app.post_logout_redirect_uri,
            // Nobody else's page has to know what to do with it.
            state: self.name.as_deref().filter(|_| app.comes_back_to_us_after_logout()),
        });
        match &location {
            Some(_) => self.revoker.revoke_later(&provider, gone, self.name),
            None => self.revoker.revoke(&provider, gone),
        }
        location
    }

    fn audit(&self, token: &SessionToken, session: &Session, event: Event, reason: &str) {
        Audited::new(&self.app, token, session).line(event, reason).asked_by(&self.asker).write();
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
        check(&app, get(), &[("sec-fetch-site", "same-site")], false);
        check(&app, get(), &[("sec-fetch-site", "same-site"), ("referer", "https://evil.example.com/")], false);
        check(&app, get(), &[("sec-fetch-site", "same-site"), ("referer", "https://app.example.com:8443/")], false);
        check(&app, get(), &[("sec-fetch-site", "Same-Origin")], false);
        check(&app, get(), &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")], false);
        check(&app, Method::POST, &[("sec-fetch-site", "same-site"), ("origin", "https://evil.example.com")], false);
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
