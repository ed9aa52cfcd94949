use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;

use http::StatusCode;

use super::flaw::Flaw;
use super::{NoAnswer, Operation};

/// Why a login through a provider did not work, by what can be done about it.
///
/// The texts are for the operator's log and hold no token, code or body. Causes are sources: [`crate::telemetry::WithCauses`]
/// shows them.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OidcError {
    /// Discovery has not succeeded yet.
    #[error("the provider's metadata is not known yet")]
    NotReady,
    /// There is no answer, or one that says that the provider is ill.
    #[error("the provider does not answer")]
    Unreachable(#[source] Unreachable),
    /// The provider refused, with an OAuth error code (RFC 6749 §5.2).
    #[error("the provider refused: {code}{}", description.as_ref().map(|it| format!(" ({it})")).unwrap_or_default())]
    Refused {
        /// The error code, cleaned.
        code: String,
        /// The provider's words, cleaned and shortened.
        description: Option<String>,
    },
    /// The provider's answer is not what the specifications ask for.
    #[error("the provider's answer is malformed")]
    Malformed(#[source] Malformed),
    /// The document names another issuer than the configured one.
    #[error("issuer mismatch: configured is {configured}, the provider says {found}{}", slash_hint(configured, found))]
    IssuerMismatch {
        /// What the configuration says.
        configured: String,
        /// What the document says.
        found: String,
    },
    /// The ID token is not valid.
    #[error("the ID token is not valid")]
    InvalidToken(#[source] Flaw),
    /// The answer of userinfo is not valid.
    #[error("the answer of userinfo is not valid")]
    InvalidUserinfo(#[source] Flaw),
    /// The provider did not grant a scope that it granted to other logins: the user may have taken it out of the request.
    #[error("the scope {0} was not granted, as it is to others")]
    ScopeNotGranted(String),
    /// Our own configuration makes the request impossible.
    #[error("{0}")]
    Configuration(String),
}

/// Why there is no answer of a provider.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unreachable {
    /// There is none.
    #[error(transparent)]
    NoAnswer(NoAnswer),
    /// It says that the provider is ill, or that something else is in its place.
    #[error("{} answered {status}", operation.as_str())]
    Status {
        /// What forepost asked for.
        operation: Operation,
        /// The status of the answer.
        status: StatusCode,
    },
    /// It has an error code that says that the provider is ill.
    #[error("{0}")]
    Code(String),
    /// Forepost did not ask, because it asked a moment ago.
    #[error("it was asked a moment ago (jwks_cooldown)")]
    Cooldown,
    /// The discovery ended without a result.
    #[error("it could not be asked again")]
    Interrupted,
}

/// What is wrong with an answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what}")]
pub struct Malformed {
    what: Cow<'static, str>,
    #[source]
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl Malformed {
    /// Something that cannot be parsed, because of `cause`, whose text must hold nothing secret.
    pub(super) fn caused(what: impl Into<Cow<'static, str>>, cause: impl Error + Send + Sync + 'static) -> Self {
        Self { what: what.into(), cause: Some(Arc::new(cause)) }
    }
}

impl From<&'static str> for Malformed {
    fn from(what: &'static str) -> Self {
        Self { what: what.into(), cause: None }
    }
}

impl From<String> for Malformed {
    fn from(what: String) -> Self {
        Self { what: what.into(), cause: None }
    }
}

fn slash_hint(configured: &str, found: &str) -> &'static str {
    if configured.trim_end_matches('/') == found.trim_end_matches('/') {
        " (only the trailing slash differs)"
    } else {
        ""
    }
}

impl From<Flaw> for OidcError {
    fn from(flaw: Flaw) -> Self {
        Self::InvalidToken(flaw)
    }
}

impl From<NoAnswer> for OidcError {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::Unsent(_) | NoAnswer::Lost(_) => Self::Unreachable(Unreachable::NoAnswer(none)),
            NoAnswer::TooLarge => Self::Malformed(none.to_string().into()),
        }
    }
}

/// A request cannot be made of the address of an endpoint.
impl From<http::Error> for OidcError {
    fn from(_: http::Error) -> Self {
        Self::Malformed("an endpoint's address is not a URL".into())
    }
}

/// [`clean`], unless the text repeats one of the `secrets` that the provider was told, as some providers do.
#[must_use]
pub fn clean_without_secrets(text: &str, secrets: &[&str]) -> String {
    if holds_secret(text, secrets) { "(words that hold a secret)".to_owned() } else { clean(text) }
}

pub(super) fn holds_secret(text: &str, secrets: &[&str]) -> bool {
    secrets.iter().any(|secret| !secret.is_empty() && text.contains(secret))
}

/// Makes the text of a provider fit for a log: one line, no control characters, short.
#[must_use]
pub fn clean(text: &str) -> String {
    const LONGEST: usize = 200;
    text.chars().map(|it| if it.is_control() { ' ' } else { it }).take(LONGEST).collect()
}
