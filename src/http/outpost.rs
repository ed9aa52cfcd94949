use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::addressed::Addressed;
use super::failure;
use super::logout::RefusedLogouts;
use super::reply::{self, Answer};
use super::request::Received;
use super::route::{BrowserRoute, Route};
use crate::app::{Application, Registry};
use crate::forwarded::{Dialect, ENVOY_PREFIX, TrustedProxies};
use crate::host::Authority;
use crate::login::{Confirmed, Logins};
use crate::logout::Logouts;
use crate::serve::{Connection, Failure, Handler, Peer};
use crate::session::{Session, SessionStore, SessionToken, StoreError};
use crate::telemetry::log::{RequestLine, Sampler};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{LogThrottle, RequestId, RequestIds};
use crate::token::Tokens;
use crate::world::{UnixTime, World};

/// The outpost: answers proxies and browsers.
pub struct Outpost {
    pub(super) registry: Registry,
    pub(super) logins: Arc<Logins>,
    pub(super) logouts: Logouts,
    pub(super) tokens: Tokens,
    pub(super) store: Arc<dyn SessionStore>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) sampler: Sampler,
    pub(super) world: World,
    store_failures: LogThrottle,
    pub(super) refused_logouts: RefusedLogouts,
    pub(super) misaddressed: LogThrottle,
    trusted: TrustedProxies,
    ids: RequestIds,
}

/// What an [`Outpost`] is made of.
pub struct OutpostParts {
    /// From host to application.
    pub registry: Registry,
    /// Login.
    pub logins: Arc<Logins>,
    /// Logout.
    pub logouts: Logouts,
    /// What programs show.
    pub tokens: Tokens,
    /// Sessions.
    pub store: Arc<dyn SessionStore>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Which checks are logged.
    pub sampler: Sampler,
    /// Time and randomness.
    pub world: World,
    /// Who may speak for a client.
    pub trusted: TrustedProxies,
}

