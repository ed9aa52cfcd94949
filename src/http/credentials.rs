//! Programs: what they show in `Authorization`, and how they learn where to get it.

use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL,
    RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};

use super::check::{Checked, User, client_for};
use super::outpost::Outpost;
use super::refusal::forbid;
use super::reply::{self, ACTION, Answer};
use super::request::Received;
use super::route::WELL_KNOWN_RESOURCE;
use super::verdict::Verdict;
use crate::access::{Because, Decision, decide};
use crate::app::{AcceptedTokens, Bearer};
use crate::app::{Application, OUTPOST_PATH};
use crate::forwarded::{Dialect, OriginalRequest};
use crate::host::Host;
use crate::oidc::IdentityProvider;
use crate::oidc::Provider;
use crate::pages::{Page, text};
use crate::token::{Bad, Outcome, Presented, Scheme};
use crate::world::UnixTime;

/// A window of failures, in seconds.
const LIMITED_FOR: HeaderValue = HeaderValue::from_static("60");

/// Long enough to spare requests, short enough for a change of the settings.
const CACHEABLE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// A credential that was looked at.
pub(super) struct Shown<'o> {
    pub(super) accepted: &'o AcceptedTokens,
    pub(super) scheme: Scheme,
    pub(super) outcome: Outcome,
}

/// What the request shows of what `app` accepts.
pub(super) fn presented<'o, 'r>(
    app: &'o Application,
    received: &Received<'r>,
) -> Option<(&'o AcceptedTokens, Presented<'r>)> {
    let accepted = app.tokens.as_deref()?;
    Some((accepted, Presented::find(accepted, &received.parts.headers)?))
}

impl Outpost {
    /// Answers a request that shows a credential: it counts, whatever cookie lies beside it.
    pub(super) fn judge_credentials<'o>(
        &self,
        dialect: Dialect,
        app: &'o Arc<Application>,
        original: &OriginalRequest<'_>,
        shown: Shown<'_>,
        received: &Received<'_>,
        now: UnixTime,
    ) -> Checked<'o> {
        let session = match &shown.outcome {
            Outcome::Good(session) => Some(session),
            Outcome::Bad(_) => None,
        };
        let user = session.map(|session| User::Session(Arc::clone(session)));
        let checked = |answer, verdict, permit| Checked { answer, permit, verdict, app: Some(app), user };
        let request = app.access_request(original, client_for(app, received));
        let refusal = match (decide(&app.policy, &request, session, now), &shown.outcome) {
            (Decision::Allow(permit), _) => {
                return checked(self.allow(app, &permit, now), Verdict::Allow, Some(permit));
            }
            // What is public asks nobody who he is, and may have tokens of its own.
            (Decision::Pass(permit), _) => return checked(self.allow(app, &permit, now), Verdict::Pass, Some(permit)),
            (Decision::Forbid(forbidden), outcome) => {
                let mut answer = forbid(dialect, app, original, &forbidden, received);
                let is_bearer = shown.scheme == Scheme::Bearer && matches!(outcome, Outcome::Good(_));
                if is_bearer && forbidden.because == Because::NotEntitled {
                    // "Higher privileges than provided by the access token" (RFC 6750 §3.1), whatever they are.
                    let resource = resource_address(app, &original.authority.host);
                    challenge(
                        &mut answer,
                        format!("Bearer error=\"insufficient_scope\", resource_metadata=\"{resource}\""),
                    );
                }
                return checked(answer, Verdict::Forbid, None);
            }
            (Decision::StartLogin(_) | Decision::Challenge(_), Outcome::Bad(bad)) => *bad,
            // No token is made anew for being asked.
            (Decision::StartLogin(_) | Decision::Challenge(_), Outcome::Good(_)) => Bad::Invalid,
        };
        let (answer, verdict) = refuse(dialect, app, original, &shown, refusal, received);
        checked(answer, verdict, None)
    }

    /// Whether a valid session counts before this credential: the operator says so, or it is plainly the application's own.
    pub(super) fn yields(&self, app: &Application, accepted: &AcceptedTokens, presented: Presented<'_>) -> bool {
        let foreign = |provider: &Arc<Provider>| presented.is_foreign(accepted, &provider.settings().issuer);
        accepted.prefer_session || self.logins.provider(app).is_some_and(foreign)
    }

    /// What programs must know to get a token for an application (RFC 9728 §2).
    pub(super) fn resource(
        &self,
        app: Option<&Arc<Application>>,
        host: Option<&Host<'_>>,
        received: &Received<'_>,
    ) -> (Answer, &'static str) {
        let path = received.parts.uri.path();
        let found = app.and_then(|app| {
            let accepted = app.tokens.as_deref().filter(|it| it.bearer != Bearer::Off)?;
            let resource = resource_at(app, accepted, own_host(app, host), path)?;
            let provider = self.logins.provider(app)?.settings();
            Some(metadata(app, accepted, resource, provider))
        });
        let Some(document) = found else {
            return (reply::with_request_id(reply::not_found(), received.id.to_string()), "not_found");
        };
        let mut answer = match received.parts.method {
            Method::GET | Method::HEAD => reply::json_body(&document),
            Method::OPTIONS => reply::alive(),
            _ => reply::empty(StatusCode::METHOD_NOT_ALLOWED),
        };
        let headers = answer.headers_mut();
        let methods = HeaderValue::from_static("GET, HEAD, OPTIONS");
        if received.parts.method == Method::OPTIONS {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
        }
        headers.insert(ALLOW, methods);
        // It is the same for everybody, and holds no secret.
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(CACHE_CONTROL, CACHEABLE);
        (answer, "resource_metadata")
    }
}

