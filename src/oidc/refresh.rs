//! Refreshing a login (RFC 6749 §6, OIDC Core §12).

use std::sync::Arc;
use std::time::Duration;

use openidconnect::{AsyncHttpClient, RefreshToken};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::asker::Asker;
use super::claims::OtherSubject;
use super::exchange::{expires_at, session_id, token_error, told};
use super::flaw::{Flaw, Remedy};
use super::jws::Jws;
use super::tokens::{Extras, Tokens};
use super::userinfo::Userinfo;
use super::verify::{ExpectedNonce, LEEWAY_SECONDS, said};
use super::{OidcError, Operation, Provider, Ready, RefreshError, RefreshFailure};
use crate::identity::{WantedClaims, replace_flag_with_address};
use crate::settings::IdentityProvider;
use crate::world::UnixTime;

/// What is kept of a login, for its refresh.
#[derive(Clone, Copy)]
pub struct PreviousLogin<'a> {
    /// The ID token of the login, or of the last refresh that brought one: verified then, and not touched since.
    pub id_token: &'a str,
    /// The newest refresh token.
    pub refresh_token: &'a SecretString,
}

/// What a refresh proved.
pub struct Refreshed {
    /// All claims anew: what they no longer say is no longer so.
    pub claims: Map<String, Value>,
    /// The new ID token; `None`: the provider gave none, and the old one stays.
    pub id_token: Option<String>,
    /// What the next refresh needs: the new one, or the old one where the provider does not rotate.
    pub refresh_token: SecretString,
    /// Whether that is a new one.
    pub rotated: bool,
    /// How long the provider says that the new access token lives.
    pub access_token_lifetime: Option<Duration>,
    /// The new ID token has no `sid`, and the old one had.
    ///
    /// The provider's own session is over then, although it refreshes: the caller ends ours.
    pub lost_sid: bool,
}

impl Refreshed {
    /// The provider's name of its own session (the claim `sid`); never empty.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        session_id(&self.claims)
    }

    /// When the new ID token ends; `None`: there is none, or it ends on no date.
    #[must_use]
    pub fn id_token_expires_at(&self) -> Option<UnixTime> {
        self.id_token.as_ref().and_then(|_| self.newest_id_token_expires_at())
    }

    /// When the newest ID token ends that there is; `None`: on no date.
    #[must_use]
    pub fn newest_id_token_expires_at(&self) -> Option<UnixTime> {
        expires_at(&self.claims)
    }
}

impl Provider {
    /// Refreshes a login once; that nobody else does so at the same time is the caller's care.
    ///
    /// A new ID token must be one for the same subject (OIDC Core §12.2). Where none comes, userinfo speaks before the old one.
    /// Scopes are not sent, which asks for the same ones again.
    ///
    /// # Errors
    ///
    /// [`RefreshFailure`] tells what follows, and holds the new refresh token where there is one already.
    pub async fn refresh_login(
        &self,
        previous: &PreviousLogin<'_>,
        wanted: &WantedClaims,
    ) -> Result<Refreshed, RefreshFailure> {
        let before = Before::read(previous.id_token).map_err(RefreshError::from)?;
        let ready = self.ready().ok_or(RefreshError::NotReady)?;
        let asker = Asker::new(self, Operation::Refresh);
        let answer = ready.ask_for_refresh(self.settings(), previous.refresh_token, &asker).await;
        let heard = asker.heard();
        self.note_answer(&answer, heard.status);
        let result = match answer {
            Ok(tokens) => self.judge(&ready, &before, &tokens, wanted).await,
            Err(error) => Err(RefreshError::of_answer(error, &heard)),
        };
        let Extras { refresh_token: rotated, lifetime } = heard.extras;
        match result {
            Ok(Judged { claims, id_token, lost_sid }) => Ok(Refreshed {
                claims,
                id_token,
                lost_sid,
                rotated: rotated.is_some(),
                refresh_token: rotated.unwrap_or_else(|| previous.refresh_token.clone()),
                access_token_lifetime: lifetime,
            }),
            Err(error) => Err(RefreshFailure { error, rotated }),
        }
    }

