//! Verification of a credential, here or by the provider.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::Instant;

use super::presented::Credential;
use super::{CredentialVerifier, Rejection};
use crate::app::Application;
use crate::app::{AcceptedTokens, Bearer, TokenIssuer};
use crate::identity::{ClaimNames, Identity, InvalidIdentity};
use crate::oidc::{AccessToken, AccessTokenError, Recipient, claimed_issuer, own_client};
use crate::world::UnixTime;

/// The time until a JWT is verified again, if it lives that long: its key may be withdrawn meanwhile.
const JWT_FOR: Duration = Duration::from_mins(5);

/// The time until the provider is asked again; a revocation is noticed that late.
const PROVIDER_ANSWER_FOR: Duration = Duration::from_secs(60);

/// A valid credential.
pub(super) struct Verified {
    pub(super) identity: Identity,
    pub(super) claims: Map<String, Value>,
    /// Whether each source of claims that the application wants was asked.
    pub(super) complete: bool,
    /// The token that the application gets as the user's; may be empty.
    pub(super) application_token: String,
    pub(super) until: UnixTime,
}

/// Why a credential does not count, for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum RejectionCause {
    #[error("it is malformed")]
    Malformed,
    #[error("it is not a JWT, or names no issuer")]
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

impl RejectionCause {
    pub(super) const fn rejection(&self) -> Rejection {
        match self {
            Self::Scope(_) => Rejection::Scope,
            Self::TooMany => Rejection::Limited,
            Self::Token(AccessTokenError::Unknown(_)) => Rejection::Unavailable,
            Self::Malformed
            | Self::NoIssuer
            | Self::OtherIssuer
            | Self::Ended
            | Self::Unnamed
            | Self::Identity(_)
            | Self::Token(AccessTokenError::Invalid(_) | AccessTokenError::Inactive) => Rejection::Invalid,
        }
    }
}

/// One verification.
pub(super) struct SingleVerification<'a> {
    pub(super) verifier: &'a CredentialVerifier,
    pub(super) app: &'a Arc<Application>,
    pub(super) accepted: &'a AcceptedTokens,
    pub(super) client: Option<IpAddr>,
    /// Whether the credential was valid a moment ago, so that it does not count as a guess.
    pub(super) was_accepted: bool,
}