fn refuse(
    dialect: Dialect,
    app: &Application,
    original: &OriginalRequest<'_>,
    shown: &Shown<'_>,
    bad: Bad,
    received: &Received<'_>,
) -> (Answer, Verdict) {
    let html = original.client.accepts_html();
    let answer = |status, error, message: &str| {
        let mut answer = match dialect {
            Dialect::Nginx => reply::empty(status),
            Dialect::Traefik | Dialect::Caddy | Dialect::Envoy => {
                let id = received.id.to_string();
                let body = json!({"error": error, "message": message, "request_id": id});
                let mut answer = reply::with_request_id(reply::json_body(&body), id);
                *answer.status_mut() = status;
                answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                answer
            }
        };
        // No login page helps.
        answer.headers_mut().insert(ACTION, HeaderValue::from_static("challenge"));
        match original.client.origin().filter(|origin| app.policy.cors().allows(Some(origin))) {
            Some(origin) => reply::with_cors(answer, origin),
            None => answer,
        }
    };
    let resource = resource_address(app, &original.authority.host);
    let unauthorized = |error, message: &str| {
        let mut answer = answer(StatusCode::UNAUTHORIZED, error, message);
        match shown.scheme {
            Scheme::Bearer => {
                challenge(&mut answer, format!("Bearer error=\"invalid_token\", resource_metadata=\"{resource}\""));
            }
            Scheme::Basic => challenge(&mut answer, format!("Basic realm=\"{}\", charset=\"UTF-8\"", app.slug)),
        }
        (answer, Verdict::BadCredentials)
    };
    match bad {
        Bad::Invalid if shown.scheme == Scheme::Bearer => unauthorized("invalid_token", text::INVALID_TOKEN),
        Bad::Invalid => unauthorized("invalid_credentials", text::INVALID_CREDENTIALS),
        Bad::Scope => {
            let mut answer = answer(StatusCode::FORBIDDEN, "insufficient_scope", text::INSUFFICIENT_SCOPE);
            let scopes = shown.accepted.scopes.join(" ");
            let text =
                format!("Bearer error=\"insufficient_scope\", scope=\"{scopes}\", resource_metadata=\"{resource}\"");
            challenge(&mut answer, text);
            (answer, Verdict::Forbid)
        }
        // nginx passes on no 429.
        Bad::Limited if dialect == Dialect::Nginx => unauthorized("too_many_attempts", ""),
        Bad::Limited => {
            let mut answer = answer(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", text::TOO_MANY_ATTEMPTS);
            answer.headers_mut().insert(RETRY_AFTER, LIMITED_FOR);
            (answer, Verdict::BadCredentials)
        }
        Bad::Unknown => {
            let page = Page::ProviderAway { application: &app.name, retry_url: &app.external_host.url() };
            (reply::page(StatusCode::SERVICE_UNAVAILABLE, &page, html, received.id), Verdict::ProviderAway)
        }
    }
}

fn challenge(answer: &mut Answer, text: String) {
    if let Ok(value) = HeaderValue::try_from(text) {
        answer.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
}

/// Names the metadata on a 401, where a bearer token would help (RFC 9728 §5.1).
pub(super) fn name_resource(app: &Application, host: &Host<'_>, answer: &mut Answer) {
    let Some(accepted) = app.tokens.as_deref() else {
        return;
    };
    if accepted.bearer == Bearer::Off
        || answer.status() != StatusCode::UNAUTHORIZED
        || is_about_credentials(answer.headers())
    {
        return;
    }
    challenge(answer, format!("Bearer resource_metadata=\"{}\"", resource_address(app, host)));
}

/// Whether the answer names a scheme of programs already.
fn is_about_credentials(headers: &HeaderMap) -> bool {
    let named = headers.get(WWW_AUTHENTICATE).map_or(&[][..], HeaderValue::as_bytes);
    named.starts_with(b"Bearer ") || named.starts_with(b"Basic ")
}

fn resource_address(app: &Application, host: &Host<'_>) -> String {
    format!("{}{OUTPOST_PATH}/oauth-protected-resource", app.resource(own_host(app, Some(host))))
}

/// `host`, where it is the application's.
fn own_host<'h>(app: &'h Application, host: Option<&'h Host<'h>>) -> &'h Host<'h> {
    host.filter(|host| app.owns(host)).unwrap_or(&app.external_host.host)
}

/// The resource whose metadata is at `path`: the application, or a part of it that is an audience of its own.
fn resource_at(app: &Application, accepted: &AcceptedTokens, host: &Host<'_>, path: &str) -> Option<String> {
    let whole = app.resource(host);
    let Some(part) = path.strip_prefix(WELL_KNOWN_RESOURCE) else {
        return Some(whole);
    };
    let base_path = app.external_host.base_path.as_str();
    if part.strip_suffix('/').unwrap_or(part) == base_path {
        return Some(whole);
    }
    let part = format!("{}{part}", whole.strip_suffix(base_path)?);
    accepted.audiences.contains(&part).then_some(part)
}

fn metadata(
    app: &Application,
    accepted: &AcceptedTokens,
    resource: String,
    provider: &IdentityProvider,
) -> Map<String, Value> {
    let mut document = Map::new();
    let mut add = |name: &str, value| document.insert(name.to_owned(), value);
    let servers: Vec<_> = std::iter::once(provider.issuer.as_str())
        .chain(accepted.issuers.iter().map(|issuer| issuer.issuer.as_str()))
        .collect();
    add("resource", Value::String(resource));
    add("resource_name", json!(app.name));
    add("authorization_servers", json!(servers));
    add("bearer_methods_supported", json!(["header"]));
    // With the provider's own, a token names its user; what brings refresh tokens is not of the application.
    let named = provider.scopes.iter().filter(|scope| *scope != "offline_access" && !accepted.scopes.contains(scope));
    add("scopes_supported", json!(accepted.scopes.iter().chain(named).collect::<Vec<_>>()));
    // Not of the RFC: by which client a command-line program gets a token.
    if let Some(client) = &provider.cli_client_id {
        add("forepost_cli_client_id", json!(client));
    }
    document
}
