//! How the provider misbehaves: the switches of the faulty provider, all off by default.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::keys::Algorithm;
use super::web::{self, Answer, HangUp};

/// What the provider serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Endpoint {
    /// The metadata document.
    Discovery,
    /// The key set.
    Jwks,
    /// Where a login begins.
    Authorize,
    /// What the login form is sent to.
    Login,
    /// Code against tokens.
    Token,
    /// Claims against an access token.
    Userinfo,
    /// RP-initiated logout.
    EndSession,
    /// The end of a token.
    Revocation,
    /// What a token is worth.
    Introspection,
    /// Where a program begins a login that is confirmed elsewhere.
    DeviceAuthorization,
    /// Where it is confirmed.
    Device,
}

impl Endpoint {
    /// All of them.
    pub(crate) const ALL: [Self; 11] = [
        Self::Discovery,
        Self::Jwks,
        Self::Authorize,
        Self::Login,
        Self::Token,
        Self::Userinfo,
        Self::EndSession,
        Self::Revocation,
        Self::Introspection,
        Self::DeviceAuthorization,
        Self::Device,
    ];

    /// The path behind the issuer.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Discovery => "/.well-known/openid-configuration",
            Self::Jwks => "/jwks",
            Self::Authorize => "/authorize",
            Self::Login => "/login",
            Self::Token => "/token",
            Self::Userinfo => "/userinfo",
            Self::EndSession => "/end-session",
            Self::Revocation => "/revoke",
            Self::Introspection => "/introspect",
            Self::DeviceAuthorization => "/device-authorization",
            Self::Device => "/device",
        }
    }
}

/// The switches; `Behaviour::default()` is a provider without fault.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, not states")]
pub(crate) struct Behaviour {
    /// Everything answers 503.
    pub(crate) down: bool,
    /// Faults of single endpoints.
    pub(crate) faults: HashMap<Endpoint, Fault>,
    /// Changes to the metadata document, its `issuer` and endpoints included.
    pub(crate) metadata: Patch,
    /// What the key set looks like.
    pub(crate) jwks: Jwks,
    /// Changes to the header of ID tokens.
    pub(crate) id_token_header: Patch,
    /// Changes to the claims of ID tokens.
    pub(crate) id_token: Patch,
    /// Send this instead of an ID token.
    pub(crate) id_token_text: Option<String>,
    /// Leave name, email and groups out of ID tokens; userinfo has them.
    pub(crate) user_claims_only_in_userinfo: bool,
    /// How ID tokens are signed; the metadata names it, too.
    pub(crate) algorithm: Algorithm,
    /// Which key they are signed with.
    pub(crate) signing_key: SigningKey,
    /// Sign what userinfo says, in this way and with this key (OIDC Core §5.3.2).
    pub(crate) userinfo_signing: Option<(Algorithm, SigningKey)>,
    /// Changes to the claims at the userinfo endpoint.
    pub(crate) userinfo: Patch,
    /// What access tokens are.
    pub(crate) access_token: AccessTokens,
    /// Changes to the answer of the token endpoint.
    pub(crate) token: Patch,
    /// Changes to what is said of active tokens.
    pub(crate) introspection: Patch,
    /// Every client learns of the tokens of every other, as some providers have it.
    pub(crate) introspection_of_all: bool,
    /// ID tokens are active tokens too, as some providers have it.
    pub(crate) introspection_of_id_tokens: bool,
    /// Take this as the app password of every user, as authentik has them; without it no user has one.
    pub(crate) app_password: Option<&'static str>,
    /// What is different at a refresh.
    pub(crate) refreshing: Refreshing,
    /// How logins go that are confirmed elsewhere.
    pub(crate) device: Device,
    /// Changes to JSON texts, after all others: what no JSON value can say.
    pub(crate) rewrite: Rewrite,
    /// Do not form-decode id and secret of `client_secret_basic`, as some providers do.
    pub(crate) raw_basic: bool,
    /// Answer authorisation requests with this error.
    pub(crate) refuse: Option<&'static str>,
    /// Put error parameters behind a second `?` and the state without escaping, as authentik does.
    pub(crate) malformed_errors: bool,
    /// Changes to `code`, `state`, `iss` of the way back, success or error.
    pub(crate) callback: Patch,
    /// Further text behind the query of the way back: `&code=other`.
    pub(crate) callback_suffix: &'static str,
}

/// What access tokens are: opaque unless changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccessTokens {
    /// JWTs that are made for another recipient (`account`), as Keycloak has them.
    pub(crate) signed: bool,
    /// Changes to their header.
    pub(crate) header: Patch,
    /// Changes to their claims.
    pub(crate) claims: Patch,
    /// Which key they are signed with.
    pub(crate) signing_key: SigningKey,
}

/// How refresh tokens are treated; they come with the scope `offline_access`, and each use brings a new one.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, not states")]
pub(crate) struct Refreshing {
    /// The metadata does not list `offline_access`.
    pub(crate) unannounced: bool,
    /// That scope counts only beside `prompt=consent` (OIDC Core §11).
    pub(crate) needs_consent: bool,
    /// Without that scope there is a refresh token as well, which ends with the provider's own session, as Keycloak has it.
    pub(crate) unasked: bool,
    /// Revoking a refresh token takes the client out of the provider's session without telling anybody, and ends a session
    /// that had no other, as Keycloak has it.
    pub(crate) revocation_leaves_session: bool,
    /// The same refresh token serves again and again.
    pub(crate) keep_token: bool,
    /// The second use of a refresh token only fails, and does not end the grant.
    pub(crate) forgive_reuse: bool,
    /// Refuse with this error; nothing is spent.
    pub(crate) refuse: Option<&'static str>,
    /// Answer without an ID token.
    pub(crate) no_id_token: bool,
    /// Changes to the claims of ID tokens, after those of all ID tokens.
    pub(crate) id_token: Patch,
    /// Changes to the answer, after those of all answers.
    pub(crate) token: Patch,
}

