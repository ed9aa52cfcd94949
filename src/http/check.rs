//! A proxy's question, from its headers to the answer in its dialect.

use std::sync::Arc;

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::outpost::Outpost;
use super::reply::{self, Answer};
use super::request::{Received, Visit};
use super::route::BrowserRoute;
use crate::access::{Decision, Permit, decide};
use crate::app::Application;
use crate::forwarded::{Dialect, ForwardedError, OriginalRequest, Question, RequestKind};
use crate::identity::HeaderBlock;
use crate::login::{ReturnTarget, login_url};
use crate::pages::Page;
use crate::session::StoreError;
use crate::telemetry::log::RequestLine;

/// All names that a check's outcome can have, for metrics.
pub(crate) const OUTCOMES: [&str; 9] =
    ["allow", "pass", "start_login", "challenge", "forbid", "refuse", "outpost_route", "provider_away", "store_away"];

/// All names of dialects, for metrics.
pub(crate) const DIALECTS: [&str; 4] = ["traefik", "caddy", "nginx", "envoy"];

/// An answered question, with what its log line tells.
struct Checked<'o> {
    answer: Answer,
    /// The proof that `answer` may be a 200.
    permit: Option<Permit>,
    outcome: &'static str,
    app: Option<&'o Arc<Application>>,
    user: Option<String>,
}

impl Outpost {
    pub(super) async fn check(&self, dialect: Dialect, received: &Received<'_>, began: Instant) -> Answer {
        let parts = received.parts;
        let question =
            Question { method: &parts.method, uri: &parts.uri, headers: &parts.headers, trusted: received.trusted };
        let original = dialect.parse(&question);
        let mut checked = match &original {
            Ok(original) => self.judge(dialect, original, received).await,
            Err(error) => refuse_question(dialect, *error, received),
        };
        if checked.permit.is_none() {
            checked.answer = reply::for_dialect(dialect, checked.answer);
        }
        self.note(dialect, original.as_ref().ok(), &checked, received, began);
        checked.answer
    }

    async fn judge<'o>(
        &'o self,
        dialect: Dialect,
        original: &OriginalRequest<'_>,
        received: &Received<'_>,
    ) -> Checked<'o> {
        let Some(app) = self.registry.find(&original.authority.host) else {
            tracing::warn!(
                request_id = received.id,
                dialect = dialect.as_str(),
                host = original.authority.host.as_str(),
                "no application has this host (application.external_host, application.cookie_domain)"
            );
            return refuse(dialect, "No application is configured for this host.", original.accepts_html, received);
        };
        let route = match dialect {
            Dialect::Nginx => BrowserRoute::of_path(app, &original.target),
            Dialect::Traefik | Dialect::Caddy | Dialect::Envoy => BrowserRoute::of_forwarded(app, &original.target),
        };
        if let Some(route) = route {
            return self.outpost_route(dialect, route, app, original, received).await;
        }
        let session = match self.session(app, &received.parts.headers).await {
            Ok(session) => session,
            Err(error) => return store_away(app, original, received, &error),
        };
        let now = self.world.now();
        let decision = decide(app, original, session.as_ref(), now);
        if let Some(session) = &session {
            session.touch(now);
        }
        let outcome = decision.as_str();
        let user = session.map(|session| session.identity().label().to_owned());
        let mut checked = Checked { answer: Answer::default(), permit: None, outcome, app: Some(app), user };
        match decision {
            Decision::Allow(permit) | Decision::Pass(permit) => {
                checked.answer = self.allow(app, &permit);
                checked.permit = Some(permit);
            }
            Decision::StartLogin => {
                (checked.answer, checked.outcome) = self.start_login(dialect, app, original, received);
            }
            Decision::Challenge => checked.answer = challenge(dialect, app, original, received),
            Decision::Forbid(session) => {
                let user = session.identity().label();
                checked.answer = forbid(dialect, app, user, original.accepts_html, received);
            }
        }
        checked
    }

    fn allow(&self, app: &Application, permit: &Permit) -> Answer {
        match permit.session() {
            Some(session) => reply::allow(permit, session.headers()),
            None => reply::allow(permit, &HeaderBlock::anonymous(self.logins.meta(app))),
        }
    }

    fn start_login(
        &self,
        dialect: Dialect,
        app: &Application,
        original: &OriginalRequest<'_>,
        received: &Received<'_>,
    ) -> (Answer, &'static str) {
        let target = ReturnTarget::of(app, original);
        if dialect == Dialect::Nginx {
            return (reply::nginx_challenge(&login_url(app, &target), true), "start_login");
        }
        match self.logins.begin(app, &target, &received.parts.headers) {
            Ok(begun) => {
                let after_post = original.kind == RequestKind::FormSubmission;
                (reply::redirect(&begun.location, after_post, begun.cookies), "start_login")
            }
            Err(error) => {
                let answer = super::failure::start(app, &target, &error, original.accepts_html, &received.id);
                (answer, "provider_away")
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
        let outcome = "outpost_route";
        if dialect == Dialect::Nginx {
            // Any answer here would send the browser round in circles.
            tracing::warn!(
                request_id = received.id,
                route = route.as_str(),
                "nginx asks about the outpost's own path: give /outpost.goauthentik.io/ a location without auth_request"
            );
            return Checked {
                answer: reply::empty(StatusCode::FORBIDDEN),
                permit: None,
                outcome,
                app: Some(app),
                user: None,
            };
        }
        let (answer, visited) = self.browse(route, app, &Visit::forwarded(original, received)).await;
        Checked { answer, permit: None, outcome, app: Some(app), user: visited.user }
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
        let application = checked.app.map(|app| app.slug.as_str());
        let method = original.and_then(|it| it.method.as_ref()).unwrap_or(&Method::GET);
        self.metrics.check(application, dialect.as_str(), checked.outcome, method, elapsed);
        if self.sampler.wants(checked.answer.status() == StatusCode::OK) {
            RequestLine {
                request_id: &received.id,
                application,
                route: "auth",
                dialect: Some(dialect.as_str()),
                outcome: checked.outcome,
                status: checked.answer.status().as_u16(),
                method,
                host: original.map_or("", |it| it.authority.host.as_str()),
                path: original.map_or("", |it| it.target.path()),
                client: received.client(),
                user: checked.user.as_deref(),
                duration: elapsed,
            }
            .write();
        }
    }
}

/// The question itself cannot be understood, or its sender is not believed.
fn refuse_question<'o>(dialect: Dialect, error: ForwardedError, received: &Received<'_>) -> Checked<'o> {
    tracing::warn!(
        request_id = received.id,
        dialect = dialect.as_str(),
        client = received.client().map(tracing::field::display),
        %error,
        "question refused"
    );
    let html = crate::forwarded::accepts_html(&received.parts.headers);
    let what = match error {
        ForwardedError::UntrustedPeer => "The proxy that passed this request on is not trusted here.",
        ForwardedError::Missing(_) | ForwardedError::Repeated(_) | ForwardedError::Malformed(_) => {
            "The request, or what the proxy says about it, is malformed."
        }
    };
    let mut checked = refuse(dialect, what, html, received);
    if error == ForwardedError::UntrustedPeer {
        *checked.answer.status_mut() = StatusCode::FORBIDDEN;
    }
    checked
}

