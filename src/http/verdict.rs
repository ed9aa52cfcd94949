//! How checks end, by the names that logs and metrics know.

use crate::forwarded::Dialect;

/// How a check ended, for logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allow,
    Pass,
    StartLogin,
    SilentLogin,
    Challenge,
    BadCredentials,
    Forbid,
    Refuse,
    OutpostRoute,
    ProviderAway,
    StoreAway,
}

impl Verdict {
    /// All of them, each at its own number.
    const ALL: [Self; 11] = [
        Self::Allow,
        Self::Pass,
        Self::StartLogin,
        Self::SilentLogin,
        Self::Challenge,
        Self::BadCredentials,
        Self::Forbid,
        Self::Refuse,
        Self::OutpostRoute,
        Self::ProviderAway,
        Self::StoreAway,
    ];

    /// Whether it is what happens all the time, to requests that an operator need not look into: the proxy's log has them.
    pub(super) const fn is_routine(self) -> bool {
        matches!(self, Self::Allow | Self::Pass | Self::Challenge)
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Pass => "pass",
            Self::StartLogin => "start_login",
            Self::SilentLogin => "silent_login",
            Self::Challenge => "challenge",
            Self::BadCredentials => "bad_credentials",
            Self::Forbid => "forbid",
            Self::Refuse => "refuse",
            Self::OutpostRoute => "outpost_route",
            Self::ProviderAway => "provider_away",
            Self::StoreAway => "store_away",
        }
    }
}

/// The names of dialects, by number, for metrics.
pub(crate) static DIALECTS: [&str; Dialect::ALL.len()] = {
    let mut names = [""; Dialect::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = Dialect::ALL[at].as_str();
        at += 1;
    }
    names
};

/// The names of verdicts, by number, for metrics.
pub(crate) static VERDICTS: [&str; Verdict::ALL.len()] = {
    let mut names = [""; Verdict::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = Verdict::ALL[at].as_str();
        at += 1;
    }
    names
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_has_its_own_number() {
        for (number, verdict) in Verdict::ALL.into_iter().enumerate() {
            assert_eq!(verdict as usize, number);
        }
        for (number, dialect) in Dialect::ALL.into_iter().enumerate() {
            assert_eq!(dialect as usize, number);
        }
    }
}
