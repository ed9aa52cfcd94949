//! Credentials that do not count (RFC 6750 §3, RFC 7617 §2).

use http::header::{CACHE_CONTROL, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::credentials::Scheme;
use crate::http::outcome::{BadCredentials, CredentialError};
use crate::http::reply::{self, ACTION, Answer};
use crate::pages::text;
use crate::telemetry::RequestId;

/// A window of failures, in seconds.
const LIMITED_FOR: HeaderValue = HeaderValue::from_static("60");

/// For clients that see the body.
pub(super) fn as_json(bad: &BadCredentials<'_>, request_id: RequestId) -> Answer {
    let (status, error, message) = match (bad.error, bad.scheme) {
        (CredentialError::Invalid, Scheme::Bearer) => (StatusCode::UNAUTHORIZED, "invalid_token", text::INVALID_TOKEN),
        (CredentialError::Invalid, Scheme::Basic) => {
            (StatusCode::UNAUTHORIZED, "invalid_credentials", text::INVALID_CREDENTIALS)
        }
        (CredentialError::Scope(_), _) => (StatusCode::FORBIDDEN, "insufficient_scope", text::INSUFFICIENT_SCOPE),
        (CredentialError::Limited, _) => (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", text::TOO_MANY_ATTEMPTS),
    };
    let id = request_id.to_string();
    let body = json!({"error": error, "message": message, "request_id": id});
    let mut answer = reply::with_request_id(reply::json_body(&body), id);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut answer = about(answer, bad);
    if matches!(bad.error, CredentialError::Limited) {
        answer.headers_mut().insert(RETRY_AFTER, LIMITED_FOR);
        return answer;
    }
    reply::with_scheme(answer, challenge(bad))
}

/// For nginx, which passes on no 429.
pub(super) fn as_status(bad: &BadCredentials<'_>) -> Answer {
    let status = match bad.error {
        CredentialError::Invalid | CredentialError::Limited => StatusCode::UNAUTHORIZED,
        CredentialError::Scope(_) => StatusCode::FORBIDDEN,
    };
    reply::with_scheme(about(reply::empty(status), bad), challenge(bad))
}

/// "Higher privileges than provided by the access token" (RFC 6750 §3.1), whatever they are.
pub(super) fn with_insufficient_scope(answer: Answer, resource: Option<String>) -> Answer {
    match resource {
        Some(resource) => {
            let challenge = format!("Bearer error=\"insufficient_scope\", resource_metadata=\"{resource}\"");
            reply::with_scheme(answer, challenge)
        }
        None => answer,
    }
}

/// No login page helps.
fn about(mut answer: Answer, bad: &BadCredentials<'_>) -> Answer {
    answer.headers_mut().insert(ACTION, HeaderValue::from_static("challenge"));
    reply::with_cors(answer, bad.origin)
}

fn challenge(bad: &BadCredentials<'_>) -> String {
    let BadCredentials { error, scheme, realm, resource, origin: _ } = bad;
    match (error, scheme) {
        (CredentialError::Scope(scopes), _) => {
            let scopes = scopes.join(" ");
            format!("Bearer error=\"insufficient_scope\", scope=\"{scopes}\", resource_metadata=\"{resource}\"")
        }
        (CredentialError::Invalid | CredentialError::Limited, Scheme::Bearer) => {
            format!("Bearer error=\"invalid_token\", resource_metadata=\"{resource}\"")
        }
        (CredentialError::Invalid | CredentialError::Limited, Scheme::Basic) => {
            format!("Basic realm=\"{realm}\", charset=\"UTF-8\"")
        }
    }
}
