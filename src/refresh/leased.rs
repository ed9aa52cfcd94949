use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Completion, RETRY, Refresher};
use crate::app::Application;
use crate::identity::Identity;
use crate::oidc::{Consequence, PreviousLogin, Provider, RefreshFailure, Refreshed};
use crate::session::{Finished, Lease, ProviderSide, Refreshable, Renewal, Session, SessionToken};
use crate::telemetry::WithCauses;

/// A failure that takes longer counts as one of the provider; a quick one costs little, and may concern one user alone.
const SLOW: Duration = Duration::from_secs(1);

/// A refresh by the holder of the lease.
pub(super) struct LeasedRefresh<'a> {
    pub(super) refresher: &'a Arc<Refresher>,
    pub(super) app: &'a Arc<Application>,
    pub(super) provider: &'a Provider,
    pub(super) token: &'a SessionToken,
    pub(super) session: &'a Arc<Session>,
    pub(super) lease: &'a Lease,
}

impl LeasedRefresh<'_> {
    pub(super) async fn run(&self) -> Completion {
        let Some(refreshable) = self.session.refreshable() else { return Completion::Stored };
        let id_token = self.session.identity().id_token();
        let userinfo_claims = self.session.userinfo_claims();
        let previous = PreviousLogin { id_token, userinfo_claims, refresh_token: &refreshable.token };
        let began = Instant::now();
        let result = self.provider.refresh_login(&previous, &self.app.wanted_claims).await;
        if matches!(&result, Err(failure) if failure.error.is_unavailable() && began.elapsed() >= SLOW) {
            self.refresher.unanswered.start(self.provider.name().to_owned(), self.refresher.world.now());
        }
        let name = result.as_ref().map_or_else(|failure| failure.error.as_str(), |_| "renewed");
        self.refresher.metrics.refresh(self.app.provider.name(), name);
        match result {
            Ok(refreshed) if refreshed.lost_sid => self.end("provider_session_ended").await,
            Ok(refreshed) => self.renew(refreshed).await,
            Err(failure) => self.fall_back(refreshable, failure).await,
        }
    }

    async fn renew(&self, mut refreshed: Refreshed) -> Completion {
        let Ok(mut identity) = Identity::from_claims(&refreshed.claims, &self.provider.settings().claims) else {
            return self.end("claims_name_nobody").await;
        };
        self.app.set_apart_from_issuers(&mut identity, &mut refreshed.claims);
        if identity.lacks_names_of(&self.session.identity().identity()) {
            return self.end("claims_name_nobody").await;
        }
        let now = self.refresher.world.now();
        let ends = [refreshed.id_token_expires_at(), refreshed.access_token_lifetime.map(|lifetime| now + lifetime)];
        let schedule = self.refresher.schedule(now, ends);
        let (token_ends, is_new) = (refreshed.newest_id_token_expires_at(), refreshed.id_token.is_some());
        let id_token = refreshed.id_token.as_deref().unwrap_or_else(|| self.session.identity().id_token());
        // Without a new ID token the provider tells nothing about its session.
        let session_id = refreshed.session_id().or_else(|| self.session.session_id()).map(str::to_owned);
        // A refresh does not change how the user authenticated, and need not repeat it (OIDC Core §12.2).
        let (mut claims, before) = (refreshed.claims, self.session.identity().claims());
        for name in ["acr", "auth_time", "amr"] {
            if let (None, Some(claim)) = (claims.get(name), before.get(name)) {
                claims.insert(name.to_owned(), claim.clone());
            }
        }
        // The assurance that the login was asked for holds only while these claims are the same.
        let is_as_before = |name: &str| before.get(name).is_none_or(|claim| claims.get(name) == Some(claim));
        let stands_for_as_much = ["acr", "auth_time"].iter().all(|name| is_as_before(name));
        let asked = self.session.asked().filter(|_| stands_for_as_much).cloned().unwrap_or_default();
        let renewal = Renewal {
            identity: self.app.pack(identity, id_token, token_ends, &claims),
            provider: ProviderSide {
                session_id,
                earlier_session_ids: Vec::new(),
                auth_times: Vec::new(),
                refreshable: schedule.map(|schedule| Refreshable {
                    token: refreshed.refresh_token,
                    // Some providers rotate only now and then.
                    rotates: Some(refreshed.rotated || self.rotated_before()),
                    schedule,
                }),
                // As it was.
                silent_login: None,
                asked,
                userinfo_claims: refreshed.userinfo_claims.into(),
            },
        };
        let renewed = Arc::new(self.session.renewed(renewal));
        if let (false, Some(refreshable)) = (is_new, renewed.refreshable()) {
            refreshable.note_no_token();
            self.refresher.warn_of_token_end(self.app, &renewed, "refreshes bring no new one");
        }
        self.keep(renewed).await
    }

    /// Whether the provider has given a new refresh token before.
    fn rotated_before(&self) -> bool {
        self.session.refreshable().is_some_and(|it| it.rotates == Some(true))
    }

    async fn fall_back(&self, refreshable: &Refreshable, failure: RefreshFailure) -> Completion {
        let consequence = failure.consequence();
        if consequence == Consequence::EndSession {
            return self.end(failure.error.as_str()).await;
        }
        self.warn(&failure);
        refreshable.schedule.note_failure(!failure.error.is_unavailable());
        if consequence != Consequence::TokenSpent || refreshable.is_reusable() {
            self.refresher.failed(self.app, self.token, self.session, failure.error.as_str());
        }
        match (consequence, failure.rotated) {
            (Consequence::TokenSpent, _) => {
                self.finish(Finished::Unanswered).await;
                if refreshable.is_reusable() {
                    return Completion::Stored;
                }
                self.refresher.give_up(self.app, self.token).await
            }
            (Consequence::TryLater | Consequence::EndSession, Some(token)) => {
                let schedule = refreshable.schedule.after_failure(self.refresher.world.now() + RETRY);
                let renewal = Renewal {
                    identity: self.session.identity().clone(),
                    provider: ProviderSide {
                        session_id: self.session.session_id().map(str::to_owned),
                        earlier_session_ids: Vec::new(),
                        auth_times: Vec::new(),
                        refreshable: Some(Refreshable { token, rotates: Some(true), schedule }),
                        // As it was.
                        silent_login: None,
                        asked: self.session.asked().cloned().unwrap_or_default(),
                        userinfo_claims: self.session.userinfo_claims().to_vec().into(),
                    },
                };
                self.keep(Arc::new(self.session.renewed(renewal))).await
            }
            (Consequence::TryLater | Consequence::EndSession, None) => {
                self.finish(Finished::Untouched).await;
                Completion::Stored
            }
        }
    }

    /// Warns at most once in a minute: a provider that does not answer concerns all sessions, and requests go on.
    fn warn(&self, failure: &RefreshFailure) {
        if let Some(further) = self.refresher.failure_log.admit() {
            tracing::warn!(
                application = %self.app.id,
                identity_provider = self.app.provider.name(),
                user = self.session.identity().label(),
                error = %WithCauses(&failure.error),
                further,
                "a login could not be refreshed"
            );
        }
    }

    /// Writes the renewed session into the store.
    async fn keep(&self, renewed: Arc<Session>) -> Completion {
        if self.finish(Finished::Renewed(Arc::clone(&renewed))).await.is_none() {
            self.refresher.failed(self.app, self.token, self.session, "not_written_down");
            // The next refresh finds out what the store has then; an old refresh token there is spent.
            let _ = self.refresher.store.finish_refresh(self.token, self.lease, Finished::Unanswered).await;
            return Completion::Stored;
        }
        // The session may have ended meanwhile.
        if let Ok(None) = self.refresher.store.load(self.token).await {
            // No session has the new refresh token. It expires by itself when the provider does not answer.
            self.refresher.revoker.revoke_renewed(&self.app.provider, renewed);
        }
        Completion::Stored
    }

    async fn finish(&self, finished: Finished) -> Option<bool> {
        self.refresher.finish_refresh(self.app, self.token, self.lease, finished).await
    }

    async fn end(&self, reason: &str) -> Completion {
        self.refresher.end(self.app, self.token, self.session, reason, None).await;
        Completion::Ended
    }
}
