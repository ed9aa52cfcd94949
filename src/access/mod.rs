//! The decision: who are you, may you, where to. Pure; written once for all dialects.

mod condition;
mod cors;
mod email;
mod expression;
#[cfg(any(test, fuzzing))]
pub(crate) mod invariants;
mod pattern;
mod policy;
mod readings;
mod requirement;
mod rule;
mod witness;

use std::net::IpAddr;
use std::sync::Arc;

pub use cors::Cors;
pub use email::Email;
pub use expression::Expression;
pub use pattern::{HostPattern, PathPattern, PublicPathRule};
pub use policy::Policy;
pub use readings::{Ambiguity, Readings};
pub(crate) use readings::{is_plain, readings};
pub use rule::{Action, Requirement, Rule};
pub use witness::{Matches, Place, Reading, Witness};

use crate::application_id::ApplicationId;
use crate::forwarded::{OriginalRequest, RequestKind};
use crate::identity::{Assurance, WantedClaims};
use crate::session::Session;
use crate::world::UnixTime;
use policy::{Outcome, Question};
use requirement::Meets;

/// What the policy says about a request.
#[derive(Clone, Debug)]
pub enum Decision {
    /// A valid session of an entitled user.
    Allow(Permit),
    /// No identity is needed.
    Pass(Permit),
    /// Nobody is signed in, or not well enough, and a person is there to do it.
    StartLogin(Assurance),
    /// Nobody is signed in, or not well enough, and the client could not use a login page.
    Challenge(Assurance),
    /// No login helps.
    Forbid(Forbidden),
}

/// Who may not enter, and why.
#[derive(Clone, Debug)]
pub struct Forbidden {
    /// Who is signed in, where anybody is.
    pub session: Option<Arc<Session>>,
    /// Why.
    pub because: Because,
    /// How a login would have to come about, where one was not good enough.
    pub assurance: Assurance,
    /// The groups that the rules in question name, where people may know.
    pub groups: Vec<String>,
}

/// Why a request is let in for no login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// A rule denies it.
    Denied,
    /// The user is not what a rule requires.
    NotEntitled,
    /// The login was to come about in a certain way, and the provider did not say that it had.
    NotAssured,
}

impl Decision {
    /// The name in logs and metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Allow(_) => "allow",
            Self::Pass(_) => "pass",
            Self::StartLogin(_) => "start_login",
            Self::Challenge(_) => "challenge",
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
    Public,
}

impl Permit {
    /// The session that proved an identity; none on a public path.
    #[must_use]
    pub fn session(&self) -> Option<&Arc<Session>> {
        match &self.0 {
            Proof::Identity(session) => Some(session),
            Proof::Public => None,
        }
    }
}

/// A request, with what must be known about the application that it is for.
#[derive(Clone, Copy, Debug)]
pub struct AccessRequest<'r> {
    /// The application: only its sessions count.
    pub application: &'r ApplicationId,
    /// The claims that a session must have kept in order to count.
    pub wanted_claims: &'r WantedClaims,
    /// What the browser asked the proxy.
    pub original: &'r OriginalRequest<'r>,
    /// The address of the client, where it is known.
    pub client: Option<IpAddr>,
}

/// Decides about a request by a policy, given the session that the request's cookie opened.
///
/// A session counts only for the application that it was made for, and until it expires, by `now`.
#[must_use]
pub fn decide(policy: &Policy, request: &AccessRequest<'_>, session: Option<&Arc<Session>>, now: UnixTime) -> Decision {
    decide_before(policy, request, session, now, &mut ())
}

/// The same before a witness.
#[must_use]
pub fn decide_before(
    policy: &Policy,
    request: &AccessRequest<'_>,
    session: Option<&Arc<Session>>,
    now: UnixTime,
    witness: &mut impl Witness,
) -> Decision {
    let AccessRequest { application, wanted_claims, original, client } = *request;
    let session =
        session.filter(|session| session.is_valid_for(application, now) && session.knows_enough_for(wanted_claims));
    let admitted = session.filter(|session| policy.admits(session.identity()));
    if policy.only_opens()
        && let Some(session) = admitted
    {
        witness.reading(Reading::As(original.target.path()));
        witness.rule(Place::RequiredGroups, Matches::Yes, None);
        return Decision::Allow(Permit(Proof::Identity(Arc::clone(session))));
    }
    let user = session.map(|session| session.identity());
    let question = Question { original, client, user, unverified_email: policy.unverified_email, now };
    let outcome = policy.outcome(&question, witness);
    match (&outcome, session) {
        (Outcome::Public, _) => {
            return match admitted {
                Some(session) => Decision::Allow(Permit(Proof::Identity(Arc::clone(session)))),
                None => Decision::Pass(Permit(Proof::Public)),
            };
        }
        (Outcome::Required(Meets::All), Some(session)) => {
            return Decision::Allow(Permit(Proof::Identity(Arc::clone(session))));
        }
        (Outcome::Denied | Outcome::Required(_), _) => {}
    }
    if outcome != Outcome::Denied && policy.cors.passes_preflight(original) {
        return Decision::Pass(Permit(Proof::Public));
    }
    let forbid = |because, assurance| {
        Decision::Forbid(Forbidden {
            session: session.map(Arc::clone),
            because,
            assurance,
            groups: if policy.show_required && because == Because::NotEntitled {
                policy.groups(&question)
            } else {
                vec![]
            },
        })
    };
    let mut assurance = match outcome {
        Outcome::Denied => return forbid(Because::Denied, Assurance::default()),
        Outcome::Required(Meets::Less) => return forbid(Because::NotEntitled, Assurance::default()),
        Outcome::Required(Meets::AllBut(assurance)) => assurance,
        // Nobody meets all of it without a session.
        Outcome::Required(Meets::All) | Outcome::Public => Assurance::default(),
    };
    if let Some(acr) = policy.common_acr(&question).filter(|_| !assurance.is_none()) {
        if acr.is_empty() {
            return forbid(Because::NotEntitled, Assurance::default());
        }
        assurance.acr = acr;
    }
    // A login that was asked for as much and brought less would bring less again.
    if let Some(session) = session
        && session.asked().is_some_and(|asked| asked.covers(&assurance))
        && !was_assured(policy, &question, session)
    {
        return forbid(Because::NotAssured, assurance);
    }
    if original.kind().is_navigation() { Decision::StartLogin(assurance) } else { Decision::Challenge(assurance) }
}

/// Whether the login was good enough at its end; what was good enough once and is too old now can be had again.
fn was_assured(policy: &Policy, question: &Question<'_>, session: &Session) -> bool {
    let then = Question { now: session.created_at(), ..*question };
    policy.outcome(&then, &mut ()) == Outcome::Required(Meets::All)
}

impl Cors {
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
