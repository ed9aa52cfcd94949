//! Whose sessions count for an application.

use std::sync::Arc;

use crate::application_id::ApplicationId;

/// An application, and the issuer that vouches for its users.
///
/// A session belongs to one realm. An application whose provider was replaced by one with another issuer has another realm, so
/// the sessions of the issuer before do not count any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm {
    /// The application.
    pub application: ApplicationId,
    /// The issuer identifier of its provider.
    pub issuer: Arc<str>,
}

impl Realm {
    /// The realm of an application with this slug and a provider with this issuer.
    #[must_use]
    pub fn new(application: impl Into<ApplicationId>, issuer: &str) -> Self {
        Self { application: application.into(), issuer: issuer.into() }
    }
}
