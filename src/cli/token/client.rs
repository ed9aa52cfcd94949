//! Our client at the provider: forms, and what comes back (RFC 6749 §2.3, §5).

use std::fmt;
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::cli::command_error::CommandError;
use crate::oidc::{ClientAuthentication, HttpClient, Metadata, clean_without_secrets};

/// Parameters that must not come back in a message.
const SECRET: [&str; 3] = ["device_code", "refresh_token", "token"];

/// The client that asks.
pub(super) struct Client<'c> {
    secret: Option<&'c SecretString>,
    authentication: ClientAuthentication<'c>,
}

/// Why the provider did not do it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It does not answer, or is ill: it may do it later.
    Away(String),
    /// It said no (RFC 6749 §5.2).
    Error {
        /// The error code; may hold anything.
        code: String,
        /// With what it says more.
        words: String,
    },
    /// It said something else.
    Malformed(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(text) | Self::Malformed(text) => f.write_str(text),
            Self::Error { words, .. } => f.write_str(words),
        }
    }
}

impl<'c> Client<'c> {
    pub(super) fn new(id: &'c str, secret: Option<&'c SecretString>, metadata: &Metadata) -> Self {
        Self { secret, authentication: ClientAuthentication::of_metadata(id, secret, metadata) }
    }

    /// Sends a form and reads the object that comes back.
    pub(super) async fn post(
        &self,
        http: &HttpClient,
        endpoint: &Url,
        parameters: &[(&str, &str)],
    ) -> Result<Map<String, Value>, Refusal> {
        let answer = self.send(http, endpoint, parameters).await?;
        read(answer.status(), answer.body(), &self.told(parameters)).map_err(|refusal| refusal.at(endpoint))
    }

    /// Ends a token (RFC 7009 §2).
    pub(super) async fn revoke(
        &self,
        http: &HttpClient,
        endpoint: &Url,
        token: &str,
        hint: &str,
    ) -> Result<(), Refusal> {
        let parameters = [("token", token), ("token_type_hint", hint)];
        let answer = self.send(http, endpoint, &parameters).await?;
        if answer.status() == StatusCode::OK {
            return Ok(());
        }
        read(answer.status(), answer.body(), &self.told(&parameters)).map(drop).map_err(|refusal| refusal.at(endpoint))
    }

    async fn send(
        &self,
        http: &HttpClient,
        endpoint: &Url,
        parameters: &[(&str, &str)],
    ) -> Result<Response<Vec<u8>>, Refusal> {
        let request = self.request(endpoint, parameters);
        let request = request.map_err(|_| Refusal::Malformed(format!("{endpoint} cannot be asked")))?;
        http.send(request).await.map_err(|none| Refusal::Away(format!("{endpoint}: {none}")))
    }

    /// What the provider is told in confidence.
    fn told<'t>(&'t self, parameters: &[(&str, &'t str)]) -> Vec<&'t str> {
        let told = parameters.iter().filter(|(name, _)| SECRET.contains(name)).map(|(_, value)| *value);
        told.chain(self.secret.map(ExposeSecret::expose_secret)).collect()
    }

    fn request(&self, endpoint: &Url, parameters: &[(&str, &str)]) -> Result<Request<Vec<u8>>, http::Error> {
        let mut form = Serializer::new(String::new());
        form.extend_pairs(parameters);
        let mut request = self.authentication.request(endpoint.as_str(), form)?;
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(super::USER_AGENT));
        Ok(request)
    }
}

impl Refusal {
    fn at(self, endpoint: &Url) -> Self {
        match self {
            Self::Away(text) => Self::Away(format!("{endpoint} {text}")),
            Self::Malformed(text) => Self::Malformed(format!("{endpoint} {text}")),
            error @ Self::Error { .. } => error,
        }
    }
}

/// Some providers repeat in their words what they were told, so words that hold one of `told` are not shown.
fn read(status: StatusCode, body: &[u8], told: &[&str]) -> Result<Map<String, Value>, Refusal> {
    #[derive(Deserialize)]
    struct Words {
        error: String,
        error_description: Option<String>,
    }
    if status == StatusCode::OK {
        // The body may hold tokens, so nothing of it is told.
        return serde_json::from_slice(body).map_err(|_| Refusal::Malformed("answers with something else".to_owned()));
    }
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT {
        return Err(Refusal::Away(format!("answers {status}")));
    }
    let Ok(Words { error, error_description }) = serde_json::from_slice(body) else {
        return Err(Refusal::Malformed(format!("answers {status}")));
    };
    let shown = |text: &str| clean_without_secrets(text, told);
    let more = error_description.map(|text| format!(" ({})", shown(&text))).unwrap_or_default();
    Err(Refusal::Error { words: format!("{}{more}", shown(&error)), code: error })
}

/// What a login or a refresh brings (RFC 6749 §5.1).
pub(super) struct Tokens {
    pub(super) access: SecretString,
    pub(super) refresh: Option<SecretString>,
    /// `None`: the provider does not say.
    pub(super) lifetime: Option<Duration>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    /// Reads what may stand behind `Authorization: Bearer`.
    pub(super) fn read(answer: &Map<String, Value>) -> Result<Self, CommandError> {
        let text = |name| answer.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let wrong = |why: &str| CommandError::unavailable(format!("the provider's answer: {why}"));
        let access = text("access_token").ok_or_else(|| wrong("there is no access token in it"))?;
        if !access.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("the access token has characters that no token has"));
        }
        if !text("token_type").is_none_or(|kind| kind.eq_ignore_ascii_case("bearer")) {
            return Err(wrong("the token is of a type that cannot be used like this; only Bearer can"));
        }
        Ok(Self {
            access: SecretString::from(access),
            refresh: text("refresh_token").map(SecretString::from),
            lifetime: answer.get("expires_in").and_then(seconds),
        })
    }
}

