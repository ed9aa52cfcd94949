//! What people are told when a login cannot go on; the cause goes to the log once, here.

use http::StatusCode;

use super::reply::{self, Answer};
use crate::app::Application;
use crate::login::{CallbackError, ReturnTarget, StartError, login_url};
use crate::oidc::OidcError;
use crate::pages::Page;
use crate::telemetry::RequestId;

const LOG_HINT: &str = "The log has the cause under the request id below.";

/// No login can begin.
pub(super) fn start(
    app: &Application,
    target: &ReturnTarget,
    error: &StartError,
    html: bool,
    request_id: RequestId,
) -> Answer {
    tracing::warn!(
        %request_id,
        application = %app.slug,
        identity_provider = %app.identity_provider,
        %error,
        "login cannot begin"
    );
    let retry_url = login_url(app, target);
    match error {
        StartError::Provider(OidcError::NotReady | OidcError::Unreachable(_)) => {
            away(app, &retry_url, html, request_id)
        }
        StartError::Provider(_) | StartError::Sealer(_) => {
            let page = Page::LoginFailed {
                application: &app.name,
                reason: "The login could not be begun.",
                hint: LOG_HINT,
                retry_url: &retry_url,
            };
            reply::page(StatusCode::INTERNAL_SERVER_ERROR, &page, html, request_id)
        }
    }
}

/// The session store does not answer.
pub(super) fn store(app: &Application, html: bool, request_id: RequestId) -> Answer {
    let page = Page::LoginFailed {
        application: &app.name,
        reason: "Sessions cannot be looked up at the moment.",
        hint: "The session store does not answer; the log has the cause. Once it does, this page works again by itself.",
        retry_url: &app.external_host.url(),
    };
    reply::page(StatusCode::SERVICE_UNAVAILABLE, &page, html, request_id)
}

/// The session counts only once the provider was asked, and that does not answer.
pub(super) fn unconfirmed(app: &Application, target: &ReturnTarget, html: bool, request_id: RequestId) -> Answer {
    tracing::warn!(
        %request_id,
        application = %app.slug,
        identity_provider = %app.identity_provider,
        "a session waits for the provider to be confirmed (session.revalidate_within)"
    );
    // Not a redirect to a login: the session may be good, and the provider that does not answer may show no login either.
    let page =
        Page::Unconfirmed { application: &app.name, retry_url: target.as_str(), login_url: &login_url(app, target) };
    reply::page(StatusCode::SERVICE_UNAVAILABLE, &page, html, request_id)
}

fn away(app: &Application, retry_url: &str, html: bool, request_id: RequestId) -> Answer {
    let page = Page::ProviderAway { application: &app.name, retry_url };
    reply::page(StatusCode::SERVICE_UNAVAILABLE, &page, html, request_id)
}

/// A callback signed nobody in.
pub(super) fn callback(app: &Application, error: &CallbackError, html: bool, request_id: RequestId) -> Answer {
    tracing::warn!(
        %request_id,
        application = %app.slug,
        identity_provider = %app.identity_provider,
        %error,
        hint = operators_hint(error),
        "login failed"
    );
    let home = app.external_host.url();
    let retry = |target: &ReturnTarget| login_url(app, target);
    let fail = |status, reason, hint, retry_url: &str| {
        let page = Page::LoginFailed { application: &app.name, reason, hint, retry_url };
        reply::page(status, &page, html, request_id)
    };
    match error {
        CallbackError::Malformed(_) => {
            let what = "This address is only for answers of the identity provider.";
            reply::page(StatusCode::BAD_REQUEST, &Page::BadRequest { what }, html, request_id)
        }
        CallbackError::ForeignState => fail(
            StatusCode::BAD_REQUEST,
            "This login is not known here, or no longer.",
            "The state could not be opened: forepost was restarted without session.secret, its replicas have different \
             secrets, or the answer belongs to another application.",
            &home,
        ),
        CallbackError::AttemptGone(target) => {
            let page = Page::CookieMissing { application: &app.name, retry_url: &retry(target) };
            reply::page(StatusCode::BAD_REQUEST, &page, html, request_id)
        }
        CallbackError::IssuerMissing => fail(
            StatusCode::BAD_REQUEST,
            "The answer does not say which identity provider it is from.",
            "It has no iss, which the provider's metadata promise (authorization_response_iss_parameter_supported, RFC 9207): \
             the provider, or a proxy in front of it, leaves it out.",
            &home,
        ),
        CallbackError::OtherIssuer => fail(
            StatusCode::BAD_REQUEST,
            "The answer did not come from the identity provider of this application.",
            "Compare the issuer of the provider with identity_provider.issuer (RFC 9207).",
            &home,
        ),
        CallbackError::Denied { code, target, .. } => {
            let (status, reason) = denial(code);
            fail(
                status,
                reason,
                "The log has the provider's error code and description under the request id below.",
                &retry(target),
            )
        }
        CallbackError::Provider { error: OidcError::NotReady | OidcError::Unreachable(_), target } => {
            away(app, &retry(target), html, request_id)
        }
        CallbackError::Provider { error, target } => {
            fail(StatusCode::BAD_GATEWAY, refusal(error), hint(error), &retry(target))
        }
        CallbackError::Identity { target, .. } => fail(
            StatusCode::BAD_GATEWAY,
            "The identity provider did not say who you are.",
            "The ID token must have a claim named sub that is a text.",
            &retry(target),
        ),
        CallbackError::Loop => {
            let page = Page::LoginLoop { application: &app.name, home_url: &home };
            reply::page(StatusCode::BAD_REQUEST, &page, html, request_id)
        }
        CallbackError::Store(_) => store(app, html, request_id),
        CallbackError::Start(StartError::Provider(OidcError::NotReady | OidcError::Unreachable(_))) => {
            away(app, &home, html, request_id)
        }
        CallbackError::Entropy(_) | CallbackError::Start(_) => {
            fail(StatusCode::INTERNAL_SERVER_ERROR, "The session could not be made.", LOG_HINT, &home)
        }
    }
}

