//! Whether a credential is good, whoever has to be asked.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::Instant;

use super::presented::Credential;
use super::{Bad, Tokens};
use crate::app::Application;
use crate::app::{AcceptedTokens, Bearer, TokenIssuer};
use crate::identity::{ClaimNames, Identity, InvalidIdentity};
use crate::oidc::{AccessToken, AccessTokenError, Recipient, claimed_issuer, own_client};
use crate::world::UnixTime;

/// Until a good token is verified again, if it lives that long: keys may have been withdrawn meanwhile.
const GOOD_JWT: Duration = Duration::from_mins(5);

/// Until the provider is asked again about what it called good; so late is a revocation noticed.
const GOOD_BY_PROVIDER: Duration = Duration::from_secs(60);

/// A good credential.
pub(super) struct Proven {
    pub(super) identity: Identity,
    pub(super) claims: Map<String, Value>,
    /// Whether all was asked that may know a claim that the application wants.
    pub(super) complete: bool,
    /// What the application is told as the user's token; empty: nothing.
    pub(super) told: String,
    pub(super) until: UnixTime,
}

/// Why a credential does not count, for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Rejection {
    #[error("it is malformed")]
    Malformed,
    #[error("it is no JWT, or names no issuer")]
    NoIssuer,
    #[error("its issuer is none of the application's")]
    OtherIssuer,
    #[error("there were too many bad ones")]
    TooMany,
    #[error("it lacks the scope {0}")]
    Scope(String),
    #[error("it ended meanwhile")]
    Ended,
    #[error("it names no user: ask for the scopes that bring the user name, or set application.tokens.allow_unnamed")]
    Unnamed,
    #[error(transparent)]
    Identity(#[from] InvalidIdentity),
    #[error(transparent)]
    Token(#[from] AccessTokenError),
}

impl Rejection {
    pub(super) const fn outcome(&self) -> Bad {
        match self {
            Self::Scope(_) => Bad::Scope,
            Self::TooMany => Bad::Limited,
            Self::Token(AccessTokenError::Unknown(_)) => Bad::Unknown,
            Self::Malformed
            | Self::NoIssuer
            | Self::OtherIssuer
            | Self::Ended
            | Self::Unnamed
            | Self::Identity(_)
            | Self::Token(AccessTokenError::Invalid(_) | AccessTokenError::Inactive) => Bad::Invalid,
        }
    }
}

/// One verification.
pub(super) struct Asking<'a> {
    pub(super) tokens: &'a Tokens,
    pub(super) app: &'a Arc<Application>,
    pub(super) accepted: &'a AcceptedTokens,
    pub(super) client: Option<IpAddr>,
    /// Whether the credential was good not long ago; no guess then.
    pub(super) was_good: bool,
}

