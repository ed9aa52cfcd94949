//! Revocation of refresh tokens (RFC 7009).

use http::{Request, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use super::IdentityProvider;
use super::error::{clean, holds_secret};
use super::exchange::told;
use super::provider::checked;
use super::{ClientAuthentication, OidcError, Operation, Provider, Ready};

/// The result of a revocation that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// The token is not valid any more, or never was (RFC 7009 §2.2).
    Done,
    /// The provider has no revocation endpoint: the token lives until its expiry.
    Unsupported,
}

impl Provider {
    /// Revokes a refresh token, and with it what the provider ties to it; one request, within the provider's time-out.
    ///
    /// # Errors
    ///
    /// When the provider does not answer, or refuses; the token may live on then, and only forepost has it.
    pub async fn revoke(&self, refresh_token: &SecretString) -> Result<Revocation, OidcError> {
        let ready = self.ready().ok_or(OidcError::NotReady)?;
        let Some(request) = ready.revocation_request(self.settings(), refresh_token)? else {
            return Ok(Revocation::Unsupported);
        };
        let response = checked(Operation::Revocation, self.send(Operation::Revocation, request).await?)?;
        if response.status() == StatusCode::OK {
            return Ok(Revocation::Done);
        }
        let told = told(self.settings(), [refresh_token.expose_secret(), ""]);
        Err(refusal(response.status(), response.body(), &told))
    }
}

impl Ready {
    /// The library refuses addresses in cleartext, which the settings allow.
    fn revocation_request(
        &self,
        settings: &IdentityProvider,
        refresh_token: &SecretString,
    ) -> Result<Option<Request<Vec<u8>>>, OidcError> {
        let Some(endpoint) = self.metadata.revocation_endpoint() else {
            return Ok(None);
        };
        let mut form = Serializer::new(String::new());
        form.append_pair("token", refresh_token.expose_secret());
        form.append_pair("token_type_hint", "refresh_token");
        Ok(Some(ClientAuthentication::of(settings, &self.metadata).request(endpoint.as_str(), form)?))
    }
}

/// The error of RFC 6749 §5.2, if there is one; the body may repeat secrets.
fn refusal(status: StatusCode, body: &[u8], told: &[&str]) -> OidcError {
    #[derive(Deserialize)]
    struct Answer {
        error: String,
    }
    let code = serde_json::from_slice(body).ok().map(|Answer { error }| error);
    let code = code.filter(|code| !holds_secret(code, told));
    let code = code.map_or_else(|| format!("revocation answered {status}"), |code| clean(&code));
    OidcError::Refused { code, description: None }
}
