//! What a proxy asks about, and what comes of it.

use std::sync::Arc;

use crate::app::Application;
use crate::forwarded::{Dialect, ForwardedError, OriginalRequest, Question};
use crate::http::outcome::Outcome;
use crate::http::request::Received;
use crate::session::Session;

/// A request that a proxy asks about.
pub(super) struct CheckRequest<'r> {
    pub(super) dialect: Dialect,
    pub(super) received: &'r Received<'r>,
    pub(super) original: Result<OriginalRequest<'r>, ForwardedError>,
}

impl<'r> CheckRequest<'r> {
    pub(super) fn parse(dialect: Dialect, received: &'r Received<'r>) -> Self {
        let parts = received.parts;
        let question =
            Question { method: &parts.method, uri: &parts.uri, headers: &parts.headers, trusted: received.trusted };
        Self { dialect, received, original: dialect.parse(&question) }
    }
}

/// A check that has ended, with what its log line tells.
pub(super) struct Checked<'c> {
    pub(super) outcome: Outcome<'c>,
    pub(super) app: Option<&'c Arc<Application>>,
    pub(super) user: Option<User>,
}

/// Who asked: a name is only looked for when a log line wants it.
pub(super) enum User {
    Session(Arc<Session>),
    Named(String),
}

impl User {
    pub(super) fn label(&self) -> &str {
        match self {
            Self::Session(session) => session.identity().label(),
            Self::Named(name) => name,
        }
    }
}
