//! A trace of a decision: the readings of the path, and the result of each rule.

use std::borrow::Cow;
use std::fmt;

use super::Readings;

/// The place of a rule in the configuration of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RulePlace {
    /// The table that has the rule.
    pub(crate) table: RuleTable,
    /// The key in that table.
    pub(crate) key: RuleKey,
}

/// A table with rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuleTable {
    /// `[[application]]`.
    Application,
    /// `[[application.host]]`.
    Host,
}

/// The key of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuleKey {
    /// `public_paths`, counted from 0.
    PublicPath(usize),
    /// `rule`, counted from 0.
    Rule(usize),
    /// `required_groups`.
    RequiredGroups,
}

impl RuleTable {
    /// The place of a key in this table.
    pub(super) const fn at(self, key: RuleKey) -> RulePlace {
        RulePlace { table: self, key }
    }
}

impl fmt::Display for RulePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.table {
            RuleTable::Application => {}
            RuleTable::Host => f.write_str("host.")?,
        }
        match self.key {
            RuleKey::PublicPath(at) => write!(f, "public_paths[{at}]"),
            RuleKey::Rule(at) => write!(f, "rule[{at}]"),
            RuleKey::RequiredGroups => f.write_str("required_groups"),
        }
    }
}

/// A reading of the path, for which the rules are evaluated.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reading<'p> {
    /// This path.
    As(&'p str),
    /// An ambiguous path, which may be any path.
    Ambiguous(&'p Readings),
}

/// Receives the steps of a decision.
pub(crate) trait Trace {
    /// A reading of the path begins.
    fn reading(&mut self, reading: Reading<'_>);
    /// A rule was evaluated; `unmet` names the condition that does not hold or is not known.
    fn rule(&mut self, place: RulePlace, matches: Matches, unmet: Option<Cow<'static, str>>);
}

/// Whether a rule is for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Matches {
    /// It is, and decides.
    Yes,
    /// It is not.
    No,
    /// It is not known. The rule counts, and so do those that follow.
    Unknown,
}

/// Discards the trace.
impl Trace for () {
    fn reading(&mut self, _reading: Reading<'_>) {}

    fn rule(&mut self, _place: RulePlace, _matches: Matches, _unmet: Option<Cow<'static, str>>) {}
}

/// The places of the rules that count.
#[derive(Default)]
pub(super) struct CountedRules(pub(super) Vec<RulePlace>);

impl Trace for CountedRules {
    fn reading(&mut self, _reading: Reading<'_>) {}

    fn rule(&mut self, place: RulePlace, matches: Matches, _unmet: Option<Cow<'static, str>>) {
        if matches != Matches::No {
            self.0.push(place);
        }
    }
}
