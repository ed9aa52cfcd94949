//! What an operator may see of sessions, without their tokens.

use serde::Serialize;

use super::{SessionKey, revocation::Revocable};
use crate::oidc::SigningAlgorithm;
use crate::world::UnixTime;

/// A session as an operator sees it; times are in milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionOutline {
    /// The session's key, by which an operator can end it; it opens nothing.
    pub id: SessionKey,
    /// The application's slug.
    pub application: String,
    /// The issuer of the provider.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// The user's name in logs.
    pub user: String,
    /// `sid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Earlier values of `sid`; `None`: there was none.
    #[serde(skip)]
    pub(super) earlier_session_ids: Vec<Option<String>>,
    /// When the provider authenticated the user, where there is no `sid`.
    #[serde(skip)]
    pub(super) auth_times: Vec<u64>,
    /// The signing algorithm of the ID token.
    #[serde(skip)]
    pub algorithm: Option<SigningAlgorithm>,
    /// When the login began.
    #[serde(skip)]
    pub(super) began_at: UnixTime,
    /// When the login was completed.
    pub created_at: u64,
    /// When it ends at the latest.
    pub expires_at: u64,
    /// When it was last used, as far as that was written down; `None`: never.
    pub last_use: Option<u64>,
}

impl SessionOutline {
    pub(super) fn revocable(&self) -> Revocable<'_> {
        Revocable {
            application: &self.application,
            issuer: &self.issuer,
            subject: &self.subject,
            session_id: self.session_id.as_deref(),
            earlier_session_ids: &self.earlier_session_ids,
            auth_times: &self.auth_times,
            began_at: self.began_at,
        }
    }
}

/// A page of all sessions.
#[derive(Debug, Default)]
pub struct Page {
    /// The sessions, in no order.
    pub sessions: Vec<SessionOutline>,
    /// Where the next page begins; `None`: this is the last one.
    pub next: Option<String>,
}
