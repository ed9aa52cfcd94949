//! The audit log: who signed in and out, whose sessions ended, by whom and why.
//!
//! Its lines have a target of their own, so that operators can filter them.

use std::fmt;
use std::net::IpAddr;

use tracing::field;

use super::RequestId;

/// The target of audit lines, for filters: `info,forepost::audit=off`.
pub(crate) const AUDIT: &str = "forepost::audit";

/// What happened to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It began.
    Login,
    /// It ended: by its user's sign-out, or because the provider no longer vouches for it.
    Logout,
    /// Forepost asked the provider whether it still vouches for the user, and got no valid answer.
    RefreshFailure,
    /// An order ended sessions.
    Revocation,
}

impl Event {
    /// The name in the log.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Logout => "logout",
            Self::RefreshFailure => "refresh_failure",
            Self::Revocation => "revocation",
        }
    }
}

/// The request that asked for a change of sessions.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// Address of the client, as far as it is known.
    pub client: Option<IpAddr>,
    /// The id that the line of the request and its answer show too.
    pub request_id: RequestId,
}

/// A line of the audit log. Unknown fields are left out.
#[derive(Clone, Copy)]
pub struct AuditLine<'a> {
    /// What happened.
    pub(crate) event: Event,
    /// The cause: `sign_out`, `back_channel`, `operator`, `invalid_grant`.
    pub(crate) reason: &'a str,
    pub(crate) application: Option<&'a str>,
    /// The name of the provider's table in the configuration.
    pub(crate) identity_provider: Option<&'a str>,
    /// The name of the user for logs.
    pub(crate) user: Option<&'a str>,
    pub(crate) subject: Option<&'a str>,
    /// The name by which operators revoke the session. It does not open the session.
    pub(crate) session: Option<&'a dyn fmt::Display>,
    /// The provider's name of its own session (`sid`).
    pub(crate) provider_session: Option<&'a str>,
    /// Who gave the order, if it did not come from a browser: `uid 0`.
    pub(crate) by: Option<&'a str>,
    /// Address of the client that asked for it, if it is known.
    pub(crate) client: Option<IpAddr>,
    /// The id that the line of the request and its answer show too.
    pub(crate) request_id: Option<&'a dyn fmt::Display>,
}

impl<'a> AuditLine<'a> {
    /// A line with these fields only.
    #[must_use]
    pub(crate) const fn new(event: Event, reason: &'a str) -> Self {
        Self {
            event,
            reason,
            application: None,
            identity_provider: None,
            user: None,
            subject: None,
            session: None,
            provider_session: None,
            by: None,
            client: None,
            request_id: None,
        }
    }

    /// Adds the request that asked for it.
    #[must_use]
    pub(crate) fn asked_by(self, asker: &'a Asker) -> Self {
        Self { client: asker.client, request_id: Some(&asker.request_id), ..self }
    }

    /// Writes the line at level info.
    pub(crate) fn write(&self) {
        tracing::info!(
            target: AUDIT,
            event = self.event.as_str(),
            reason = self.reason,
            application = self.application,
            identity_provider = self.identity_provider,
            user = self.user,
            subject = self.subject,
            session = self.session.map(field::display),
            provider_session = self.provider_session,
            by = self.by,
            client = self.client.map(field::display),
            request_id = self.request_id.map(field::display),
            "audit"
        );
    }
}
