use http::{HeaderMap, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::attempt::NewAttempt;
use super::{Logins, ReturnTarget};
use crate::app::{Application, OUTPOST_PATH};
use crate::cookie::SealerError;
use crate::oidc::{AuthorizationRequest, OidcError, Prompt};

/// Whether the provider may ask the person at the browser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interaction {
    /// For whatever it needs.
    #[default]
    Allowed,
    /// For nothing (`prompt=none`): who is not signed in there is not signed in.
    None,
}

impl Interaction {
    /// What the query of our own start asks for.
    #[must_use]
    pub fn requested(query: &str) -> Self {
        if query.split('&').any(|pair| pair == SILENT) { Self::None } else { Self::Allowed }
    }

    /// Whether it may ask.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed)
    }
}

/// In the query of our own start.
const SILENT: &str = "silent=true";

/// A login that begins with the browser's next request.
pub struct Begun {
    /// The authorisation request.
    pub location: String,
    /// What the browser keeps meanwhile.
    pub cookies: Vec<HeaderValue>,
}

/// Why no login can begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The provider is not known yet, or our registration makes no request.
    #[error(transparent)]
    Provider(#[from] OidcError),
    /// No randomness, so nothing can be sealed.
    #[error(transparent)]
    Sealer(#[from] SealerError),
}

impl Logins {
    /// Begins a login for `app` that ends at `target`; `headers` are the browser's.
    ///
    /// # Errors
    ///
    /// While the provider is not ready, and when the system gives no randomness.
    pub fn begin(
        &self,
        app: &Application,
        target: &ReturnTarget,
        interaction: Interaction,
        headers: &HeaderMap,
    ) -> Result<Begun, StartError> {
        let provider = self.provider(app).ok_or(OidcError::NotReady)?;
        let attempt = NewAttempt::begin(app, target, interaction, headers, &self.sealer, &self.world)?;
        let location = provider.authorization_url(&AuthorizationRequest {
            redirect_uri: &app.redirect_uri,
            state: &attempt.state,
            nonce: &attempt.nonce,
            pkce_verifier: &attempt.pkce_verifier,
            prompt: (!interaction.is_allowed()).then_some(Prompt::Silent),
        })?;
        Ok(Begun { location, cookies: attempt.cookies })
    }
}

/// The address at which a login for `target` begins, on the target's own host.
#[must_use]
pub fn login_url(app: &Application, target: &ReturnTarget) -> String {
    let url = target.as_str();
    let origin_end = url.match_indices('/').nth(2).map_or(url.len(), |(at, _)| at);
    let parts = [&url[..origin_end], &app.external_host.base_path, OUTPOST_PATH, "/start?rd="];
    // Some of the target's characters take three.
    let mut login_url = String::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + 2 * url.len());
    login_url.extend(parts);
    login_url.extend(utf8_percent_encode(url, NON_ALPHANUMERIC));
    login_url
}

/// The same, for a login that asks the person nothing.
#[must_use]
pub fn silent_login_url(app: &Application, target: &ReturnTarget) -> String {
    format!("{}&{SILENT}", login_url(app, target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::samples::{domain, single};
    use crate::login::requested_target;

    #[track_caller]
    fn check(app: &Application, target: &str, expected_start: &str) {
        let target = ReturnTarget::parse(app, target).unwrap();
        let url = login_url(app, &target);
        let (start, query) = url.split_once('?').unwrap();
        assert_eq!(start, expected_start);
        assert_eq!(requested_target(query).as_deref(), Some(target.as_str()));
        assert_eq!(Interaction::requested(query), Interaction::Allowed);
        let silent = silent_login_url(app, &target);
        let (_, silent) = silent.split_once('?').unwrap();
        assert_eq!(
            (requested_target(silent).as_deref(), Interaction::requested(silent)),
            (Some(target.as_str()), Interaction::None)
        );
        assert!(query["rd=".len()..].bytes().all(|b| b.is_ascii_alphanumeric() || b == b'%'), "{query}");
    }

    #[test]
    fn login_urls_carry_the_target_whole() {
        check(
            &single("https://app.example.com"),
            "/a?b=c&d=e#f",
            "https://app.example.com/outpost.goauthentik.io/start",
        );
        check(
            &single("https://app.example.com:8443/sub"),
            "/",
            "https://app.example.com:8443/sub/outpost.goauthentik.io/start",
        );
        check(
            &domain("https://auth.example.com", "example.com"),
            "https://x.example.com/y",
            "https://x.example.com/outpost.goauthentik.io/start",
        );
    }
}
