//! What a token endpoint answers (RFC 6749 §5.1, OIDC Core §3.1.3.3).

use std::time::Duration;

use openidconnect::core::{CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreTokenType};
use openidconnect::{
    AccessToken, EmptyAdditionalClaims, IdToken, OAuth2TokenResponse, RefreshToken, Scope,
    TokenResponse as LibraryTokenResponse,
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The members of a token response that the protocol needs; the others are in [`Extras`], where a mistake fails nothing.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct TokenResponse {
    access_token: AccessToken,
    token_type: CoreTokenType,
    id_token: Option<String>,
}

impl TokenResponse {
    /// The ID token as received, not verified.
    pub(super) fn id_token(&self) -> Option<&str> {
        self.id_token.as_deref().filter(|token| !token.is_empty())
    }

    /// The access token.
    pub(super) fn access_token_text(&self) -> &str {
        self.access_token.secret()
    }
}

impl OAuth2TokenResponse for TokenResponse {
    type TokenType = CoreTokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &CoreTokenType {
        &self.token_type
    }

    fn expires_in(&self) -> Option<Duration> {
        None
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        None
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

type LibraryIdToken =
    IdToken<EmptyAdditionalClaims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;

/// The library would refuse an ID token for a claim of an odd type that forepost does not need, so it gets none.
impl
    LibraryTokenResponse<
        EmptyAdditionalClaims,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    > for TokenResponse
{
    fn id_token(&self) -> Option<&LibraryIdToken> {
        None
    }
}

/// Optional members of a token response; one with a mistake counts as absent.
#[derive(Clone, Debug, Default)]
pub(super) struct Extras {
    pub(super) refresh_token: Option<SecretString>,
    pub(super) lifetime: Option<Duration>,
    /// The granted scopes, with blanks between; `None` when they are those of the request (RFC 6749 §5.1).
    pub(super) scope: Option<String>,
}

impl Extras {
    /// Parses each member alone, so that one of the wrong type does not hide the others.
    pub(super) fn parse(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct RefreshTokenMember {
            refresh_token: String,
        }
        #[derive(Deserialize)]
        struct LifetimeMember {
            expires_in: Value,
        }
        #[derive(Deserialize)]
        struct ScopeMember {
            scope: String,
        }
        let refresh_token = serde_json::from_slice(body)
            .ok()
            .map(|RefreshTokenMember { refresh_token }| refresh_token)
            .filter(|token| !token.is_empty());
        let lifetime =
            serde_json::from_slice(body).ok().and_then(|LifetimeMember { expires_in }| lifetime(&expires_in));
        let scope = serde_json::from_slice(body).ok().map(|ScopeMember { scope }| scope);
        Self { refresh_token: refresh_token.map(SecretString::from), lifetime, scope }
    }
}

/// Parses seconds, which several providers write as a text or with a fraction.
fn lifetime(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    Duration::try_from_secs_f64(seconds).ok().filter(|lifetime| !lifetime.is_zero())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[track_caller]
    fn check(body: &str, refresh_token: Option<&str>, milliseconds: Option<u128>) {
        let extras = Extras::parse(body.as_bytes());
        assert_eq!(extras.refresh_token.as_ref().map(ExposeSecret::expose_secret), refresh_token, "{body}");
        assert_eq!(extras.lifetime.map(|it| it.as_millis()), milliseconds, "{body}");
        assert!(!format!("{extras:?}").contains("secret-one"));
    }

    #[test]
    fn extras_are_read_tolerantly() {
        check(r#"{"refresh_token": "secret-one", "expires_in": 3600}"#, Some("secret-one"), Some(3_600_000));
        check(r#"{"refresh_token": "secret-one", "expires_in": "300"}"#, Some("secret-one"), Some(300_000));
        check(r#"{"refresh_token": "secret-one", "expires_in": 1.5}"#, Some("secret-one"), Some(1500));
        check(r#"{"refresh_token": "secret-one", "expires_in": 1e999}"#, Some("secret-one"), None);
        check(r#"{"refresh_token": "secret-one", "expires_in": -1}"#, Some("secret-one"), None);
        check(r#"{"refresh_token": "secret-one", "expires_in": 0}"#, Some("secret-one"), None);
        check(r#"{"refresh_token": "secret-one", "expires_in": 1e300}"#, Some("secret-one"), None);
        check(r#"{"refresh_token": "secret-one", "expires_in": "soon"}"#, Some("secret-one"), None);
        check(r#"{"refresh_token": "secret-one", "expires_in": "NaN"}"#, Some("secret-one"), None);
        check(r#"{"refresh_token": "secret-one", "expires_in": null}"#, Some("secret-one"), None);
        check(r#"{"refresh_token": "secret-one", "expires_in": 1, "expires_in": 2}"#, Some("secret-one"), None);
        check(r#"{"refresh_token": 7, "expires_in": 60}"#, None, Some(60_000));
        check(r#"{"refresh_token": "", "expires_in": 60}"#, None, Some(60_000));
        check(r#"{"refresh_token": null}"#, None, None);
        check("{}", None, None);
        check("<html>", None, None);
    }
}
