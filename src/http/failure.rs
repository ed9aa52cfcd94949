//! Which page a user sees when a login cannot go on. The cause goes to the log once, here.

use http::StatusCode;

use super::reply::{self, Answer};
use crate::app::Application;
use crate::login::{CallbackError, ReturnTarget, StartError, login_url};
use crate::oidc::OidcError;
use crate::pages::{BadRequest, LoginFailure, Page, ProviderRefusal};
use crate::telemetry::{RequestId, WithCauses};

/// Answers that a login cannot begin.
pub(super) fn start(
    app: &Application,
    target: &ReturnTarget,
    error: &StartError,
    html: bool,
    request_id: RequestId,
) -> Answer {
    tracing::warn!(
        %request_id,
        application = %app.id,
        identity_provider = app.provider.name(),
        error = %WithCauses(error),
        "login cannot begin"
    );
    let retry_url = login_url(app, target);
    match error {
        StartError::Provider(OidcError::NotReady | OidcError::Unreachable(_)) => {
            away(app, &retry_url, html, request_id)
        }
        StartError::Provider(_) | StartError::Sealer(_) => {
            let failure = LoginFailure::NotBegun;
            let page = Page::LoginFailed { application: &app.name, failure, retry_url: &retry_url };
            reply::page(StatusCode::INTERNAL_SERVER_ERROR, &page, html, request_id)
        }
    }
}

/// Answers that the session store does not answer.
pub(super) fn store(app: &Application, html: bool, request_id: RequestId) -> Answer {
    let failure = LoginFailure::StoreAway;
    let page = Page::LoginFailed { application: &app.name, failure, retry_url: &app.home_url() };
    reply::page(StatusCode::SERVICE_UNAVAILABLE, &page, html, request_id)
}

/// Answers that the provider must confirm the session and does not answer.
pub(super) fn unconfirmed(app: &Application, target: &ReturnTarget, html: bool, request_id: RequestId) -> Answer {
    tracing::warn!(
        %request_id,
        application = %app.id,
        identity_provider = app.provider.name(),
        "a session waits for the provider to be confirmed (session.revalidate_within)"
    );
    // Not a redirect to a login: the session may be valid, and the provider may not show a login page either.
    let page =
        Page::Unconfirmed { application: &app.name, retry_url: target.as_str(), login_url: &login_url(app, target) };
    reply::page(StatusCode::SERVICE_UNAVAILABLE, &page, html, request_id)
}

fn away(app: &Application, retry_url: &str, html: bool, request_id: RequestId) -> Answer {
    let page = Page::ProviderAway { application: &app.name, retry_url };
    reply::page(StatusCode::SERVICE_UNAVAILABLE, &page, html, request_id)
}

