use openidconnect::core::CoreAuthenticationFlow;
use openidconnect::{CsrfToken, Nonce, PkceCodeChallenge, PkceCodeVerifier, Scope};
use url::Url;

use super::metadata::OFFLINE_ACCESS;
use super::{IdentityProvider, OfflineAccess};
use super::{Metadata, OidcError, Ready};
use crate::identity::Assurance;

/// The parts of an authorisation request (OIDC Core §3.1.2.1) that differ from login to login.
#[derive(Clone, Copy, Debug)]
pub struct AuthorizationRequest<'a> {
    /// The callback of the application.
    pub redirect_uri: &'a str,
    /// Has only characters of base64url: some providers return it without escapes.
    pub state: &'a str,
    /// The provider puts it into the ID token.
    pub nonce: &'a str,
    /// The PKCE verifier (RFC 7636 §4.1); only its S256 challenge is sent.
    pub pkce_verifier: &'a str,
    /// What the provider may show; replaces the operator's own parameter. `None` leaves it to operator and provider.
    pub prompt: Option<Prompt>,
    /// The required kind and age of the login; replaces the operator's own parameters.
    pub assurance: Option<&'a Assurance>,
}

/// What a provider may show to the browser (`prompt`, OIDC Core §3.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Prompt {
    /// Nothing (`none`): a user who is not signed in there comes back with an error.
    Silent,
    /// The login page (`login`), also to a user who is signed in there, so that another user can sign in.
    Login,
}

impl Prompt {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "none",
            Self::Login => "login",
        }
    }
}

/// The parts of a logout request (RP-Initiated Logout §2).
#[derive(Clone, Copy, Debug)]
pub struct EndSessionRequest<'a> {
    /// The newest ID token of the session.
    pub id_token_hint: &'a str,
    /// Where the provider redirects the browser afterwards.
    pub post_logout_redirect_uri: &'a str,
    /// The provider returns it with the redirect.
    pub state: Option<&'a str>,
}

impl Ready {
    /// The URL of an authorisation request.
    ///
    /// The scopes are those of the settings, with `offline_access` when [`Metadata::asks_for_offline_access`] says so. A provider may
    /// ignore that scope without `prompt=consent` (OIDC Core §11). Most do not, and a question at each login is not a good default:
    /// for a provider that insists, the operator sets `prompt` in the authorisation parameters.
    ///
    /// # Errors
    ///
    /// When the redirect URI is not a URL.
    pub fn authorization_url(
        &self,
        settings: &IdentityProvider,
        request: &AuthorizationRequest<'_>,
    ) -> Result<Url, OidcError> {
        let client = self.client_for(settings, request.redirect_uri)?;
        let state = CsrfToken::new(request.state.to_owned());
        let nonce = Nonce::new(request.nonce.to_owned());
        let verifier = PkceCodeVerifier::new(request.pkce_verifier.to_owned());
        // The library adds `openid` by itself.
        let scopes =
            settings.scopes.iter().map(String::as_str).filter(|scope| !["openid", OFFLINE_ACCESS].contains(scope));
        let offline = self.metadata.asks_for_offline_access(settings).then_some(OFFLINE_ACCESS);
        let mut authorization = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, move || state, move || nonce)
            .add_scopes(scopes.chain(offline).map(|scope| Scope::new(scope.to_owned())))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        for (name, value) in &settings.authorization_parameters {
            let is_ours = match name.as_str() {
                "prompt" => request.prompt.is_some(),
                "acr_values" => request.assurance.is_some_and(|it| !it.acr.is_empty()),
                "max_age" => request.assurance.is_some_and(|it| it.max_age.is_some()),
                _ => false,
            };
            if !is_ours {
                authorization = authorization.add_extra_param(name.clone(), value.clone());
            }
        }
        if let Some(prompt) = request.prompt {
            authorization = authorization.add_extra_param("prompt", prompt.as_str());
        }
        if let Some(Assurance { acr, max_age }) = request.assurance {
            if !acr.is_empty() {
                authorization = authorization.add_extra_param("acr_values", acr.join(" "));
            }
            if let Some(max_age) = max_age {
                authorization = authorization.add_extra_param("max_age", max_age.to_string());
            }
        }
        Ok(authorization.url().0)
    }

    /// The URL of a logout request; `None` when the provider has no end session endpoint.
    #[must_use]
    pub fn end_session_url(&self, settings: &IdentityProvider, request: &EndSessionRequest<'_>) -> Option<Url> {
        let mut url = self.metadata.end_session_endpoint()?.clone();
        url.query_pairs_mut()
            .append_pair("id_token_hint", request.id_token_hint)
            .append_pair("client_id", &settings.client_id)
            .append_pair("post_logout_redirect_uri", request.post_logout_redirect_uri);
        if let Some(state) = request.state {
            url.query_pairs_mut().append_pair("state", state);
        }
        Some(url)
    }
}

impl Metadata {
    /// Whether logins with these settings ask for the scope `offline_access`.
    #[must_use]
    pub fn asks_for_offline_access(&self, settings: &IdentityProvider) -> bool {
        match settings.offline_access {
            _ if settings.scopes.iter().any(|scope| scope == OFFLINE_ACCESS) => true,
            OfflineAccess::Always => true,
            OfflineAccess::Never => false,
            OfflineAccess::Auto => self.offers_offline_access() && !self.binds_refresh_tokens_to_sessions(),
        }
    }
}