/// Some providers write their numbers as texts.
pub(super) fn seconds(value: &Value) -> Option<Duration> {
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
    Duration::try_from_secs_f64(number).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, expected: &str) {
        let told = ["s3cret", ""];
        let got = match read(StatusCode::from_u16(status).unwrap(), body.as_bytes(), &told) {
            Ok(answer) => Value::Object(answer).to_string(),
            Err(refusal @ Refusal::Away(_)) => format!("away: {refusal}"),
            Err(refusal @ Refusal::Malformed(_)) => format!("malformed: {refusal}"),
            Err(Refusal::Error { code, words }) => format!("{code}: {words}"),
        };
        assert_eq!(got, expected, "{status} {body}");
    }

    #[test]
    fn answers() {
        check(200, r#"{"a":1}"#, r#"{"a":1}"#);
        check(200, "", "malformed: answers with something else");
        check(200, "s3cret", "malformed: answers with something else");
        check(400, r#"{"error":"slow_down"}"#, "slow_down: slow_down");
        check(400, r#"{"error":"x","error_description":"a\u001bb"}"#, "x: x (a b)");
        check(401, r#"{"error":"x","error_description":"no s3cret here"}"#, "x: x ((words that hold a secret))");
        check(400, r#"{"error":"s3cret"}"#, "s3cret: (words that hold a secret)");
        check(404, "<h1>s3cret", "malformed: answers 404 Not Found");
        check(302, "", "malformed: answers 302 Found");
        check(503, r#"{"error":"x"}"#, "away: answers 503 Service Unavailable");
        check(429, "", "away: answers 429 Too Many Requests");
    }

    #[track_caller]
    fn check_tokens(answer: Value, expected: Option<(&str, Option<&str>, Option<u64>)>) {
        let tokens = Tokens::read(answer.as_object().unwrap()).ok();
        let got = tokens.as_ref().map(|it| {
            let refresh = it.refresh.as_ref().map(ExposeSecret::expose_secret);
            (it.access.expose_secret(), refresh, it.lifetime.map(|it| it.as_secs()))
        });
        assert_eq!(got, expected, "{answer}");
    }

    #[test]
    fn tokens() {
        check_tokens(json!({"access_token": "a", "token_type": "bearer"}), Some(("a", None, None)));
        check_tokens(
            json!({"access_token": "a", "token_type": "Bearer", "refresh_token": "r", "expires_in": 60}),
            Some(("a", Some("r"), Some(60))),
        );
        check_tokens(json!({"access_token": "a", "refresh_token": "", "expires_in": "9"}), Some(("a", None, Some(9))));
        check_tokens(json!({"access_token": "a", "expires_in": -1}), Some(("a", None, None)));
        check_tokens(json!({"access_token": "a", "token_type": "DPoP"}), None);
        check_tokens(json!({"access_token": "a\r\nb", "token_type": "Bearer"}), None);
        check_tokens(json!({"access_token": "a b"}), None);
        check_tokens(json!({"access_token": ""}), None);
        check_tokens(json!({"id_token": "a"}), None);
    }
}
