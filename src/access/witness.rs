//! Watching how a decision comes about.

use std::borrow::Cow;
use std::fmt;

use super::Readings;

/// Where in an application's settings a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `public_paths`, counted from 0.
    PublicPath(usize),
    /// `rule`, counted from 0.
    Rule(usize),
    /// `required_groups`.
    RequiredGroups,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PublicPath(at) => write!(f, "public_paths[{at}]"),
            Self::Rule(at) => write!(f, "rule[{at}]"),
            Self::RequiredGroups => f.write_str("required_groups"),
        }
    }
}

/// What the rules are asked about.
#[derive(Clone, Copy, Debug)]
pub enum Reading<'p> {
    /// This path.
    As(&'p str),
    /// A path that may be any path.
    Ambiguous(&'p Readings),
}

/// Watches how a decision comes about.
pub trait Witness {
    /// A reading of the path begins.
    fn reading(&mut self, reading: Reading<'_>);
    /// A rule was asked; `unmet` names the condition that does not hold, or that cannot be known.
    fn rule(&mut self, place: Place, matches: Matches, unmet: Option<Cow<'static, str>>);
}

/// Whether a rule is for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matches {
    /// It decides.
    Yes,
    /// It does not count.
    No,
    /// It counts, and so do those that follow.
    Perhaps,
}

/// Nobody watches.
impl Witness for () {
    fn reading(&mut self, _reading: Reading<'_>) {}

    fn rule(&mut self, _place: Place, _matches: Matches, _unmet: Option<Cow<'static, str>>) {}
}

/// Which rules count.
#[derive(Default)]
pub(super) struct Counting(pub(super) Vec<Place>);

impl Witness for Counting {
    fn reading(&mut self, _reading: Reading<'_>) {}

    fn rule(&mut self, place: Place, matches: Matches, _unmet: Option<Cow<'static, str>>) {
        if matches != Matches::No {
            self.0.push(place);
        }
    }
}
