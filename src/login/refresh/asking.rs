use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Outcome, RETRY};
use crate::app::Application;
use crate::identity::Identity;
use crate::login::Logins;
use crate::oidc::{Consequence, PreviousLogin, Provider, RefreshFailure, Refreshed};
use crate::session::{Finished, Lease, ProviderSide, Refreshable, Renewal, Session, SessionToken};
use crate::telemetry::WithCauses;

/// A failure that took longer made us wait; a quick one costs nobody anything, and may concern one user alone.
const WAIT: Duration = Duration::from_secs(1);

/// A refresh by the one who has the right to it.
pub(super) struct Asking<'a> {
    pub(super) logins: &'a Arc<Logins>,
    pub(super) app: &'a Arc<Application>,
    pub(super) provider: &'a Provider,
    pub(super) token: &'a SessionToken,
    pub(super) session: &'a Arc<Session>,
    pub(super) lease: &'a Lease,
}

impl Asking<'_> {
    pub(super) async fn ask(&self) -> Outcome {
        let Some(refreshable) = self.session.refreshable() else { return Outcome::Open };
        let id_token = self.session.identity().id_token();
        let userinfo_claims = self.session.userinfo_claims();
        let previous = PreviousLogin { id_token, userinfo_claims, refresh_token: &refreshable.token };
        let began = Instant::now();
        let result = self.provider.refresh_login(&previous, &self.app.wanted_claims).await;
        if matches!(&result, Err(failure) if failure.error.is_unavailable() && began.elapsed() >= WAIT) {
            self.logins.unanswered.start(self.provider.name().to_owned(), self.logins.world.now());
        }
        let name = result.as_ref().map_or_else(|failure| failure.error.as_str(), |_| "renewed");
        self.logins.metrics.refresh(self.app.provider.name(), name);
        match result {
            Ok(refreshed) if refreshed.lost_sid => self.end("provider_session_ended").await,
            Ok(refreshed) => self.renew(refreshed).await,
            Err(failure) => self.fall_back(refreshable, failure).await,
        }
    }

    async fn renew(&self, mut refreshed: Refreshed) -> Outcome {
        let Ok(mut identity) = Identity::from_claims(&refreshed.claims, &self.provider.settings().claims) else {
            return self.end("claims_name_nobody").await;
        };
        self.app.set_apart_from_issuers(&mut identity, &mut refreshed.claims);
        if identity.lacks_names_of(&self.session.identity().identity()) {
            return self.end("claims_name_nobody").await;
        }
        let now = self.logins.world.now();
        let ends = [refreshed.id_token_expires_at(), refreshed.access_token_lifetime.map(|lifetime| now + lifetime)];
        let schedule = self.logins.schedule(now, ends);
        let (token_ends, is_new) = (refreshed.newest_id_token_expires_at(), refreshed.id_token.is_some());
        let id_token = refreshed.id_token.as_deref().unwrap_or_else(|| self.session.identity().id_token());
        // A provider that gives no new ID token says nothing about its session either.
        let session_id = refreshed.session_id().or_else(|| self.session.session_id()).map(str::to_owned);
        // OIDC Core §12.2: a refresh changes nothing about how the user signed in, and need not repeat it.
        let (mut claims, before) = (refreshed.claims, self.session.identity().claims());
        for name in ["acr", "auth_time", "amr"] {
            if let (None, Some(claim)) = (claims.get(name), before.get(name)) {
                claims.insert(name.to_owned(), claim.clone());
            }
        }
        // What a login was asked for counts against the next one only while it stands for as much.
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
                    // Some providers rotate now and then only.
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
            self.logins.tell_of_tokens_that_end(self.app, &renewed, "refreshes bring no new one");
        }
        self.keep(renewed).await
    }

    /// Whether the provider was seen to give a new refresh token.
    fn rotated_before(&self) -> bool {
        self.session.refreshable().is_some_and(|it| it.rotates == Some(true))
    }

    async fn fall_back(&self, refreshable: &Refreshable, failure: RefreshFailure) -> Outcome {
        let consequence = failure.consequence();
        if consequence == Consequence::EndSession {
            return self.end(failure.error.as_str()).await;
        }
        self.tell(&failure);
        refreshable.schedule.note_failure(!failure.error.is_unavailable());
        if consequence != Consequence::TokenSpent || refreshable.is_reusable() {
            self.logins.failed(self.app, self.token, self.session, failure.error.as_str());
        }
        match (consequence, failure.rotated) {
            (Consequence::TokenSpent, _) => {
                self.finish(Finished::Unanswered).await;
                if refreshable.is_reusable() {
                    return Outcome::Open;
                }
                self.logins.give_up(self.app, self.token).await
            }
            (Consequence::TryLater | Consequence::EndSession, Some(token)) => {
                let schedule = refreshable.schedule.after_failure(self.logins.world.now() + RETRY);
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
                Outcome::Open
            }
        }
    }

    /// Once a minute for a provider that is away: it concerns all sessions, and requests go on.
    fn tell(&self, failure: &RefreshFailure) {
        if let Some(further) = self.logins.refresh_failure_log.admit() {
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

    /// Writes down what a refresh brought.
    async fn keep(&self, renewed: Arc<Session>) -> Outcome {
        if self.finish(Finished::Renewed(Arc::clone(&renewed))).await.is_none() {
            self.logins.failed(self.app, self.token, self.session, "not_written_down");
            // What the store has then, the next turn will find out; where it has the old token, that is spent.
            let _ = self.logins.store.finish_refresh(self.token, self.lease, Finished::Unanswered).await;
            return Outcome::Open;
        }
        // It may have been signed out or revoked meanwhile.
        if let Ok(None) = self.logins.store.load(self.token).await {
            // Nobody will use the new token; where the provider does not hear it, it ends there by itself.
            self.logins.revoker.revoke_renewed(&self.app.provider, renewed);
        }
        Outcome::Open
    }

    async fn finish(&self, finished: Finished) -> Option<bool> {
        self.logins.finish(self.app, self.token, self.lease, finished).await
    }

    async fn end(&self, reason: &str) -> Outcome {
        self.logins.end(self.app, self.token, self.session, reason, None).await;
        Outcome::Ended
    }
}
