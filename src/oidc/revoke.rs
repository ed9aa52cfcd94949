//! Revoking refresh tokens (RFC 7009).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Request, StatusCode, header};
use openidconnect::AuthType;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::IdentityProvider;
use super::error::clean;
use super::exchange::told;
use super::provider::checked;
use super::{OidcError, Operation, Provider, Ready};

/// How a revocation ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// The provider knows the token no longer, or never did (RFC 7009 §2.2).
    Done,
    /// The provider has no place for it: the token ends with its time.
    Unsupported,
}

impl Provider {
    /// Ends a refresh token, and with it what the provider hangs on it; one request, within the provider's time-out.
    ///
    /// # Errors
    ///
    /// When the provider is away or refuses; the token may live on then, and nobody but us has it.
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
    /// The library refuses addresses in cleartext, which are for settings to judge.
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
        self.client_request(settings, endpoint, form).map(Some)
    }

    /// A form for `endpoint`, with what proves that it is our client's, as at the token endpoint.
    pub(super) fn client_request(
        &self,
        settings: &IdentityProvider,
        endpoint: &Url,
        mut form: Serializer<'_, String>,
    ) -> Result<Request<Vec<u8>>, OidcError> {
        match (self.auth_type(settings), &settings.client_secret) {
            (AuthType::BasicAuth, Some(secret)) => {
                let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let pair = format!("{}:{}", encoded(&settings.client_id), encoded(secret.expose_secret()));
                let basic = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)));
                let mut request = form_request(endpoint.as_str(), form)?;
                if let Ok(mut basic) = basic {
                    basic.set_sensitive(true);
                    request.headers_mut().insert(header::AUTHORIZATION, basic);
                }
                Ok(request)
            }
            (_, secret) => {
                form.append_pair("client_id", &settings.client_id);
                if let Some(secret) = secret {
                    form.append_pair("client_secret", secret.expose_secret());
                }
                form_request(endpoint.as_str(), form)
            }
        }
    }
}

pub(super) fn form_request(endpoint: &str, mut form: Serializer<'_, String>) -> Result<Request<Vec<u8>>, OidcError> {
    Request::post(endpoint)
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form.finish().into_bytes())
        .map_err(|_| OidcError::Malformed("an endpoint's address is no URL".into()))
}

/// The error of RFC 6749 §5.2, where there is one; the body may repeat what it was told.
fn refusal(status: StatusCode, body: &[u8], told: &[&str]) -> OidcError {
    #[derive(Deserialize)]
    struct Answer {
        error: String,
    }
    let code = serde_json::from_slice(body).ok().map(|Answer { error }| error);
    let discreet = |text: &String| !told.iter().any(|secret| !secret.is_empty() && text.contains(secret));
    let code = code.filter(discreet).map_or_else(|| format!("revocation answered {status}"), |code| clean(&code));
    OidcError::Refused { code, description: None }
}
