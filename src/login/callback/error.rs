//! Why a callback signed no user in, and what helps.

use crate::identity::InvalidIdentity;
use crate::login::{ReturnTarget, StartError};
use crate::oidc::OidcError;
use crate::session::StoreError;
use crate::world::EntropyError;

/// Why a callback signed no user in.
#[derive(Debug, thiserror::Error)]
pub enum CallbackError {
    /// A parameter is missing or repeated.
    #[error("the request is not an authorisation response: {0}")]
    Malformed(&'static str),
    /// The state is not one that we made for this application.
    #[error("the state is not ours, or of another application")]
    ForeignState,
    /// The attempt's cookie did not come back, its time is over, or it was completed before.
    #[error("the attempt's cookie did not come back, is too old, or was used before")]
    AttemptGone(ReturnTarget),
    /// The response names no issuer, and the provider promised to (RFC 9207 §2.4).
    #[error("the response does not name its issuer (`iss`), and the provider's metadata promise that it does")]
    IssuerMissing,
    /// The response names another issuer (RFC 9207 §2.4).
    #[error("the response is not from this application's provider (`iss`)")]
    OtherIssuer,
    /// The provider answered with an error (RFC 6749 §4.1.2.1).
    #[error("the browser came back with {code}{}", description.as_ref().map(|it| format!(": {it}")).unwrap_or_default())]
    Denied {
        /// Its error code, cleaned.
        code: String,
        /// Its words, cleaned.
        description: Option<String>,
        /// For another try.
        target: ReturnTarget,
    },
    /// The code could not be exchanged, or the token proves nothing.
    #[error("{error}")]
    Provider {
        /// What went wrong.
        #[source]
        error: OidcError,
        /// For another try.
        target: ReturnTarget,
    },
    /// The claims name no user.
    #[error("{error}")]
    Identity {
        /// What went wrong.
        #[source]
        error: InvalidIdentity,
        /// For another try.
        target: ReturnTarget,
    },
    /// Login follows login; the session cookie never comes back, or comes among too many.
    #[error("the third login in a row without a request whose session cookie counted")]
    Loop,
    /// The session could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The person has to be asked, and no login can begin for that.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl CallbackError {
    /// Whether nothing helps but another attempt, and that mostly does.
    ///
    /// - The attempt is gone: its time is over, its cookie was lost, or it was used and the browser has no session.
    /// - The provider says that something of its own has expired (Keycloak, when an old form is posted again:
    ///   `temporarily_unavailable`, `authentication_expired`; Hydra: `request_unauthorized`, "The login request has expired").
    /// - The code was used before, or has expired (`invalid_grant`, RFC 6749 §5.2).
    pub(super) fn is_mended_by_another_attempt(&self) -> bool {
        match self {
            Self::AttemptGone(_) => true,
            Self::Denied { code, description, .. } => {
                let words = description.as_deref().unwrap_or_default().to_ascii_lowercase();
                code != "access_denied" && ["expired", "timed out", "timeout"].iter().any(|it| words.contains(it))
            }
            Self::Provider { error: OidcError::Refused { code, .. }, .. } => code == "invalid_grant",
            _ => false,
        }
    }

    /// The name in metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::ForeignState => "bad_request",
            Self::AttemptGone(_) => "attempt_gone",
            Self::OtherIssuer | Self::IssuerMissing => "other_issuer",
            Self::Denied { .. } => "denied",
            Self::Provider { error: OidcError::NotReady | OidcError::Unreachable(_), .. }
            | Self::Start(StartError::Provider(_)) => "provider_unreachable",
            Self::Provider { error: OidcError::Refused { .. }, .. } => "refused",
            Self::Provider { .. } | Self::Identity { .. } => "invalid_token",
            Self::Loop => "loop",
            Self::Store(_) => "store",
            Self::Entropy(_) | Self::Start(StartError::Sealer(_)) => "entropy",
        }
    }
}
