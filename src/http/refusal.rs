//! Refusals of a question, each in its dialect.

use http::StatusCode;

use super::check::Checked;
use super::reply::{self, Answer};
use super::request::Received;
use super::verdict::Verdict;
use crate::access::Forbidden;
use crate::app::Application;
use crate::forwarded::{ClientHints, Dialect, ForwardedError, OriginalRequest};
use crate::identity::Assurance;
use crate::login::{ReturnTarget, assured_login_url, other_login_url};
use crate::pages::{BadRequest, Page};

/// The question itself cannot be understood, or its sender is not believed.
pub(super) fn refuse_question<'o>(dialect: Dialect, error: ForwardedError, received: &Received<'_>) -> Checked<'o> {
    tracing::warn!(
        request_id = %received.id,
        dialect = dialect.as_str(),
        client = received.client().map(tracing::field::display),
        %error,
        "question refused"
    );
    let html = ClientHints::new(&received.parts.headers, false).accepts_html();
    let reason = match error {
        ForwardedError::UntrustedPeer => BadRequest::UntrustedProxy,
        ForwardedError::Missing(_) | ForwardedError::Repeated(_) | ForwardedError::Malformed(_) => {
            BadRequest::Malformed
        }
    };
    let mut checked = refuse(dialect, reason, html, received);
    if error == ForwardedError::UntrustedPeer {
        *checked.answer.status_mut() = StatusCode::FORBIDDEN;
    }
    checked
}

/// nginx turns every 4xx but 401 and 403 into a 500.
pub(super) fn refuse<'o>(dialect: Dialect, reason: BadRequest, html: bool, received: &Received<'_>) -> Checked<'o> {
    let answer = match dialect {
        Dialect::Nginx => reply::empty(StatusCode::FORBIDDEN),
        Dialect::Traefik | Dialect::Caddy | Dialect::Envoy => {
            reply::page(StatusCode::BAD_REQUEST, &Page::BadRequest { reason }, html, received.id)
        }
    };
    Checked { answer, permit: None, verdict: Verdict::Refuse, app: None, user: None }
}

pub(super) fn challenge(
    dialect: Dialect,
    app: &Application,
    original: &OriginalRequest<'_>,
    assurance: &Assurance,
    received: &Received<'_>,
) -> Answer {
    // A script's own address is no place to come back to; the page that it runs in is.
    let page = original.client.referer().and_then(|referer| ReturnTarget::parse(app, referer));
    let target = page.unwrap_or_else(|| ReturnTarget::of(app, original));
    let url = assured_login_url(app, &target, assurance);
    let answer = match dialect {
        Dialect::Nginx => reply::nginx_challenge(&url, false),
        Dialect::Traefik | Dialect::Caddy | Dialect::Envoy => reply::challenge(&url, received.id),
    };
    match original.client.origin().filter(|origin| app.policy.cors().allows(Some(origin))) {
        Some(origin) => reply::with_cors(answer, origin),
        None => answer,
    }
}

pub(super) fn forbid(
    dialect: Dialect,
    app: &Application,
    original: &OriginalRequest<'_>,
    forbidden: &Forbidden,
    received: &Received<'_>,
) -> Answer {
    match dialect {
        Dialect::Nginx => reply::empty(StatusCode::FORBIDDEN),
        Dialect::Traefik | Dialect::Caddy | Dialect::Envoy => {
            let login_url = other_login_url(app, &ReturnTarget::of(app, original), &forbidden.assurance);
            let sign_out_url = app.outpost_path("sign_out");
            let required = forbidden.groups.join(", ");
            let page = Page::Forbidden {
                application: &app.name,
                username: forbidden.session.as_ref().map_or("", |session| session.identity().label()),
                because: forbidden.because,
                required: &required,
                login_url: &login_url,
                sign_out_url: &sign_out_url,
            };
            reply::page(StatusCode::FORBIDDEN, &page, original.client.accepts_html(), received.id)
        }
    }
}
