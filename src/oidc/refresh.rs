//! Refreshing a login (RFC 6749 §6, OIDC Core §12).

use std::sync::Arc;
use std::time::Duration;

use openidconnect::{AsyncHttpClient, RefreshToken};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::IdentityProvider;
use super::endpoint_client::EndpointClient;
use super::exchange::{expires_at, session_id, token_error, told};
use super::flaw::{Flaw, Remedy};
use super::jws::Jws;
use super::missing_claims::OtherSubject;
use super::token_response::{Extras, TokenResponse};
use super::userinfo::Userinfo;
use super::verify::{ExpectedNonce, LEEWAY_SECONDS, normalised};
use super::{OidcError, Operation, Provider, Ready, RefreshError, RefreshFailure};
use crate::identity::{WantedClaims, replace_flag_with_address};
use crate::world::UnixTime;

/// What forepost keeps of a login for its refresh.
#[derive(Clone, Copy)]
pub struct PreviousLogin<'a> {
    /// The ID token of the login, or of the last refresh that brought one. It was verified then.
    pub id_token: &'a str,
    /// [`Refreshed::userinfo_claims`] of the last refresh, else [`Login::userinfo_claims`](super::Login::userinfo_claims).
    pub userinfo_claims: &'a [String],
    /// The newest refresh token.
    pub refresh_token: &'a SecretString,
}

/// A refresh that succeeded.
pub struct Refreshed {
    /// All claims anew; a claim that is missing no longer holds.
    pub claims: Map<String, Value>,
    /// The new ID token; `None` when the provider gave none, and the old one stays.
    pub id_token: Option<String>,
    /// Names of claims that userinfo had, at the login or since; may hold a name more than once.
    ///
    /// When userinfo later leaves one of these out, the claim of an older ID token no longer counts: some providers leave an empty list
    /// out, and a group that was taken from the user would come back.
    pub userinfo_claims: Vec<String>,
    /// The refresh token for the next refresh: a new one, or the old one when the provider does not rotate.
    pub refresh_token: SecretString,
    /// Whether it is a new one.
    pub rotated: bool,
    /// The lifetime of the new access token, where the provider tells.
    pub access_token_lifetime: Option<Duration>,
    /// Whether the new ID token has no `sid`, and the old one had.
    ///
    /// Then the provider's own session is over, although it refreshes, and the caller ends ours.
    pub lost_sid: bool,
}

impl Refreshed {
    /// The id of the provider's own session (the claim `sid`); never empty.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        session_id(&self.claims)
    }

    /// The expiry of the new ID token; `None` when there is none, or when it has no valid date.
    #[must_use]
    pub fn id_token_expires_at(&self) -> Option<UnixTime> {
        self.id_token.as_ref().and_then(|_| self.newest_id_token_expires_at())
    }

    /// The expiry of the newest ID token; `None` when it has no valid date.
    #[must_use]
    pub fn newest_id_token_expires_at(&self) -> Option<UnixTime> {
        expires_at(&self.claims)
    }
}

impl Provider {
    /// Refreshes a login once. The caller must make sure that no other process does so at the same time.
    ///
    /// A new ID token must have the same subject (OIDC Core §12.2). When there is none, userinfo counts before the old one. The request
    /// has no scopes, which asks for the same ones again.
    ///
    /// # Errors
    ///
    /// [`RefreshFailure`] has the consequence, and the new refresh token when the provider gave one before the failure.
    pub async fn refresh_login(
        &self,
        previous: &PreviousLogin<'_>,
        wanted: &WantedClaims,
    ) -> Result<Refreshed, RefreshFailure> {
        let before = PreviousClaims::read(previous).map_err(RefreshError::from)?;
        let ready = self.ready().ok_or(RefreshError::NotReady)?;
        let endpoint = EndpointClient::new(self, Operation::Refresh);
        let answer = ready.ask_for_refresh(self.settings(), previous.refresh_token, &endpoint).await;
        let details = endpoint.details();
        self.note_answer(&answer, details.status);
        let result = match answer {
            Ok(tokens) => self.verify_refresh(&ready, &before, &tokens, wanted).await,
            Err(error) => Err(RefreshError::of_answer(error, &details)),
        };
        let Extras { refresh_token: rotated, lifetime, .. } = details.extras;
        match result {
            Ok(VerifiedRefresh { claims, id_token, userinfo_claims, lost_sid }) => Ok(Refreshed {
                claims,
                id_token,
                userinfo_claims,
                lost_sid,
                rotated: rotated.is_some(),
                refresh_token: rotated.unwrap_or_else(|| previous.refresh_token.clone()),
                access_token_lifetime: lifetime,
            }),
            Err(error) => Err(RefreshFailure { error, rotated }),
        }
    }

