//! What a host or a path must be.

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
    /// Every host below this one, at any depth, and not itself: `*.example.com`.
    Below(Host<'static>),
}

impl HostPattern {
    /// Reads a domain of e-mail addresses, or `*.` and the domain that others are below; `None` for everything else.
    #[must_use]
    pub fn of_email(text: &str) -> Option<Self> {
        match text.strip_prefix("*.") {
            Some(above) => domain_of(above).map(Self::Below),
            None => domain_of(text).map(Self::Exact),
        }
    }

    /// Whether it matches, by whole labels.
    #[must_use]
    pub fn matches(&self, host: &Host<'_>) -> bool {
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
    /// What the path must be.
    pub path: PathPattern,
    /// Only on this host.
    pub host: Option<Host<'static>>,
    /// Only these methods; empty: any.
    pub methods: Vec<Method>,
}

/// What a path must be, whole and anchored; never looked for in the query.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// Exactly this path.
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
    /// Whether it matches one reading of a path.
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