impl Outpost {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: OutpostParts) -> Self {
        Self {
            ids: RequestIds::new(&parts.world),
            registry: parts.registry,
            logins: parts.logins,
            logouts: parts.logouts,
            tokens: parts.tokens,
            store: parts.store,
            metrics: parts.metrics,
            sampler: parts.sampler,
            world: parts.world,
            store_failures: LogThrottle::default(),
            refused_logouts: RefusedLogouts::default(),
            misaddressed: LogThrottle::default(),
            trusted: parts.trusted,
        }
    }

    /// Answers one request of `peer` that has no body.
    pub async fn answer(&self, parts: &Parts, peer: Peer) -> Answer {
        match self.answer_at_once(parts, peer) {
            Some(answer) => answer,
            None => self.answer_in_time(parts, None, peer).await,
        }
    }

    /// The answer of a proxy's question for which nothing has to be waited for.
    fn answer_at_once(&self, parts: &Parts, peer: Peer) -> Option<Answer> {
        let began = Instant::now();
        let Some(Route::Auth(dialect)) = Route::parse(parts.uri.path(), "") else {
            return None;
        };
        let received = Received::new(parts, peer, &self.trusted, self.ids.next());
        self.check_at_once(dialect, &received, began)
    }

    /// Waits for `body` where it counts, and nowhere else.
    async fn answer_in_time(&self, parts: &Parts, body: Option<Incoming>, peer: Peer) -> Answer {
        let began = Instant::now();
        let received = &Received::new(parts, peer, &self.trusted, self.ids.next());
        let path = parts.uri.path();
        // A proxy's question names its application by the URL that it asks about, not by the host that it asks.
        let rooted = Route::parse(path, "");
        let (addressed, mistake) = match rooted {
            Some(Route::Ping | Route::Auth(_)) => (Addressed::default(), None),
            Some(Route::Resource | Route::Browser(_)) | None => match self.addressed(received) {
                Ok(addressed) => (addressed, None),
                Err(mistake) => (Addressed::default(), Some(mistake)),
            },
        };
        let (app, authority) = (addressed.app, addressed.authority.as_ref());
        let base_path = app.map_or("", |app| app.external_host.base_path.as_str());
        match rooted.or_else(|| Route::parse(path, base_path)) {
            Some(Route::Ping) => {
                self.metrics.ping(&parts.method, began.elapsed());
                reply::alive()
            }
            Some(Route::Auth(dialect)) => self.check(dialect, received, began).await,
            Some(Route::Resource) => {
                let (answer, outcome) = self.resource(app, addressed.host(), received);
                let line = Line { route: "oauth-protected-resource", app, authority, began };
                line.write(received, outcome.into(), answer)
            }
            Some(Route::Browser(route)) => {
                let (answer, outcome) = match (route, &mistake) {
                    // Of no application.
                    (BrowserRoute::BackChannelLogout, _) => self.back_channel(received, body).await,
                    (_, Some(mistake)) => self.refuse_misaddressed(mistake, received),
                    (route, None) => self.visit(route, addressed.found(), received).await,
                };
                let line = Line { route: route.as_str(), app, authority, began };
                line.write(received, outcome, answer)
            }
            None => {
                let answer = reply::with_request_id(reply::not_found(), received.id.to_string());
                let line = Line { route: "none", app, authority, began };
                line.write(received, "not_found".into(), answer)
            }
        }
    }

    /// Answers while the store does not; each such request has a line, and the cause has one every now and then.
    pub(super) fn store_away(
        &self,
        app: &Application,
        error: &StoreError,
        html: bool,
        request_id: RequestId,
    ) -> Answer {
        if let Some(further) = self.store_failures.admit() {
            tracing::error!(%request_id, application = %app.slug, %error, further, "sessions cannot be looked up");
        }
        failure::store(app, html, request_id)
    }

    /// The same as [`Outpost::session`], where memory is enough to know.
    pub(super) fn session_in_memory(
        &self,
        app: &Application,
        headers: &HeaderMap,
        now: UnixTime,
    ) -> Result<Option<Held>, NotInMemory> {
        let mut tokens = SessionToken::every(app.cookies.session(), headers);
        let Some(token) = tokens.next() else { return Ok(None) };
        // Several tokens are rare, and there is more to be said about them.
        if tokens.next().is_some() {
            return Err(NotInMemory);
        }
        let session = self.store.cached(&token).ok_or(NotInMemory)?;
        if !session.may_count_for(&app.slug, &app.wanted_claims, now) || self.logins.has_ended(&token) {
            return Ok(None);
        }
        if session.needs_confirmation(&app.wanted_claims, now) || self.logins.awaits_id_token(&token, &session, now) {
            return Err(NotInMemory);
        }
        Ok(Some(Held { token, session }))
    }

    /// The valid session that a request carries for `app`; of several cookies of one user, any that is good.
    ///
    /// Sessions of different users count for nobody, and end: one of them was planted by another host under the same
    /// domain. Were they to stay, the browser would bring both after each login.
    pub(super) async fn session(
        &self,
        app: &Arc<Application>,
        received: &Received<'_>,
    ) -> Result<Option<Held>, SessionError> {
        let mut held = self.held(app, &received.parts.headers).await?;
        if !are_of_one_user(&held) {
            let sessions = held.iter().map(|held| (&held.token, &*held.session));
            self.logins.end_all(app, sessions, "two_users", &received.asker()).await;
            return Ok(None);
        }
        let now = self.world.now();
        if let Some(at) = held.iter().position(|held| !held.session.needs_confirmation(&app.wanted_claims, now))
            && let Some(held) = self.with_id_token(app, held.swap_remove(at), now).await
        {
            return Ok(Some(held));
        }
        let mut none = Ok(None);
        for Held { token, session } in held {
            match self.logins.confirm(app, &token, &session).await {
                Confirmed::Session(session) => return Ok(Some(Held { token, session })),
                Confirmed::Refused => {}
                Confirmed::Unknown => none = Err(SessionError::Unconfirmed),
            }
        }
        none
    }

    /// The same session with an ID token that has not ended, where the provider gives one now; `None`: the session has ended.
    async fn with_id_token(&self, app: &Arc<Application>, held: Held, now: UnixTime) -> Option<Held> {
        if !self.logins.awaits_id_token(&held.token, &held.session, now) {
            return Some(held);
        }
        match self.logins.renew_id_token(app, &held.token, &held.session).await {
            Confirmed::Session(session) => Some(Held { session, ..held }),
            Confirmed::Refused => None,
            // The session counts all the same.
            Confirmed::Unknown => Some(held),
        }
    }

    /// The valid sessions that a request carries for `app`, whether or not the provider is to be asked about them; none of
    /// them where it carries more than could be looked at.
    pub(super) async fn held(&self, app: &Application, headers: &HeaderMap) -> Result<Vec<Held>, StoreError> {
        let mut held = Vec::new();
        for token in SessionToken::letting_in(app.cookies.session(), headers) {
            // Whatever the store says of it, if it says anything.
            if self.logins.has_ended(&token) {
                continue;
            }
            let session = self.store.load(&token).await?;
            let now = self.world.now();
            if let Some(session) = session
                .filter(|it| it.may_count_for(&app.slug, &app.wanted_claims, now) && !self.logins.has_ended(&token))
            {
                held.push(Held { token, session });
            }
        }
        Ok(held)
    }
}

