//! Logout by the provider's own word (OpenID Connect Back-Channel Logout 1.0 §2.5 to §2.8).

use std::sync::Arc;

use url::form_urlencoded;

use super::Logouts;
use crate::catalog::Catalog;
use crate::lifecycle::to_the_end;
use crate::oidc::{Flaw, LogoutToken, LogoutTokenError, Provider, SigningAlgorithm};
use crate::session::{Once, Revocation, SessionStore, StoreError, Whom};
use crate::telemetry::audit::{Asker, AuditLine, Event};

const PARAMETER: &str = "logout_token";

const FORM: &str = "application/x-www-form-urlencoded";

/// A logout token that was obeyed.
#[derive(Debug)]
pub struct Obeyed {
    /// Whose it is: its name in the settings.
    pub identity_provider: String,
    /// `false` when the same one had come before: nothing was left to do, and sessions that began since go on.
    ///
    /// That is a success too (§2.6 leaves it open): a provider that got no answer in time sends its token again, and has to
    /// hear that its user is logged out. Who replays a token that he caught gains nothing by it.
    pub first: bool,
}

/// Why no user was logged out.
#[derive(Debug, thiserror::Error)]
pub enum BackChannelError {
    /// It is not a logout request.
    #[error("the request is not a logout request: {0}")]
    Request(&'static str),
    /// The token is not accepted, or not at the moment.
    #[error("{error}")]
    Token {
        /// The name of the provider that it claims to be of, where one of ours can be it.
        identity_provider: Option<String>,
        /// What is wrong.
        #[source]
        error: LogoutTokenError,
    },
    /// The order could not be written down.
    #[error("{error}")]
    Store {
        /// Whose token it is.
        identity_provider: String,
        /// What is wrong.
        #[source]
        error: StoreError,
    },
}

impl BackChannelError {
    /// Whether the same request may succeed later.
    ///
    /// §2.8 has one status, 400, for what is invalid and for what failed. A provider sends again only what seems to have
    /// failed for a while (§2.5), and it can tell that by a 503 alone.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        match self {
            Self::Request(_) => false,
            Self::Token { error, .. } => matches!(error, LogoutTokenError::NotReady | LogoutTokenError::UnknownKey(_)),
            Self::Store { .. } => true,
        }
    }

    /// The provider it is about, by its name in the settings.
    #[must_use]
    pub fn identity_provider(&self) -> Option<&str> {
        match self {
            Self::Request(_) => None,
            Self::Token { identity_provider, .. } => identity_provider.as_deref(),
            Self::Store { identity_provider, .. } => Some(identity_provider),
        }
    }
}

impl Logouts {
    /// Obeys the logout token in `form`, the body of a request whose `Content-Type` is `media_type`.
    ///
    /// The order holds for sessions whose login began before now, wherever their records are, and for logins that are under
    /// way. What a token without value costs is bounded: one signature for each provider with its issuer and client id,
    /// few at a time, and new keys at most once in [`crate::oidc::IdentityProvider::jwks_cooldown`]. What is obeyed goes
    /// into the audit log, also if the provider no longer waits for the answer.
    ///
    /// # Errors
    ///
    /// If no user is logged out.
    pub async fn obey(
        &self,
        catalog: &Catalog,
        media_type: Option<&[u8]>,
        form: &[u8],
        asker: Asker,
    ) -> Result<Obeyed, BackChannelError> {
        let text = logout_token(media_type, form).map_err(BackChannelError::Request)?;
        let (provider, token) = self.verify(catalog, &text).await?;
        let (provider, store) = (Arc::clone(provider), Arc::clone(&self.store));
        let follow = async move { follow(&provider, &token, &*store, &asker).await };
        to_the_end(&self.background, follow).await
    }

    /// Asks the providers in turn: several may have one issuer, and differ in their client ids.
    async fn verify<'c>(
        &self,
        catalog: &'c Catalog,
        text: &str,
    ) -> Result<(&'c Arc<Provider>, LogoutToken), BackChannelError> {
        let mut refusal = BackChannelError::Token { identity_provider: None, error: LogoutTokenError::Foreign };
        for provider in catalog.providers() {
            let token = match provider.verify_logout_token(text).await {
                Ok(token) => self.compare_algorithm(catalog, provider, token).await?,
                Err(error) => Err(error),
            };
            match token {
                Ok(token) => return Ok((provider, token)),
                Err(LogoutTokenError::Foreign) => {}
                Err(error @ LogoutTokenError::Malformed(_)) => {
                    return Err(BackChannelError::Token { identity_provider: None, error });
                }
                // What is worth another try is told rather than what is not.
                Err(_) if refusal.is_temporary() => {}
                Err(error) => {
                    refusal = BackChannelError::Token { identity_provider: Some(provider.name().to_owned()), error }
                }
            }
        }
        Err(refusal)
    }
}

