//! What an application says of itself to programs (RFC 9728), and where its answers name that.

use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};

use super::outpost::Outpost;
use super::reply::{self, Answer};
use super::request::Received;
use super::route::WELL_KNOWN_RESOURCE;
use super::visited::Visited;
use crate::app::{AcceptedTokens, Application, Bearer, OUTPOST_PATH};
use crate::host::Host;
use crate::oidc::IdentityProvider;

/// Long enough to spare requests, short enough for a change of the settings.
const CACHEABLE: HeaderValue = HeaderValue::from_static("public, max-age=300");

impl Outpost {
    /// What programs must know to get a token for an application (RFC 9728 §2).
    pub(super) fn resource(
        app: Option<&Arc<Application>>,
        host: Option<&Host<'_>>,
        received: &Received<'_>,
    ) -> Visited {
        let path = received.parts.uri.path();
        let found = app.and_then(|app| {
            let accepted = app.tokens.as_deref().filter(|it| it.bearer != Bearer::Off)?;
            let resource = resource_at(app, accepted, own_host(app, host), path)?;
            let provider = app.provider.settings();
            Some(metadata(app, accepted, resource, provider))
        });
        let Some(document) = found else {
            let answer = reply::with_request_id(reply::not_found(), received.id.to_string());
            return Visited::new(answer, "not_found");
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
        Visited::new(answer, "resource_metadata")
    }
}

/// Names the metadata on a 401, where a bearer token would help (RFC 9728 §5.1).
pub(super) fn name(app: &Application, host: &Host<'_>, answer: Answer) -> Answer {
    let helps = app.tokens.as_deref().is_some_and(|accepted| accepted.bearer != Bearer::Off);
    if !helps || answer.status() != StatusCode::UNAUTHORIZED || is_about_credentials(answer.headers()) {
        return answer;
    }
    reply::with_scheme(answer, format!("Bearer resource_metadata=\"{}\"", address(app, host)))
}

/// Whether the answer names a scheme of programs already.
fn is_about_credentials(headers: &HeaderMap) -> bool {
    let named = headers.get(WWW_AUTHENTICATE).map_or(&[][..], HeaderValue::as_bytes);
    named.starts_with(b"Bearer ") || named.starts_with(b"Basic ")
}

/// Where the metadata of `app` are, on `host` where that is its own.
pub(super) fn address(app: &Application, host: &Host<'_>) -> String {
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
