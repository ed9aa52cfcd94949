//! Token introspection (RFC 7662), and verification of app passwords.

use http::{Response, StatusCode};
use serde_json::{Map, Value};
use url::form_urlencoded::Serializer;

use super::access_token::{
    AccessToken, is_of_accepted_client, verify_active, verify_recipient, verify_times, with_subject,
};
use super::client_authentication::form_request;
use super::inspect::NO_INTROSPECTION;
use super::jws::Jws;
use super::missing_claims::OtherSubject;
use super::provider::checked;
use super::token_response::{Extras, TokenResponse};
use super::verify::ExpectedNonce;
use super::{AccessTokenError, ClientAuthentication, Login, OidcError, Operation, Provider, Recipient};
use crate::identity::WantedClaims;
use crate::world::UnixTime;

impl Provider {
    /// Asks the provider about `token`, with our client's authentication; one request.
    ///
    /// # Errors
    ///
    /// [`AccessTokenError::Inactive`], or [`AccessTokenError::Invalid`] when it is not for `recipient`, or not a bearer token;
    /// [`AccessTokenError::Unknown`] when there is no answer.
    pub async fn introspect(&self, token: &str, recipient: &Recipient<'_>) -> Result<AccessToken, AccessTokenError> {
        let unknown = AccessTokenError::Unknown;
        let ready = self.ready().ok_or(unknown(OidcError::NotReady))?;
        let Some(endpoint) = ready.metadata.introspection_endpoint() else {
            // That does not change by itself: the settings need an endpoint that the provider does not have.
            let missing = "the provider's metadata names no introspection_endpoint, so no token can be asked about";
            return Err(AccessTokenError::Invalid(missing.into()));
        };
        // A token that the provider may parse as a JWT, and forepost cannot, is not an opaque one.
        if Jws::is_misshapen(token) {
            return Err(AccessTokenError::Invalid("it has the header of a JWT, and is not one".into()));
        }
        let request = {
            let mut form = Serializer::new(String::new());
            form.append_pair("token", token);
            form.append_pair("token_type_hint", "access_token");
            let client = ClientAuthentication::of(self.settings(), &ready.metadata);
            client.request(endpoint.as_str(), form).map_err(|error| unknown(error.into()))?
        };
        let answer = self.send(Operation::Introspection, request).await.map_err(|none| unknown(none.into()))?;
        let answer = checked(Operation::Introspection, answer).map_err(unknown)?;
        if answer.status() == StatusCode::BAD_REQUEST {
            // Pocket ID answers so about a token of another client.
            return Err(AccessTokenError::Invalid("the provider answers 400 about it".into()));
        }
        let claims = members(Operation::Introspection, &answer).map_err(unknown)?;
        read(token, claims, &self.settings().issuer, recipient, self.now())
    }

    /// Logs, after discovery, that introspection is not possible, so that each token that needs it is refused.
    pub async fn warn_without_introspection(&self) {
        self.until_ready().await;
        if self.ready().is_some_and(|ready| ready.metadata.introspection_endpoint().is_none()) {
            tracing::error!(identity_provider = self.name(), error = NO_INTROSPECTION, "tokens cannot be introspected");
        }
    }

    /// Signs in the owner of an app password, by authentik's form of the client credentials grant.
    ///
    /// # Errors
    ///
    /// [`AccessTokenError::Invalid`] when the provider refuses the pair; [`AccessTokenError::Unknown`] when it cannot be asked.
    pub async fn redeem_app_password(
        &self,
        user: &str,
        password: &str,
        wanted: &WantedClaims,
    ) -> Result<Login, AccessTokenError> {
        let unknown = AccessTokenError::Unknown;
        let ready = self.ready().ok_or(unknown(OidcError::NotReady))?;
        let request = {
            let mut form = Serializer::new(String::new());
            form.append_pair("grant_type", "client_credentials");
            // The password replaces the client secret, which would make the client itself the user.
            form.append_pair("client_id", &self.settings().client_id);
            form.append_pair("username", user);
            form.append_pair("password", password);
            form.append_pair("scope", &self.settings().scopes.join(" "));
            form_request(ready.metadata.token_endpoint(), form).map_err(|error| unknown(error.into()))?
        };
        let answer = self.send(Operation::AppPassword, request).await.map_err(|none| unknown(none.into()))?;
        let answer = checked(Operation::AppPassword, answer).map_err(unknown)?;
        if answer.status() == StatusCode::BAD_REQUEST || answer.status() == StatusCode::UNAUTHORIZED {
            return Err(AccessTokenError::Invalid("the provider refuses the app password".into()));
        }
        members(Operation::AppPassword, &answer).map_err(unknown)?;
        let malformed = |_| unknown(OidcError::Malformed("the answer to an app password holds no tokens".into()));
        let tokens: TokenResponse = serde_json::from_slice(answer.body()).map_err(malformed)?;
        let verified = self.verify_id_token(&ready, ExpectedNonce::NoneOr(None), &tokens).await.map_err(unknown)?;
        let mut login = Login::new(verified, Extras::default());
        let added = self.add_wanted_claims(&ready, &tokens, &mut login.claims, wanted).await.map_err(unknown)?;
        let other = |OtherSubject| AccessTokenError::Invalid("userinfo speaks of another subject".into());
        added.map_err(other)?;
        Ok(login)
    }
}

fn members(operation: Operation, answer: &Response<Vec<u8>>) -> Result<Map<String, Value>, OidcError> {
    if answer.status() != StatusCode::OK {
        let what = format!("{} answered {}: is our client allowed to ask?", operation.as_str(), answer.status());
        return Err(OidcError::Configuration(what));
    }
    let malformed = |_| OidcError::Malformed(format!("the answer of {} is not an object", operation.as_str()).into());
    serde_json::from_slice(answer.body()).map_err(malformed)
}

/// Verifies the answer about a token (RFC 7662 §2.2); it must have the recipient of the token.
///
/// The answer is the proof, and any issuer may have made the token. So another `iss` is allowed when the operator accepts the client by its
/// id: authentik has an issuer for each application.
pub(super) fn read(
    token: &str,
    claims: Map<String, Value>,
    issuer: &str,
    recipient: &Recipient<'_>,
    now: UnixTime,
) -> Result<AccessToken, AccessTokenError> {
    if claims.get("active") != Some(&Value::Bool(true)) {
        return Err(AccessTokenError::Inactive);
    }
    match claims.get("iss") {
        None | Some(Value::Null) => {}
        Some(Value::String(named)) if named == issuer || is_of_accepted_client(&claims, recipient) => {}
        Some(_) => return Err(AccessTokenError::Invalid("`iss` is another issuer".into())),
    }
    verify_active(token, &claims)?;
    verify_recipient(&claims, recipient)?;
    let expires_at = verify_times(&claims, now)?;
    Ok(AccessToken { claims: with_subject(claims)?, expires_at })
}
