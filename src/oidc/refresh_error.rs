use secrecy::SecretString;

use super::OidcError;

/// The code of a grant that is gone (RFC 6749 §5.2).
pub(super) const INVALID_GRANT: &str = "invalid_grant";

/// Why a login could not be refreshed, by what follows from it.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The grant is gone (`invalid_grant`, RFC 6749 §5.2): so is the login.
    #[error("the provider ended the grant{}", description.as_ref().map(|it| format!(" ({it})")).unwrap_or_default())]
    Ended {
        /// The provider's words, cleaned and shortened.
        description: Option<String>,
    },
    /// The provider refuses for another reason: mostly a mistake in a configuration, there or here.
    #[error("the provider refused: {code}{}", description.as_ref().map(|it| format!(" ({it})")).unwrap_or_default())]
    Refused {
        /// The error code, cleaned; or what was answered, where there was none.
        code: String,
        /// The provider's words, cleaned and shortened.
        description: Option<String>,
    },
    /// Discovery has not succeeded yet; later it may work.
    #[error("the provider's metadata is not known yet")]
    NotReady,
    /// The request surely never arrived, or the answer says that the provider is ill; later it may work.
    #[error("the provider does not answer: {0}")]
    Unreachable(String),
    /// The request may have arrived, and no whole answer came: whether the refresh token is spent cannot be known.
    #[error("the provider gave no whole answer: {0}")]
    Unanswered(String),
    /// The new tokens are somebody else's.
    #[error("the provider answered with tokens of another subject")]
    Changed,
    /// The answer proves nothing, or nothing could be asked.
    #[error(transparent)]
    Unproven(OidcError),
}

/// What follows from a refresh that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// The login is over: our session ends.
    EndSession,
    /// The refresh token may be spent: it is never sent again, unless the provider is known not to rotate.
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
            Self::Refused { .. } => "refused",
            Self::NotReady => "not_ready",
            Self::Unreachable(_) => "unreachable",
            Self::Unanswered(_) => "unanswered",
            Self::Changed => "other_subject",
            Self::Unproven(_) => "unproven",
        }
    }

    /// Whether no answer came that says anything about the login.
    #[must_use]
    pub const fn is_absence(&self) -> bool {
        matches!(self, Self::NotReady | Self::Unreachable(_) | Self::Unanswered(_))
    }

    /// What follows, where no new refresh token came; where one did, [`RefreshFailure::consequence`] knows more.
    #[must_use]
    pub const fn consequence(&self) -> Consequence {
        match self {
            Self::Ended { .. } | Self::Changed => Consequence::EndSession,
            Self::Unanswered(_) => Consequence::TokenSpent,
            // Where tokens came without a new refresh token, the old one stays good (RFC 6749 §6).
            Self::Refused { .. } | Self::NotReady | Self::Unreachable(_) | Self::Unproven(_) => Consequence::TryLater,
        }
    }

    /// The error of the token endpoint, which `may_be_done` with the refresh although it did not say so.
    pub(super) fn of_exchange(error: OidcError, may_be_done: bool) -> Self {
        match error {
            OidcError::Unreachable(why) | OidcError::Malformed(why) if may_be_done => Self::Unanswered(why),
            error => error.into(),
        }
    }
}

/// A refresh that failed.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct RefreshFailure {
    /// Why.
    pub error: RefreshError,
    /// The refresh token that the provider had already given when it went wrong.
    ///
    /// The old one is spent then: another try with it would look like a theft, and end the grant.
    pub rotated: Option<SecretString>,
}

impl RefreshFailure {
    /// What follows; with [`Consequence::TryLater`] it is `rotated`, where there is one, that is tried later.
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
            OidcError::Refused { code, description } => match code.as_str() {
                INVALID_GRANT => Self::Ended { description },
                // Not among the codes of RFC 6749 §5.2, but used, and they mean what they say.
                "server_error" | "temporarily_unavailable" | "slow_down" => Self::Unreachable(code),
                _ => Self::Refused { code, description },
            },
            error @ (OidcError::Malformed(_)
            | OidcError::IssuerMismatch { .. }
            | OidcError::InvalidToken(_)
            | OidcError::Configuration(_)) => Self::Unproven(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: OidcError, may_be_done: bool, alone: Consequence, with_a_new_token: Consequence) {
        let told = error.to_string();
        let mut failure = RefreshFailure::from(RefreshError::of_exchange(error, may_be_done));
        assert_eq!((failure.error.consequence(), failure.consequence()), (alone, alone), "{told}");
        failure.rotated = Some("new".to_owned().into());
        assert_eq!(failure.consequence(), with_a_new_token, "{told}");
    }

    fn refused(code: &str) -> OidcError {
        OidcError::Refused { code: code.into(), description: None }
    }

    #[test]
    fn each_error_has_its_consequence() {
        use Consequence::{EndSession, TokenSpent, TryLater};
        check(refused("invalid_grant"), false, EndSession, EndSession);
        check(refused("invalid_grant"), true, EndSession, EndSession);
        for code in ["invalid_client", "unauthorized_client", "invalid_scope", "invalid_request", "server_error", "x"] {
            check(refused(code), false, TryLater, TryLater);
        }
        check(OidcError::NotReady, false, TryLater, TryLater);
        check(OidcError::Unreachable("refused".into()), false, TryLater, TryLater);
        check(OidcError::Unreachable("time-out".into()), true, TokenSpent, TryLater);
        check(OidcError::Malformed("<html>".into()), true, TokenSpent, TryLater);
        check(OidcError::Malformed("no URL".into()), false, TryLater, TryLater);
        check(OidcError::InvalidToken("signature".into()), true, TryLater, TryLater);
        check(OidcError::Configuration("clock".into()), false, TryLater, TryLater);
        assert_eq!(RefreshError::Changed.consequence(), EndSession);
    }
}
