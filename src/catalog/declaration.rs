//! What sources of configuration say.

use crate::app;
use crate::oidc::IdentityProvider;

/// A part of the configuration that can change while forepost runs.
#[derive(Clone, Debug)]
pub enum Declaration {
    /// An OpenID provider, and forepost's registration there.
    Provider {
        /// By which applications name it; unique.
        name: String,
        /// The registration.
        registration: Box<IdentityProvider>,
    },
    /// What a proxy protects.
    Application(Box<app::Declaration>),
}
