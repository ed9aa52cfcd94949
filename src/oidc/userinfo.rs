//! Requests to the userinfo endpoint (OIDC Core §5.3).

use std::sync::Arc;

use http::{HeaderValue, Request, Response, StatusCode, header};
use serde_json::{Map, Value};

use super::flaw::{Flaw, Remedy};
use super::jws::{Jws, Kind};
use super::missing_claims::keep_what_is_of_the_user;
use super::provider::checked;
use super::verify::{verify_audience, verify_issuer};
use super::{OidcError, Operation, Provider, Ready, members};

/// The answer of userinfo.
pub(super) enum Userinfo {
    /// All claims about the user, also those that are `null`, which no longer hold; none about the login, as only an ID token has these.
    Claims(Map<String, Value>),
    /// Claims about another user.
    OtherSubject,
    /// The provider has no such endpoint.
    None,
}

impl Provider {
    /// Asks userinfo, and compares its subject with `subject` (OIDC Core §5.3.2).
    ///
    /// # Errors
    ///
    /// When there is no answer, or one without a subject, or a signed one that this provider did not issue for this client.
    pub(super) async fn userinfo(
        &self,
        ready: &Arc<Ready>,
        access_token: &str,
        subject: &str,
    ) -> Result<Userinfo, OidcError> {
        let Some(endpoint) = ready.metadata.userinfo_endpoint() else {
            return Ok(Userinfo::None);
        };
        let answer = self.send(Operation::Userinfo, request(endpoint, access_token)?).await?;
        let answer = checked(Operation::Userinfo, answer)?;
        let status = answer.status();
        if status != StatusCode::OK {
            return Err(OidcError::Refused { code: format!("userinfo answered {status}"), description: None });
        }
        let mut claims = if is_signed(&answer) {
            self.signed_userinfo(ready, answer.body()).await?
        } else {
            members::parse(answer.body()).map_err(|why| OidcError::Malformed(format!("userinfo: {why}").into()))?
        };
        match claims.get("sub") {
            Some(Value::String(found)) if found == subject => {
                keep_what_is_of_the_user(&mut claims);
                Ok(Userinfo::Claims(claims))
            }
            Some(Value::String(_)) => Ok(Userinfo::OtherSubject),
            Some(_) => Err(OidcError::InvalidUserinfo(Flaw::new("`sub` is not a text", Remedy::Subject))),
            None => Err(OidcError::InvalidUserinfo(Flaw::new("`sub` is missing", Remedy::Subject))),
        }
    }

    /// The claims of a signed answer.
    async fn signed_userinfo(&self, ready: &Arc<Ready>, token: &[u8]) -> Result<Map<String, Value>, OidcError> {
        let token = str::from_utf8(token).unwrap_or_default().trim();
        let jws = Jws::parse(token).map_err(OidcError::InvalidUserinfo)?;
        verify_issuer(&jws.claims, &self.settings().issuer).map_err(OidcError::InvalidUserinfo)?;
        verify_audience(&jws.claims, &self.settings().client_id).map_err(OidcError::InvalidUserinfo)?;
        let verify = |ready: &Ready| ready.verify_signature(self.settings(), &jws, Kind::Userinfo);
        self.with_newest(ready, verify).await.map_err(|unfit| OidcError::InvalidUserinfo(unfit.token))?;
        Ok(jws.claims)
    }
}

fn request(endpoint: &str, access_token: &str) -> Result<Request<Vec<u8>>, OidcError> {
    let unusable = || OidcError::Malformed("the access token is not usable in a request to userinfo".into());
    let mut bearer = HeaderValue::try_from(format!("Bearer {access_token}")).map_err(|_| unusable())?;
    bearer.set_sensitive(true);
    Request::get(endpoint)
        .header(header::ACCEPT, "application/json")
        .header(header::AUTHORIZATION, bearer)
        .body(Vec::new())
        .map_err(|_| OidcError::Malformed("the userinfo address is not a URL".into()))
}

/// Whether the body is a JWT (OIDC Core §5.3.2).
fn is_signed(answer: &Response<Vec<u8>>) -> bool {
    let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("application/jwt"))
}
