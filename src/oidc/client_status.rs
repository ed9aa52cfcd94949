use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;

use super::refresh_error::is_client_refusal;
use super::{OidcError, Provider};
use crate::telemetry::WithCauses;

/// Whether the provider accepts our client, by the last answer of its token endpoint that tells.
#[derive(Debug, Default)]
pub(super) struct ClientStatus {
    refused: AtomicBool,
}

impl Provider {
    /// Whether logins through the provider are possible: its metadata are known and verify its ID tokens, and its last answer did
    /// not refuse our client.
    #[must_use]
    pub fn is_ready_for_logins(&self) -> bool {
        self.ready().is_some() && !self.refuses_client() && !self.source().has_mismatch()
    }

    /// Whether the last answer of the token endpoint refused our client: it is unknown or disabled there, or its secret is
    /// another one (`invalid_client`, RFC 6749 §5.2).
    #[must_use]
    pub fn refuses_client(&self) -> bool {
        self.client_status.refused.load(Ordering::Relaxed)
    }

    /// Notes what an answer of the token endpoint says of our client.
    pub(super) fn note_answer<T>(&self, answer: &Result<T, OidcError>, status: Option<StatusCode>) {
        let refused = match (answer, status) {
            (Ok(_), _) => false,
            (Err(OidcError::Refused { code, .. }), Some(status)) if is_client_refusal(status, code) => true,
            // The client is authenticated before its grant is judged.
            (Err(OidcError::Refused { code, .. }), _) if code == "invalid_grant" => false,
            (Err(_), _) => return,
        };
        if self.client_status.refused.swap(refused, Ordering::Relaxed) == refused {
            return;
        }
        self.report_readiness();
        let identity_provider = self.name();
        match answer {
            Err(error) if refused => tracing::error!(
                identity_provider,
                error = %WithCauses(error),
                "the identity provider refuses this client (client_id, client_secret; is it enabled there?)"
            ),
            _ => tracing::info!(identity_provider, "the identity provider accepts this client again"),
        }
    }
}
