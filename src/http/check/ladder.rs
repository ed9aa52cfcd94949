//! The steps of a check, in their order.
//!
//! Nothing here waits. Where a step needs what is not in memory, the check breaks off with a [`Wait`]; once the [`Facts`] have
//! what it names, the check goes through the steps again, and past that one.

use std::net::IpAddr;
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;

use super::request::{CheckRequest, Checked, User};
use crate::access::{Decision, Permit, decide};
use crate::app::{AcceptedTokens, Application};
use crate::credentials::{Presented, Verification};
use crate::forwarded::{ForwardedError, OriginalRequest, RequestKind};
use crate::http::outcome::{Cause, Denial, Forbid, Grant, Outcome, ToLogin, Unavailable};
use crate::http::outpost::{Outpost, store_is_down};
use crate::http::route::BrowserRoute;
use crate::http::sessions::{Found, Search, SessionError, TokenAndSession};
use crate::http::visited::Visited;
use crate::identity::Assurance;
use crate::login::{Interaction, LoginRedirect, ReturnTarget, StartError, Wish, assured_login_url, silent_login_url};
use crate::pages::BadRequest;
use crate::session::Session;
use crate::world::UnixTime;

/// A check under way.
pub(super) struct Check<'c> {
    pub(super) outpost: &'c Outpost,
    pub(super) request: &'c CheckRequest<'c>,
    /// Where the request belongs, or why the question is refused.
    protected: Result<Protected<'c>, BadRequest>,
    pub(super) facts: Facts,
}

/// What was got for a check so far.
#[derive(Default)]
pub(super) struct Facts {
    /// As far as it has come.
    pub(super) search: Option<Search>,
    pub(super) session: Option<Found>,
    pub(super) credential: Option<Verification>,
    /// What came of the browser's request for one of forepost's own paths.
    pub(super) visited: Option<Visited>,
}

