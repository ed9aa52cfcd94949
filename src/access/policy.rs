//! Who gets in: an ordered list of rules, of which the first that matches decides.
//!
//! `public_paths` come first, then the rules, then `required_groups`, which everybody else must meet.
//!
//! A path that servers read in several ways is judged in each of them, and the request must be let in under all. So it is with
//! a condition that cannot be known: the request must be let in whether it holds or not. An ambiguous path, which no honest client
//! needs, is such a condition: every rule counts that is not known to be for other requests.

use std::net::IpAddr;

use super::condition::{Holds, Seen};
use super::readings::{is_plain, readings};
use super::requirement::{Meets, meets_any};
use super::witness::{Counting, Matches, Place, Reading, Witness};
use super::{Action, Cors, Expression, HostPattern, PublicPathRule, Requirement, Rule};
use crate::forwarded::OriginalRequest;
use crate::identity::{Assurance, ClaimPath, PackedIdentity, WantedClaims};
use crate::world::UnixTime;

/// Who gets in to an application.
#[derive(Clone, Debug)]
pub struct Policy {
    rules: Vec<Ordered>,
    /// What is required where no rule decides.
    default: [Requirement; 1],
    /// Whether e-mail addresses count that the provider did not verify.
    pub(super) unverified_email: bool,
    /// Whether people who may not enter are told which groups are needed.
    pub(super) show_required: bool,
    pub(super) cors: Cors,
    needs: Needs,
    /// The path that the application lives under; a proxy may cut it off.
    base_path: String,
}

/// What the rules look at, so that nothing is looked for in vain.
#[derive(Clone, Copy, Debug)]
struct Needs {
    /// Whether some rule is for certain paths or hosts.
    target: bool,
    client: bool,
    /// Whether some rule does anything but let in.
    signed_in: bool,
}

/// A rule with its place in the configuration.
#[derive(Clone, Debug)]
struct Ordered {
    place: Place,
    rule: Rule,
}

/// Who asks for what.
#[derive(Clone, Copy)]
pub(super) struct Question<'q> {
    pub(super) original: &'q OriginalRequest<'q>,
    pub(super) client: Option<IpAddr>,
    pub(super) user: Option<&'q PackedIdentity>,
    /// Whether e-mail addresses count that the provider did not verify.
    pub(super) unverified_email: bool,
    pub(super) now: UnixTime,
}

/// What all readings together come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Some rule denies.
    Denied,
    /// Nobody need be signed in.
    Public,
    /// Somebody must be signed in, and so far meets what is required; without a user: what a login would be asked.
    Required(Meets),
}

/// What tells whether an address counts.
const EMAIL_AND_ITS_FLAG: [&str; 2] = ["email", "email_verified"];

impl Policy {
    /// The policy of an application that lies below `base_path`: what is public, its rules, and the groups of which one is required
    /// where no rule decides. `unverified_email`: rules count an address that the provider did not verify. `show_required`: people who
    /// may not enter are told which groups are needed.
    #[must_use]
    pub fn new(
        public_paths: &[PublicPathRule],
        rules: &[Rule],
        required_groups: &[String],
        unverified_email: bool,
        base_path: &str,
        cors: Cors,
        show_required: bool,
    ) -> Self {
        let public = public_paths.iter().enumerate().map(|(at, public)| Ordered {
            place: Place::PublicPath(at),
            rule: Rule {
                hosts: public.host.iter().cloned().map(HostPattern::Exact).collect(),
                paths: vec![public.path.clone()],
                methods: public.methods.clone(),
                networks: Vec::new(),
                when: None,
                action: Action::Public,
            },
        });
        let own = rules.iter().enumerate();
        let own = own.map(|(at, rule)| Ordered { place: Place::Rule(at), rule: rule.clone() });
        let rules: Vec<_> = public.chain(own).collect();
        let any = |is: fn(&Rule) -> bool| rules.iter().any(|ordered| is(&ordered.rule));
        let asks = |is: fn(&Expression) -> bool| rules.iter().filter_map(|it| it.rule.when.as_ref()).any(is);
        Self {
            needs: Needs {
                target: any(|rule| !rule.paths.is_empty() || !rule.hosts.is_empty())
                    || asks(Expression::looks_at_target),
                client: any(|rule| !rule.networks.is_empty()) || asks(Expression::looks_at_client),
                signed_in: any(|rule| !matches!(rule.action, Action::Public)),
            },
            default: [Requirement { groups_any: required_groups.to_vec(), ..Requirement::default() }],
            unverified_email,
            show_required,
            cors,
            base_path: base_path.to_owned(),
            rules,
        }
    }

