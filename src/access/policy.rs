//! The policy of an application: an ordered list of rules, of which the first that matches decides.
//!
//! `public_paths` come first, then the rules, then `required_groups` for all other requests.
//!
//! If servers read a path in several ways, each reading must let the request in. If a condition is not known, the request must be
//! let in whether the condition holds or not. The path of an ambiguous request is not known, so every rule counts that may be for
//! the request.

use std::net::IpAddr;

use super::condition::{Holds, Seen};
use super::readings::{is_plain, readings};
use super::requirement::{Meets, meets_any};
use super::trace::{CountedRules, Matches, Reading, RulePlace, Trace};
use super::{Action, Cors, Expression, HostPattern, PublicPathRule, Requirement, Rule};
use crate::forwarded::OriginalRequest;
use crate::identity::{Assurance, ClaimPath, PackedIdentity, WantedClaims};
use crate::world::UnixTime;

/// The policy of an application.
#[derive(Clone, Debug)]
pub struct Policy {
    rules: Vec<PlacedRule>,
    /// The requirement if no rule decides.
    default: [Requirement; 1],
    /// Whether unverified e-mail addresses count.
    pub(super) unverified_email: bool,
    /// Whether the page for a denied user names the groups.
    pub(super) show_required: bool,
    pub(super) cors: Cors,
    needs: Needs,
    /// The path of the application's address; a proxy may cut it off.
    base_path: String,
}

/// What the rules look at, so that a decision can skip the rest.
#[derive(Clone, Copy, Debug)]
struct Needs {
    /// Whether a rule has paths or hosts.
    target: bool,
    client: bool,
    /// Whether a rule denies or requires something.
    signed_in: bool,
}

/// A rule with its place in the configuration.
#[derive(Clone, Debug)]
struct PlacedRule {
    place: RulePlace,
    rule: Rule,
}

/// What the rules can look at.
#[derive(Clone, Copy)]
pub(super) struct Context<'q> {
    pub(super) original: &'q OriginalRequest<'q>,
    pub(super) client: Option<IpAddr>,
    pub(super) user: Option<&'q PackedIdentity>,
    /// Whether unverified e-mail addresses count.
    pub(super) unverified_email: bool,
    pub(super) now: UnixTime,
}

/// The effect of the policy on a request, over all readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// A rule denies.
    Denied,
    /// No login is needed.
    Public,
    /// A login is needed; how far the user meets the requirements. Without a user: the requirements on the login.
    Required(Meets),
}

/// The claims with an e-mail address and its flag.
const EMAIL_AND_ITS_FLAG: [&str; 2] = ["email", "email_verified"];

