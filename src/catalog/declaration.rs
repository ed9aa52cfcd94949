//! What sources of configuration say.

use std::sync::Arc;

use crate::app;
use crate::oidc::IdentityProvider;

/// A part of the configuration that can change while forepost runs.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// Where an operator finds it, for logs and commands: the path of a file, or `docker container NAME`.
    pub origin: Arc<str>,
    /// What is declared.
    pub declared: Declared,
}

/// What a declaration is about.
#[derive(Clone, Debug)]
pub enum Declared {
    /// An OpenID provider, and forepost's registration there.
    Provider {
        /// By which applications name it; unique.
        name: String,
        /// The registration.
        registration: Box<IdentityProvider>,
    },
    /// What a proxy protects.
    Application(Box<app::DeclaredApplication>),
    /// A host of an application with a cookie domain that another declaration is about.
    Host {
        /// The slug of the application.
        application: String,
        /// The host.
        host: Arc<app::DeclaredHost>,
    },
}

impl Declaration {
    /// An application that `origin` declares.
    #[must_use]
    pub fn application(origin: Arc<str>, declared: app::DeclaredApplication) -> Self {
        Self { origin, declared: Declared::Application(Box::new(declared)) }
    }
}