impl Logouts {
    /// Refuses a token that is not signed as the ID tokens of its client are, though by the provider.
    ///
    /// After a start, or where another replica has the logins, this process has accepted no such ID token; then those of the
    /// sessions that are kept count. Where nothing at all is known, there is no session that could end.
    async fn compare_algorithm(
        &self,
        catalog: &Catalog,
        provider: &Provider,
        token: LogoutToken,
    ) -> Result<Result<LogoutToken, LogoutTokenError>, BackChannelError> {
        if provider.has_id_token_algorithm(&token) {
            return Ok(Ok(token));
        }
        // One at a time: it looks at all sessions.
        let _turn = self.looking.lock().await;
        if !provider.has_id_token_algorithm(&token) {
            let failed = |error| BackChannelError::Store { identity_provider: provider.name().to_owned(), error };
            self.learn_algorithms(catalog, provider, token.algorithm).await.map_err(failed)?;
        }
        if provider.has_id_token_algorithm(&token) || !provider.knows_algorithms() {
            return Ok(Ok(token));
        }
        Ok(Err(LogoutTokenError::Invalid(Flaw::from(format!(
            "it is signed with {}, and ID tokens for this client with {}; the settings can name the algorithm of the \
             registration (id_token_signed_response_alg)",
            token.algorithm.as_str(),
            provider.known_algorithms()
        )))))
    }

    /// Tells the provider how the ID tokens of its client's sessions are signed, until one is signed with `wanted`.
    async fn learn_algorithms(
        &self,
        catalog: &Catalog,
        provider: &Provider,
        wanted: SigningAlgorithm,
    ) -> Result<(), StoreError> {
        let mut at = None;
        loop {
            let page = self.store.page(at).await?.unwrap_or_default();
            let of_client =
                page.sessions.iter().filter(|session| is_of_client(catalog, &session.application, provider));
            for algorithm in of_client.filter_map(|session| session.algorithm) {
                provider.learn_algorithm(algorithm);
                if algorithm == wanted {
                    return Ok(());
                }
            }
            match page.next {
                Some(next) => at = Some(next),
                None => return Ok(()),
            }
        }
    }
}

/// Whether the sessions of this application come from the client that we are at `provider`: others of the same issuer may be registered
/// with another algorithm.
fn is_of_client(catalog: &Catalog, application: &str, provider: &Provider) -> bool {
    let client = |provider: &Provider| (provider.settings().issuer.clone(), provider.settings().client_id.clone());
    catalog.application(application).is_some_and(|app| client(&app.provider) == client(provider))
}

async fn follow(
    provider: &Provider,
    token: &LogoutToken,
    store: &dyn SessionStore,
    asker: &Asker,
) -> Result<Obeyed, BackChannelError> {
    let issuer = &*provider.settings().issuer;
    let whom = match (&token.session_id, &token.subject) {
        (Some(session_id), subject) => Whom::ProviderSession { issuer, session_id, subject: subject.as_deref() },
        (None, Some(subject)) => Whom::Subject { issuer, subject },
        (None, None) => return Err(BackChannelError::Request("the token names neither a user nor a session")),
    };
    let once = Once { issuer, id: &token.jti, until: token.expires_at };
    let identity_provider = provider.name().to_owned();
    let first = match store.revoke(&Revocation { whom, once: Some(once) }).await {
        Ok(first) => first,
        Err(error) => return Err(BackChannelError::Store { identity_provider, error }),
    };
    if first {
        AuditLine {
            identity_provider: Some(&identity_provider),
            subject: token.subject.as_deref(),
            provider_session: token.session_id.as_deref(),
            ..AuditLine::new(Event::Revocation, "back_channel").asked_by(asker)
        }
        .write();
    }
    Ok(Obeyed { identity_provider, first })
}

/// The one logout token of a form; further parameters are passed over (§2.5).
fn logout_token(media_type: Option<&[u8]>, form: &[u8]) -> Result<String, &'static str> {
    let essence = media_type.and_then(|it| it.split(|byte| *byte == b';').next()).unwrap_or_default();
    if !essence.trim_ascii().eq_ignore_ascii_case(FORM.as_bytes()) {
        return Err("its body is not a form");
    }
    let mut tokens = form_urlencoded::parse(form).filter(|(name, _)| name == PARAMETER).map(|(_, value)| value);
    match (tokens.next(), tokens.next()) {
        (Some(token), None) if !token.is_empty() => Ok(token.into_owned()),
        (_, None) => Err("it has no logout_token"),
        (_, Some(_)) => Err("it has more than one logout_token"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(media_type: Option<&str>, form: &str, expected: Result<&str, &'static str>) {
        let token = logout_token(media_type.map(str::as_bytes), form.as_bytes());
        assert_eq!(token.as_deref(), expected.as_ref().map(|it| *it), "{media_type:?} {form}");
    }

    #[test]
    fn a_form_has_one_token() {
        const NO_FORM: Result<&str, &str> = Err("its body is not a form");
        let form = Some(FORM);
        check(form, "logout_token=a.b.c", Ok("a.b.c"));
        check(form, "x=y&logout_token=a%2Eb.c&logout_tokens=z", Ok("a.b.c"));
        check(Some("Application/X-WWW-Form-URLEncoded ; charset=UTF-8"), "logout_token=a", Ok("a"));
        check(form, "", Err("it has no logout_token"));
        check(form, "logout_token", Err("it has no logout_token"));
        check(form, "logout_token=", Err("it has no logout_token"));
        check(form, "Logout_Token=a", Err("it has no logout_token"));
        check(form, "logout_token=a&logout_token=a", Err("it has more than one logout_token"));
        check(form, "logout_token=&logout%5Ftoken=a", Err("it has more than one logout_token"));
        check(None, "logout_token=a", NO_FORM);
        check(Some(""), "logout_token=a", NO_FORM);
        check(Some("application/json"), "logout_token=a", NO_FORM);
        check(Some("application/x-www-form-urlencodedx"), "logout_token=a", NO_FORM);
        check(Some("text/plain;application/x-www-form-urlencoded"), "logout_token=a", NO_FORM);
    }
}