    /// Verifies the new tokens.
    async fn verify_refresh(
        &self,
        ready: &Arc<Ready>,
        before: &PreviousClaims<'_>,
        tokens: &TokenResponse,
        wanted: &WantedClaims,
    ) -> Result<VerifiedRefresh, RefreshError> {
        if tokens.id_token().is_none() {
            let newer = match self.userinfo(ready, tokens.access_token_text(), &before.subject).await? {
                Userinfo::Claims(newer) => newer,
                Userinfo::OtherSubject => return Err(RefreshError::Changed),
                Userinfo::None => Map::new(),
            };
            let (mut claims, userinfo_claims) = before.replaced_by(newer);
            self.add_claims_of_access_token(ready, tokens, &mut claims, &before.subject, wanted).await;
            return Ok(VerifiedRefresh { claims, id_token: None, userinfo_claims, lost_sid: false });
        }
        let verified = self.verify_id_token(ready, ExpectedNonce::NoneOr(before.nonce()), tokens).await?;
        let mut claims = verified.claims;
        if claims.get("sub") != before.claims.get("sub") {
            return Err(RefreshError::Changed);
        }
        before.verify_order(&claims)?;
        let mut userinfo_claims: Vec<String> = before.named.to_vec();
        let lost_sid = before.has_session() && session_id(&claims).is_none();
        // The session is over, whatever userinfo has.
        if !lost_sid {
            let added = self.add_wanted_claims(ready, tokens, &mut claims, wanted).await?;
            let named = added.map_err(|OtherSubject| RefreshError::Changed)?;
            userinfo_claims.extend(named);
        }
        Ok(VerifiedRefresh { claims, id_token: Some(verified.id_token), userinfo_claims, lost_sid })
    }
}

struct VerifiedRefresh {
    claims: Map<String, Value>,
    id_token: Option<String>,
    userinfo_claims: Vec<String>,
    lost_sid: bool,
}

impl Ready {
    async fn ask_for_refresh<H>(
        &self,
        settings: &IdentityProvider,
        refresh_token: &SecretString,
        token_endpoint: &H,
    ) -> Result<TokenResponse, OidcError>
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

/// The claims of the previous ID token.
struct PreviousClaims<'a> {
    subject: String,
    claims: Map<String, Value>,
    /// Names of claims that userinfo had.
    named: &'a [String],
}

impl<'a> PreviousClaims<'a> {
    fn read(previous: &PreviousLogin<'a>) -> Result<Self, OidcError> {
        let claims = normalised(Jws::parse(previous.id_token)?.claims);
        match claims.get("sub") {
            Some(Value::String(subject)) => {
                Ok(Self { subject: subject.clone(), claims, named: previous.userinfo_claims })
            }
            Some(_) | None => Err(OidcError::Malformed("the kept ID token has no `sub`".into())),
        }
    }