impl Policy {
    /// Makes the policy of an application whose address has the path `base_path`. With `unverified_email`, unverified e-mail addresses
    /// count; with `show_required`, the page for a denied user names the groups.
    #[must_use]
    pub(crate) fn new(
        public_paths: &[PublicPathRule],
        rules: &[Rule],
        required_groups: &[String],
        unverified_email: bool,
        base_path: &str,
        cors: Cors,
        show_required: bool,
    ) -> Self {
        let public = public_paths.iter().enumerate().map(|(at, public)| PlacedRule {
            place: RulePlace::PublicPath(at),
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
        let own = own.map(|(at, rule)| PlacedRule { place: RulePlace::Rule(at), rule: rule.clone() });
        let rules: Vec<_> = public.chain(own).collect();
        let any = |is: fn(&Rule) -> bool| rules.iter().any(|ordered| is(&ordered.rule));
        let asks = |is: fn(&Expression) -> bool| rules.iter().filter_map(|it| it.rule.when.as_ref()).any(is);
        Self {
            needs: Needs {
                target: any(|rule| !rule.paths.is_empty() || !rule.hosts.is_empty())
                    || asks(Expression::looks_at_target),
                client: any(Rule::looks_at_client),
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
    #[must_use]
    pub(crate) const fn cors(&self) -> &Cors {
        &self.cors
    }

    /// Whether a rule looks at the client's address.
    #[must_use]
    pub(crate) const fn looks_at_client(&self) -> bool {
        self.needs.client
    }

    /// Adds the claims that rules look at.
    pub(crate) fn add_wanted_claims(&self, wanted: &mut WantedClaims) {
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

    /// Whether a rule requires this `acr`.
    #[must_use]
    pub(crate) fn names_acr(&self, acr: &str) -> bool {
        self.requirements().any(|requirement| requirement.acr.iter().any(|it| it == acr))
    }

    /// The action of the rule at this place, by its name in the configuration.
    #[must_use]
    pub(crate) fn action(&self, place: RulePlace) -> &'static str {
        match self.rules.iter().find(|it| it.place == place).map(|it| &it.rule.action) {
            Some(Action::Public) => "public",
            Some(Action::Deny) => "deny",
            Some(Action::Require(_)) | None => "require",
        }
    }

    /// The groups in the rules that count for this request, each once, in their order.
    pub(super) fn groups(&self, context: &Context<'_>) -> Vec<String> {
        let mut groups = Vec::new();
        let counting = self.counting(context);
        for group in counting.into_iter().flatten().flat_map(|it| it.groups_any.iter().chain(&it.groups_all)) {
            if !groups.contains(group) {
                groups.push(group.clone());
            }
        }
        groups
    }

    /// The values of `acr` that meet all rules that count, the preferred one first; `None` if the rules do not require one.
    ///
    /// If the list is empty, no login meets the rules.
    pub(super) fn common_acr(&self, context: &Context<'_>) -> Option<Vec<String>> {
        let mut common: Option<Vec<String>> = None;
        for alternatives in self.counting(context) {
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

    /// The requirements of the rules that count for this request, in their order.
    fn counting(&self, context: &Context<'_>) -> Vec<&[Requirement]> {
        let mut counting = CountedRules::default();
        self.effect(context, &mut counting);
        let own = self.rules.iter().filter(|it| counting.0.contains(&it.place));
        let own = own.filter_map(|it| match &it.rule.action {
            Action::Require(requirements) => Some(requirements.as_slice()),
            Action::Public | Action::Deny => None,
        });
        own.chain(counting.0.contains(&RulePlace::RequiredGroups).then_some(self.default.as_slice())).collect()
    }

    fn requirements(&self) -> impl Iterator<Item = &Requirement> {
        let required = self.rules.iter().filter_map(|it| match &it.rule.action {
            Action::Require(requirements) => Some(requirements),
            Action::Public | Action::Deny => None,
        });
        required.flatten().chain(&self.default)
    }

    /// Whether `user` meets the requirement if no rule decides.
    pub(super) fn admits(&self, user: &PackedIdentity) -> bool {
        let groups = &self.default[0].groups_any;
        groups.is_empty() || user.is_in_any(groups)
    }

    /// Whether rules only let requests in without a login. Then a user who meets the default requirement needs no look at them.
    pub(super) const fn only_opens(&self) -> bool {
        !self.needs.signed_in
    }

    /// The effect of the rules, over all readings.
    pub(super) fn effect(&self, context: &Context<'_>, trace: &mut impl Trace) -> Effect {
        let original = context.original;
        let path = original.target.path();
        let host = Some(&original.authority.host);
        let mut sum = Sum::default();
        if !self.needs.target || is_plain(path) {
            self.read(context, Seen { host, path: Some(path) }, Reading::As(path), &mut sum, trace);
            return sum.effect();
        }
        let readings = readings(path, &self.base_path);
        if readings.ambiguity.is_some() {
            let host = host.filter(|_| !readings.may_name_host);
            self.read(context, Seen { host, path: None }, Reading::Ambiguous(&readings), &mut sum, trace);
            return sum.effect();
        }
        for path in &readings.paths {
            self.read(context, Seen { host, path: Some(path) }, Reading::As(path), &mut sum, trace);
        }
        sum.effect()
    }

    /// Adds the effects of the first rule that matches this reading, and of the rules before it that may match.
    fn read(&self, context: &Context<'_>, seen: Seen<'_>, reading: Reading<'_>, sum: &mut Sum, trace: &mut impl Trace) {
        trace.reading(reading);
        for PlacedRule { place, rule } in &self.rules {
            let mut unmet = None;
            let holds = rule.holds(context, seen, &mut unmet);
            let matches = match holds {
                Holds::Yes => Matches::Yes,
                Holds::No => Matches::No,
                Holds::Unknown => Matches::Unknown,
            };
            trace.rule(*place, matches, unmet);
            if holds == Holds::No {
                continue;
            }
            match &rule.action {
                Action::Public => sum.public = true,
                Action::Deny => sum.denied = true,
                Action::Require(requirements) => sum.require(Self::meets(requirements, context)),
            }
            if holds == Holds::Yes {
                return;
            }
        }
        trace.rule(RulePlace::RequiredGroups, Matches::Yes, None);
        sum.require(Self::meets(&self.default, context));
    }

    fn meets(requirements: &[Requirement], context: &Context<'_>) -> Meets {
        match context.user {
            Some(user) => meets_any(requirements, user, context.unverified_email, context.now),
            // With several alternatives it is not known which of them the user will meet.
            None => match requirements {
                [only] => Meets::AllBut(only.assurance()),
                _ => Meets::AllBut(Assurance::default()),
            },
        }
    }
}

/// The effects so far.
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

    fn effect(self) -> Effect {
        match (self.denied, self.required) {
            (false, Some(meets)) => Effect::Required(meets),
            (false, None) if self.public => Effect::Public,
            (true, _) | (false, None) => Effect::Denied,
        }
    }
}
