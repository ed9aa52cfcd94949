//! Sign-out: the record gone, the cookie taken back, the provider told by way of the browser; and logout by the provider.

mod back_channel;
mod front_channel;
mod rate_limit;
mod revoker;
mod wanted;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

pub use back_channel::{BackChannelError, Obeyed};
pub use front_channel::{FrontChannelError, Left};
pub use revoker::Revoker;
pub use wanted::{is_wanted, is_wanted_everywhere};

use crate::app::Application;
use crate::lifecycle::to_the_end;
use crate::oidc::EndSessionRequest;
use crate::session::{Audited, CarriedSessions, Revocation, Session, SessionStore, SessionToken, StoreError, Whom};
use crate::telemetry::audit::{Asker, Event};
use crate::world::World;
use rate_limit::RateLimit;

/// What logouts need.
pub struct Logouts {
    world: World,
    store: Arc<dyn SessionStore>,
    everywhere: bool,
    front_channel_limit: RateLimit,
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
    /// Of a session; so long a revocation is remembered.
    pub lifetime: Duration,
    /// Whether users may end all of their sessions.
    pub everywhere: bool,
    /// Takes refresh tokens back.
    pub revoker: Arc<Revoker>,
    /// Work that goes on after its request ended; the process waits for it before it ends.
    pub background: TaskTracker,
}

/// What a sign-out did.
pub struct SignedOut {
    /// Where the browser goes to sign out at the provider too; `None`: the provider has no such place, or no user was
    /// signed in.
    pub location: Option<String>,
    /// Takes the session cookie back.
    pub cookie: HeaderValue,
    /// Whether all sessions were looked at that the request carries; others may go on.
    pub is_complete: bool,
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
            everywhere: parts.everywhere,
            front_channel_limit: RateLimit::new(parts.lifetime),
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

    /// Forgets the sessions of `app` that the request carries, two hundred at most, and ends all that were made in the same session of the
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
        let mut carried = CarriedSessions::new(&*self.store, &app.realm, app.cookies.session(), headers);
        while let Some(leaving) = carried.next().await? {
            found.push(leaving);
        }
        let is_valid = |(_, session): &Leaving| session.is_valid_for(&app.realm, now);
        found.sort_by_key(|leaving| !is_valid(leaving));
        // Where there are sessions of different users, or may be, it is not known which of them asks.
        let mut valid = found.iter().filter(|leaving| is_valid(leaving)).map(|(_, session)| session);
        let asks = carried.are_all() && valid.next().is_some_and(|first| valid.all(|other| other.is_of_user_of(first)));
        let everywhere = everywhere && self.everywhere && asks;
        let departure = Departure {
            app: Arc::clone(app),
            store: Arc::clone(&self.store),
            revoker: Arc::clone(&self.revoker),
            asker,
            is_complete: carried.are_all(),
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
    revoker: Arc<Revoker>,
    asker: Asker,
    /// Whether the browser is told that it is signed out.
    is_complete: bool,
    /// By which we know the browser again that comes back from the provider; tells nothing, and no client can guess it.
    name: Option<String>,
}

impl Departure {
    /// Ends these sessions; the first one shows who asks.
    async fn of(self, found: Vec<Leaving>, everywhere: bool) -> Result<SignedOut, StoreError> {
        // Before the session is gone that shows who asks: where it fails, the user can ask again.
        let issuer = &*self.app.provider.settings().issuer;
        let everywhere = match found.first() {
            Some((token, session)) if everywhere => {
                let subject = session.identity().subject();
                let whom = Whom::Subject { issuer, subject };
                self.store.revoke(&Revocation { whom, once: None }).await?;
                self.audit(token, session, Event::Revocation, "sign_out_everywhere");
                true
            }
            _ => {
                self.end_what_began_with(&found, issuer).await?;
                false
            }
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
        let (cookie, is_complete) = (self.app.cookies.expire_session(), self.is_complete);
        let location = self.go_to_the_provider(gone);
        Ok(SignedOut { location, cookie, is_complete, user, everywhere })
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
        let app = &*self.app;
        let location = app.provider.end_session_url(&EndSessionRequest {
            id_token_hint: gone.first()?.identity().id_token(),
            post_logout_redirect_uri: &app.post_logout_redirect_uri,
            // A page of another program need not know what to do with it.
            state: self.name.as_deref().filter(|_| app.comes_back_to_us_after_logout()),
        });
        // Behind that address the browser would be told that it is signed out.
        let location = location.filter(|_| self.is_complete);
        match &location {
            Some(_) => self.revoker.revoke_later(&app.provider, gone, self.name),
            None => self.revoker.revoke(&app.provider, gone),
        }
        location
    }

    fn audit(&self, token: &SessionToken, session: &Session, event: Event, reason: &str) {
        Audited::new(self.app.provider.name(), token, session).line(event, reason).asked_by(&self.asker).write();
    }
}
