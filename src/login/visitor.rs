use std::sync::Arc;

use http::HeaderMap;

use super::Logins;
use crate::app::Application;
use crate::lifecycle::to_the_end;
use crate::session::{Audited, CarriedSessions, Session, StoreError};
use crate::telemetry::audit::{Asker, Event};

/// The browser behind a callback.
pub struct Visitor<'v> {
    /// What it sent, with its cookies.
    pub headers: &'v HeaderMap,
    /// The valid session that it already has.
    pub session: Option<&'v Arc<Session>>,
    /// For the audit log.
    pub asker: Asker,
}

impl Logins {
    /// Forgets the sessions of `app` that the browser has, and says so in the audit log.
    ///
    /// Where one cookie domain lies within another, cookies of both may have one name; the other application's session is
    /// not ours to end. Refresh tokens are left alone: many providers take back with one what the next login got as well.
    pub(super) async fn forget(
        &self,
        app: &Application,
        visitor: &Visitor<'_>,
        reason: &'static str,
    ) -> Result<(), StoreError> {
        let mut carried = CarriedSessions::new(&*self.store, &app.realm, app.cookies.session(), visitor.headers);
        while let Some((token, session)) = carried.next().await? {
            let lives = session.lives(self.world.now());
            let (store, asker, ended) =
                (Arc::clone(&self.store), visitor.asker, Audited::new(app.provider.name(), &token, &session));
            let forget = async move {
                if store.remove(&token).await?.is_some() && lives {
                    ended.line(Event::Logout, reason).asked_by(&asker).write();
                }
                Ok::<_, StoreError>(())
            };
            to_the_end(&self.background, forget).await?;
        }
        Ok(())
    }
}