impl SingleVerification<'_> {
    pub(super) async fn verify(&self, credential: &Credential<'_>) -> Result<Verified, RejectionCause> {
        match credential {
            Credential::Token(token) => self.verify_token(token).await,
            // Only the provider tells what a token in place of a password is.
            Credential::TokenAsPassword(token) => self.introspect(token).await,
            Credential::Password { user, password } => self.verify_password(user, password).await,
        }
    }

    async fn verify_token(&self, token: &str) -> Result<Verified, RejectionCause> {
        let issuer = match self.accepted.bearer {
            Bearer::Introspection => return self.introspect(token).await,
            Bearer::Jwt | Bearer::Both | Bearer::Off => claimed_issuer(token),
        };
        let Some(issuer) = issuer else {
            return match self.accepted.bearer {
                Bearer::Both => self.introspect(token).await,
                _ => Err(RejectionCause::NoIssuer),
            };
        };
        if issuer == self.app.provider.settings().issuer {
            let client_id = &self.app.provider.settings().client_id;
            let is_ours = |audience: &str| audience == client_id || self.is_application(audience);
            let recipient = Recipient { is_ours: &is_ours, accept_clients: &self.accepted.accept_clients };
            let mut verified = self.app.provider.verify_access_token(token, &recipient).await?;
            let complete = self.add_userinfo(token, &mut verified.claims).await?;
            let names = &self.app.provider.settings().claims;
            let verified = self.verified(verified, names, token.to_owned(), JWT_FOR)?;
            return Ok(self.of_the_provider(Verified { complete, ..verified }));
        }
        let provider = self.app.token_issuers.iter().find(|provider| provider.settings().issuer == issuer);
        let settings = self.accepted.issuers.iter().find(|settings| settings.issuer == issuer);
        let Some((provider, settings)) = provider.zip(settings) else {
            // Introspection may accept it: authentik has an issuer for each application.
            if self.accepted.bearer == Bearer::Both && !self.accepted.accept_clients.is_empty() {
                return self.introspect(token).await;
            }
            return Err(RejectionCause::OtherIssuer);
        };
        let is_ours =
            |audience: &str| settings.audiences.iter().any(|it| it == audience) || self.app.is_resource(audience);
        let recipient = Recipient { is_ours: &is_ours, accept_clients: &[] };
        let verified = provider.verify_access_token(token, &recipient).await?;
        let mut verified = self.verified(verified, &settings.claims, token.to_owned(), JWT_FOR)?;
        set_apart(&mut verified, settings);
        Ok(verified)
    }

    /// Whether an audience is an address of the application, or a name that the operator gave it.
    fn is_application(&self, audience: &str) -> bool {
        self.accepted.audiences.iter().any(|it| it == audience) || self.app.is_resource(audience)
    }

    async fn introspect(&self, token: &str) -> Result<Verified, RejectionCause> {
        let client_id = &self.app.provider.settings().client_id;
        let is_ours = |audience: &str| audience == client_id || self.is_application(audience);
        let recipient = Recipient { is_ours: &is_ours, accept_clients: &self.accepted.accept_clients };
        let asked = self.limited(None, self.app.provider.introspect(token, &recipient)).await;
        if matches!(asked, Err(RejectionCause::Token(AccessTokenError::Inactive)))
            && self.verifier.inactive_log.admit().is_some()
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
        // The name that users sign in with (RFC 7662 §2.2), when no claim has it. An operator who configures another claim wants
        // only that.
        if identity.username.is_empty() && names.username.first_names().any(|name| name == "preferred_username") {
            identity.username = username;
        }
        let verified = self.verified_as(identity, told, String::new(), PROVIDER_ANSWER_FOR)?;
        Ok(self.of_the_provider(Verified { complete, ..verified }))
    }

    /// Asks userinfo for claims that the application wants and that are missing; they are cached with the result.
    async fn add_userinfo(&self, token: &str, claims: &mut Map<String, Value>) -> Result<bool, RejectionCause> {
        let _turn = self.app.provider.question_turn().await;
        Ok(self.app.provider.add_userinfo(token, claims, &self.app.wanted_claims).await?)
    }

    async fn verify_password(&self, user: &str, password: &str) -> Result<Verified, RejectionCause> {
        let login = self
            .limited(Some(user), self.app.provider.redeem_app_password(user, password, &self.app.wanted_claims))
            .await?;
        let token = AccessToken { claims: login.claims, expires_at: None };
        let verified =
            self.verified(token, &self.app.provider.settings().claims, login.id_token, PROVIDER_ANSWER_FOR)?;
        Ok(self.of_the_provider(verified))
    }

    /// Makes sure that a user of the identity provider does not pass for one of a further issuer.
    fn of_the_provider(&self, mut verified: Verified) -> Verified {
        self.app.set_apart_from_issuers(&mut verified.identity, &mut verified.claims);
        verified
    }

    /// Asks the provider, unless there were too many failures.
    async fn limited<T>(
        &self,
        user: Option<&str>,
        ask: impl Future<Output = Result<T, AccessTokenError>>,
    ) -> Result<T, RejectionCause> {
        let _turn = self.app.provider.question_turn().await;
        if self.was_accepted {
            return Ok(ask.await?);
        }
        let reserved =
            self.verifier.failure_limits.reserve(self.app.provider.name(), user, self.client, Instant::now());
        let Some(reservation) = reserved else {
            return Err(RejectionCause::TooMany);
        };
        let asked = ask.await;
        if !matches!(asked, Err(AccessTokenError::Invalid(_) | AccessTokenError::Inactive)) {
            reservation.release();
        }
        Ok(asked?)
    }

    fn verified(
        &self,
        token: AccessToken,
        names: &ClaimNames,
        application_token: String,
        most: Duration,
    ) -> Result<Verified, RejectionCause> {
        self.verified_as(identity(&token.claims, names)?, token, application_token, most)
    }

    fn verified_as(
        &self,
        identity: Identity,
        token: AccessToken,
        application_token: String,
        most: Duration,
    ) -> Result<Verified, RejectionCause> {
        self.verify_named(&identity, &token.claims)?;
        let until = self.verifier.world.now() + most;
        let until = token.expires_at.map_or(until, |end| end.min(until));
        Ok(Verified { identity, claims: token.claims, complete: true, application_token, until })
    }

    /// Applications may take an empty user name for any user. So the operator has to allow credentials without one: those of a client
    /// by its id, for itself, or all.
    fn verify_named(&self, identity: &Identity, claims: &Map<String, Value>) -> Result<(), RejectionCause> {
        let accepted = |client: &str| self.accepted.accept_clients.iter().any(|it| it == client);
        if !identity.username.is_empty() || self.accepted.allow_unnamed || own_client(claims).is_some_and(accepted) {
            return Ok(());
        }
        Err(RejectionCause::Unnamed)
    }
}

fn identity(claims: &Map<String, Value>, names: &ClaimNames) -> Result<Identity, RejectionCause> {
    Ok(Identity::from_claims(claims, names)?)
}

/// Puts the name of another issuer before its users, groups and claims, so that they are not taken for the provider's.
fn set_apart(verified: &mut Verified, issuer: &TokenIssuer) {
    let identity = &mut verified.identity;
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
        ["scope", "scp"].into_iter().filter_map(|name| Some((name.to_owned(), verified.claims.get(name)?.clone())));
    let mut claims: Map<String, Value> = scopes.collect();
    claims.insert("iss".to_owned(), Value::String(issuer.issuer.clone()));
    claims.insert(issuer.name.clone(), Value::Object(std::mem::take(&mut verified.claims)));
    verified.claims = claims;
}
