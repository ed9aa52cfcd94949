use std::sync::Arc;

use super::{Session, SessionKey, SessionToken};
use crate::app::Application;
use crate::telemetry::audit::{AuditLine, Event};

/// A session as the audit log names it, also when it is gone.
#[derive(Clone, Debug)]
pub struct Audited {
    application: Arc<str>,
    identity_provider: String,
    user: String,
    subject: String,
    session: SessionKey,
    provider_session: Option<String>,
}

impl Audited {
    /// The session of `app` behind `token`.
    #[must_use]
    pub fn new(app: &Application, token: &SessionToken, session: &Session) -> Self {
        let identity = session.identity();
        Self {
            application: Arc::clone(&app.slug),
            identity_provider: app.identity_provider.clone(),
            user: identity.label().to_owned(),
            subject: identity.subject().to_owned(),
            session: token.key(),
            provider_session: session.session_id().map(str::to_owned),
        }
    }

    /// How the user is called in logs.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// What is to be said of it.
    #[must_use]
    pub fn line<'a>(&'a self, event: Event, reason: &'a str) -> AuditLine<'a> {
        AuditLine {
            application: Some(&self.application),
            identity_provider: Some(&self.identity_provider),
            user: Some(&self.user),
            subject: Some(&self.subject),
            session: Some(&self.session),
            provider_session: self.provider_session.as_deref(),
            ..AuditLine::new(event, reason)
        }
    }
}
