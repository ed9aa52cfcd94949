use super::{Session, SessionKey, SessionToken};
use crate::application_id::ApplicationId;
use crate::telemetry::audit::{AuditLine, Event};

/// A session as the audit log names it, also after its end.
#[derive(Clone, Debug)]
pub struct Audited {
    application: ApplicationId,
    identity_provider: String,
    user: String,
    subject: String,
    session: SessionKey,
    provider_session: Option<String>,
}

impl Audited {
    /// The session behind `token`, with the name of the provider.
    ///
    /// Its application is the one that has the session, also where one of its hosts was asked.
    #[must_use]
    pub fn new(identity_provider: &str, token: &SessionToken, session: &Session) -> Self {
        let identity = session.identity();
        Self {
            application: session.application().clone(),
            identity_provider: identity_provider.to_owned(),
            user: identity.label().to_owned(),
            subject: identity.subject().to_owned(),
            session: token.key(),
            provider_session: session.session_id().map(str::to_owned),
        }
    }

    /// The user's name in logs.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// A line of the audit log about the session.
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
