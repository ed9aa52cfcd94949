//! The name by which sessions, login attempts, tokens, logs and metrics know an application.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// The slug of an application: unique in a configuration, and the same after a restart or a change of the configuration.
///
/// A clone shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApplicationId(Arc<str>);

impl ApplicationId {
    /// The slug.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ApplicationId {
    fn from(slug: &str) -> Self {
        Self(slug.into())
    }
}

impl From<String> for ApplicationId {
    fn from(slug: String) -> Self {
        Self(slug.into())
    }
}

impl Deref for ApplicationId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Slugs are in the order of their texts, so that a map is searched by one.
impl Borrow<str> for ApplicationId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ApplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
