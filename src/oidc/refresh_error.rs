use http::StatusCode;
use secrecy::SecretString;

use super::endpoint_client::AnswerDetails;
use super::{Malformed, OidcError, Unreachable};

/// The code of a grant that is gone (RFC 6749 §5.2).
const INVALID_GRANT: &str = "invalid_grant";

/// Codes about the grant or its user, with any status: those of OAuth, of OpenID Connect (OIDC Core §3.1.2.6), and that of bearer
/// tokens (RFC 6750 §3.1), which some servers use for refresh tokens.
const GRANT_ERRORS: [&str; 8] = [
    INVALID_GRANT,
    "access_denied",
    "invalid_token",
    "expired_token",
    "login_required",
    "interaction_required",
    "consent_required",
    "account_selection_required",
];

/// Codes about the request, and not about the grant: RFC 6749 §5.2, RFC 8628 §3.5, RFC 8707 §2, RFC 9396 §5, RFC 9449 §5.
const REQUEST_ERRORS: [&str; 9] = [
    "invalid_request",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "authorization_pending",
    "invalid_target",
    "invalid_authorization_details",
    "invalid_dpop_proof",
    "use_dpop_nonce",
];

/// Codes about the state of the server: not those of RFC 6749 §5.2 for a token endpoint, but used there.
const SERVER_ERRORS: [&str; 3] = ["server_error", "temporarily_unavailable", "slow_down"];

/// Why a refresh failed.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The provider ended the grant (`invalid_grant`, RFC 6749 §5.2, or a code that RFC 6749 does not define): the login is over.
    #[error("the provider ended the grant: {code}{}", in_brackets(description.as_deref()))]
    Ended {
        /// The error code, cleaned.
        code: String,
        /// The provider's words, cleaned and shortened.
        description: Option<String>,
    },
    /// The provider refuses our client: it does not know it, has disabled it, or has another secret for it.
    #[error("the provider refuses this client: {code}{}", in_brackets(description.as_deref()))]
    ClientRefused {
        /// The error code, cleaned.
        code: String,
        /// The provider's words, cleaned and shortened.
        description: Option<String>,
    },
    /// The provider refuses for another reason: mostly a mistake in a configuration, there or here.
    #[error("the provider refused: {code}{}", in_brackets(description.as_deref()))]
    Refused {
        /// The error code, cleaned; or what was answered, where there was none.
        code: String,
        /// The provider's words, cleaned and shortened.
        description: Option<String>,
    },
    /// Discovery has not succeeded yet; later it may work.
    #[error("the provider's metadata is not known yet")]
    NotReady,
    /// The request did not arrive, or the answer says that the provider is ill; later it may work.
    #[error("the provider does not answer")]
    Unreachable(#[source] Unreachable),
    /// The request may have arrived, and there is no complete answer: the refresh token may be spent.
    #[error("the provider gave no whole answer")]
    Unanswered(#[source] Unreachable),
    /// The answer is complete and has a 2xx, but no tokens: the refresh token may be spent.
    #[error("the provider's answer cannot be read")]
    Unreadable(#[source] Malformed),
    /// The new tokens are those of another subject.
    #[error("the provider answered with tokens of another subject")]
    Changed,
    /// The tokens are not valid, or the request could not be made.
    #[error(transparent)]
    Unproven(OidcError),
}

fn in_brackets(words: Option<&str>) -> String {
    words.map(|words| format!(" ({words})")).unwrap_or_default()
}

/// The consequence of a refresh that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// The login is over, and our session ends.
    EndSession,
    /// The refresh token may be spent. Forepost does not send it again, unless the provider is known not to rotate.
    TokenSpent,
    /// Nothing has changed; a later refresh may work.
    TryLater,
}

impl RefreshError {
    /// The name in metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Ended { .. } => "invalid_grant",
            Self::ClientRefused { .. } => "client_refused",
            Self::Refused { .. } => "refused",
            Self::NotReady => "not_ready",
            Self::Unreachable(_) => "unreachable",
            Self::Unanswered(_) => "unanswered",
            Self::Unreadable(_) => "unreadable",
            Self::Changed => "other_subject",
            Self::Unproven(_) => "unproven",
        }
    }

    /// Whether the provider is unavailable: there is no answer about the login.
    ///
    /// All other errors are answers that do not vouch for the user.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::NotReady | Self::Unreachable(_) | Self::Unanswered(_))
    }

    /// The consequence when the provider gave no new refresh token; otherwise see [`RefreshFailure::consequence`].
    #[must_use]
    pub const fn consequence(&self) -> Consequence {
        match self {
            Self::Ended { .. } | Self::Changed => Consequence::EndSession,
            Self::Unanswered(_) | Self::Unreadable(_) => Consequence::TokenSpent,
            // When there are tokens and no new refresh token, the old one stays valid (RFC 6749 §6).
            Self::ClientRefused { .. }
            | Self::Refused { .. }
            | Self::NotReady
            | Self::Unreachable(_)
            | Self::Unproven(_) => Consequence::TryLater,
        }
    }

    /// The error of an answer of the token endpoint.
    pub(super) fn of_answer(error: OidcError, details: &AnswerDetails) -> Self {
        match (error, details.status) {
            (OidcError::Unreachable(why), _) if details.may_have_acted => Self::Unanswered(why),
            (OidcError::Malformed(why), _) if details.may_have_acted => Self::Unreadable(why),
            (OidcError::Refused { code, description }, status) => {
                Self::of_refusal(status.unwrap_or(StatusCode::BAD_REQUEST), code, description)
            }
            // Glewlwyd refuses a token so that is spent, expired or revoked. A gateway would send a body.
            (OidcError::Malformed(_), Some(StatusCode::BAD_REQUEST)) if details.is_empty => {
                Self::Ended { code: INVALID_GRANT.to_owned(), description: Some("400 without a word".to_owned()) }
            }
            (OidcError::Malformed(_), Some(status)) if status.is_client_error() => {
                Self::Refused { code: format!("the token endpoint answered {status}"), description: None }
            }
            (error, _) => error.into(),
        }
    }

    /// The error of a refusal with a code.
    fn of_refusal(status: StatusCode, code: String, description: Option<String>) -> Self {
        let is_one_of = |codes: &[&str]| codes.contains(&code.as_str());
        // The refresh token is all that our request has about the grant, so an unknown code is about that. An error that repeats
        // the status line comes from a framework or a gateway.
        let is_unknown = status == StatusCode::BAD_REQUEST
            && !is_one_of(&REQUEST_ERRORS)
            && !status.canonical_reason().is_some_and(|reason| code.eq_ignore_ascii_case(reason))
            && code != status.as_str();
        if is_one_of(&SERVER_ERRORS) {
            Self::Unreachable(Unreachable::Code(code))
        } else if is_client_refusal(status, &code) {
            Self::ClientRefused { code, description }
        } else if is_one_of(&GRANT_ERRORS) || is_unknown {
            Self::Ended { code, description }
        } else {
            Self::Refused { code, description }
        }
    }
}

