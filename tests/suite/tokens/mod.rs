//! Programs: bearer tokens, app passwords, and how they learn where to get them.

mod beside;
mod metadata;
mod opaque;
mod passwords;
mod signed;

use http::Method;
use serde_json::{Map, Value, json};

use crate::provider::{Config, Provider};
use crate::support::{Browser, Reply, Stage, ask, client};

const APP: &str = "https://app.example.com/page";

/// One application for each way; all at one provider.
const APPLICATIONS: &str = r#"
[[application]]
slug = "app"
external_host = "https://app.example.com"
public_paths = [{ prefix = "/public" }]
[application.tokens]
bearer = "jwt"
accept_clients = ["friend"]
audiences = ["https://app.example.com/mcp"]

[[application]]
slug = "opaque"
external_host = "https://opaque.example.com"
required_groups = ["admins"]
[application.tokens]
bearer = "both"
[[application.rule]]
paths = [{ prefix = "/settings" }]
require = { scopes = ["settings"] }

[[application]]
slug = "scoped"
external_host = "https://scoped.example.com"
[application.tokens]
bearer = "introspection"
scopes = ["write"]

[[application]]
slug = "password"
external_host = "https://password.example.com"
[application.tokens]
basic = "authentik"

[[application]]
slug = "own"
external_host = "https://own.example.com"
[application.tokens]
bearer = "jwt"
basic = "authentik"
prefer_session = true

[[application]]
slug = "unnamed"
external_host = "https://unnamed.example.com"
[application.tokens]
bearer = "both"
accept_clients = ["friend"]
allow_unnamed = true

[[application]]
slug = "denying"
external_host = "https://denying.example.com"
[application.tokens]
bearer = "both"
[[application.rule]]
when = "identity != null && 'suspended' in identity.claims"
deny = true

[[application]]
slug = "plain"
external_host = "https://plain.example.com"
"#;

async fn stage() -> Stage {
    stage_with("cli_client_id = \"cli\"").await
}

/// With this in the table of the provider.
async fn stage_with(settings: &str) -> Stage {
    let origins = ["app", "opaque", "own", "plain"].map(|name| format!("https://{name}.example.com"));
    let origins: Vec<_> = origins.iter().map(String::as_str).collect();
    let config = Config { clients: vec![client("proxy", Some("proxy-secret"), &origins)], ..Config::default() };
    let provider = Provider::start(config).await.unwrap();
    Stage::of(provider, "proxy-secret", settings, APPLICATIONS).await
}

/// Asks with this `Authorization`, as a program does.
async fn show(stage: &Stage, dialect: &str, url: &str, authorization: &str) -> Reply {
    let headers = [("authorization", authorization), ("accept", "*/*")];
    ask(dialect, &mut stage.browser(), Method::GET, url, &headers).await
}

async fn bearer(stage: &Stage, url: &str, token: &str) -> Reply {
    show(stage, "traefik", url, &format!("Bearer {token}")).await
}

/// The claims of a good access token for `app`.
fn claims(stage: &Stage) -> Map<String, Value> {
    let now = forepost::world::World::system().now().as_secs();
    let claims = json!({
        "iss": stage.provider.issuer(), "aud": "proxy", "sub": "alice-sub", "client_id": "some-client",
        "iat": now, "exp": now + 600, "scope": "openid read",
        "preferred_username": "alice", "email": "alice@example.com", "groups": ["users", "admins"],
    });
    claims.as_object().cloned().unwrap()
}

/// 401 with the challenge of RFC 6750, and nothing that leads to a login or is kept.
#[track_caller]
fn refused(reply: &Reply, what: &str) {
    assert_eq!(reply.status, 401, "{what}: {reply:#?}");
    let challenge = reply.header("www-authenticate");
    assert!(
        challenge.starts_with("Bearer error=\"invalid_token\", resource_metadata=\"https://"),
        "{what}: {challenge}"
    );
    assert_eq!(reply.header("location"), "", "{what}");
    assert_eq!(reply.header("set-cookie"), "", "{what}");
    assert_eq!(reply.header("x-authentik-username"), "", "{what}");
}

/// A browser with a session at `url`.
async fn signed_in(stage: &Stage, url: &str) -> Browser {
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, url, "alice").await.is(200);
    browser
}
