//! The decision about a request: a pure function, the same for all dialects.

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
mod trace;

use std::net::IpAddr;
use std::sync::Arc;

pub use cors::Cors;
pub use email::Email;
pub use expression::Expression;
pub use pattern::{HostPattern, PathPattern, PublicPathRule};
pub(crate) use policy::DeclaredRules;
pub use policy::Policy;
pub(crate) use readings::Readings;
pub(crate) use readings::{is_plain, readings};
pub use rule::{Action, Requirement, Rule};
pub(crate) use trace::{Matches, Reading, RulePlace, Trace};

use crate::forwarded::{OriginalRequest, RequestKind};
use crate::identity::{Assurance, WantedClaims};
use crate::session::{Realm, Session};
use crate::world::UnixTime;
use policy::{Context, Effect};
use requirement::Meets;

/// What the policy says about a request.
#[derive(Clone, Debug)]
pub enum Decision {
    /// A valid session of an entitled user.
    Allow(Permit),
    /// No identity is needed.
    Pass(Permit),
    /// A login is needed, and the client can follow a redirect to it.
    StartLogin(Assurance),
    /// A login is needed, and the client cannot use a login page.
    Challenge(Assurance),
    /// The request is denied, and a login does not change that.
    Forbid(Forbidden),
}

/// Why a request is denied.
#[derive(Clone, Debug)]
pub struct Forbidden {
    /// The session, if there is one.
    pub(crate) session: Option<Arc<Session>>,
    /// Why.
    pub(crate) because: Because,
    /// The requirements on a login that the login of the session does not meet.
    pub(crate) assurance: Assurance,
    /// The groups that the rules for the request name, if `application.show_required` is on.
    pub(crate) groups: Vec<String>,
}

/// The kind of a denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Because {
    /// A rule denies it.
    Denied,
    /// The user does not meet the requirements of a rule.
    NotEntitled,
    /// The login does not meet requirements that the provider was asked for.
    NotAssured,
}

impl Decision {
    /// The name in logs and metrics.
    #[must_use]
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Allow(_) => "allow",
            Self::Pass(_) => "pass",
            Self::StartLogin(_) => "start_login",
            Self::Challenge(_) => "challenge",
            Self::Forbid(_) => "forbid",
        }
    }
}

/// The proof that a request may pass. A 2xx on an authorisation endpoint needs one, and only [`decide`] makes it.
#[derive(Clone, Debug)]
pub struct Permit(Proof);

#[derive(Clone, Debug)]
enum Proof {
    Identity(Arc<Session>),
    Public,
}

impl Permit {
    /// The session of the user; none for a public path.
    #[must_use]
    pub(crate) fn session(&self) -> Option<&Arc<Session>> {
        match &self.0 {
            Proof::Identity(session) => Some(session),
            Proof::Public => None,
        }
    }
}

/// A request, with what must be known about the application that it is for.
#[derive(Clone, Copy, Debug)]
pub struct AccessRequest<'r> {
    /// The application, and who vouches for its users: only sessions of this realm count.
    pub(crate) realm: &'r Realm,
    /// The claims that a session must have kept in order to count.
    pub(crate) wanted_claims: &'r WantedClaims,
    /// What the browser asked the proxy.
    pub(crate) original: &'r OriginalRequest<'r>,
    /// The address of the client, where it is known.
    pub(crate) client: Option<IpAddr>,
}

/// Decides about a request by a policy, given the session that the request's cookie opened.
///
/// A session counts only for the application that it was made for, and until it expires, by `now`.
#[must_use]
pub fn decide(policy: &Policy, request: &AccessRequest<'_>, session: Option<&Arc<Session>>, now: UnixTime) -> Decision {
    decide_traced(policy, request, session, now, &mut ())
}

/// The same, and records in `trace` how the decision comes about.
#[must_use]
pub(crate) fn decide_traced(
    policy: &Policy,
    request: &AccessRequest<'_>,
    session: Option<&Arc<Session>>,
    now: UnixTime,
    trace: &mut impl Trace,
) -> Decision {
    let AccessRequest { realm, wanted_claims, original, client } = *request;
    let session = session.filter(|session| session.is_valid_for(realm, now) && session.knows_enough_for(wanted_claims));
    let admitted = session.filter(|session| policy.admits(session.identity()));
    if policy.only_opens()
        && let Some(session) = admitted
    {
        trace.reading(Reading::As(original.target.path()));
        policy.trace_defaults(trace);
        return Decision::Allow(Permit(Proof::Identity(Arc::clone(session))));
    }
    let user = session.map(|session| session.identity());
    let context = Context { original, client, user, unverified_email: policy.unverified_email, now };
    let effect = policy.effect(&context, trace);
    match (&effect, session) {
        (Effect::Public, _) => {
            return match admitted {
                Some(session) => Decision::Allow(Permit(Proof::Identity(Arc::clone(session)))),
                None => Decision::Pass(Permit(Proof::Public)),
            };
        }
        (Effect::Required(Meets::All), Some(session)) => {
            return Decision::Allow(Permit(Proof::Identity(Arc::clone(session))));
        }
        (Effect::Denied | Effect::Required(_), _) => {}
    }
    if effect != Effect::Denied && policy.cors.passes_preflight(original) {
        return Decision::Pass(Permit(Proof::Public));
    }
    let forbid = |because, assurance| {
        Decision::Forbid(Forbidden {
            session: session.map(Arc::clone),
            because,
            assurance,
            groups: if policy.show_required && because == Because::NotEntitled {
                policy.groups(&context)
            } else {
                vec![]
            },
        })
    };
    let mut assurance = match effect {
        Effect::Denied => return forbid(Because::Denied, Assurance::default()),
        Effect::Required(Meets::Less) => return forbid(Because::NotEntitled, Assurance::default()),
        Effect::Required(Meets::AllBut(assurance)) => assurance,
        // Without a session nothing is met.
        Effect::Required(Meets::All) | Effect::Public => Assurance::default(),
    };
    if let Some(acr) = policy.common_acr(&context).filter(|_| !assurance.is_none()) {
        if acr.is_empty() {
            return forbid(Because::NotEntitled, Assurance::default());
        }
        assurance.acr = acr;
    }
    // Another login with the same requirements would have the same result.
    if let Some(session) = session
        && session.asked().is_some_and(|asked| asked.covers(&assurance))
        && !was_assured(policy, &context, session)
    {
        return forbid(Because::NotAssured, assurance);
    }
    if original.kind().is_navigation() { Decision::StartLogin(assurance) } else { Decision::Challenge(assurance) }
}

/// Whether the login met the requirements at its end. A login that is too old now can meet them again.
fn was_assured(policy: &Policy, context: &Context<'_>, session: &Session) -> bool {
    let then = Context { now: session.created_at(), ..*context };
    policy.effect(&then, &mut ()) == Effect::Required(Meets::All)
}

impl Cors {
    /// Whether a page of this request's origin may call the application.
    #[must_use]
    pub(crate) fn allows(&self, origin: Option<&str>) -> bool {
        origin.is_some_and(|origin| self.allowed_origins.iter().any(|it| it == origin))
    }

    fn passes_preflight(&self, original: &OriginalRequest<'_>) -> bool {
        self.pass_preflight && original.kind() == RequestKind::Preflight && self.allows(original.client.origin())
    }
}

#[cfg(test)]
mod tests;
