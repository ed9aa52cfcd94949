//! Answers: the one place where statuses, headers and bodies are put together.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, CACHE_CONTROL,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, PRAGMA, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, VARY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use crate::pages::{Page, text};
use crate::serve::{Body, body};
use crate::telemetry::RequestId;

/// What we answer with.
pub(super) type Answer = Response<Body>;

/// Tells nginx and HAProxy, which cannot see a body, whether a redirect would help.
pub(super) const ACTION: HeaderName = HeaderName::from_static("x-forepost-action");

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A browser must not take a body for something else than it is called.
const NO_SNIFFING: HeaderValue = HeaderValue::from_static("nosniff");

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// As many header fields as an answer with a body has.
const USUAL_FIELDS: usize = 6;

/// Room for a body of JSON with a login URL in it, in bytes.
const USUAL_BODY: usize = 512;

/// Seconds after which it makes sense to try again.
const TRY_AGAIN: HeaderValue = HeaderValue::from_static("5");

/// An answer without a body that is not a 2xx.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(body::empty());
    *answer.status_mut() = refusing(status);
    answer.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    answer
}

/// 503 without a body.
pub(super) fn unavailable() -> Answer {
    let mut answer = empty(StatusCode::SERVICE_UNAVAILABLE);
    answer.headers_mut().insert(RETRY_AFTER, TRY_AGAIN);
    answer
}

/// 204, for liveness.
pub(super) fn alive() -> Answer {
    let mut answer = Response::new(body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

/// To another place, absolutely; after a POST with 303, so that a GET follows.
pub(super) fn redirect(location: &str, after_post: bool, cookies: Vec<HeaderValue>) -> Answer {
    let mut answer = empty(if after_post { StatusCode::SEE_OTHER } else { StatusCode::FOUND });
    if let Ok(location) = HeaderValue::try_from(location) {
        answer.headers_mut().insert(LOCATION, location);
    }
    // Other sites must not see the URL of the login.
    answer.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    with_cookies(answer, cookies)
}

/// A page for people, or the same as JSON for programs.
pub(super) fn page(status: StatusCode, page: &Page<'_>, html: bool, request_id: RequestId) -> Answer {
    let request_id = request_id.to_string();
    let mut answer = if html {
        let html = page.render(&request_id);
        let mut answer = Response::new(body::full(html.body));
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(CONTENT_SECURITY_POLICY, html.csp);
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        answer
    } else {
        let body = json!({"error": page.error_code(), "message": page.message(), "request_id": request_id});
        json_body(&body)
    };
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFFING);
    headers.insert(CACHE_CONTROL, NO_STORE);
    if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
        headers.insert(RETRY_AFTER, TRY_AGAIN);
    }
    with_request_id(answer, request_id)
}

/// 401 for a client that could not use a login page; the body names where a login begins.
pub(super) fn challenge(login_url: &str, request_id: RequestId) -> Answer {
    let request_id = request_id.to_string();
    let mut answer = json_body(&LoginRequired {
        error: "login_required",
        message: text::LOGIN_REQUIRED,
        login_url,
        request_id: &request_id,
    });
    *answer.status_mut() = StatusCode::UNAUTHORIZED;
    answer.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    with_request_id(with_challenge(answer), request_id)
}

#[derive(Serialize)]
struct LoginRequired<'a> {
    error: &'static str,
    message: &'static str,
    login_url: &'a str,
    request_id: &'a str,
}

/// The 401 that nginx turns into what its configuration says: no body, the login address in `Location`.
pub(super) fn nginx_challenge(login_url: &str, redirect: bool) -> Answer {
    let mut answer = with_challenge(empty(StatusCode::UNAUTHORIZED));
    let headers = answer.headers_mut();
    if let Ok(location) = HeaderValue::try_from(login_url) {
        headers.insert(LOCATION, location);
    }
    headers.insert(ACTION, HeaderValue::from_static(if redirect { "redirect" } else { "challenge" }));
    answer
}

