//! The policy of an application: an ordered list of rules, of which the first that matches decides.
//!
//! `public_paths` come first, then the rules, then `required_groups` for all other requests. The policy of a host of a cookie domain
//! has its own `public_paths` and rules before those of the application, and the `required_groups` of both.
//!
//! If servers read a path in several ways, each reading must let the request in. If a condition is not known, the request must be
//! let in whether the condition holds or not. The path of an ambiguous request is not known, so every rule counts that may be for
//! the request.

use std::net::IpAddr;
use std::sync::Arc;

use super::condition::{Holds, Seen};
use super::readings::{is_plain, readings};
use super::requirement::{Meets, meets_any};
use super::trace::{CountedRules, Matches, Reading, RuleKey, RulePlace, RuleTable, Trace};
use super::{Action, Cors, Expression, HostPattern, PublicPathRule, Requirement, Rule};
use crate::forwarded::OriginalRequest;
use crate::identity::{Assurance, PackedIdentity};
use crate::world::UnixTime;

/// The policy of an application.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Those of the host; empty in the policy of an application.
    host_rules: Arc<[PlacedRule]>,
    /// Those of the application, which its hosts share.
    rules: Arc<[PlacedRule]>,
    /// The requirements if no rule decides. A user must meet each of them.
    defaults: Vec<(RulePlace, [Requirement; 1])>,
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
#[derive(Clone, Copy, Debug, Default)]
struct Needs {
    /// Whether a rule has paths or hosts.
    target: bool,
    client: bool,
    /// Whether a rule denies or requires something.
    signed_in: bool,
}

impl Needs {
    fn of(policy: &Policy) -> Self {
        let any = |is: fn(&Rule) -> bool| policy.rules().any(|placed| is(&placed.rule));
        let asks = |is: fn(&Expression) -> bool| policy.rules().filter_map(|it| it.rule.when.as_ref()).any(is);
        Self {
            target: any(|rule| !rule.paths.is_empty() || !rule.hosts.is_empty()) || asks(Expression::looks_at_target),
            client: any(Rule::looks_at_client),
            signed_in: any(|rule| !matches!(rule.action, Action::Public)),
        }
    }
}

/// Rules as an application, or a host of its cookie domain, declares them.
#[derive(Clone, Copy)]
pub(crate) struct DeclaredRules<'d> {
    pub(crate) public_paths: &'d [PublicPathRule],
    pub(crate) rules: &'d [Rule],
    pub(crate) required_groups: &'d [String],
}

impl DeclaredRules<'_> {
    /// All but `required_groups`, in their order.
    fn placed(&self, table: RuleTable) -> Arc<[PlacedRule]> {
        let public = self.public_paths.iter().enumerate().map(|(at, public)| PlacedRule {
            place: table.at(RuleKey::PublicPath(at)),
            rule: Rule {
                hosts: public.host.iter().cloned().map(HostPattern::Exact).collect(),
                paths: vec![public.path.clone()],
                methods: public.methods.clone(),
                networks: Vec::new(),
                when: None,
                action: Action::Public,
            },
        });
        let own = self.rules.iter().enumerate();
        let own = own.map(|(at, rule)| PlacedRule { place: table.at(RuleKey::Rule(at)), rule: rule.clone() });
        public.chain(own).collect()
    }

    fn default(&self, table: RuleTable) -> (RulePlace, [Requirement; 1]) {
        let groups_any = self.required_groups.to_vec();
        (table.at(RuleKey::RequiredGroups), [Requirement { groups_any, ..Requirement::default() }])
    }
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

impl Policy {
    /// Makes the policy of an application whose address has the path `base_path`. With `unverified_email`, unverified e-mail addresses
    /// count; with `show_required`, the page for a denied user names the groups.
    #[must_use]
    pub(crate) fn new(
        declared: DeclaredRules<'_>,
        unverified_email: bool,
        base_path: &str,
        cors: Cors,
        show_required: bool,
    ) -> Self {
        let policy = Self {
            host_rules: Arc::default(),
            rules: declared.placed(RuleTable::Application),
            defaults: vec![declared.default(RuleTable::Application)],
            unverified_email,
            show_required,
            cors,
            needs: Needs::default(),
            base_path: base_path.to_owned(),
        };
        Self { needs: Needs::of(&policy), ..policy }
    }

    /// The policy of a host of the application's cookie domain: its rules come first, and a user must be in one of the
    /// `required_groups` of both.
    #[must_use]
    pub(crate) fn for_host(&self, declared: DeclaredRules<'_>) -> Self {
        let mut policy = self.clone();
        policy.host_rules = declared.placed(RuleTable::Host);
        if !declared.required_groups.is_empty() {
            policy.defaults.insert(0, declared.default(RuleTable::Host));
        }
        Self { needs: Needs::of(&policy), ..policy }
    }

    /// All rules, in their order.
    fn rules(&self) -> impl Iterator<Item = &PlacedRule> {
        self.host_rules.iter().chain(&*self.rules)
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

    /// Whether a rule requires this `acr`.
    #[must_use]
    pub(crate) fn names_acr(&self, acr: &str) -> bool {
        self.requirements().any(|requirement| requirement.acr.iter().any(|it| it == acr))
    }

    /// The action of the rule at this place, by its name in the configuration.
    #[must_use]
    pub(crate) fn action(&self, place: RulePlace) -> &'static str {
        match self.rules().find(|it| it.place == place).map(|it| &it.rule.action) {
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
        let own = self.rules().filter(|it| counting.0.contains(&it.place));
        let own = own.filter_map(|it| match &it.rule.action {
            Action::Require(requirements) => Some(requirements.as_slice()),
            Action::Public | Action::Deny => None,
        });
        let defaults = self.defaults.iter().filter(|(place, _)| counting.0.contains(place));
        own.chain(defaults.map(|(_, requirements)| requirements.as_slice())).collect()
    }

    fn requirements(&self) -> impl Iterator<Item = &Requirement> {
        let required = self.rules().filter_map(|it| match &it.rule.action {
            Action::Require(requirements) => Some(requirements),
            Action::Public | Action::Deny => None,
        });
        required.flatten().chain(self.defaults.iter().flat_map(|(_, requirements)| requirements))
    }

    /// Whether `user` meets the requirements if no rule decides.
    pub(super) fn admits(&self, user: &PackedIdentity) -> bool {
        let groups = self.defaults.iter().map(|(_, [default])| &default.groups_any);
        groups.filter(|groups| !groups.is_empty()).all(|groups| user.is_in_any(groups))
    }

    /// Records that no rule decides.
    pub(super) fn trace_defaults(&self, trace: &mut impl Trace) {
        for (place, _) in &self.defaults {
            trace.rule(*place, Matches::Yes, None);
        }
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
        for PlacedRule { place, rule } in self.rules() {
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
        self.trace_defaults(trace);
        for (_, requirements) in &self.defaults {
            sum.require(Self::meets(requirements, context));
        }
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