    /// Replaces these claims by `newer` ones. Returns the names of all claims that userinfo had so far, too.
    ///
    /// Userinfo is newer than an ID token that stays. A claim that userinfo never had is as in the ID token: some providers have at
    /// userinfo only what was asked for there. A claim that it had once and leaves out now is gone.
    fn replaced_by(&self, mut newer: Map<String, Value>) -> (Map<String, Value>, Vec<String>) {
        let mut claims = self.claims.clone();
        replace_flag_with_address(&mut claims, &mut newer);
        for name in self.named.iter().filter(|name| !newer.contains_key(*name)) {
            claims.remove(name);
            if name == "email" {
                claims.remove("email_verified");
            }
        }
        let mut named: Vec<String> = self.named.iter().chain(newer.keys()).cloned().collect();
        for (name, value) in newer {
            if value.is_null() {
                claims.remove(&name);
            } else {
                claims.insert(name, value);
            }
        }
        named.extend(self.claims.keys().filter(|name| self.claims.get(*name) != claims.get(*name)).cloned());
        (claims, named)
    }

    fn nonce(&self) -> Option<&str> {
        self.claims.get("nonce").and_then(Value::as_str)
    }

    fn has_session(&self) -> bool {
        session_id(&self.claims).is_some()
    }

    /// Verifies that the new token was not issued before the previous one.
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(claims: Value) -> Map<String, Value> {
        let Value::Object(claims) = claims else { panic!("an object") };
        claims
    }

    /// Refreshes without an ID token, one after another: what userinfo says, and what is so then.
    #[track_caller]
    fn follow(id_token: Value, refreshes: &[(Value, Value)]) {
        let mut named = Vec::new();
        for (number, (userinfo, expected)) in refreshes.iter().enumerate() {
            let before = PreviousClaims { subject: "s".into(), claims: claims(id_token.clone()), named: &named };
            let (now, newly) = before.replaced_by(claims(userinfo.clone()));
            assert_eq!(Value::Object(now), *expected, "refresh {number}");
            named = newly;
        }
    }

    #[test]
    fn what_userinfo_spoke_of_does_not_come_back_from_the_id_token() {
        let silent = || json!({});
        let admin = json!({"sub": "s", "g": ["admins"], "n": 1});
        let none = json!({"sub": "s", "n": 1});
        // Userinfo never speaks of it.
        follow(admin.clone(), &[(silent(), admin.clone()), (silent(), admin.clone())]);
        let (same, empty, null) = (json!({"g": ["admins"]}), json!({"g": []}), json!({"g": null}));
        for spoken in [&same, &empty, &null, &json!({"g": ["users"]})] {
            let mut then = admin.clone();
            then["g"] = spoken["g"].clone();
            let then = if spoken["g"].is_null() { none.clone() } else { then };
            let spoken = || (spoken.clone(), then.clone());
            follow(admin.clone(), &[spoken(), (silent(), none.clone()), (silent(), none.clone()), spoken()]);
            follow(admin.clone(), &[(silent(), admin.clone()), spoken(), (silent(), none.clone())]);
        }
        // What only userinfo says counts while it says so.
        let bare = json!({"sub": "s"});
        follow(bare.clone(), &[(same.clone(), json!({"sub": "s", "g": ["admins"]})), (silent(), bare.clone())]);
    }

    #[test]
    fn a_flag_goes_with_its_address() {
        let verified = json!({"sub": "s", "email": "x", "email_verified": true});
        let (silent, gone) = (json!({}), json!({"sub": "s"}));
        let other = json!({"sub": "s", "email": "y"});
        follow(
            verified.clone(),
            &[
                (json!({"email": "x"}), verified.clone()),
                (json!({"email": "x"}), verified.clone()),
                (silent.clone(), gone),
            ],
        );
        // An address that was another one meanwhile is proven anew or not at all.
        let unproven = json!({"sub": "s", "email": "x"});
        follow(
            verified.clone(),
            &[
                (json!({"email": "y"}), other),
                (json!({"email": "x"}), unproven),
                (json!({"email": "x", "email_verified": true}), verified),
            ],
        );
    }
}