/// What an operator can do about it, where the error itself does not tell.
fn operators_hint(error: &CallbackError) -> Option<&'static str> {
    match error {
        // RFC 6749 §4.1.2.1: metadata name scopes that a registration may not have.
        CallbackError::Denied { code, .. } if code == "invalid_scope" => Some(
            "if the provider says so too, allow the scopes there, or ask for less: identity_provider.scopes, \
             identity_provider.offline_access = \"never\"",
        ),
        CallbackError::Provider { error: OidcError::InvalidToken(flaw) | OidcError::InvalidUserinfo(flaw), .. } => {
            Some(flaw.remedy().text())
        }
        CallbackError::Provider { error, .. } if is_client_refusal(error) => Some(hint(error)),
        _ => None,
    }
}

/// Error codes of RFC 6749 §4.1.2.1 and OIDC Core §3.1.2.6, in words for people.
fn denial(code: &str) -> (StatusCode, &'static str) {
    match code {
        "access_denied" => (StatusCode::FORBIDDEN, "The identity provider did not grant access."),
        "login_required" | "interaction_required" | "consent_required" | "account_selection_required" => {
            (StatusCode::BAD_REQUEST, "The identity provider could not complete the sign-in without you.")
        }
        "server_error" | "temporarily_unavailable" => {
            (StatusCode::BAD_GATEWAY, "The identity provider has a problem at the moment.")
        }
        _ => (StatusCode::BAD_REQUEST, "The identity provider refused the login."),
    }
}

/// What the provider refuses, for the person at the browser.
fn refusal(error: &OidcError) -> &'static str {
    if is_client_refusal(error) {
        "The identity provider refuses this application."
    } else {
        "The identity provider's answer could not be accepted."
    }
}

/// Whether the provider refuses our client; Keycloak calls a wrong secret `unauthorized_client`.
fn is_client_refusal(error: &OidcError) -> bool {
    matches!(error, OidcError::Refused { code, .. } if code == "invalid_client" || code == "unauthorized_client")
}

fn hint(error: &OidcError) -> &'static str {
    match error {
        error if is_client_refusal(error) => {
            "The provider does not accept client_id, client_secret or token_endpoint_auth_method, or the client is disabled there."
        }
        OidcError::Refused { code, .. } if code == "invalid_grant" => {
            "The provider does not accept the code: it was used before, is too old, or the redirect URI differs."
        }
        OidcError::InvalidToken(flaw) | OidcError::InvalidUserinfo(flaw) => flaw.remedy().text(),
        OidcError::ScopeNotGranted(_) => {
            "Sign in again, and agree to all that the application asks for. The log names the scope (identity_provider.scopes)."
        }
        OidcError::IssuerMismatch { .. } => "The issuer differs from identity_provider.issuer; every character counts.",
        OidcError::Refused { .. }
        | OidcError::NotReady
        | OidcError::Unreachable(_)
        | OidcError::Malformed(_)
        | OidcError::Configuration(_) => LOG_HINT,
    }
}
