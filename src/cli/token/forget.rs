//! `forepost token --forget`.

use std::io;

use super::Run;
use super::client::Client;
use super::discovery::{self, address, covers};
use super::kept::Kept;
use crate::cli::command_error::CommandError;

impl Run<'_> {
    /// Takes away every login for this application, here and, where that can be done, at the provider.
    pub(super) async fn forget(&mut self) -> Result<(), CommandError> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        let client_id = &self.arguments.client_id;
        let is_meant = |kept: &Kept| {
            covers(&kept.resource, &self.url) && client_id.as_ref().is_none_or(|id| *id == kept.client_id)
        };
        let found = store.all(is_meant);
        if found.is_empty() {
            self.screen.say("Nothing is kept for this application.");
        }
        for (name, kept) in found {
            let lock = store.lock(&name, &self.interrupt, &mut self.screen).await?;
            let failed = |error: io::Error| CommandError::denied(format!("the tokens cannot be removed: {error}"));
            store.remove(lock, &name).map_err(failed)?;
            let revoked = self.revoke(&kept).await;
            let (resource, issuer) = (&kept.resource, &kept.issuer);
            self.screen.say(&match revoked {
                Ok(true) => format!("Forgotten here and at {issuer}: the login for {resource}."),
                Ok(false) => format!("Forgotten: the login for {resource}. {issuer} cannot revoke tokens."),
                Err(failure) => format!("Forgotten here, but not revoked: {}.", failure.message),
            });
        }
        Ok(())
    }

    /// Revokes what lives longest (RFC 7009); `false` when the provider has no place for that.
    async fn revoke(&self, kept: &Kept) -> Result<bool, CommandError> {
        let metadata = self.interrupt.or(discovery::provider(&self.http, &kept.issuer)).await?;
        let Some(endpoint) = metadata.revocation_endpoint() else {
            return Ok(false);
        };
        let endpoint = address(endpoint.as_str(), "revocation_endpoint").map_err(CommandError::unavailable)?;
        let client = Client::new(&kept.client_id, self.secret.as_ref(), &metadata);
        let tokens = [("refresh_token", &kept.refresh_token), ("access_token", &kept.access_token)];
        for (hint, token) in tokens {
            let Some(token) = token else { continue };
            match client.revoke(&self.http, &endpoint, token, hint).await {
                // Not every provider revokes access tokens (RFC 7009 §2), and they end soon.
                Err(refusal) if hint == "refresh_token" => return Err(CommandError::unavailable(refusal.to_string())),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(true)
    }
}