/// A login that begins while nothing can be kept would end in nothing.
pub(super) fn store_is_down() -> StoreError {
    StoreError("it was not there a moment ago either".to_owned())
}

/// Only the store can tell.
pub(super) struct NotInMemory;

/// A session and the token that opened it.
pub(super) struct Held {
    pub(super) token: SessionToken,
    pub(super) session: Arc<Session>,
}

/// Whether sessions of one request do not contradict each other.
pub(super) fn are_of_one_user(held: &[Held]) -> bool {
    held.windows(2).all(|pair| matches!(pair, [one, other] if one.session.is_of_user_of(&other.session)))
}

/// Why it is not known whether a request has a session.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the provider does not say whether it still vouches for the user")]
    Unconfirmed,
}

/// What is known of a request to our own routes before it is answered, for its log line.
struct Line<'r> {
    route: &'static str,
    app: Option<&'r Arc<Application>>,
    authority: Option<&'r Authority<'r>>,
    began: Instant,
}

impl Line<'_> {
    fn write(&self, received: &Received<'_>, outcome: Outcome, answer: Answer) -> Answer {
        RequestLine {
            request_id: &received.id,
            application: self.app.map(|app| &*app.slug),
            route: self.route,
            dialect: None,
            outcome: outcome.name,
            status: answer.status().as_u16(),
            method: &received.parts.method,
            host: self.authority.map_or("", |it| it.host.as_str()),
            path: received.parts.uri.path(),
            client: received.client(),
            user: outcome.user.as_deref(),
            duration: self.began.elapsed(),
        }
        .write();
        answer
    }
}

/// How a request ended, for its log line.
pub(super) struct Outcome {
    pub(super) name: &'static str,
    pub(super) user: Option<String>,
}

impl From<&'static str> for Outcome {
    fn from(name: &'static str) -> Self {
        Self { name, user: None }
    }
}

impl Handler for Outpost {
    async fn handle(&self, head: &Parts, body: Incoming, connection: &Connection) -> Response<Full<Bytes>> {
        self.answer_in_time(head, Some(body), connection.peer).await
    }

    fn handle_at_once(&self, head: &Parts, connection: &Connection) -> Option<Response<Full<Bytes>>> {
        self.answer_at_once(head, connection.peer)
    }

    fn failed(&self, head: &Parts, _failure: Failure) -> Response<Full<Bytes>> {
        let answer = reply::unavailable();
        if head.uri.path().starts_with(ENVOY_PREFIX) { reply::for_dialect(Dialect::Envoy, answer) } else { answer }
    }

    fn connection_closed(&self, connection: &Connection) {
        self.metrics.connection_closed(u32::try_from(connection.requests()).unwrap_or(u32::MAX));
    }
}
