//! Patterns of hosts and paths.

use std::fmt;

use http::Method;
use regex::Regex;

use super::email::domain_of;
use crate::host::Host;

/// A host, or all hosts below one.
#[derive(Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// This host.
    Exact(Host<'static>),
    /// Every host below this one, at any depth, but not the host itself: `*.example.com`.
    Below(Host<'static>),
}

impl HostPattern {
    /// Parses a domain of e-mail addresses, or `*.` and a domain; `None` for any other text.
    #[must_use]
    pub(crate) fn of_email(text: &str) -> Option<Self> {
        match text.strip_prefix("*.") {
            Some(above) => domain_of(above).map(Self::Below),
            None => domain_of(text).map(Self::Exact),
        }
    }

    /// Whether the host matches, by whole label.
    #[must_use]
    pub(crate) fn matches(&self, host: &Host<'_>) -> bool {
        match self {
            Self::Exact(exact) => exact == host,
            Self::Below(above) => {
                let below = host.as_str().strip_suffix(above.as_str());
                below.is_some_and(|below| below.len() > 1 && below.ends_with('.')) && !host.is_address()
            }
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => host.fmt(f),
            Self::Below(above) => write!(f, "*.{above}"),
        }
    }
}

impl fmt::Debug for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A rule that lets requests through without a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicPathRule {
    /// The pattern of the path.
    pub path: PathPattern,
    /// Only for this host.
    pub host: Option<Host<'static>>,
    /// Only for these methods; empty: any.
    pub methods: Vec<Method>,
}

/// A pattern that is anchored at both ends of a path. The query does not count.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// This path only.
    Path(String),
    /// This path, or one below it: `/static` and `/static/` both match `/static/x` and not `/staticx`.
    Prefix(String),
    /// A regular expression for the whole path.
    Regex(Regex),
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Path(one), Self::Path(other)) | (Self::Prefix(one), Self::Prefix(other)) => one == other,
            (Self::Regex(one), Self::Regex(other)) => one.as_str() == other.as_str(),
            (Self::Path(_) | Self::Prefix(_) | Self::Regex(_), _) => false,
        }
    }
}

impl Eq for PathPattern {}

impl PathPattern {
    /// Whether a reading of a path matches.
    pub(super) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Path(whole) => path == whole,
            Self::Prefix(prefix) => {
                let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
                path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Regex(regex) => regex.is_match(path),
        }
    }
}
