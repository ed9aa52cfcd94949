//! From the address of an application to the provider that gives tokens for it (RFC 9728, OIDC Discovery).

use http::{HeaderMap, Request, Response, StatusCode, header};
use serde::Deserialize;
use url::Url;

use super::challenge::resource_metadata;
use crate::cli::command_error::CommandError;
use crate::oidc::{HttpClient, Metadata, clean};
use crate::settings::is_loopback;
use crate::telemetry::WithCauses;

/// Where metadata is, if nothing says otherwise (RFC 9728 §3).
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// What an application says about itself (RFC 9728 §2).
#[derive(Debug, Deserialize)]
struct Document {
    resource: String,
    #[serde(default)]
    authorization_servers: Vec<String>,
    #[serde(default)]
    scopes_supported: Vec<String>,
    bearer_methods_supported: Option<Vec<String>>,
    /// Not of the RFC: the client of programs at the first of the servers.
    forepost_cli_client_id: Option<String>,
}

/// What a token is wanted for, and from whom.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// What the application calls itself.
    pub(super) resource: String,
    /// The provider.
    pub(super) issuer: String,
    /// The client that the application names for programs.
    pub(super) client_id: Option<String>,
    /// What the application wants tokens to have.
    pub(super) scopes: Vec<String>,
}

/// Reads a web address that secrets may go to: https, or this machine.
pub(super) fn address(text: &str, what: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{what} is not a web address: {error}"))?;
    let secure = url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url);
    if !secure {
        return Err(format!("{what} has to begin with https:// (http:// will do on this machine)"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("{what} has a user name or a password in it"));
    }
    Ok(url)
}

/// Whether `url` is part of `resource`: same origin, and below its path by whole segments.
///
/// The name of another server must not do: the server at `url` would get a token for that other one.
pub(super) fn covers(resource: &str, url: &Url) -> bool {
    let Ok(resource) = Url::parse(resource) else {
        return false;
    };
    let base = resource.path().strip_suffix('/').unwrap_or(resource.path());
    let below = url.path().strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let plain = resource.query().is_none() && resource.fragment().is_none();
    resource.origin() == url.origin() && plain && below
}

/// Asks the application at `url` where its tokens come from.
pub(super) async fn target(http: &HttpClient, url: &Url) -> Result<Target, CommandError> {
    let answer = get(http, url).await?;
    if answer.status() == StatusCode::UNAUTHORIZED
        && let Some(named) = resource_metadata(challenges(answer.headers()).iter().map(String::as_str))
    {
        let place = address(&named, "what the application names as its metadata").map_err(CommandError::unavailable)?;
        if place.origin() != url.origin() {
            return Err(CommandError::unavailable(format!("{url} names metadata on another host: {place}")));
        }
        let answer = get(http, &place).await?;
        if answer.status() != StatusCode::OK {
            return Err(CommandError::unavailable(format!("{place} answers {}", answer.status())));
        }
        return read(answer.body(), &place, url);
    }
    for path in [format!("{WELL_KNOWN}{}", url.path().trim_end_matches('/')), WELL_KNOWN.to_owned()] {
        let mut place = url.clone();
        place.set_path(&path);
        let answer = get(http, &place).await?;
        if answer.status() == StatusCode::OK && serde_json::from_slice::<Document>(answer.body()).is_ok() {
            return read(answer.body(), &place, url);
        }
    }
    let status = answer.status();
    let hint = if status.is_success() {
        "it needs no token; give an address that does"
    } else {
        "does the application accept tokens (with forepost: application.tokens)?"
    };
    Err(CommandError::unavailable(format!("{url} answers {status} and does not say where to get a token: {hint}")))
}

/// Fetches what the provider says about itself.
pub(super) async fn provider(http: &HttpClient, issuer: &str) -> Result<Metadata, CommandError> {
    address(issuer, "the address of the provider").map_err(CommandError::unavailable)?;
    let place =
        address(&Metadata::address(issuer), "the address of the provider").map_err(CommandError::unavailable)?;
    let answer = get(http, &place).await?;
    if answer.status() != StatusCode::OK {
        return Err(CommandError::unavailable(format!("{place} answers {}", answer.status())));
    }
    Metadata::parse(issuer, answer.body())
        .map_err(|error| CommandError::unavailable(format!("{place}: {}", WithCauses(&error))))
}

async fn get(http: &HttpClient, url: &Url) -> Result<Response<Vec<u8>>, CommandError> {
    let request = Request::get(url.as_str())
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, super::USER_AGENT)
        // No page, please: forepost would begin a login.
        .header("sec-fetch-mode", "cors")
        .body(Vec::new())
        .map_err(|_| CommandError::usage(format!("{url} cannot be asked")))?;
    http.send(request).await.map_err(|none| CommandError::unavailable(format!("{url}: {none}")))
}

