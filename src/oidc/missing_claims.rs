//! Claims that the ID token does not have: from userinfo, and from the access token.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::flaw::{Flaw, Remedy};
use super::jws::{Jws, Kind};
use super::token_response::TokenResponse;
use super::userinfo::Userinfo;
use super::verify::{normalised, verify_issuer};
use super::{AccessTokenError, OidcError, Provider, Ready, access_token, scopes};
use crate::identity::WantedClaims;
use crate::telemetry::WithCauses;

/// Claims about a token or a login, and not about the user.
const TOKEN_CLAIMS: [&str; 26] = [
    "iss",
    "sub",
    "aud",
    "azp",
    "exp",
    "nbf",
    "iat",
    "jti",
    "nonce",
    "auth_time",
    "at_hash",
    "c_hash",
    "s_hash",
    "sid",
    "acr",
    "amr",
    "scope",
    "scp",
    "client_id",
    "typ",
    "token_type",
    "cnf",
    "events",
    "act",
    "may_act",
    "session_state",
];

/// Removes from the `claims` of userinfo or of an access token those that only an ID token has; `sub` is known from that.
pub(super) fn keep_what_is_of_the_user(claims: &mut Map<String, Value>) {
    claims.retain(|name, _| !TOKEN_CLAIMS.contains(&name.as_str()));
}

/// Claims about another subject than the ID token's.
pub(super) struct OtherSubject;

impl Provider {
    /// Adds wanted claims that are missing: first from userinfo, then from an access token that is a JWT, as only that has
    /// Keycloak's realm roles. Returns the names of the claims that userinfo has.
    ///
    /// # Errors
    ///
    /// When userinfo is needed and does not answer.
    pub(super) async fn add_wanted_claims(
        &self,
        ready: &Arc<Ready>,
        tokens: &TokenResponse,
        claims: &mut Map<String, Value>,
        wanted: &WantedClaims,
    ) -> Result<Result<Vec<String>, OtherSubject>, OidcError> {
        let mut named = Vec::new();
        if !wanted.are_lacking(claims) {
            return Ok(Ok(named));
        }
        let Some(Value::String(subject)) = claims.get("sub").cloned() else {
            return Err(Flaw::new("`sub` is missing", Remedy::Subject).into());
        };
        // The identity is refused for that in any case.
        if subject.is_empty() {
            return Ok(Ok(named));
        }
        match self.userinfo(ready, tokens.access_token_text(), &subject).await? {
            Userinfo::Claims(more) => {
                named.extend(more.keys().cloned());
                wanted.fill(claims, more);
            }
            Userinfo::OtherSubject => return Ok(Err(OtherSubject)),
            Userinfo::None => {}
        }
        self.add_claims_of_access_token(ready, tokens, claims, &subject, wanted).await;
        Ok(Ok(named))
    }

    /// Adds wanted claims from userinfo that neither a bearer token nor the provider's answer about it has.
    ///
    /// Userinfo needs the scope `openid` (OIDC Core §5.3.1); it is asked when the scopes are not known. Returns `false` when a claim is
    /// missing that userinfo may have, and that it does not give for this token. A token without a user has no more claims.
    ///
    /// # Errors
    ///
    /// [`AccessTokenError::Invalid`] when userinfo is about another subject; [`AccessTokenError::Unknown`] when it does not answer.
    pub async fn add_userinfo(
        &self,
        token: &str,
        claims: &mut Map<String, Value>,
        wanted: &WantedClaims,
    ) -> Result<bool, AccessTokenError> {
        let scopes: Vec<&str> = scopes(claims).collect();
        let may_ask = scopes.is_empty() || scopes.contains(&"openid");
        if !wanted.are_lacking(claims) || access_token::own_client(claims).is_some() {
            return Ok(true);
        }
        let ready = self.ready().ok_or(AccessTokenError::Unknown(OidcError::NotReady))?;
        let Some(Value::String(subject)) = claims.get("sub").cloned().filter(|_| may_ask) else {
            return Ok(ready.metadata.userinfo_endpoint().is_none());
        };
        match self.userinfo(&ready, token, &subject).await {
            Ok(Userinfo::Claims(more)) => {
                wanted.fill(claims, more);
                Ok(true)
            }
            Ok(Userinfo::None) => Ok(true),
            Err(OidcError::Refused { .. }) => Ok(false),
            Ok(Userinfo::OtherSubject) => Err(AccessTokenError::Invalid("userinfo speaks of another subject".into())),
            Err(error) => Err(AccessTokenError::Unknown(error)),
        }
    }

    /// Adds the claims of the access token about `subject`, while wanted ones are missing.
    pub(super) async fn add_claims_of_access_token(
        &self,
        ready: &Arc<Ready>,
        tokens: &TokenResponse,
        claims: &mut Map<String, Value>,
        subject: &str,
        wanted: &WantedClaims,
    ) {
        let token = tokens.access_token_text();
        // Most access tokens that are not JWTs do not have three parts.
        if !wanted.are_lacking(claims) || token.matches('.').count() != 2 {
            return;
        }
        match self.claims_of_access_token(ready, token, subject).await {
            Ok(more) => wanted.fill(claims, more),
            Err(error) => {
                tracing::debug!(identity_provider = self.name(), error = %WithCauses(&error), "claims of an access token cannot be used");
            }
        }
    }

    /// Verifies an access token, and returns its claims about `subject`.
    ///
    /// Its audience does not count: it is mostly another service (`account` at Keycloak). The token is not one that a client
    /// presents: it came with the ID token, from the token endpoint, over TLS, as the answer to our own request. So no client can
    /// put another token in its place. When it names the client that it was issued to, that must be ours all the same.
    async fn claims_of_access_token(
        &self,
        ready: &Arc<Ready>,
        token: &str,
        subject: &str,
    ) -> Result<Map<String, Value>, OidcError> {
        let jws = Jws::parse(token)?;
        if !matches!(jws.kind()?.as_deref(), None | Some("jwt" | "at+jwt")) {
            return Err(OidcError::InvalidToken("its `typ` is that of no access token".into()));
        }
        verify_issuer(&jws.claims, &self.settings().issuer)?;
        if jws.claims.get("sub").and_then(Value::as_str) != Some(subject) {
            return Err(OidcError::InvalidToken("`sub` is another subject".into()));
        }
        for name in ["azp", "client_id"] {
            let client = jws.claims.get(name).filter(|client| !client.is_null());
            if client.is_some_and(|client| *client != *self.settings().client_id) {
                return Err(OidcError::InvalidToken(format!("`{name}` is another client").into()));
            }
        }
        if access_token::verify_times(&jws.claims, self.now())?.is_none() {
            return Err(OidcError::InvalidToken("`exp` is missing".into()));
        }
        // These are the keys that verified the ID token, or newer ones. No others are fetched: some providers sign access tokens
        // with keys that they do not publish, and each login would fetch.
        let newest = self.ready().unwrap_or_else(|| Arc::clone(ready));
        self.compute(|| newest.verify_signature(self.settings(), &jws, Kind::Access)).await.map_err(Flaw::from)?;
        let mut claims = normalised(jws.claims);
        keep_what_is_of_the_user(&mut claims);
        Ok(claims)
    }
}
