use http::{HeaderMap, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use super::attempt::NewAttempt;
use super::{Logins, ReturnTarget};
use crate::app::{Application, OUTPOST_PATH};
use crate::cookie::SealerError;
use crate::identity::Assurance;
use crate::oidc::{AuthorizationRequest, OidcError, Prompt};

/// Whether the provider may ask the person at the browser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interaction {
    /// For whatever it needs.
    #[default]
    Allowed,
    /// For nothing (`prompt=none`): who is not signed in there is not signed in.
    None,
    /// For a login in any case (`prompt=login`), so that it can be another user.
    Login,
}

impl Interaction {
    /// What the query of our own start asks for.
    #[must_use]
    pub fn requested(query: &str) -> Self {
        let asks_for = |wanted| query.split('&').any(|pair| pair == wanted);
        match () {
            () if asks_for(SILENT) => Self::None,
            () if asks_for(LOGIN) => Self::Login,
            () => Self::Allowed,
        }
    }

    /// Whether it may ask for whatever it needs, as most may.
    #[must_use]
    pub const fn is_usual(&self) -> bool {
        matches!(self, Self::Allowed)
    }

    /// Whether it may ask for nothing.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        matches!(self, Self::None)
    }

    const fn prompt(self) -> Option<Prompt> {
        match self {
            Self::Allowed => None,
            Self::None => Some(Prompt::Silent),
            Self::Login => Some(Prompt::Login),
        }
    }
}

/// What a login is to be like.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Whether the provider may ask the person.
    pub interaction: Interaction,
    /// How it must come about.
    pub assurance: Assurance,
    /// Whether it takes the place of one that failed in a way that only another one mends.
    pub is_second: bool,
}

impl Wish {
    /// What the query of our own start asks for; only what rules of `app` ask for too, so that links of strangers ask for
    /// nothing odd.
    #[must_use]
    pub fn requested(app: &Application, query: &str) -> Self {
        let mut assurance = Assurance::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "acr_values" => {
                    assurance.acr =
                        value.split(' ').filter(|acr| app.policy.names_acr(acr)).map(str::to_owned).collect();
                }
                "max_age" => assurance.max_age = value.parse().ok().filter(|age| *age >= LEAST_AGE),
                _ => {}
            }
        }
        Self { interaction: Interaction::requested(query), assurance, is_second: false }
    }
}

impl From<Interaction> for Wish {
    fn from(interaction: Interaction) -> Self {
        Self { interaction, ..Self::default() }
    }
}

impl From<Assurance> for Wish {
    fn from(assurance: Assurance) -> Self {
        Self { assurance, ..Self::default() }
    }
}

/// In the query of our own start.
const SILENT: &str = "silent=true";
const LOGIN: &str = "prompt=login";

/// The least that a rule can ask for, in seconds.
const LEAST_AGE: u64 = 60;

/// A login that begins with the browser's next request.
pub struct LoginRedirect {
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
        wish: impl Into<Wish>,
        headers: &HeaderMap,
    ) -> Result<LoginRedirect, StartError> {
        let wish = wish.into();
        let attempt = NewAttempt::begin(app, target, &wish, headers, &self.sealer, &self.world)?;
        let location = app.provider.authorization_url(&AuthorizationRequest {
            redirect_uri: &app.redirect_uri,
            state: &attempt.state,
            nonce: &attempt.nonce,
            pkce_verifier: &attempt.pkce_verifier,
            prompt: wish.interaction.prompt(),
            assurance: Some(&wish.assurance),
        })?;
        Ok(LoginRedirect { location, cookies: attempt.cookies })
    }
}

/// The address at which a login for `target` begins, on the target's own host.
#[must_use]
pub fn login_url(app: &Application, target: &ReturnTarget) -> String {
    let url = target.as_str();
    let parts = [target.origin(), &app.external_host.base_path, OUTPOST_PATH, "/start?rd="];
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

/// The same, for a login that is to come about in this way.
#[must_use]
pub fn assured_login_url(app: &Application, target: &ReturnTarget, assurance: &Assurance) -> String {
    let mut url = login_url(app, target);
    if !assurance.acr.is_empty() {
        url.push_str("&acr_values=");
        url.extend(utf8_percent_encode(&assurance.acr.join(" "), NON_ALPHANUMERIC));
    }
    if let Some(age) = assurance.max_age {
        url.push_str("&max_age=");
        url.push_str(&age.to_string());
    }
    url
}

/// The same, for a login at which the provider asks who it is in any case.
#[must_use]
pub fn other_login_url(app: &Application, target: &ReturnTarget, assurance: &Assurance) -> String {
    format!("{}&{LOGIN}", assured_login_url(app, target, assurance))
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