fn challenges(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::WWW_AUTHENTICATE).iter();
    values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

fn read(body: &[u8], place: &Url, url: &Url) -> Result<Target, CommandError> {
    let wrong = |why: &str| CommandError::unavailable(format!("{place}: {why}"));
    let document: Document = serde_json::from_slice(body).map_err(|error| wrong(&error.to_string()))?;
    if !covers(&document.resource, url) {
        return Err(wrong(&format!("it is about {}, not about {url}", clean(&document.resource))));
    }
    if document.bearer_methods_supported.is_some_and(|methods| !methods.iter().any(|method| method == "header")) {
        return Err(wrong("the application takes no tokens in Authorization"));
    }
    let issuer = document.authorization_servers.into_iter().next().ok_or_else(|| wrong("it names no provider"))?;
    Ok(Target {
        resource: document.resource,
        issuer,
        client_id: document.forepost_cli_client_id.filter(|id| !id.is_empty()),
        scopes: document.scopes_supported,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_covers(resource: &str, url: &str, expected: bool) {
        assert_eq!(covers(resource, &Url::parse(url).unwrap()), expected, "{resource} {url}");
    }

    #[test]
    fn a_resource_covers_what_is_below_it() {
        check_covers("https://app.test", "https://app.test/", true);
        check_covers("https://app.test/", "https://app.test", true);
        check_covers("https://APP.test:443", "https://app.test/a/b?c", true);
        check_covers("https://app.test/a", "https://app.test/a/b", true);
        check_covers("https://app.test/a/", "https://app.test/a", true);
        check_covers("https://app.test/a", "https://app.test/ab", false);
        check_covers("https://app.test/a", "https://app.test/", false);
        check_covers("https://app.test/a", "https://app.test/a/../b", false);
        check_covers("https://app.test", "http://app.test/", false);
        check_covers("https://app.test:8443", "https://app.test/", false);
        check_covers("https://bank.test", "https://app.test/", false);
        check_covers("https://app.test?x", "https://app.test/", false);
        check_covers("app.test", "https://app.test/", false);
        check_covers("urn:x", "https://app.test/", false);
    }

    #[track_caller]
    fn check_address(text: &str, expected: bool) {
        assert_eq!(address(text, "it").is_ok(), expected, "{text}");
    }

    #[test]
    fn secrets_go_to_https_or_stay_here() {
        check_address("https://app.test/x", true);
        check_address("http://localhost:1/x", true);
        check_address("http://idp.localhost", true);
        check_address("http://127.1.2.3", true);
        check_address("http://[::1]:80/", true);
        check_address("http://app.test/", false);
        check_address("http://localhost.app.test/", false);
        check_address("https://user:pass@app.test/", false);
        check_address("javascript:alert(1)", false);
        check_address("ftp://localhost/", false);
        check_address("app.test", false);
    }

    #[track_caller]
    fn check(document: &str, expected: Result<&str, &str>) {
        let url = Url::parse("https://app.test/api/x").unwrap();
        match (read(document.as_bytes(), &url, &url), expected) {
            (Ok(target), Ok(expected)) => assert_eq!(format!("{target:?}"), expected),
            (Err(failure), Err(expected)) => assert!(failure.message.contains(expected), "{failure:?}"),
            (got, expected) => panic!("{document}: {got:?}, and not {expected:?}"),
        }
    }

    #[test]
    fn metadata_is_about_the_application() {
        check(
            r#"{"resource": "https://app.test", "authorization_servers": ["https://idp.test/", "https://b.test"],
                "scopes_supported": ["a"], "forepost_cli_client_id": "cli", "more": 1}"#,
            Ok("Target { resource: \"https://app.test\", issuer: \"https://idp.test/\", client_id: Some(\"cli\"), \
                scopes: [\"a\"] }"),
        );
        check(
            r#"{"resource": "https://app.test/api", "authorization_servers": ["https://idp.test"],
                "bearer_methods_supported": ["body", "header"], "forepost_cli_client_id": ""}"#,
            Ok(
                "Target { resource: \"https://app.test/api\", issuer: \"https://idp.test\", client_id: None, scopes: [] }",
            ),
        );
        check(
            r#"{"resource": "https://bank.test", "authorization_servers": ["https://idp.test"]}"#,
            Err("https://bank.test"),
        );
        check(r#"{"resource": "https://app.test"}"#, Err("names no provider"));
        check(
            r#"{"resource": "https://app.test", "authorization_servers": ["x"], "bearer_methods_supported": ["body"]}"#,
            Err("Authorization"),
        );
        check(r#"{"authorization_servers": ["x"]}"#, Err("resource"));
        check("<html>", Err("line 1"));
    }
}
