//! A proxy's question, from its headers to the answer in its dialect.

use std::net::IpAddr;
use std::sync::Arc;

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::credentials::{Shown, name_resource, presented};
use super::outpost::{Held, Outpost, SessionError, store_is_down};
use super::refusal::{challenge, forbid, refuse, refuse_question};
use super::reply::{self, Answer};
use super::request::{Received, Visit};
use super::route::BrowserRoute;
use super::verdict::Verdict;
use crate::access::{Decision, Permit, decide};
use crate::app::Application;
use crate::forwarded::{Dialect, ForwardedError, OriginalRequest, Question, RequestKind};
use crate::identity::Assurance;
use crate::login::{Interaction, ReturnTarget, assured_login_url, silent_login_url};
use crate::pages::BadRequest;
use crate::session::Session;
use crate::telemetry::log::RequestLine;
use crate::token::Outcome;
use crate::world::UnixTime;

/// An answered question, with what its log line tells.
pub(super) struct Checked<'o> {
    pub(super) answer: Answer,
    /// The proof that `answer` may be a 200.
    pub(super) permit: Option<Permit>,
    pub(super) verdict: Verdict,
    pub(super) app: Option<&'o Arc<Application>>,
    pub(super) user: Option<User>,
}

/// Who asked: a name is only looked for when a log line wants it.
pub(super) enum User {
    Session(Arc<Session>),
    Named(String),
}

impl User {
    fn label(&self) -> &str {
        match self {
            Self::Session(session) => session.identity().label(),
            Self::Named(name) => name,
        }
    }
}