/// Whether an error of the token endpoint means that the provider refuses our client.
///
/// RFC 6749 §5.2 has `invalid_client` for it. Keycloak calls a wrong secret `unauthorized_client`, with the status of a failed
/// authentication; with 400 it is the grant type that this client may not use.
pub(super) fn is_client_refusal(status: StatusCode, code: &str) -> bool {
    code == "invalid_client" || code == "unauthorized_client" && status == StatusCode::UNAUTHORIZED
}

/// Whether a refusal with this code means that only another login brings new tokens.
#[must_use]
pub fn ends_grant(code: &str) -> bool {
    matches!(RefreshError::of_refusal(StatusCode::BAD_REQUEST, code.to_owned(), None), RefreshError::Ended { .. })
}

/// A refresh that failed.
#[derive(Debug)]
pub struct RefreshFailure {
    /// Why.
    pub error: RefreshError,
    /// The new refresh token, when the provider gave one before the failure.
    ///
    /// The old one is spent then: another try with it would look like a theft, and end the grant.
    pub rotated: Option<SecretString>,
}

impl RefreshFailure {
    /// The consequence. With [`Consequence::TryLater`] the next try needs `rotated`, when there is one.
    #[must_use]
    pub const fn consequence(&self) -> Consequence {
        match (self.error.consequence(), &self.rotated) {
            (Consequence::TokenSpent, Some(_)) => Consequence::TryLater,
            (consequence, _) => consequence,
        }
    }
}

impl From<RefreshError> for RefreshFailure {
    fn from(error: RefreshError) -> Self {
        Self { error, rotated: None }
    }
}

