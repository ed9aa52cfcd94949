//! Whether what is known of a provider fits the ID tokens that it gives.

use std::sync::atomic::{AtomicU16, Ordering};

use super::SigningAlgorithm;
use super::flaw::Flaw;
use super::jws::Kind;
use super::{LogoutToken, Provider};

/// A set of algorithms.
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

/// Whether a logout token is signed as the ID tokens of its client are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It is.
    Good,
    /// No ID token that this process has accepted is signed so; those of sessions that are kept may be.
    Unknown,
}

impl Provider {
    /// Whether the algorithm of a verified logout token is that of the client's ID tokens (OpenID Connect Back-Channel Logout
    /// 1.0 §2.6).
    ///
    /// A client has one registered algorithm. The settings may name it; else it is one of those that the ID tokens have which
    /// this process accepted, or which it learned of by [`Provider::learn_algorithm`]. Where the metadata announce none of
    /// these any more, the provider has changed, and what they announce now counts.
    #[must_use]
    pub fn fit(&self, token: &LogoutToken) -> Fit {
        let Some(ready) = self.ready() else { return Fit::Unknown };
        let announced = ready.algorithms(self.settings(), Kind::Logout);
        let known = self.algorithms.all();
        let has_changed = !known.is_empty() && !known.iter().any(|algorithm| announced.contains(algorithm));
        if announced == [token.algorithm] || known.contains(&token.algorithm) || has_changed {
            Fit::Good
        } else {
            Fit::Unknown
        }
    }

    /// Notes how the ID token of a session is signed that this provider vouched for.
    pub fn learn_algorithm(&self, algorithm: SigningAlgorithm) {
        self.algorithms.add(algorithm);
    }

    /// Whether anything is known of how the client's ID tokens are signed.
    #[must_use]
    pub fn knows_algorithms(&self) -> bool {
        !self.algorithms.all().is_empty()
    }

    /// How the ID tokens are signed that are known, for the log.
    #[must_use]
    pub fn known_algorithms(&self) -> String {
        SigningAlgorithm::list(&self.algorithms.all())
    }

    /// Notes that an ID token which the provider gave does not fit what is known of it.
    pub(super) async fn doubt(&self, id_token: &str, flaw: &Flaw) {
        // Another request may have brought newer metadata and keys meanwhile.
        let ready = self.ready();
        let fits = self.aside(|| ready.is_some_and(|ready| ready.made(self.settings(), id_token))).await;
        if !fits && self.source().doubt(id_token) {
            tracing::error!(
                identity_provider = self.name(),
                error = %flaw,
                hint = flaw.remedy().text(),
                "logins do not work: what the identity provider publishes does not fit its ID tokens"
            );
            self.tell_readiness();
        }
    }

    /// Notes that an ID token fits.
    pub(super) fn trust(&self) {
        if self.source().trust() {
            self.tell_trust();
        }
    }

    /// Tells that what is known of the provider fits its ID tokens again.
    pub(super) fn tell_trust(&self) {
        tracing::info!(
            identity_provider = self.name(),
            "what the identity provider publishes fits its ID tokens again"
        );
        self.tell_readiness();
    }
}
