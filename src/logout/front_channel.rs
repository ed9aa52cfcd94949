//! Logout by way of the browser (OpenID Connect Front-Channel Logout 1.0 §3).
//!
//! Nothing proves such a request: it counts because it names a session of the provider, which few know.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;
use url::form_urlencoded;

use super::Logouts;
use crate::app::Application;
use crate::catalog::Catalog;
use crate::lifecycle::to_the_end;
use crate::oidc::{Provider, clean};
use crate::session::{Audited, CarriedSessions, Revocation, StoreError, Whom};
use crate::telemetry::audit::{Asker, AuditLine, Event};

/// In the audit log.
const REASON: &str = "front_channel";

/// A front-channel logout that was obeyed.
#[derive(Debug)]
pub struct Left {
    /// Whose session it was, where its cookie came along.
    pub user: Option<String>,
    /// Takes its cookie back.
    pub cookie: Option<HeaderValue>,
}

/// Why no user was logged out.
#[derive(Debug, thiserror::Error)]
pub enum FrontChannelError {
    /// `iss` or `sid` is missing, empty or repeated.
    #[error("the request is not a front-channel logout: iss and sid must be there, once")]
    Malformed,
    /// No provider has this issuer and `frontchannel_logout` on.
    #[error("no identity provider with this issuer has frontchannel_logout on")]
    UnknownIssuer,
    /// Too many requests came that named sessions without belonging to one.
    #[error("too many front-channel logouts without a session")]
    TooMany,
    /// The order could not be written down.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Logouts {
    /// Ends the sessions that were made in the provider's session that `query` names; refresh tokens are left alone.
    ///
    /// The session cookie, which browsers rarely send here, is not needed. Without it any client could ask, about sessions that
    /// never were, and each order takes room: so of such requests a hundred thousand count within a session's lifetime, and of
    /// one client a tenth of that. What is obeyed goes into the audit log, also where the browser goes away meanwhile.
    ///
    /// # Errors
    ///
    /// If no user is logged out.
    pub async fn leave(
        &self,
        catalog: &Catalog,
        app: Option<&Application>,
        query: &str,
        headers: &HeaderMap,
        asker: Asker,
    ) -> Result<Left, FrontChannelError> {
        let (issuer, session_id) = named(query).ok_or(FrontChannelError::Malformed)?;
        let allowed =
            |provider: &Provider| provider.settings().issuer == issuer && provider.settings().frontchannel_logout;
        let provider = catalog.providers().iter().find(|provider| allowed(provider));
        let identity_provider = provider.ok_or(FrontChannelError::UnknownIssuer)?.name().to_owned();
        let mut own = None;
        if let Some(app) = app.filter(|app| allowed(&app.provider)) {
            let mut carried = CarriedSessions::new(&*self.store, &app.realm, app.cookies.session(), headers);
            while let Some((token, session)) = carried.next().await? {
                if session.was_made_in(&session_id) {
                    own = Some((
                        Audited::new(app.provider.name(), &token, &session),
                        token,
                        app.cookies.expire_session(),
                    ));
                }
            }
        }
        if own.is_none() && !self.front_channel_limit.take(asker.client, Instant::now()) {
            return Err(FrontChannelError::TooMany);
        }
        let store = Arc::clone(&self.store);
        let leave = async move {
            let whom = Whom::ProviderSession { issuer: &issuer, session_id: &session_id, subject: None };
            store.revoke(&Revocation { whom, once: None }).await?;
            let Some((ended, token, cookie)) = own else {
                AuditLine {
                    identity_provider: Some(&identity_provider),
                    // Of a stranger, perhaps.
                    provider_session: Some(&clean(&session_id)),
                    ..AuditLine::new(Event::Revocation, REASON).asked_by(&asker)
                }
                .write();
                return Ok(Left { user: None, cookie: None });
            };
            ended.line(Event::Revocation, REASON).asked_by(&asker).write();
            store.remove(&token).await?;
            Ok(Left { user: Some(ended.user().to_owned()), cookie: Some(cookie) })
        };
        to_the_end(&self.background, leave).await
    }
}

/// `iss` and `sid`: each once, and not empty.
fn named(query: &str) -> Option<(String, String)> {
    let (mut iss, mut sid) = (None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let slot = match &*name {
            "iss" => &mut iss,
            "sid" => &mut sid,
            _ => continue,
        };
        if value.is_empty() || slot.replace(value.into_owned()).is_some() {
            return None;
        }
    }
    iss.zip(sid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expected: Option<(&str, &str)>) {
        let found = named(query);
        assert_eq!(found.as_ref().map(|(iss, sid)| (&**iss, &**sid)), expected, "{query}");
    }

    #[test]
    fn both_are_named_once() {
        check("iss=https%3A%2F%2Fid.test%2F&sid=a+b", Some(("https://id.test/", "a b")));
        check("sid=s&x=y&iss=https://id.test", Some(("https://id.test", "s")));
        for query in
            ["", "iss=i", "sid=s", "iss=&sid=s", "iss=i&sid=", "iss=i&sid=s&sid=s", "iss=i&iss=&sid=s", "ISS=i&sid=s"]
        {
            check(query, None);
        }
    }
}
