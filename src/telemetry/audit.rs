//! The audit log: who signed in and out, whose sessions were ended, by whom and why.
//!
//! Its lines have a target of their own, so that they can be kept apart from those about requests.

use std::fmt;
use std::net::IpAddr;

use tracing::field;

use super::RequestId;

/// The target of audit lines, for filters: `info,forepost::audit=off`.
pub const AUDIT: &str = "forepost::audit";

/// What happened to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It began.
    Login,
    /// It ended: by its user's sign-out, or because the provider no longer vouches for it.
    Logout,
    /// The provider was asked whether it still vouches for the user, and gave no answer that counts.
    RefreshFailure,
    /// Sessions were ended by an order.
    Revocation,
}

impl Event {
    /// The name in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Logout => "logout",
            Self::RefreshFailure => "refresh_failure",
            Self::Revocation => "revocation",
        }
    }
}

/// The request by which something was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// Address of the client, as far as it is known.
    pub client: Option<IpAddr>,
    /// The id that the line of the request and its answer show too.
    pub request_id: RequestId,
}

/// A line of the audit log; what is not known is left out.
#[derive(Clone, Copy)]
pub struct AuditLine<'a> {
    /// What happened.
    pub event: Event,
    /// By what: `sign_out`, `back_channel`, `operator`, `invalid_grant`.
    pub reason: &'a str,
    /// Slug.
    pub application: Option<&'a str>,
    /// Its name in the settings.
    pub identity_provider: Option<&'a str>,
    /// How the user is called in logs.
    pub user: Option<&'a str>,
    /// `sub`.
    pub subject: Option<&'a str>,
    /// The name of the session, by which operators revoke it; it opens nothing.
    pub session: Option<&'a dyn fmt::Display>,
    /// The provider's name of its own session (`sid`).
    pub provider_session: Option<&'a str>,
    /// Who gave the order, where that was no browser: `uid 0`.
    pub by: Option<&'a str>,
    /// Address of the client that asked for it, as far as it is known.
    pub client: Option<IpAddr>,
    /// The id that the line of the request and its answer show too.
    pub request_id: Option<&'a dyn fmt::Display>,
}

impl<'a> AuditLine<'a> {
    /// A line that says nothing but this yet.
    #[must_use]
    pub const fn new(event: Event, reason: &'a str) -> Self {
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

    /// The same, with who asked for it.
    #[must_use]
    pub fn asked_by(self, asker: &'a Asker) -> Self {
        Self { client: asker.client, request_id: Some(&asker.request_id), ..self }
    }

    /// Writes the line at level info.
    pub fn write(&self) {
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
