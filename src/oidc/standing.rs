use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;

use super::refresh_error::is_client_refusal;
use super::{OidcError, Provider};
use crate::telemetry::WithCauses;

/// How the provider takes our client, by the last answer of its token endpoint that says so.
#[derive(Debug, Default)]
pub(super) struct Standing {
    refused: AtomicBool,
}

impl Provider {
    /// Whether logins can go through it: its metadata are known and fit its ID tokens, and its last answer did not refuse our
    /// client.
    #[must_use]
    pub fn is_ready_for_logins(&self) -> bool {
        self.ready().is_some() && !self.refuses_client() && !self.source().is_in_doubt()
    }

    /// Whether the last answer of the token endpoint refused our client: it is unknown or disabled there, or its secret is
    /// another one (`invalid_client`, RFC 6749 §5.2).
    #[must_use]
    pub fn refuses_client(&self) -> bool {
        self.standing.refused.load(Ordering::Relaxed)
    }

    /// Notes what an answer of the token endpoint, with this status, says of our client.
    pub(super) fn note_answer<T>(&self, answer: &Result<T, OidcError>, status: Option<StatusCode>) {
        let refused = match (answer, status) {
            (Ok(_), _) => false,
            (Err(OidcError::Refused { code, .. }), Some(status)) if is_client_refusal(status, code) => true,
            // The client is authenticated before its grant is judged.
            (Err(OidcError::Refused { code, .. }), _) if code == "invalid_grant" => false,
            (Err(_), _) => return,
        };
        if self.standing.refused.swap(refused, Ordering::Relaxed) == refused {
            return;
        }
        self.tell_readiness();
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