/// The device flow (RFC 8628).
#[derive(Clone, Debug, Default)]
pub(crate) struct Device {
    /// Changes to the answer with the codes; what it says of `expires_in` and `interval` changes nothing here.
    pub(crate) codes: Patch,
    /// Codes end after so many seconds; by default after 600.
    pub(crate) lifetime: Option<u64>,
    /// Device codes that mean something else unless they are form-encoded.
    pub(crate) awkward_codes: bool,
    /// The next questions for tokens are answered with these errors, whatever the user did.
    pub(crate) errors: Vec<&'static str>,
}

/// A logout token (OpenID Connect Back-Channel Logout 1.0 §2.4), right unless changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogoutToken {
    /// Whose sessions end.
    pub(crate) subject: Option<String>,
    /// The session that ends.
    pub(crate) session: Option<String>,
    /// Changes to its header.
    pub(crate) header: Patch,
    /// Changes to its claims.
    pub(crate) claims: Patch,
    /// How it is signed, if not as ID tokens are.
    pub(crate) algorithm: Option<Algorithm>,
    /// Which key it is signed with.
    pub(crate) signing_key: SigningKey,
}

/// What the key set looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Jwks {
    /// The keys.
    #[default]
    Keys,
    /// `{"keys": []}`.
    NoKeys,
    /// `{}`, as authentik has it without a signing key.
    EmptyObject,
}

/// Which key signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SigningKey {
    /// The published one.
    #[default]
    Published,
    /// One that is not in the key set, under its own `kid`.
    Stray,
    /// One that is not in the key set, under the `kid` of the published one.
    StrayWithPublishedId,
    /// HMAC with the published public key as the secret, as `HS256` under the published `kid`.
    PublicKeyAsSecret(PublicForm),
}

/// How a public key is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PublicForm {
    /// As it stands in the key set.
    Jwk,
    /// As `SubjectPublicKeyInfo` (RFC 5280 §4.1).
    Der,
    /// The same between its `BEGIN` and `END` lines (RFC 7468 §13).
    Pem,
}

/// Changes to JSON texts: members twice, numbers beyond every type.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rewrite {
    /// The header of ID tokens.
    pub(crate) id_token_header: Option<fn(String) -> String>,
    /// The claims of ID tokens.
    pub(crate) id_token: Option<fn(String) -> String>,
    /// The answer of the token endpoint.
    pub(crate) token: Option<fn(String) -> String>,
    /// The claims at the userinfo endpoint.
    pub(crate) userinfo: Option<fn(String) -> String>,
}

impl Rewrite {
    /// The text of `value`, rewritten where there is a way to.
    pub(super) fn text(way: Option<fn(String) -> String>, value: &Value) -> String {
        let text = value.to_string();
        match way {
            Some(rewrite) => rewrite(text),
            None => text,
        }
    }
}

/// What happens at an endpoint instead of, or before, the regular answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fault {
    /// Wait for a permit of this semaphore first; the test gives them.
    pub(crate) hold: Option<Arc<Semaphore>>,
    /// Then wait so long.
    pub(crate) delay: Duration,
    /// Then close the connection.
    pub(crate) hang_up: bool,
    /// Answer with this status.
    pub(crate) status: Option<StatusCode>,
    /// Answer with this body.
    pub(crate) body: Option<Bytes>,
    /// Headers set on the answer, whichever route makes it.
    pub(crate) headers: HeaderMap,
}

impl Fault {
    /// Answers with nothing but this status.
    pub(crate) fn status(status: StatusCode) -> Self {
        Self { status: Some(status), ..Self::default() }
    }

    /// What happens before there is an answer.
    ///
    /// # Errors
    ///
    /// [`HangUp`] where that is the fault.
    pub(crate) async fn before(&self) -> Result<(), HangUp> {
        if let Some(hold) = &self.hold {
            // A closed semaphore lets everybody through.
            if let Ok(permit) = hold.acquire().await {
                permit.forget();
            }
        }
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        if self.hang_up { Err(HangUp) } else { Ok(()) }
    }

    /// The answer in place of the regular one.
    pub(crate) fn answer(&self) -> Option<Answer> {
        if self.status.is_none() && self.body.is_none() {
            return None;
        }
        let status = self.status.unwrap_or(StatusCode::OK);
        let body = self.body.clone().unwrap_or_default();
        Some(web::answer(status, "application/json", body))
    }
}

/// Changes to a JSON object or a list of parameters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patch(Vec<(String, Option<Value>)>);

impl Patch {
    /// Sets a member, also to `null`.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>) -> &mut Self {
        self.0.push((name.to_owned(), Some(value.into())));
        self
    }

    /// Takes a member out.
    pub(crate) fn remove(&mut self, name: &str) -> &mut Self {
        self.0.push((name.to_owned(), None));
        self
    }

    /// Adds the changes of another one, to be made after these.
    pub(super) fn extend(&mut self, later: &Self) {
        self.0.extend(later.0.iter().cloned());
    }

    /// Makes the changes, in the order in which they were given.
    pub(crate) fn apply(&self, object: &mut Map<String, Value>) {
        for (name, change) in &self.0 {
            match change {
                Some(value) => {
                    object.insert(name.clone(), value.clone());
                }
                None => {
                    object.remove(name);
                }
            }
        }
    }
}
