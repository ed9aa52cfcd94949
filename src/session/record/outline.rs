//! The part of a record that operators may see.

use serde::{Deserialize, Serialize};

use crate::oidc::SigningAlgorithm;
use crate::session::{Session, SessionKey, SessionOutline};
use crate::world::UnixTime;

/// What an operator may see of a session without its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::session) struct Outline {
    /// The application's slug.
    pub(in crate::session) application: String,
    /// The issuer of the provider.
    pub(in crate::session) issuer: String,
    pub(in crate::session) subject: String,
    /// The user's name in logs.
    pub(in crate::session) label: String,
    /// The provider's session (`sid`).
    pub(in crate::session) session_id: Option<String>,
    /// Earlier ones; a record of an earlier release has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::session) earlier_session_ids: Vec<Option<String>>,
    /// When the provider authenticated the user, where there is no `sid`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::session) auth_times: Vec<u64>,
    /// The signing algorithm of the ID token, by its name; a record of an earlier release has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::session) algorithm: Option<String>,
    /// In milliseconds after the epoch, as the others.
    pub(in crate::session) began: u64,
    pub(in crate::session) created: u64,
    pub(in crate::session) expires: u64,
    /// 0: never.
    pub(in crate::session) last_check: u64,
}

impl Outline {
    pub(in crate::session) fn of(session: &Session) -> Self {
        Self {
            application: session.realm.application.to_string(),
            issuer: session.realm.issuer.to_string(),
            subject: session.identity.subject().to_owned(),
            label: session.identity.label().to_owned(),
            session_id: session.session_id().map(str::to_owned),
            earlier_session_ids: session.earlier_session_ids().to_vec(),
            auth_times: session.auth_times().to_vec(),
            algorithm: SigningAlgorithm::claimed(session.identity.id_token()).map(|it| it.as_str().to_owned()),
            began: session.began_at.as_millis(),
            created: session.created_at.as_millis(),
            expires: session.expires_at.as_millis(),
            last_check: session.last_check(),
        }
    }

    /// The outline as operators see it.
    pub(in crate::session) fn shown(self, id: SessionKey) -> SessionOutline {
        SessionOutline {
            id,
            application: self.application,
            issuer: self.issuer,
            subject: self.subject,
            user: self.label,
            session_id: self.session_id,
            earlier_session_ids: self.earlier_session_ids,
            auth_times: self.auth_times,
            algorithm: self.algorithm.as_deref().and_then(SigningAlgorithm::named),
            began_at: UnixTime::from_millis(self.began),
            created_at: self.created,
            expires_at: self.expires,
            last_use: (self.last_check != 0).then_some(self.last_check),
        }
    }
}
