//! How a check ends, before any front puts it into words.

use http::{HeaderMap, HeaderValue};

use super::reply::Answer;
use super::verdict::Verdict;
use crate::access::{Forbidden, Permit};
use crate::app::Application;
use crate::credentials::Scheme;
use crate::forwarded::OriginalRequest;
use crate::login::{ReturnTarget, StartError};
use crate::pages::BadRequest;

/// How a check ends. Only a [`Grant`] lets the request pass, and only the permit of a decision makes one.
pub(super) enum Outcome<'c> {
    /// With an identity.
    Allow(Grant),
    /// Without one: none is needed.
    Pass(Grant),
    /// The request does not reach the application.
    Denied(Denial<'c>),
}

/// That a request may pass, with the identity headers that go to the application.
pub(super) struct Grant {
    _permit: Permit,
    headers: HeaderMap,
}

impl Grant {
    pub(super) const fn new(permit: Permit, headers: HeaderMap) -> Self {
        Self { _permit: permit, headers }
    }

    pub(super) fn into_headers(self) -> HeaderMap {
        self.headers
    }
}

/// Why a request does not reach the application, with what its client is told.
pub(super) enum Denial<'c> {
    /// A browser goes to a login.
    ToLogin(ToLogin),
    /// A client that could not use a login page is told where a login begins.
    Challenge { login_url: String, origin: Option<&'c str> },
    /// What a program showed does not count.
    BadCredentials(BadCredentials<'c>),
    /// No login helps.
    Forbid(Forbid<'c>),
    /// The question makes no sense, or its sender is not believed.
    Refuse(BadRequest),
    /// A browser asked for one of forepost's own paths, and gets this by way of the proxy.
    OwnPath(Answer),
    /// The same where the proxy relays no answers.
    OwnPathNotRelayed,
    /// It cannot be told now.
    Unavailable(Unavailable<'c>),
}

/// A login that a browser is sent to.
pub(super) struct ToLogin {
    /// At the provider; where the proxy relays no answers, our own start.
    pub(super) location: String,
    /// What the browser keeps meanwhile.
    pub(super) cookies: Vec<HeaderValue>,
    /// Whether the browser sent a form.
    pub(super) after_post: bool,
    /// Whether the provider asks nothing: the session is good, and is to be confirmed.
    pub(super) is_silent: bool,
}

/// A credential that does not count.
pub(super) struct BadCredentials<'c> {
    pub(super) error: CredentialError<'c>,
    pub(super) scheme: Scheme,
    /// The slug of the application.
    pub(super) realm: &'c str,
    /// Where the metadata of the application are (RFC 9728).
    pub(super) resource: String,
    /// The origin of the page that asks, where it may read the answer.
    pub(super) origin: Option<&'c str>,
}

/// What is wrong with a credential.
#[derive(Clone, Copy)]
pub(super) enum CredentialError<'c> {
    /// It proves nothing.
    Invalid,
    /// It lacks one of these scopes.
    Scope(&'c [String]),
    /// There were too many bad ones; this one was not looked at.
    Limited,
}

/// A client that may not enter, signed in or not.
pub(super) struct Forbid<'c> {
    pub(super) app: &'c Application,
    pub(super) original: &'c OriginalRequest<'c>,
    pub(super) forbidden: Forbidden,
    /// Where the metadata of the application are, where a bearer token was shown whose privileges are not enough.
    pub(super) insufficient_scope: Option<String>,
}

/// What cannot be told now, and why.
pub(super) struct Unavailable<'c> {
    pub(super) app: &'c Application,
    pub(super) cause: Cause,
}

/// Why something cannot be told now.
pub(super) enum Cause {
    /// The session store does not answer.
    Store,
    /// The provider does not say whether a credential is good.
    Provider,
    /// The provider does not say whether it still vouches for a user.
    Unconfirmed(ReturnTarget),
    /// No login can begin.
    Login(ReturnTarget, StartError),
}

impl Outcome<'_> {
    /// The name in logs and metrics.
    pub(super) const fn verdict(&self) -> Verdict {
        match self {
            Self::Allow(_) => Verdict::Allow,
            Self::Pass(_) => Verdict::Pass,
            Self::Denied(denial) => denial.verdict(),
        }
    }
}

impl Denial<'_> {
    const fn verdict(&self) -> Verdict {
        match self {
            Self::ToLogin(login) if login.is_silent => Verdict::SilentLogin,
            Self::ToLogin(_) => Verdict::StartLogin,
            Self::Challenge { .. } => Verdict::Challenge,
            Self::BadCredentials(bad) => match bad.error {
                CredentialError::Invalid | CredentialError::Limited => Verdict::BadCredentials,
                CredentialError::Scope(_) => Verdict::Forbid,
            },
            Self::Forbid(_) => Verdict::Forbid,
            Self::Refuse(_) => Verdict::Refuse,
            Self::OwnPath(_) | Self::OwnPathNotRelayed => Verdict::OutpostRoute,
            Self::Unavailable(unavailable) => match unavailable.cause {
                Cause::Store => Verdict::StoreAway,
                Cause::Provider | Cause::Unconfirmed(_) | Cause::Login(..) => Verdict::ProviderAway,
            },
        }
    }
}

impl<'c> From<Denial<'c>> for Outcome<'c> {
    fn from(denial: Denial<'c>) -> Self {
        Self::Denied(denial)
    }
}