/// Lets a page of `origin`, where there is one that is allowed, read the answer, `WWW-Authenticate` included.
pub(super) fn with_cors(mut answer: Answer, origin: Option<&str>) -> Answer {
    if let Some(Ok(origin)) = origin.map(HeaderValue::try_from) {
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("WWW-Authenticate, Location"));
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
    answer
}

/// Adds `Set-Cookie` fields.
pub(super) fn with_cookies(mut answer: Answer, cookies: Vec<HeaderValue>) -> Answer {
    for cookie in cookies {
        answer.headers_mut().append(SET_COOKIE, cookie);
    }
    answer
}

/// The answer to a logout token that was obeyed (OpenID Connect Back-Channel Logout 1.0 §2.8).
pub(super) fn logged_out() -> Answer {
    never_stored(Response::new(body::empty()))
}

/// The answer to a logout token that was not obeyed; `temporary` says that it may be sent again.
pub(super) fn not_logged_out(temporary: bool, request_id: RequestId) -> Answer {
    let (status, error) = if temporary {
        (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable")
    } else {
        (StatusCode::BAD_REQUEST, "invalid_request")
    };
    let request_id = request_id.to_string();
    let description = text::not_logged_out(&request_id);
    let mut answer = never_stored(json_body(&json!({"error": error, "error_description": description})));
    *answer.status_mut() = status;
    if temporary {
        answer.headers_mut().insert(RETRY_AFTER, TRY_AGAIN);
    }
    with_request_id(answer, request_id)
}

/// An empty page that may stand in a frame of any site, as a provider's page of logouts has it.
pub(super) fn left(cookie: Option<HeaderValue>) -> Answer {
    let mut answer = never_stored(Response::new(body::full("<!doctype html><title>Signed out</title>")));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let policy = "default-src 'none'; form-action 'none'; frame-ancestors *; base-uri 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFFING);
    with_cookies(answer, cookie.into_iter().collect())
}

/// 405, where `allowed` alone makes sense.
pub(super) fn wrong_method(allowed: &'static str) -> Answer {
    let mut answer = never_stored(empty(StatusCode::METHOD_NOT_ALLOWED));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// As caches of old understand it, too.
fn never_stored(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    answer
}

/// 404 for paths that do not exist.
pub(super) fn not_found() -> Answer {
    let mut answer = json_body(&json!({"error": "not_found", "message": text::NOT_FOUND}));
    *answer.status_mut() = StatusCode::NOT_FOUND;
    answer
}

/// A status that lets no request pass: 401 in the place of a 2xx.
pub(super) fn refusing(status: StatusCode) -> StatusCode {
    if status.is_success() { StatusCode::UNAUTHORIZED } else { status }
}

fn with_challenge(mut answer: Answer) -> Answer {
    // A scheme of its own: browsers must not ask for a password, and the session is a cookie.
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Cookie realm=\"forepost\""));
    answer
}

/// Names a scheme of programs in the place of any other (RFC 9110 §11.6.1).
pub(super) fn with_scheme(mut answer: Answer, challenge: String) -> Answer {
    if let Ok(value) = HeaderValue::try_from(challenge) {
        answer.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    answer
}

pub(super) fn with_request_id(mut answer: Answer, request_id: String) -> Answer {
    if let Ok(id) = HeaderValue::try_from(request_id) {
        answer.headers_mut().insert(REQUEST_ID, id);
    }
    answer
}

pub(super) fn json_body(value: &impl Serialize) -> Answer {
    let mut json = Vec::with_capacity(USUAL_BODY);
    // Writing to memory cannot fail, nor can texts as JSON.
    let _ = serde_json::to_writer(&mut json, value);
    let mut answer = Response::new(body::full(json));
    let headers = answer.headers_mut();
    headers.reserve(USUAL_FIELDS);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFFING);
    answer
}