    /// What pages of other origins may do.
    #[must_use]
    pub const fn cors(&self) -> &Cors {
        &self.cors
    }

    /// Whether it matters where the client is.
    #[must_use]
    pub const fn looks_at_client(&self) -> bool {
        self.needs.client
    }

    /// Adds the claims that rules look at.
    pub fn add_wanted_claims(&self, wanted: &mut WantedClaims) {
        for requirement in self.requirements() {
            requirement.claims.iter().for_each(|(path, _)| wanted.add(path));
            let names: [(bool, &[&str]); 4] = [
                (requirement.looks_at_email(), &EMAIL_AND_ITS_FLAG),
                (!requirement.scopes.is_empty(), &["scope", "scp"]),
                (!requirement.acr.is_empty(), &["acr"]),
                (requirement.max_auth_age.is_some(), &["auth_time"]),
            ];
            names
                .iter()
                .filter(|(wanted, _)| *wanted)
                .flat_map(|(_, names)| *names)
                .for_each(|name| wanted.add(&ClaimPath::new(name)));
        }
        let expressions = || self.rules.iter().filter_map(|it| it.rule.when.as_ref());
        if expressions().any(Expression::looks_at_email) {
            for name in EMAIL_AND_ITS_FLAG {
                wanted.add(&ClaimPath::new(name));
            }
        }
        if expressions().any(Expression::looks_at_claims) {
            wanted.add_all();
        }
    }

    /// Whether some rule asks for this `acr`.
    #[must_use]
    pub fn names_acr(&self, acr: &str) -> bool {
        self.requirements().any(|requirement| requirement.acr.iter().any(|it| it == acr))
    }

