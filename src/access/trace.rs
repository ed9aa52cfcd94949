//! A trace of a decision: the readings of the path, and the result of each rule.

use std::borrow::Cow;
use std::fmt;

use super::Readings;

/// The place of a rule in the configuration of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RulePlace {
    /// `public_paths`, counted from 0.
    PublicPath(usize),
    /// `rule`, counted from 0.
    Rule(usize),
    /// `required_groups`.
    RequiredGroups,
}

impl fmt::Display for RulePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PublicPath(at) => write!(f, "public_paths[{at}]"),
            Self::Rule(at) => write!(f, "rule[{at}]"),
            Self::RequiredGroups => f.write_str("required_groups"),
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