/// What a check waits for.
pub(super) enum Wait<'c> {
    /// What the search for the session says.
    Session { app: &'c Arc<Application> },
    /// The verification of a credential.
    Credential { app: &'c Arc<Application>, accepted: &'c AcceptedTokens, presented: Presented<'c> },
    /// The answer to a browser's request for one of forepost's own paths.
    Visit { app: &'c Arc<Application>, original: &'c OriginalRequest<'c>, route: BrowserRoute },
}

/// A request to an application.
#[derive(Clone, Copy)]
pub(super) struct Protected<'c> {
    pub(super) app: &'c Arc<Application>,
    pub(super) original: &'c OriginalRequest<'c>,
    /// Set: it is for forepost itself; the proxy asks about it rather than routing it here.
    own_path: Option<BrowserRoute>,
}

impl<'c> Check<'c> {
    pub(super) fn new(outpost: &'c Outpost, request: &'c CheckRequest<'c>, facts: Facts) -> Self {
        Self { outpost, request, protected: outpost.protected(request), facts }
    }

    /// Goes through the steps: to the outcome, or to what has to be waited for.
    pub(super) fn advance(&mut self) -> ControlFlow<Wait<'c>, Checked<'c>> {
        let protected = match self.protected {
            Ok(protected) => protected,
            Err(reason) => {
                return Continue(Checked { outcome: Denial::Refuse(reason).into(), app: None, user: None });
            }
        };
        if let Some(route) = protected.own_path {
            return self.own_path(protected, route);
        }
        let now = self.outpost.world.now();
        let shown = self.shown(protected.app);
        let session = match (self.facts.session.take(), shown) {
            (Some(session), _) => session,
            // A credential counts, whatever cookie lies beside it.
            (None, Some((accepted, presented))) if !Self::yields(protected.app, accepted, presented) => Ok(None),
            (None, _) => self.find_session(protected, now)?,
        };
        let counts = matches!(session, Ok(None) | Err(SessionError::Unconfirmed));
        if let Some((accepted, presented)) = shown.filter(|_| counts) {
            let known =
                self.facts.credential.take().or_else(|| self.outpost.credentials.known(protected.app, presented, now));
            let Some(credential) = known else {
                self.facts.session = Some(session);
                return Break(Wait::Credential { app: protected.app, accepted, presented });
            };
            // Beside a session that waits to be confirmed, a bad credential may be the application's own.
            if session.is_ok() || matches!(credential, Verification::Accepted(_)) {
                return Continue(self.judge_credential(protected, accepted, presented.scheme(), &credential, now));
            }
        }
        Continue(match session {
            Ok(held) => self.judge(protected, held, now),
            // Where no session is needed, none has to be confirmed.
            Err(SessionError::Unconfirmed) if self.is_open(protected, now) => self.judge(protected, None, now),
            Err(error) => self.session_is_unknown(protected, &error),
        })
    }

    /// What the request shows of what `app` accepts.
    fn shown(&self, app: &'c Application) -> Option<(&'c AcceptedTokens, Presented<'c>)> {
        let accepted = app.tokens.as_deref()?;
        Some((accepted, Presented::find(accepted, &self.request.received.parts.headers)?))
    }

    fn find_session(&mut self, protected: Protected<'c>, now: UnixTime) -> ControlFlow<Wait<'c>, Found> {
        let app = protected.app;
        let search = self.facts.search.take();
        let mut search = search.unwrap_or_else(|| Search::new(app, &self.request.received.parts.headers));
        let Some(found) = search.advance(self.outpost, app, now) else {
            self.facts.search = Some(search);
            return Break(Wait::Session { app });
        };
        Continue(found)
    }

    /// A browser's request to the outpost that the proxy asks about rather than routing it here.
    fn own_path(&mut self, protected: Protected<'c>, route: BrowserRoute) -> ControlFlow<Wait<'c>, Checked<'c>> {
        let Protected { app, original, .. } = protected;
        if !self.request.dialect.relays_answers() {
            tracing::warn!(
                request_id = %self.request.received.id,
                route = route.as_str(),
                "nginx asks about the outpost's own path: give /outpost.goauthentik.io/ a location without auth_request"
            );
            return Continue(Checked { outcome: Denial::OwnPathNotRelayed.into(), app: Some(app), user: None });
        }
        match self.facts.visited.take() {
            None => Break(Wait::Visit { app, original, route }),
            Some(Visited { answer, user, .. }) => Continue(Checked {
                outcome: Denial::OwnPath(answer).into(),
                app: Some(app),
                user: user.map(User::Named),
            }),
        }
    }

    /// What the policy says.
    pub(super) fn decide(&self, protected: Protected<'c>, session: Option<&Arc<Session>>, now: UnixTime) -> Decision {
        let Protected { app, original, .. } = protected;
        decide(&app.policy, &app.access_request(original, self.client(app)), session, now)
    }

    /// The client, where the policy looks at it.
    fn client(&self, app: &Application) -> Option<IpAddr> {
        if app.policy.looks_at_client() { self.request.received.reported_client() } else { None }
    }

    /// Whether a request passes without a session.
    fn is_open(&self, protected: Protected<'c>, now: UnixTime) -> bool {
        matches!(self.decide(protected, None, now), Decision::Pass(_))
    }

    /// By the session, where there is one.
    fn judge(&self, protected: Protected<'c>, held: Option<TokenAndSession>, now: UnixTime) -> Checked<'c> {
        let Protected { app, original, .. } = protected;
        if let Some(TokenAndSession { token, session }) = &held {
            session.touch(now);
            self.outpost.refresher.refresh_if_due(app, token, session, now);
        }
        let session = held.map(|held| held.session);
        let outcome = match self.decide(protected, session.as_ref(), now) {
            Decision::Allow(permit) => match self.silent_login(protected, &permit, now) {
                Some(login) => Denial::ToLogin(login).into(),
                None => Outcome::Allow(Self::grant(app, permit, now)),
            },
            Decision::Pass(permit) => Outcome::Pass(Self::grant(app, permit, now)),
            Decision::StartLogin(_) if !self.outpost.store.is_up() => {
                self.outpost.note_store_failure(app, &store_is_down(), self.request.received.id);
                Denial::Unavailable(Unavailable { app, cause: Cause::Store }).into()
            }
            Decision::StartLogin(assurance) => self.start_login(protected, assurance).into(),
            Decision::Challenge(assurance) => Self::challenge(protected, &assurance).into(),
            Decision::Forbid(forbidden) => {
                Denial::Forbid(Forbid { app, original, forbidden, insufficient_scope: None }).into()
            }
        };
        Checked { outcome, app: Some(app), user: session.map(User::Session) }
    }

    /// Neither a login nor an allow.
    fn session_is_unknown(&self, protected: Protected<'c>, error: &SessionError) -> Checked<'c> {
        let Protected { app, original, .. } = protected;
        let cause = match error {
            SessionError::Store(error) => {
                self.outpost.note_store_failure(app, error, self.request.received.id);
                Cause::Store
            }
            SessionError::Unconfirmed => Cause::Unconfirmed(ReturnTarget::of(app, original)),
        };
        let outcome = Denial::Unavailable(Unavailable { app, cause }).into();
        Checked { outcome, app: Some(app), user: None }
    }

    pub(super) fn grant(app: &Application, permit: Permit, now: UnixTime) -> Grant {
        let jwks = app.jwks();
        let headers = match permit.session() {
            Some(session) => app.headers_for(session.identity(), &jwks, now),
            None => app.header_template.anonymous(&jwks),
        };
        Grant::new(permit, headers)
    }

    /// Sends a browser to the provider and back whose session is to be confirmed in this way; a page can wait for that.
    fn silent_login(&self, protected: Protected<'c>, permit: &Permit, now: UnixTime) -> Option<ToLogin> {
        let Protected { app, original, .. } = protected;
        let session = permit.session().filter(|session| session.silent_login().is_some())?;
        let is_page = original.kind() == RequestKind::Navigation && original.client.is_on_top();
        let headers = &self.request.received.parts.headers;
        if !is_page || !self.outpost.logins.wants_silent_login(app, session, headers, now) {
            return None;
        }
        // While no login can begin, the session goes on.
        let begun = self.begin(protected, &ReturnTarget::of(app, original), Interaction::None.into()).ok()?;
        Some(ToLogin { location: begun.location, cookies: begun.cookies, after_post: false, is_silent: true })
    }

    fn start_login(&self, protected: Protected<'c>, assurance: Assurance) -> Denial<'c> {
        let Protected { app, original, .. } = protected;
        let target = ReturnTarget::of(app, original);
        match self.begin(protected, &target, assurance.into()) {
            Ok(LoginRedirect { location, cookies }) => {
                let after_post = original.kind() == RequestKind::FormSubmission;
                Denial::ToLogin(ToLogin { location, cookies, after_post, is_silent: false })
            }
            Err(error) => Denial::Unavailable(Unavailable { app, cause: Cause::Login(target, error) }),
        }
    }

    /// Begins a login, or leaves that to our own start where the proxy would relay no cookie.
    fn begin(&self, protected: Protected<'c>, target: &ReturnTarget, wish: Wish) -> Result<LoginRedirect, StartError> {
        let app = protected.app;
        if self.request.dialect.relays_answers() {
            return self.outpost.logins.begin(app, target, wish, &self.request.received.parts.headers);
        }
        let location = if wish.interaction.is_silent() {
            silent_login_url(app, target)
        } else {
            assured_login_url(app, target, &wish.assurance)
        };
        Ok(LoginRedirect { location, cookies: Vec::new() })
    }

    fn challenge(protected: Protected<'c>, assurance: &Assurance) -> Denial<'c> {
        let Protected { app, original, .. } = protected;
        // A script's own address is not a place to come back to; the page that it runs in is.
        let page = original.client.referer().and_then(|referer| ReturnTarget::parse(app, referer));
        let target = page.unwrap_or_else(|| ReturnTarget::of(app, original));
        Denial::Challenge { login_url: assured_login_url(app, &target, assurance), origin: protected.readable_by() }
    }
}

impl<'c> Protected<'c> {
    /// The origin of the page that asks, where it may read our answer.
    pub(super) fn readable_by(self) -> Option<&'c str> {
        self.original.client.origin().filter(|origin| self.app.policy.cors().allows(Some(origin)))
    }
}

impl Outpost {
    /// Where a request belongs.
    fn protected<'c>(&'c self, request: &'c CheckRequest<'c>) -> Result<Protected<'c>, BadRequest> {
        let (dialect, received) = (request.dialect, request.received);
        let original = request.original.as_ref().map_err(|error| {
            tracing::warn!(
                request_id = %received.id,
                dialect = dialect.as_str(),
                client = received.client().map(tracing::field::display),
                %error,
                "question refused"
            );
            match error {
                ForwardedError::UntrustedPeer => BadRequest::UntrustedProxy,
                ForwardedError::Missing(_) | ForwardedError::Repeated(_) | ForwardedError::Malformed(_) => {
                    BadRequest::Malformed
                }
            }
        })?;
        let Some(app) = received.catalog.find(&original.authority.host) else {
            tracing::warn!(
                request_id = %received.id,
                dialect = dialect.as_str(),
                host = original.authority.host.as_str(),
                "no application has this host (application.external_host, application.cookie_domain)"
            );
            return Err(BadRequest::UnknownHost);
        };
        if let Err(mistake) = Self::agrees(dialect, original, received) {
            self.note_misaddressed(&mistake, received);
            return Err(mistake.reason());
        }
        let own_path = if dialect.relays_answers() {
            BrowserRoute::of_forwarded(app, &original.target)
        } else {
            BrowserRoute::of_path(app, &original.target)
        };
        Ok(Protected { app, original, own_path })
    }
}