    /// What the rule at this place does, as it is called in settings.
    #[must_use]
    pub fn action(&self, place: Place) -> &'static str {
        match self.rules.iter().find(|it| it.place == place).map(|it| &it.rule.action) {
            Some(Action::Public) => "public",
            Some(Action::Deny) => "deny",
            Some(Action::Require(_)) | None => "require",
        }
    }

    /// The groups that the rules name which count for this request, each once, in their order.
    pub(super) fn groups(&self, question: &Question<'_>) -> Vec<String> {
        let mut groups = Vec::new();
        let counting = self.counting(question);
        for group in counting.into_iter().flatten().flat_map(|it| it.groups_any.iter().chain(&it.groups_all)) {
            if !groups.contains(group) {
                groups.push(group.clone());
            }
        }
        groups
    }

    /// What `acr` may be, the preferred one first, to meet all the rules that count; `None` where it does not matter.
    ///
    /// Rules that want different ones are met by no login, however often it is repeated.
    pub(super) fn common_acr(&self, question: &Question<'_>) -> Option<Vec<String>> {
        let mut common: Option<Vec<String>> = None;
        for alternatives in self.counting(question) {
            if alternatives.iter().any(|it| it.acr.is_empty()) {
                continue;
            }
            let mut wanted: Vec<_> = alternatives.iter().flat_map(|it| &it.acr).cloned().collect();
            if let Some(others) = common {
                wanted.retain(|it| others.contains(it));
            }
            common = Some(wanted);
        }
        common
    }

    /// What the rules require which count for this request, in their order.
    fn counting(&self, question: &Question<'_>) -> Vec<&[Requirement]> {
        let mut counting = Counting::default();
        self.outcome(question, &mut counting);
        let own = self.rules.iter().filter(|it| counting.0.contains(&it.place));
        let own = own.filter_map(|it| match &it.rule.action {
            Action::Require(requirements) => Some(requirements.as_slice()),
            Action::Public | Action::Deny => None,
        });
        own.chain(counting.0.contains(&Place::RequiredGroups).then_some(self.default.as_slice())).collect()
    }

    fn requirements(&self) -> impl Iterator<Item = &Requirement> {
        let required = self.rules.iter().filter_map(|it| match &it.rule.action {
            Action::Require(requirements) => Some(requirements),
            Action::Public | Action::Deny => None,
        });
        required.flatten().chain(&self.default)
    }

    /// How far `user` meets what is required where no rule decides.
    pub(super) fn admits(&self, user: &PackedIdentity) -> bool {
        let groups = &self.default[0].groups_any;
        groups.is_empty() || user.is_in_any(groups)
    }

    /// Whether all that rules can do is to let in without a login, so that they need not be asked about a user who meets the
    /// default.
    pub(super) const fn only_opens(&self) -> bool {
        !self.needs.signed_in
    }

    /// What the rules say, all readings together.
    pub(super) fn outcome(&self, question: &Question<'_>, witness: &mut impl Witness) -> Outcome {
        let original = question.original;
        let path = original.target.path();
        let host = Some(&original.authority.host);
        let mut sum = Sum::default();
        if !self.needs.target || is_plain(path) {
            self.read(question, Seen { host, path: Some(path) }, Reading::As(path), &mut sum, witness);
            return sum.outcome();
        }
        let readings = readings(path, &self.base_path);
        if readings.ambiguity.is_some() {
            let host = host.filter(|_| !readings.may_name_host);
            self.read(question, Seen { host, path: None }, Reading::Ambiguous(&readings), &mut sum, witness);
            return sum.outcome();
        }
        for path in &readings.paths {
            self.read(question, Seen { host, path: Some(path) }, Reading::As(path), &mut sum, witness);
        }
        sum.outcome()
    }

    /// Adds what the first rule that matches under this reading says, and those before it that might.
    fn read(
        &self,
        question: &Question<'_>,
        seen: Seen<'_>,
        reading: Reading<'_>,
        sum: &mut Sum,
        witness: &mut impl Witness,
    ) {
        witness.reading(reading);
        for Ordered { place, rule } in &self.rules {
            let mut unmet = None;
            let holds = rule.holds(question, seen, &mut unmet);
            let matches = match holds {
                Holds::Yes => Matches::Yes,
                Holds::No => Matches::No,
                Holds::Perhaps => Matches::Perhaps,
            };
            witness.rule(*place, matches, unmet);
            if holds == Holds::No {
                continue;
            }
            match &rule.action {
                Action::Public => sum.public = true,
                Action::Deny => sum.denied = true,
                Action::Require(requirements) => sum.require(Self::meets(requirements, question)),
            }
            if holds == Holds::Yes {
                return;
            }
        }
        witness.rule(Place::RequiredGroups, Matches::Yes, None);
        sum.require(Self::meets(&self.default, question));
    }

    fn meets(requirements: &[Requirement], question: &Question<'_>) -> Meets {
        match question.user {
            Some(user) => meets_any(requirements, user, question.unverified_email, question.now),
            // Of several ways nobody knows which one the user will go.
            None => match requirements {
                [only] => Meets::AllBut(only.assurance()),
                _ => Meets::AllBut(Assurance::default()),
            },
        }
    }
}

/// What has been said so far.
#[derive(Default)]
struct Sum {
    denied: bool,
    public: bool,
    required: Option<Meets>,
}

impl Sum {
    fn require(&mut self, meets: Meets) {
        self.required = Some(match self.required.take() {
            Some(other) => other.and(meets),
            None => meets,
        });
    }

    fn outcome(self) -> Outcome {
        match (self.denied, self.required) {
            (false, Some(meets)) => Outcome::Required(meets),
            (false, None) if self.public => Outcome::Public,
            (true, _) | (false, None) => Outcome::Denied,
        }
    }
}