/// Where a question belongs.
enum Place<'o> {
    /// To an application.
    Application(&'o Arc<Application>),
    /// To the outpost itself, on an application: the proxy asks about a request rather than routing it here.
    Outpost(BrowserRoute, &'o Arc<Application>),
    /// To nobody.
    Nowhere(Checked<'o>),
}

impl Outpost {
    /// Answers a question that nothing has to be waited for: its session is in memory, or it has none.
    ///
    /// Nearly all are of that kind. What waits is moved about by hyper, and there is much of it on the way of a login.
    pub(super) fn check_at_once(&self, dialect: Dialect, received: &Received<'_>, began: Instant) -> Option<Answer> {
        let original = parse(dialect, received);
        let checked = match &original {
            Ok(original) => match self.place(dialect, original, received) {
                Place::Application(app) => {
                    let now = self.world.now();
                    let shown = presented(app, received);
                    let session = match shown {
                        Some((accepted, presented)) if !self.yields(app, accepted, presented) => None,
                        _ => self.session_in_memory(app, &received.parts.headers, now).ok()?,
                    };
                    if let (None, Some((accepted, presented))) = (&session, shown) {
                        let outcome = self.tokens.known(app, presented, now)?;
                        let shown = Shown { accepted, scheme: presented.scheme(), outcome };
                        self.judge_credentials(dialect, app, original, shown, received, now)
                    } else {
                        self.judge(dialect, app, original, session, received, now)
                    }
                }
                Place::Outpost(..) => return None,
                Place::Nowhere(checked) => checked,
            },
            Err(error) => refuse_question(dialect, *error, received),
        };
        Some(self.finish(dialect, original.as_ref().ok(), checked, received, began))
    }

    /// Answers any question.
    pub(super) async fn check(&self, dialect: Dialect, received: &Received<'_>, began: Instant) -> Answer {
        let original = parse(dialect, received);
        let checked = match &original {
            Ok(original) => match self.place(dialect, original, received) {
                Place::Application(app) => self.protected(dialect, app, original, received).await,
                Place::Outpost(route, app) => self.outpost_route(dialect, route, app, original, received).await,
                Place::Nowhere(checked) => checked,
            },
            Err(error) => refuse_question(dialect, *error, received),
        };
        self.finish(dialect, original.as_ref().ok(), checked, received, began)
    }

    /// Answers a question about a request to `app`: by its session, or by the credential that it shows.
    async fn protected<'o>(
        &self,
        dialect: Dialect,
        app: &'o Arc<Application>,
        original: &OriginalRequest<'_>,
        received: &Received<'_>,
    ) -> Checked<'o> {
        let shown = presented(app, received);
        let session = match shown {
            Some((accepted, presented)) if !self.yields(app, accepted, presented) => Ok(None),
            _ => self.session(app, received).await,
        };
        let counts = matches!(session, Ok(None) | Err(SessionError::Unconfirmed));
        if let Some((accepted, presented)) = shown.filter(|_| counts) {
            let outcome = self.tokens.verify(app, accepted, presented, received.client()).await;
            // Beside a session that waits to be confirmed, a bad credential may be the application's own.
            if session.is_ok() || matches!(outcome, Outcome::Good(_)) {
                let shown = Shown { accepted, scheme: presented.scheme(), outcome };
                return self.judge_credentials(dialect, app, original, shown, received, self.world.now());
            }
        }
        match session {
            Ok(session) => self.judge(dialect, app, original, session, received, self.world.now()),
            // Where nobody needs a session, none has to be confirmed.
            Err(SessionError::Unconfirmed) if is_open(app, original, received, self.world.now()) => {
                self.judge(dialect, app, original, None, received, self.world.now())
            }
            Err(error) => self.unknown(app, original, received, &error),
        }
    }

    fn finish(
        &self,
        dialect: Dialect,
        original: Option<&OriginalRequest<'_>>,
        mut checked: Checked<'_>,
        received: &Received<'_>,
        began: Instant,
    ) -> Answer {
        if checked.permit.is_none() {
            checked.answer = reply::for_dialect(dialect, checked.answer);
            if let (Some(app), Some(original)) = (checked.app, original) {
                name_resource(app, &original.authority.host, &mut checked.answer);
            }
        }
        self.note(dialect, original, &checked, received, began);
        checked.answer
    }

    fn place<'r>(&self, dialect: Dialect, original: &OriginalRequest<'r>, received: &Received<'r>) -> Place<'_> {
        let Some(app) = self.registry.find(&original.authority.host) else {
            tracing::warn!(
                request_id = %received.id,
                dialect = dialect.as_str(),
                host = original.authority.host.as_str(),
                "no application has this host (application.external_host, application.cookie_domain)"
            );
            let html = original.client.accepts_html();
            return Place::Nowhere(refuse(dialect, BadRequest::UnknownHost, html, received));
        };
        if let Err(mistake) = self.agrees(dialect, original, received) {
            self.note_misaddressed(&mistake, received);
            let html = original.client.accepts_html();
            return Place::Nowhere(refuse(dialect, mistake.reason(), html, received));
        }
        let route = match dialect {
            Dialect::Nginx => BrowserRoute::of_path(app, &original.target),
            Dialect::Traefik | Dialect::Caddy | Dialect::Envoy => BrowserRoute::of_forwarded(app, &original.target),
        };
        route.map_or(Place::Application(app), |route| Place::Outpost(route, app))
    }

    fn judge<'o>(
        &self,
        dialect: Dialect,
        app: &'o Arc<Application>,
        original: &OriginalRequest<'_>,
        held: Option<Held>,
        received: &Received<'_>,
        now: UnixTime,
    ) -> Checked<'o> {
        if let Some(Held { token, session }) = &held {
            session.touch(now);
            self.logins.refresh_if_due(app, token, session, now);
        }
        let session = held.map(|held| held.session);
        let request = app.access_request(original, client_for(app, received));
        let decision = decide(&app.policy, &request, session.as_ref(), now);
        let (answer, verdict, permit) = match decision {
            Decision::Allow(permit) => match self.silent_login(dialect, app, original, &permit, received, now) {
                Some(answer) => (answer, Verdict::SilentLogin, None),
                None => (self.allow(app, &permit, now), Verdict::Allow, Some(permit)),
            },
            Decision::Pass(permit) => (self.allow(app, &permit, now), Verdict::Pass, Some(permit)),
            Decision::StartLogin(_) if !self.store.is_up() => {
                let html = original.client.accepts_html();
                (self.store_away(app, &store_is_down(), html, received.id), Verdict::StoreAway, None)
            }
            Decision::StartLogin(assurance) => {
                let (answer, verdict) = self.start_login(dialect, app, original, assurance, received);
                (answer, verdict, None)
            }
            Decision::Challenge(assurance) => {
                (challenge(dialect, app, original, &assurance, received), Verdict::Challenge, None)
            }
            Decision::Forbid(forbidden) => {
                (forbid(dialect, app, original, &forbidden, received), Verdict::Forbid, None)
            }
        };
        Checked { answer, permit, verdict, app: Some(app), user: session.map(User::Session) }
    }

    /// Whether there is a session is not known: neither a login nor an allow.
    fn unknown<'o>(
        &self,
        app: &'o Arc<Application>,
        original: &OriginalRequest<'_>,
        received: &Received<'_>,
        error: &SessionError,
    ) -> Checked<'o> {
        let html = original.client.accepts_html();
        let (answer, verdict) = match error {
            SessionError::Store(error) => (self.store_away(app, error, html, received.id), Verdict::StoreAway),
            SessionError::Unconfirmed => {
                let target = ReturnTarget::of(app, original);
                (super::failure::unconfirmed(app, &target, html, received.id), Verdict::ProviderAway)
            }
        };
        Checked { answer, permit: None, verdict, app: Some(app), user: None }
    }

    pub(super) fn allow(&self, app: &Application, permit: &Permit, now: UnixTime) -> Answer {
        let jwks = self.logins.jwks(app);
        let headers = match permit.session() {
            Some(session) => app.headers_for(session.identity(), &jwks, now),
            None => app.header_template.anonymous(&jwks),
        };
        reply::allow(permit, headers)
    }

    /// Sends a browser to the provider and back whose session is to be confirmed in this way; a page can wait for that.
    fn silent_login(
        &self,
        dialect: Dialect,
        app: &Application,
        original: &OriginalRequest<'_>,
        permit: &Permit,
        received: &Received<'_>,
        now: UnixTime,
    ) -> Option<Answer> {
        let session = permit.session().filter(|session| session.silent_login().is_some())?;
        let is_page = original.kind() == RequestKind::Navigation && original.client.is_on_top();
        if !is_page || !self.logins.wants_silent_login(app, session, &received.parts.headers, now) {
            return None;
        }
        let target = ReturnTarget::of(app, original);
        if dialect == Dialect::Nginx {
            return Some(reply::nginx_challenge(&silent_login_url(app, &target), true));
        }
        // While no login can begin, the session goes on.
        let begun = self.logins.begin(app, &target, Interaction::None, &received.parts.headers).ok()?;
        Some(reply::redirect(&begun.location, false, begun.cookies))
    }

    fn start_login(
        &self,
        dialect: Dialect,
        app: &Application,
        original: &OriginalRequest<'_>,
        assurance: Assurance,
        received: &Received<'_>,
    ) -> (Answer, Verdict) {
        let target = ReturnTarget::of(app, original);
        if dialect == Dialect::Nginx {
            let login_url = assured_login_url(app, &target, &assurance);
            return (reply::nginx_challenge(&login_url, true), Verdict::StartLogin);
        }
        match self.logins.begin(app, &target, assurance, &received.parts.headers) {
            Ok(begun) => {
                let after_post = original.kind() == RequestKind::FormSubmission;
                (reply::redirect(&begun.location, after_post, begun.cookies), Verdict::StartLogin)
            }
            Err(error) => {
                let answer = super::failure::start(app, &target, &error, original.client.accepts_html(), received.id);
                (answer, Verdict::ProviderAway)
            }
        }
    }

    /// A browser's request to the outpost that the proxy asks about rather than routing it here.
    async fn outpost_route<'o>(
        &'o self,
        dialect: Dialect,
        route: BrowserRoute,
        app: &'o Arc<Application>,
        original: &OriginalRequest<'_>,
        received: &Received<'_>,
    ) -> Checked<'o> {
        let verdict = Verdict::OutpostRoute;
        if dialect == Dialect::Nginx {
            // Any answer here would send the browser round in circles.
            tracing::warn!(
                request_id = %received.id,
                route = route.as_str(),
                "nginx asks about the outpost's own path: give /outpost.goauthentik.io/ a location without auth_request"
            );
            return Checked {
                answer: reply::empty(StatusCode::FORBIDDEN),
                permit: None,
                verdict,
                app: Some(app),
                user: None,
            };
        }
        let (answer, visited) = self.browse(route, app, &Visit::forwarded(original, received)).await;
        Checked { answer, permit: None, verdict, app: Some(app), user: visited.user.map(User::Named) }
    }

    fn note(
        &self,
        dialect: Dialect,
        original: Option<&OriginalRequest<'_>>,
        checked: &Checked<'_>,
        received: &Received<'_>,
        began: Instant,
    ) {
        let elapsed = began.elapsed();
        let method = original.and_then(|it| it.method.as_ref()).unwrap_or(&Method::GET);
        let application = checked.app.map(|app| app.number);
        self.metrics.check(application, dialect as usize, checked.verdict as usize, method, elapsed);
        if self.sampler.wants(checked.verdict.is_routine()) {
            RequestLine {
                request_id: &received.id,
                application: checked.app.map(|app| &*app.slug),
                route: "auth",
                dialect: Some(dialect.as_str()),
                outcome: checked.verdict.as_str(),
                status: checked.answer.status().as_u16(),
                method,
                host: original.map_or("", |it| it.authority.host.as_str()),
                path: original.map_or("", |it| it.target.path()),
                client: received.client(),
                user: checked.user.as_ref().map(User::label),
                duration: elapsed,
            }
            .write();
        }
    }
}

/// Whether a request passes without a session.
fn is_open(app: &Application, original: &OriginalRequest<'_>, received: &Received<'_>, now: UnixTime) -> bool {
    let request = app.access_request(original, client_for(app, received));
    matches!(decide(&app.policy, &request, None, now), Decision::Pass(_))
}

/// The client, where the policy looks at it.
pub(super) fn client_for(app: &Application, received: &Received<'_>) -> Option<IpAddr> {
    if app.policy.looks_at_client() { received.reported_client() } else { None }
}

fn parse<'r>(dialect: Dialect, received: &Received<'r>) -> Result<OriginalRequest<'r>, ForwardedError> {
    let parts = received.parts;
    dialect.parse(&Question {
        method: &parts.method,
        uri: &parts.uri,
        headers: &parts.headers,
        trusted: received.trusted,
    })
}