impl From<OidcError> for RefreshError {
    fn from(error: OidcError) -> Self {
        match error {
            OidcError::NotReady => Self::NotReady,
            OidcError::Unreachable(why) => Self::Unreachable(why),
            OidcError::Refused { code, description } => Self::Refused { code, description },
            error @ (OidcError::Malformed(_)
            | OidcError::IssuerMismatch { .. }
            | OidcError::InvalidToken(_)
            | OidcError::InvalidUserinfo(_)
            | OidcError::ScopeNotGranted(_)
            | OidcError::Configuration(_)) => Self::Unproven(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer with this status.
    fn details(status: u16, may_have_acted: bool) -> AnswerDetails {
        AnswerDetails { status: StatusCode::from_u16(status).ok(), may_have_acted, ..AnswerDetails::default() }
    }

    #[track_caller]
    fn check(error: OidcError, details: &AnswerDetails, name: &str, alone: Consequence, with_a_new_token: Consequence) {
        let told = error.to_string();
        let mut failure = RefreshFailure::from(RefreshError::of_answer(error, details));
        assert_eq!(failure.error.as_str(), name, "{told}");
        assert_eq!((failure.error.consequence(), failure.consequence()), (alone, alone), "{told}");
        failure.rotated = Some("new".to_owned().into());
        assert_eq!(failure.consequence(), with_a_new_token, "{told}");
    }

    #[track_caller]
    fn refused(status: u16, code: &str, name: &str, consequence: Consequence) {
        let error = OidcError::Refused { code: code.into(), description: None };
        check(error, &details(status, false), name, consequence, consequence);
    }

    #[test]
    fn each_refusal_has_its_consequence() {
        use Consequence::{EndSession, TryLater};
        for status in [400, 401, 403] {
            for code in GRANT_ERRORS {
                refused(status, code, "invalid_grant", EndSession);
            }
            for code in SERVER_ERRORS {
                refused(status, code, "unreachable", TryLater);
            }
            refused(status, "invalid_client", "client_refused", TryLater);
            for code in REQUEST_ERRORS.into_iter().filter(|code| *code != "unauthorized_client") {
                refused(status, code, "refused", TryLater);
            }
        }
        refused(401, "unauthorized_client", "client_refused", TryLater);
        refused(400, "unauthorized_client", "refused", TryLater);
        // What RFC 6749 does not know.
        for code in ["Refresh token is invalid or expired", "token_expired", "invalid_refresh_token", "x"] {
            refused(400, code, "invalid_grant", EndSession);
            for status in [401, 403, 404, 410, 422] {
                refused(status, code, "refused", TryLater);
            }
        }
        for (status, code) in [(400, "Bad Request"), (400, "bad request"), (400, "400"), (403, "Forbidden")] {
            refused(status, code, "refused", TryLater);
        }
        assert!(ends_grant("invalid_grant") && ends_grant("Refresh token is invalid or expired"));
        assert!(!ends_grant("invalid_client") && !ends_grant("invalid_scope") && !ends_grant("server_error"));
    }

    #[test]
    fn each_other_error_has_its_consequence() {
        use Consequence::{EndSession, TokenSpent, TryLater};
        let unsent = AnswerDetails::default();
        let lost = AnswerDetails { may_have_acted: true, ..AnswerDetails::default() };
        let unreachable = || OidcError::Unreachable(Unreachable::Interrupted);
        let malformed = || OidcError::Malformed("<html>".into());
        check(OidcError::NotReady, &unsent, "not_ready", TryLater, TryLater);
        check(unreachable(), &unsent, "unreachable", TryLater, TryLater);
        check(unreachable(), &lost, "unanswered", TokenSpent, TryLater);
        check(malformed(), &details(200, true), "unreadable", TokenSpent, TryLater);
        check(malformed(), &unsent, "unproven", TryLater, TryLater);
        for status in [400, 401, 403, 404] {
            check(malformed(), &details(status, false), "refused", TryLater, TryLater);
        }
        let is_empty = |status| AnswerDetails { is_empty: true, ..details(status, false) };
        check(malformed(), &is_empty(400), "invalid_grant", EndSession, EndSession);
        check(malformed(), &is_empty(403), "refused", TryLater, TryLater);
        check(OidcError::InvalidToken("signature".into()), &details(200, true), "unproven", TryLater, TryLater);
        check(OidcError::Configuration("clock".into()), &unsent, "unproven", TryLater, TryLater);
        assert_eq!(RefreshError::Changed.consequence(), EndSession);
    }
}