    /// What the new tokens stand for.
    async fn judge(
        &self,
        ready: &Arc<Ready>,
        before: &Before,
        tokens: &Tokens,
        wanted: &WantedClaims,
    ) -> Result<Judged, RefreshError> {
        if tokens.id_token().is_none() {
            let mut claims = before.claims.clone();
            match self.userinfo(ready, tokens.access_token_text(), &before.subject).await? {
                Userinfo::Claims(newer) => overlay(&mut claims, newer),
                Userinfo::OtherSubject => return Err(RefreshError::Changed),
                Userinfo::None => {}
            }
            self.add_claims_of_access_token(ready, tokens, &mut claims, &before.subject, wanted).await;
            return Ok(Judged { claims, id_token: None, lost_sid: false });
        }
        let verified = self.verify_id_token(ready, ExpectedNonce::NoneOr(before.nonce()), tokens).await?;
        let mut claims = verified.claims;
        if claims.get("sub") != before.claims.get("sub") {
            return Err(RefreshError::Changed);
        }
        before.verify_order(&claims)?;
        let lost_sid = before.has_session() && session_id(&claims).is_none();
        // Whatever userinfo would say, the session is over.
        if !lost_sid {
            let added = self.add_wanted_claims(ready, tokens, &mut claims, wanted).await?;
            added.map_err(|OtherSubject| RefreshError::Changed)?;
        }
        Ok(Judged { claims, id_token: Some(verified.id_token), lost_sid })
    }
}

struct Judged {
    claims: Map<String, Value>,
    id_token: Option<String>,
    lost_sid: bool,
}

/// Userinfo is newer than an ID token that stays; but of the login itself only the ID token speaks.
///
/// What userinfo is silent about is as the ID token has it: some providers tell at userinfo only what was asked for there.
fn overlay(claims: &mut Map<String, Value>, mut newer: Map<String, Value>) {
    const OF_THE_LOGIN: [&str; 14] =
        ["iss", "sub", "aud", "azp", "exp", "nbf", "iat", "jti", "nonce", "auth_time", "at_hash", "sid", "acr", "amr"];
    replace_flag_with_address(claims, &mut newer);
    for (name, value) in newer {
        if OF_THE_LOGIN.contains(&name.as_str()) && claims.contains_key(&name) {
            continue;
        }
        if value.is_null() {
            claims.remove(&name);
        } else {
            claims.insert(name, value);
        }
    }
}

impl Ready {
    async fn ask_for_refresh<H>(
        &self,
        settings: &IdentityProvider,
        refresh_token: &SecretString,
        token_endpoint: &H,
    ) -> Result<Tokens, OidcError>
    where
        H: for<'c> AsyncHttpClient<'c, Error = OidcError, Future: Send> + Sync,
    {
        let token = RefreshToken::new(refresh_token.expose_secret().to_owned());
        self.client(settings)
            .exchange_refresh_token(&token)
            .map_err(|error| OidcError::Configuration(error.to_string()))?
            .request_async(token_endpoint)
            .await
            .map_err(|error| token_error(error, &told(settings, [refresh_token.expose_secret(), ""])))
    }
}

/// What the token of before said.
struct Before {
    subject: String,
    claims: Map<String, Value>,
}

impl Before {
    fn read(id_token: &str) -> Result<Self, OidcError> {
        let claims = said(Jws::parse(id_token)?.claims);
        match claims.get("sub") {
            Some(Value::String(subject)) => Ok(Self { subject: subject.clone(), claims }),
            Some(_) | None => Err(OidcError::Malformed("the kept ID token has no `sub`".into())),
        }
    }

    fn nonce(&self) -> Option<&str> {
        self.claims.get("nonce").and_then(Value::as_str)
    }

    fn has_session(&self) -> bool {
        session_id(&self.claims).is_some()
    }

    /// A refresh makes a token, and does not dig one out.
    fn verify_order(&self, newer: &Map<String, Value>) -> Result<(), OidcError> {
        #[expect(clippy::cast_precision_loss, reason = "a minute is exact in a double")]
        let leeway = LEEWAY_SECONDS as f64;
        let issued = |claims: &Map<String, Value>| claims.get("iat").and_then(Value::as_f64);
        match (issued(&self.claims), issued(newer)) {
            (Some(before), Some(now)) if now + leeway < before => {
                Err(Flaw::new("issued before the token that it follows (`iat`)", Remedy::Clock).into())
            }
            _ => Ok(()),
        }
    }
}
