//! Whether a provider's metadata and keys verify the ID tokens that it issues.

use std::sync::atomic::{AtomicU16, Ordering};

use super::SigningAlgorithm;
use super::flaw::Flaw;
use super::jws::Kind;
use super::{LogoutToken, Provider};

/// A set of algorithms that grows without a lock.
#[derive(Debug, Default)]
pub(super) struct Algorithms(AtomicU16);

impl Algorithms {
    pub(super) fn add(&self, algorithm: SigningAlgorithm) {
        self.0.fetch_or(1 << algorithm as u16, Ordering::Relaxed);
    }

    fn all(&self) -> Vec<SigningAlgorithm> {
        let set = self.0.load(Ordering::Relaxed);
        SigningAlgorithm::ALL.into_iter().filter(|algorithm| set & (1 << *algorithm as u16) != 0).collect()
    }
}

impl Provider {
    /// Whether a verified logout token has the algorithm of the client's ID tokens (OpenID Connect Back-Channel Logout 1.0
    /// §2.6), as far as this process knows that.
    ///
    /// A client has one registered algorithm. The settings may name it. Otherwise it is one of those of the ID tokens that this
    /// process accepted, or that it learned of by [`Provider::learn_algorithm`]. When the metadata announce none of these any
    /// more, the provider has changed its registration, and any algorithm counts that they announce.
    #[must_use]
    pub fn has_id_token_algorithm(&self, token: &LogoutToken) -> bool {
        let Some(ready) = self.ready() else { return false };
        let announced = ready.algorithms(self.settings(), Kind::Logout);
        let known = self.algorithms.all();
        let has_changed = !known.is_empty() && !known.iter().any(|algorithm| announced.contains(algorithm));
        announced == [token.algorithm] || known.contains(&token.algorithm) || has_changed
    }

    /// Notes the algorithm of the ID token of a session that this provider began.
    pub fn learn_algorithm(&self, algorithm: SigningAlgorithm) {
        self.algorithms.add(algorithm);
    }

    /// Whether any algorithm of the client's ID tokens is known.
    #[must_use]
    pub fn knows_algorithms(&self) -> bool {
        !self.algorithms.all().is_empty()
    }

    /// The known algorithms of the client's ID tokens, for the log.
    #[must_use]
    pub fn known_algorithms(&self) -> String {
        SigningAlgorithm::list(&self.algorithms.all())
    }

    /// Notes that metadata and keys do not verify an ID token that the provider issued.
    pub(super) async fn note_mismatch(&self, id_token: &str, flaw: &Flaw) {
        // Another request may have brought newer metadata and keys meanwhile.
        let ready = self.ready();
        let fits = self.compute(|| ready.is_some_and(|ready| ready.issued(self.settings(), id_token))).await;
        if !fits && self.source().set_mismatch(id_token) {
            tracing::error!(
                identity_provider = self.name(),
                error = %flaw,
                hint = flaw.remedy().text(),
                "logins do not work: what the identity provider publishes does not fit its ID tokens"
            );
            self.report_readiness();
        }
    }

    /// Notes that metadata and keys verify an ID token.
    pub(super) fn note_match(&self) {
        if self.source().clear_mismatch() {
            self.log_match();
        }
    }

    /// Logs that metadata and keys verify the provider's ID tokens again.
    pub(super) fn log_match(&self) {
        tracing::info!(
            identity_provider = self.name(),
            "what the identity provider publishes fits its ID tokens again"
        );
        self.report_readiness();
    }
}
