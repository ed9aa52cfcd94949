//! The decision: who are you, may you, where to. Pure; written once for all dialects.

#[cfg(any(test, fuzzing))]
pub(crate) mod invariants;
mod public;
mod readings;

use std::sync::Arc;

pub use public::PublicPath;
pub(crate) use readings::{is_plain, readings};

use crate::app::Application;
use crate::forwarded::{OriginalRequest, RequestKind};
use crate::session::Session;
use crate::world::UnixTime;

/// What the policy says about a request.
#[derive(Clone, Debug)]
pub enum Decision {
    /// A valid session of an entitled user.
    Allow(Permit),
    /// No identity is needed.
    Pass(Permit),
    /// Nobody is signed in, and a person is there to do it.
    StartLogin,
    /// Nobody is signed in, and the client could not use a login page.
    Challenge,
    /// Somebody is signed in who may not enter.
    Forbid(Arc<Session>),
}

impl Decision {
    /// The name in logs and metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Allow(_) => "allow",
            Self::Pass(_) => "pass",
            Self::StartLogin => "start_login",
            Self::Challenge => "challenge",
            Self::Forbid(_) => "forbid",
        }
    }
}

/// The proof without which no 2xx is built on an authorisation endpoint; only [`decide`] makes one.
#[derive(Clone, Debug)]
pub struct Permit(Proof);

#[derive(Clone, Debug)]
enum Proof {
    Identity(Arc<Session>),
    Public(PublicPath),
}

impl Permit {
    /// The session that proved an identity; none on a public path.
    #[must_use]
    pub fn session(&self) -> Option<&Arc<Session>> {
        match &self.0 {
            Proof::Identity(session) => Some(session),
            Proof::Public(_) => None,
        }
    }
}

/// Decides about `original` for `app`, given the session that its cookie opened.
///
/// A session counts only for the application it was made for and until it expires, by `now`.
#[must_use]
pub fn decide(
    app: &Application,
    original: &OriginalRequest<'_>,
    session: Option<&Arc<Session>>,
    now: UnixTime,
) -> Decision {
    let session = session.filter(|session| session.is_valid_for(app, now));
    if let Some(session) = session
        && app.admits(session.identity())
    {
        return Decision::Allow(Permit(Proof::Identity(Arc::clone(session))));
    }
    if let Some(public) = public::find(&app.public_paths, original) {
        return Decision::Pass(Permit(Proof::Public(public)));
    }
    if app.cors.passes_preflight(original) {
        return Decision::Pass(Permit(Proof::Public(PublicPath(()))));
    }
    match session {
        Some(session) => Decision::Forbid(Arc::clone(session)),
        None if original.kind().is_navigation() => Decision::StartLogin,
        None => Decision::Challenge,
    }
}

impl crate::settings::Cors {
    /// Whether a page of this request's origin may call the application.
    #[must_use]
    pub fn allows(&self, origin: Option<&str>) -> bool {
        origin.is_some_and(|origin| self.allowed_origins.iter().any(|it| it == origin))
    }

    fn passes_preflight(&self, original: &OriginalRequest<'_>) -> bool {
        self.pass_preflight && original.kind() == RequestKind::Preflight && self.allows(original.client.origin())
    }
}

#[cfg(test)]
mod tests;