impl Asking<'_> {
    pub(super) async fn prove(&self, credential: &Credential<'_>) -> Result<Proven, Rejection> {
        match credential {
            Credential::Token(token) => self.prove_token(token).await,
            // In the place of a password it is what the provider says it is.
            Credential::TokenAsPassword(token) => self.introspect(token).await,
            Credential::Password { user, password } => self.prove_password(user, password).await,
        }
    }

    async fn prove_token(&self, token: &str) -> Result<Proven, Rejection> {
        let issuer = match self.accepted.bearer {
            Bearer::Introspection => return self.introspect(token).await,
            Bearer::Jwt | Bearer::Both | Bearer::Off => claimed_issuer(token),
        };
        let Some(issuer) = issuer else {
            return match self.accepted.bearer {
                Bearer::Both => self.introspect(token).await,
                _ => Err(Rejection::NoIssuer),
            };
        };
        if issuer == self.app.provider.settings().issuer {
            let client_id = &self.app.provider.settings().client_id;
            let is_ours = |audience: &str| audience == client_id || self.is_application(audience);
            let recipient = Recipient { is_ours: &is_ours, accept_clients: &self.accepted.accept_clients };
            let mut proven = self.app.provider.verify_access_token(token, &recipient).await?;
            let complete = self.add_userinfo(token, &mut proven.claims).await?;
            let names = &self.app.provider.settings().claims;
            let proven = self.proven(proven, names, token.to_owned(), GOOD_JWT)?;
            return Ok(self.of_the_provider(Proven { complete, ..proven }));
        }
        let found =
            self.app.token_issuers.iter().zip(&self.accepted.issuers).find(|(_, settings)| settings.issuer == issuer);
        let Some((provider, settings)) = found else {
            // The provider may vouch for it: authentik has an issuer for each application.
            if self.accepted.bearer == Bearer::Both && !self.accepted.accept_clients.is_empty() {
                return self.introspect(token).await;
            }
            return Err(Rejection::OtherIssuer);
        };
        let is_ours =
            |audience: &str| settings.audiences.iter().any(|it| it == audience) || self.app.is_resource(audience);
        let recipient = Recipient { is_ours: &is_ours, accept_clients: &[] };
        let proven = provider.verify_access_token(token, &recipient).await?;
        let mut proven = self.proven(proven, &settings.claims, token.to_owned(), GOOD_JWT)?;
        set_apart(&mut proven, settings);
        Ok(proven)
    }

    /// An address of the application, or a name that the operator gave it.
    fn is_application(&self, audience: &str) -> bool {
        self.accepted.audiences.iter().any(|it| it == audience) || self.app.is_resource(audience)
    }

    async fn introspect(&self, token: &str) -> Result<Proven, Rejection> {
        let client_id = &self.app.provider.settings().client_id;
        let is_ours = |audience: &str| audience == client_id || self.is_application(audience);
        let recipient = Recipient { is_ours: &is_ours, accept_clients: &self.accepted.accept_clients };
        let asked = self.guess(None, self.app.provider.introspect(token, &recipient)).await;
        if matches!(asked, Err(Rejection::Token(AccessTokenError::Inactive))) && self.tokens.inactive.admit().is_some()
        {
            tracing::info!(
                identity_provider = self.app.provider.name(),
                "the provider calls a token inactive; some say so too when client_secret is wrong"
            );
        }
        let mut told = asked?;
        let username = told.claims.get("username").and_then(Value::as_str).unwrap_or_default().to_owned();
        let complete = self.add_userinfo(token, &mut told.claims).await?;
        let names = &self.app.provider.settings().claims;
        let mut identity = identity(&told.claims, names)?;
        // The name that users sign in with (RFC 7662 §2.2), where no claim says it. An operator who names another claim wants what
        // is there alone.
        if identity.username.is_empty() && names.username.first_names().any(|name| name == "preferred_username") {
            identity.username = username;
        }
        let proven = self.proven_as(identity, told, String::new(), GOOD_BY_PROVIDER)?;
        Ok(self.of_the_provider(Proven { complete, ..proven }))
    }

    /// Asks userinfo for what the application wants and `claims` do not say; the answer is kept with the verdict.
    async fn add_userinfo(&self, token: &str, claims: &mut Map<String, Value>) -> Result<bool, Rejection> {
        let _turn = self.app.provider.question_turn().await;
        Ok(self.app.provider.add_userinfo(token, claims, &self.app.wanted_claims).await?)
    }

    async fn prove_password(&self, user: &str, password: &str) -> Result<Proven, Rejection> {
        let login = self
            .guess(Some(user), self.app.provider.redeem_app_password(user, password, &self.app.wanted_claims))
            .await?;
        let token = AccessToken { claims: login.claims, expires_at: None };
        let proven = self.proven(token, &self.app.provider.settings().claims, login.id_token, GOOD_BY_PROVIDER)?;
        Ok(self.of_the_provider(proven))
    }

    /// A user of the identity provider, and of no further issuer.
    fn of_the_provider(&self, mut proven: Proven) -> Proven {
        self.app.set_apart_from_issuers(&mut proven.identity, &mut proven.claims);
        proven
    }

    /// Asks the provider, unless too much was guessed.
    async fn guess<T>(
        &self,
        user: Option<&str>,
        ask: impl Future<Output = Result<T, AccessTokenError>>,
    ) -> Result<T, Rejection> {
        let _turn = self.app.provider.question_turn().await;
        if self.was_good {
            return Ok(ask.await?);
        }
        let reserved = self.tokens.failure_limits.reserve(self.app.provider.name(), user, self.client, Instant::now());
        let Some(reservation) = reserved else {
            return Err(Rejection::TooMany);
        };
        let asked = ask.await;
        if !matches!(asked, Err(AccessTokenError::Invalid(_) | AccessTokenError::Inactive)) {
            reservation.release();
        }
        Ok(asked?)
    }

    fn proven(
        &self,
        token: AccessToken,
        names: &ClaimNames,
        told: String,
        most: Duration,
    ) -> Result<Proven, Rejection> {
        self.proven_as(identity(&token.claims, names)?, token, told, most)
    }

    fn proven_as(
        &self,
        identity: Identity,
        token: AccessToken,
        told: String,
        most: Duration,
    ) -> Result<Proven, Rejection> {
        self.verify_named(&identity, &token.claims)?;
        let until = self.tokens.world.now() + most;
        let until = token.expires_at.map_or(until, |end| end.min(until));
        Ok(Proven { identity, claims: token.claims, complete: true, told, until })
    }

    /// The application takes an empty user name for whatever it likes. So only the operator lets in who has none: a client by its
    /// name, for what it does itself, or any.
    fn verify_named(&self, identity: &Identity, claims: &Map<String, Value>) -> Result<(), Rejection> {
        let accepted = |client: &str| self.accepted.accept_clients.iter().any(|it| it == client);
        if !identity.username.is_empty() || self.accepted.allow_unnamed || own_client(claims).is_some_and(accepted) {
            return Ok(());
        }
        Err(Rejection::Unnamed)
    }
}

fn identity(claims: &Map<String, Value>, names: &ClaimNames) -> Result<Identity, Rejection> {
    Ok(Identity::from_claims(claims, names)?)
}

/// Users and groups of another issuer are nobody's namesakes: its name stands before theirs, and before its claims.
fn set_apart(proven: &mut Proven, issuer: &TokenIssuer) {
    let identity = &mut proven.identity;
    let apart = |text: &mut String| {
        if !text.is_empty() {
            *text = format!("{}:{text}", issuer.name);
        }
    };
    // An address may be that of a user at the provider.
    identity.email.clear();
    for text in [&mut identity.subject, &mut identity.uid, &mut identity.username] {
        apart(text);
    }
    identity.groups.iter_mut().chain(&mut identity.entitlements).for_each(apart);
    let scopes =
        ["scope", "scp"].into_iter().filter_map(|name| Some((name.to_owned(), proven.claims.get(name)?.clone())));
    let mut claims: Map<String, Value> = scopes.collect();
    claims.insert("iss".to_owned(), Value::String(issuer.issuer.clone()));
    claims.insert(issuer.name.clone(), Value::Object(std::mem::take(&mut proven.claims)));
    proven.claims = claims;
}
