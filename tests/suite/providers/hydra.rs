//! Ory Hydra: login and consent are the test's own, which accepts them over the administration API.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::{Url, form_urlencoded};

use super::whole::is_healthy;
use crate::support::port::reserved_address;
use crate::support::tool::{self, Running, START_DEADLINE};
use crate::support::{Browser, Reply};

/// A running provider, where one client is registered.
#[derive(Debug)]
pub(super) struct Hydra {
    pub(super) issuer: String,
    pub(super) address: SocketAddr,
    administration: SocketAddr,
    _running: Running,
    _folder: TempDir,
}

impl Hydra {
    pub(super) const CLIENT_ID: &str = "proxy";
    pub(super) const CLIENT_SECRET: &str = "the-secret_of.a-test";
    /// What our client may ask tokens for.
    pub(super) const AUDIENCE: &str = "https://api.example.com";

    /// Starts a provider that knows the application at `origin`; its access tokens are `opaque` or `jwt`.
    pub(super) async fn start(origin: &str, access_tokens: &str) -> Self {
        let (address, administration) = (reserved_address(), reserved_address());
        let folder = tempfile::tempdir().unwrap();
        let issuer = format!("http://idp.localhost:{}", address.port());
        let database = folder.path().join("database");
        let migrated = command(&database).args(["migrate", "sql", "up", "-e", "--yes"]).status().unwrap();
        assert!(migrated.success(), "{migrated}");
        let mut serve = command(&database);
        serve
            .args(["serve", "all", "--dev"])
            .env("URLS_SELF_ISSUER", &issuer)
            .env("URLS_LOGIN", "http://people.localhost/login")
            .env("URLS_CONSENT", "http://people.localhost/consent")
            .env("URLS_LOGOUT", "http://people.localhost/logout")
            .env("SECRETS_SYSTEM", "0123456789abcdef0123456789abcdef")
            .env("STRATEGIES_ACCESS_TOKEN", access_tokens)
            .env("SERVE_PUBLIC_HOST", "127.0.0.1")
            .env("SERVE_PUBLIC_PORT", address.port().to_string())
            .env("SERVE_ADMIN_HOST", "127.0.0.1")
            .env("SERVE_ADMIN_PORT", administration.port().to_string());
        let mut running = Running::start(serve, folder.path());
        for address in [administration, address] {
            running.until_ready("Hydra", START_DEADLINE, async || is_healthy(address).await).await;
        }
        let provider = Self { issuer, address, administration, _running: running, _folder: folder };
        let client = json!({
            "client_id": Self::CLIENT_ID, "client_secret": Self::CLIENT_SECRET,
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"], "response_types": ["code"],
            "scope": "openid profile email groups offline_access", "audience": [Self::AUDIENCE],
            "redirect_uris": [format!("{origin}/outpost.goauthentik.io/callback?X-authentik-auth-callback=true")],
            "post_logout_redirect_uris": [format!("{origin}/outpost.goauthentik.io/signed_out")],
            "token_endpoint_auth_method": "client_secret_basic",
        });
        provider.admin(Method::POST, "/admin/clients", &client).await.is(201);
        provider
    }

    /// One call of the administration API.
    pub(super) async fn admin(&self, method: Method, path: &str, body: &Value) -> Reply {
        let mut admin = Browser::new().route("*", self.administration);
        let body = (!body.is_null()).then(|| body.to_string());
        let headers = [("content-type", "application/json")];
        admin.send(method, &format!("http://administration{path}"), &headers, body.as_deref()).await
    }

    /// An access token of a user for [`Self::AUDIENCE`], as a program gets it that signs in like the application.
    pub(super) async fn access_token(&self, user: &str, scope: &str) -> String {
        let redirect_uri = "https://app.example.com/outpost.goauthentik.io/callback?X-authentik-auth-callback=true";
        let mut authorization = Url::parse(&format!("{}/oauth2/auth", self.issuer)).unwrap();
        authorization.query_pairs_mut().extend_pairs([
            ("client_id", Self::CLIENT_ID),
            ("response_type", "code"),
            ("scope", scope),
            ("redirect_uri", redirect_uri),
            ("audience", Self::AUDIENCE),
            ("state", "a-state-of-some-length"),
        ]);
        let mut browser = Browser::new().route("*", self.address);
        let code = self.sign_in_for(&mut browser, &authorization, user, scope).await.parameter("code").unwrap();
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", redirect_uri)])
            .finish();
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", Self::CLIENT_ID, Self::CLIENT_SECRET)));
        let endpoint = format!("{}/oauth2/token", self.issuer);
        let reply = browser.send(Method::POST, &endpoint, &[("authorization", &basic)], Some(&form)).await;
        reply.is(200).json()["access_token"].as_str().unwrap().to_owned()
    }

    /// Answers an authorization request as a person and their consent would, up to the redirect that leaves Hydra.
    pub(super) async fn sign_in(&self, browser: &mut Browser, authorization: &Url, user: &str) -> Reply {
        self.sign_in_for(browser, authorization, user, "openid profile email groups offline_access").await
    }

    async fn sign_in_for(&self, browser: &mut Browser, authorization: &Url, user: &str, scope: &str) -> Reply {
        let asked = browser.get(authorization.as_str()).await;
        let accepted = json!({"subject": user, "remember": true, "remember_for": 3600});
        let asked = self.accept(browser, "login", &asked, &accepted).await;
        let groups = if user == "alice" { json!(["admins", "staff"]) } else { json!(["staff"]) };
        let claims = json!({"preferred_username": user, "email": format!("{user}@example.test"), "groups": groups});
        let accepted = json!({
            "grant_scope": scope.split(' ').collect::<Vec<_>>(), "grant_access_token_audience": [Self::AUDIENCE],
            "session": {"id_token": claims},
        });
        self.accept(browser, "consent", &asked, &accepted).await
    }

    /// Accepts what Hydra asks its login or consent page, and follows to where it sends the browser next.
    async fn accept(&self, browser: &mut Browser, kind: &str, asked: &Reply, accepted: &Value) -> Reply {
        let challenge = asked.parameter(&format!("{kind}_challenge"));
        let challenge = challenge.unwrap_or_else(|| panic!("no {kind}_challenge in {asked:#?}"));
        let path = format!("/admin/oauth2/auth/requests/{kind}/accept?{kind}_challenge={challenge}");
        let answer = self.admin(Method::PUT, &path, accepted).await;
        browser.get(answer.is(200).json()["redirect_to"].as_str().unwrap()).await
    }

    /// Adds a signing key for ID tokens; the old ones stay published.
    pub(super) async fn rotate(&self) {
        let key = json!({"alg": "RS256", "use": "sig", "kid": "the-new-key"});
        self.admin(Method::POST, "/admin/keys/hydra.openid.id-token", &key).await.is(201);
    }
}

fn command(database: &Path) -> Command {
    let mut command = tool::command("hydra");
    let options = "_fk=true&mode=rwc&_busy_timeout=5000&_journal_mode=WAL";
    command
        .env("DSN", format!("sqlite://{}?{options}", database.display()))
        .env("LOG_LEVEL", "error")
        .env("SQA_OPT_OUT", "true");
    command
}
