//! What an operator may see of sessions, without their tokens.

use serde::Serialize;

use super::{SessionKey, revocation::Revocable};
use crate::oidc::SigningAlgorithm;
use crate::world::UnixTime;

/// A session as an operator sees it; times are in milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionOutline {
    /// By which the session can be revoked; it opens nothing.
    pub id: SessionKey,
    /// The slug.
    pub application: String,
    /// The provider.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// How the user is called in logs.
    pub user: String,
    /// `sid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// What that was before; `None`: there was none.
    #[serde(skip)]
    pub(super) earlier_session_ids: Vec<Option<String>>,
    /// When the provider asked who it is, where there is no `sid`.
    #[serde(skip)]
    pub(super) auth_times: Vec<u64>,
    /// How the ID token is signed.
    #[serde(skip)]
    pub algorithm: Option<SigningAlgorithm>,
    /// When the login began.
    #[serde(skip)]
    pub(super) began_at: UnixTime,
    /// When the login was completed.
    pub created_at: u64,
    /// When it ends, however often it is used.
    pub expires_at: u64,
    /// When it was used for the last time, as far as that was written down; `None`: never.
    pub last_use: Option<u64>,
}

impl SessionOutline {
    pub(super) fn revocable(&self) -> Revocable<'_> {
        Revocable {
            application: &self.application,
            subject: &self.subject,
            session_id: self.session_id.as_deref(),
            earlier_session_ids: &self.earlier_session_ids,
            auth_times: &self.auth_times,
            began_at: self.began_at,
        }
    }
}

/// A part of all sessions.
#[derive(Debug, Default)]
pub struct Page {
    /// In no order.
    pub sessions: Vec<SessionOutline>,
    /// Where the next part begins; `None`: this was the last one.
    pub next: Option<String>,
}