/// nginx turns every 4xx but 401 and 403 into a 500.
fn refuse<'o>(dialect: Dialect, what: &'static str, html: bool, received: &Received<'_>) -> Checked<'o> {
    let answer = match dialect {
        Dialect::Nginx => reply::empty(StatusCode::FORBIDDEN),
        Dialect::Traefik | Dialect::Caddy | Dialect::Envoy => {
            reply::page(StatusCode::BAD_REQUEST, &Page::BadRequest { what }, html, &received.id)
        }
    };
    Checked { answer, permit: None, outcome: "refuse", app: None, user: None }
}

fn challenge(dialect: Dialect, app: &Application, original: &OriginalRequest<'_>, received: &Received<'_>) -> Answer {
    // A script's own address is no place to come back to; the page that it runs in is.
    let page = original.referer.and_then(|referer| ReturnTarget::parse(app, referer));
    let target = page.unwrap_or_else(|| ReturnTarget::of(app, original));
    let url = login_url(app, &target);
    let answer = match dialect {
        Dialect::Nginx => reply::nginx_challenge(&url, false),
        Dialect::Traefik | Dialect::Caddy | Dialect::Envoy => reply::challenge(&url, &received.id),
    };
    match original.origin.filter(|origin| app.cors.allows(Some(origin))) {
        Some(origin) => reply::with_cors(answer, origin),
        None => answer,
    }
}

fn forbid(dialect: Dialect, app: &Application, user: &str, html: bool, received: &Received<'_>) -> Answer {
    match dialect {
        Dialect::Nginx => reply::empty(StatusCode::FORBIDDEN),
        Dialect::Traefik | Dialect::Caddy | Dialect::Envoy => {
            let sign_out_url = app.outpost_path("sign_out");
            let page = Page::Forbidden { application: &app.name, username: user, sign_out_url: &sign_out_url };
            reply::page(StatusCode::FORBIDDEN, &page, html, &received.id)
        }
    }
}

/// Whether there is a session is not known: neither a login nor an allow.
fn store_away<'o>(
    app: &'o Arc<Application>,
    original: &OriginalRequest<'_>,
    received: &Received<'_>,
    error: &StoreError,
) -> Checked<'o> {
    let answer = super::failure::store(app, error, original.accepts_html, &received.id);
    Checked { answer, permit: None, outcome: "store_away", app: Some(app), user: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_know_all_names() {
        assert_eq!(Dialect::ALL.map(Dialect::as_str), DIALECTS);
        for name in ["allow", "pass", "start_login", "challenge", "forbid"] {
            assert!(OUTCOMES.contains(&name));
        }
    }
}
