//! Why users see a page; [`super::text`] has the sentences.

use crate::oidc::Remedy;

/// Why a login failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginFailure {
    /// Forepost could not make a login attempt.
    NotBegun,
    /// The session store does not answer.
    StoreAway,
    /// Forepost cannot open the state.
    UnknownState,
    /// The answer lacks `iss`, which the provider's metadata promise.
    IssuerMissing,
    /// The answer is from another issuer.
    OtherIssuer,
    /// The provider answered with an error.
    Refused(ProviderRefusal),
    /// The provider refuses forepost's client.
    ClientRefused,
    /// The provider does not accept the code.
    CodeRefused,
    /// The ID token or userinfo has a flaw.
    InvalidToken(Remedy),
    /// The provider did not grant a scope that the configuration asks for.
    ScopeNotGranted,
    /// The provider's metadata name another issuer than the configuration.
    IssuerMismatch,
    /// Forepost cannot accept the provider's answer; the log has the cause.
    NotAccepted,
    /// The ID token does not name a subject.
    NoSubject,
    /// Forepost could not make a session.
    NoSession,
}

/// Why the provider refused the login, by its error code (RFC 6749 §4.1.2.1, OIDC Core §3.1.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProviderRefusal {
    /// The user or the provider did not grant access.
    AccessDenied,
    /// The provider needs the user for the login.
    InteractionRequired,
    /// The provider has a problem of its own.
    ServerError,
    /// Any other error.
    Other,
}

/// Why forepost cannot answer a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadRequest {
    /// No application has the host of the request.
    UnknownHost,
    /// Forepost cannot read the request, or what the proxy says about it.
    Malformed,
    /// The proxy is not in `server.trusted_proxies`.
    UntrustedProxy,
    /// The request and the proxy name different applications.
    TwoApplications,
    /// The question was sent to the host of an application that it does not ask about.
    TwoHosts,
    /// A callback that is not an answer of a provider.
    NotAnAnswer,
    /// A front-channel logout that no provider sends.
    NotALogout,
    /// Too many front-channel logouts came at once.
    TooManyLogouts,
    /// The session store does not answer a front-channel logout.
    LogoutStoreAway,
}