/// Answers a callback that did not sign the user in.
pub(super) fn callback(app: &Application, error: &CallbackError, html: bool, request_id: RequestId) -> Answer {
    tracing::warn!(
        %request_id,
        application = %app.id,
        identity_provider = app.provider.name(),
        error = %WithCauses(error),
        hint = operators_hint(error),
        "login failed"
    );
    let home = app.home_url();
    let retry = |target: &ReturnTarget| login_url(app, target);
    let fail = |status, failure, retry_url: &str| {
        let page = Page::LoginFailed { application: &app.name, failure, retry_url };
        reply::page(status, &page, html, request_id)
    };
    match error {
        CallbackError::Malformed(_) => {
            let page = Page::BadRequest { reason: BadRequest::NotAnAnswer };
            reply::page(StatusCode::BAD_REQUEST, &page, html, request_id)
        }
        CallbackError::ForeignState => fail(StatusCode::BAD_REQUEST, LoginFailure::UnknownState, &home),
        CallbackError::AttemptGone(target) => {
            let page = Page::CookieMissing { application: &app.name, retry_url: &retry(target) };
            reply::page(StatusCode::BAD_REQUEST, &page, html, request_id)
        }
        CallbackError::IssuerMissing => fail(StatusCode::BAD_REQUEST, LoginFailure::IssuerMissing, &home),
        CallbackError::OtherIssuer => fail(StatusCode::BAD_REQUEST, LoginFailure::OtherIssuer, &home),
        CallbackError::Denied { code, target, .. } => {
            let (status, denial) = denial(code);
            fail(status, LoginFailure::Refused(denial), &retry(target))
        }
        CallbackError::Provider { error: OidcError::NotReady | OidcError::Unreachable(_), target } => {
            away(app, &retry(target), html, request_id)
        }
        CallbackError::Provider { error, target } => fail(StatusCode::BAD_GATEWAY, provider(error), &retry(target)),
        CallbackError::Identity { target, .. } => {
            fail(StatusCode::BAD_GATEWAY, LoginFailure::NoSubject, &retry(target))
        }
        CallbackError::Loop => {
            let page = Page::LoginLoop { application: &app.name, home_url: &home };
            reply::page(StatusCode::BAD_REQUEST, &page, html, request_id)
        }
        CallbackError::Store(_) => store(app, html, request_id),
        CallbackError::Start(StartError::Provider(OidcError::NotReady | OidcError::Unreachable(_))) => {
            away(app, &home, html, request_id)
        }
        CallbackError::Entropy(_) | CallbackError::Start(_) => {
            fail(StatusCode::INTERNAL_SERVER_ERROR, LoginFailure::NoSession, &home)
        }
    }
}

/// What an operator can do about the error, where the error itself does not say it; a field of the log line.
fn operators_hint(error: &CallbackError) -> Option<&'static str> {
    match error {
        // RFC 6749 §4.1.2.1: metadata name scopes that a registration may not have.
        CallbackError::Denied { code, .. } if code == "invalid_scope" => Some(
            "if the provider says so too, allow the scopes there, or ask for less: identity_provider.scopes, \
             identity_provider.offline_access = \"never\"",
        ),
        CallbackError::Provider { error, .. } => {
            let failure = provider(error);
            matches!(failure, LoginFailure::InvalidToken(_) | LoginFailure::ClientRefused).then(|| failure.hint())
        }
        _ => None,
    }
}

/// The error codes of RFC 6749 §4.1.2.1 and OIDC Core §3.1.2.6.
fn denial(code: &str) -> (StatusCode, ProviderRefusal) {
    match code {
        "access_denied" => (StatusCode::FORBIDDEN, ProviderRefusal::AccessDenied),
        "login_required" | "interaction_required" | "consent_required" | "account_selection_required" => {
            (StatusCode::BAD_REQUEST, ProviderRefusal::InteractionRequired)
        }
        "server_error" | "temporarily_unavailable" => (StatusCode::BAD_GATEWAY, ProviderRefusal::ServerError),
        _ => (StatusCode::BAD_REQUEST, ProviderRefusal::Other),
    }
}

/// Why the provider, or its answer, did not sign the user in.
fn provider(error: &OidcError) -> LoginFailure {
    match error {
        // Keycloak calls a wrong secret unauthorized_client.
        OidcError::Refused { code, .. } if code == "invalid_client" || code == "unauthorized_client" => {
            LoginFailure::ClientRefused
        }
        OidcError::Refused { code, .. } if code == "invalid_grant" => LoginFailure::CodeRefused,
        OidcError::InvalidToken(flaw) | OidcError::InvalidUserinfo(flaw) => LoginFailure::InvalidToken(flaw.remedy()),
        OidcError::ScopeNotGranted(_) => LoginFailure::ScopeNotGranted,
        OidcError::IssuerMismatch { .. } => LoginFailure::IssuerMismatch,
        OidcError::Refused { .. }
        | OidcError::NotReady
        | OidcError::Unreachable(_)
        | OidcError::Malformed(_)
        | OidcError::Configuration(_) => LoginFailure::NotAccepted,
    }
}
