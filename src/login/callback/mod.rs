mod error;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::time::{Instant, sleep};

pub use self::error::CallbackError;
use super::attempt::ReturnedAttempt;
use super::guard::Verdict;
use super::{CallbackParams, Interaction, Logins, ReturnTarget, Visitor, Wish};
use crate::app::Application;
use crate::identity::{Identity, wire_bytes};
use crate::oidc::{CodeExchange, Login, OidcError, Provider, clean};
use crate::session::{
    Audited, CarriedSessions, NewSession, ProviderSide, Refreshable, Session, SessionToken, StoreError,
};
use crate::world::UnixTime;

/// How long the store is asked to keep a new session; the request may end before.
const SAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause between two tries.
const STORE_PAUSE: Duration = Duration::from_millis(100);

/// The user may not use the application any more (RFC 6749 §4.1.2.1).
const DENIED: &str = "access_denied";

/// Why a session ends for whose user the provider does not vouch without asking.
const REASON: &str = "silent_login_refused";

/// Errors with which the provider does not vouch for the user of a silent login (OIDC Core §3.1.2.6); others are problems.
const ENDING: [&str; 5] =
    [DENIED, "login_required", "interaction_required", "consent_required", "account_selection_required"];

/// Where a callback sends the browser.
pub enum Destination {
    /// Where it wanted to go.
    Target(ReturnTarget),
    /// To the provider once more, which has to ask the person.
    Provider(String),
    /// To the provider once more, in another attempt.
    Again {
        /// The authorisation request.
        location: String,
        /// Why this attempt failed.
        error: Box<CallbackError>,
    },
}

/// How a callback ended.
pub struct CallbackOutcome {
    /// Where the browser goes, or why no user is signed in.
    pub result: Result<Destination, CallbackError>,
    /// For the answer, whichever it is.
    pub cookies: Vec<HeaderValue>,
    /// Who signed in, for the log.
    pub user: Option<String>,
    /// The session that was opened, for the audit log.
    pub opened: Option<Audited>,
}

impl Logins {
    /// Answers a callback of `app`'s provider.
    ///
    /// Where an attempt is gone (a second tab, the back button), a browser that has a session simply goes on.
    pub async fn callback(
        self: &Arc<Self>,
        app: &Arc<Application>,
        query: &str,
        visitor: &Visitor<'_>,
    ) -> CallbackOutcome {
        let result = Err(CallbackError::ForeignState);
        let mut outcome = CallbackOutcome { result, cookies: Vec::new(), user: None, opened: None };
        outcome.result = self.answer(app, query, visitor, &mut outcome).await;
        outcome
    }

    async fn answer(
        self: &Arc<Self>,
        app: &Arc<Application>,
        query: &str,
        visitor: &Visitor<'_>,
        outcome: &mut CallbackOutcome,
    ) -> Result<Destination, CallbackError> {
        let session = visitor.session;
        let params = CallbackParams::parse(query).map_err(|_| CallbackError::Malformed("a parameter is repeated"))?;
        let state = params.state.as_deref().ok_or(CallbackError::Malformed("no state"))?;
        let attempt = match ReturnedAttempt::open(app, state, &self.sealer) {
            Some(attempt) => attempt,
            None if session.is_some() => return Ok(Destination::Target(ReturnTarget::home(app))),
            None => return Err(CallbackError::ForeignState),
        };
        match self.complete(app, &attempt, &params, visitor, outcome).await {
            Err(error) if error.is_mended_by_another_attempt() && !attempt.is_second => {
                self.begin_again(app, attempt, error, visitor, &mut outcome.cookies)
            }
            result => result,
        }
    }

    /// Another attempt in the place of one that failed; once, as whatever fails for the same reason again would go round.
    fn begin_again(
        &self,
        app: &Application,
        attempt: ReturnedAttempt,
        error: CallbackError,
        visitor: &Visitor<'_>,
        cookies: &mut Vec<HeaderValue>,
    ) -> Result<Destination, CallbackError> {
        // Who was to be asked nothing has no session any more.
        let interaction = if attempt.interaction.is_silent() { Interaction::Allowed } else { attempt.interaction };
        let wish = Wish { interaction, assurance: attempt.assurance, is_second: true };
        let Ok(begun) = self.begin(app, &attempt.target, wish, visitor.headers) else { return Err(error) };
        cookies.extend(begun.cookies);
        Ok(Destination::Again { location: begun.location, error: Box::new(error) })
    }

    async fn complete(
        self: &Arc<Self>,
        app: &Arc<Application>,
        attempt: &ReturnedAttempt,
        params: &CallbackParams,
        visitor: &Visitor<'_>,
        outcome: &mut CallbackOutcome,
    ) -> Result<Destination, CallbackError> {
        let Visitor { headers, session, .. } = *visitor;
        let now = self.world.now();
        let kept = attempt.kept(app, headers, &self.sealer, now).filter(|_| !self.used.contains(attempt.id()));
        // A silent attempt that is gone has no answer of the provider with it, and postpones nothing: the address can be kept
        // and opened again. A browser that always comes back so is not sent off for ever (`Schedule::take_trip`).
        let gone = || {
            let target = attempt.target.clone();
            if session.is_some() { Ok(Destination::Target(target)) } else { Err(CallbackError::AttemptGone(target)) }
        };
        let Some(kept) = kept else {
            return gone();
        };
        let provider = &app.provider;
        verify_issuer(provider, params.iss.as_deref())?;
        if let Some(code) = &params.error {
            outcome.cookies.push(app.cookies.expire(&attempt.cookie_name(app)));
            if attempt.interaction.is_silent() {
                // An answer counts once.
                if !self.used.claim(attempt.id()) {
                    return gone();
                }
                let target = attempt.target.clone();
                let goes_on = self.silence_broken(app, code, visitor, &mut outcome.cookies).await;
                if goes_on.inspect_err(|_| self.used.release(attempt.id()))? {
                    return Ok(Destination::Target(target));
                }
                if code != DENIED {
                    let begun = self.begin(app, &target, Interaction::Allowed, headers)?;
                    outcome.cookies.extend(begun.cookies);
                    return Ok(Destination::Provider(begun.location));
                }
            }
            return Err(CallbackError::Denied {
                code: clean(code),
                description: params.error_description.as_deref().map(clean),
                target: attempt.target.clone(),
            });
        }
        let code = params.code.as_deref().ok_or(CallbackError::Malformed("neither code nor error"))?;
        if attempt.interaction.is_silent() && session.is_some_and(|session| attempt.began() <= session.created_at()) {
            // Another tab was faster, and the provider vouched for the user after this attempt began.
            outcome.cookies.push(app.cookies.expire(&attempt.cookie_name(app)));
            return Ok(Destination::Target(attempt.target.clone()));
        }

        // Before the code is redeemed, so that of two requests with one code only one redeems it.
        if !self.used.claim(attempt.id()) {
            return gone();
        }
        let exchange = CodeExchange {
            code,
            redirect_uri: &app.redirect_uri,
            nonce: &kept.nonce,
            pkce_verifier: &kept.pkce_verifier,
        };
        let mut login = match provider.complete(&exchange, &app.wanted_claims).await {
            Ok(login) => login,
            Err(error) => {
                let is_of_code = matches!(&error, OidcError::Refused { code, .. } if code == "invalid_grant");
                if let Some(session) = session.filter(|_| attempt.interaction.is_silent() && !is_of_code) {
                    // The session counts until the provider must have vouched: its problem keeps no user from a page.
                    self.warn_of_silent_failure(app, &error);
                    self.postpone_silent_login(app, session, now, &mut outcome.cookies);
                    outcome.cookies.push(app.cookies.expire(&attempt.cookie_name(app)));
                    return Ok(Destination::Target(attempt.target.clone()));
                }
                if matches!(error, OidcError::NotReady | OidcError::Unreachable(_)) {
                    // The code may still be good: reloading the page tries again.
                    self.used.release(attempt.id());
                } else {
                    outcome.cookies.push(app.cookies.expire(&attempt.cookie_name(app)));
                }
                return Err(failed(error, attempt));
            }
        };
        outcome.cookies.push(app.cookies.expire(&attempt.cookie_name(app)));
        let mut identity = Identity::from_claims(&login.claims, &provider.settings().claims)
            .map_err(|error| CallbackError::Identity { error, target: attempt.target.clone() })?;
        app.set_apart_from_issuers(&mut identity, &mut login.claims);
        self.tell_of_claims(app, &provider.settings().claims, &identity, &login.claims);
        outcome.user = Some(identity.label().to_owned());
        let opened = self.open_session(app, visitor, identity, login, attempt, &mut outcome.cookies).await?;
        outcome.opened = Some(opened);
        Ok(Destination::Target(attempt.target.clone()))
    }

    /// A silent login failed: either the provider no longer vouches for the user, or it has a problem. Whether the session goes on.
    async fn silence_broken(
        self: &Arc<Self>,
        app: &Arc<Application>,
        code: &str,
        visitor: &Visitor<'_>,
        cookies: &mut Vec<HeaderValue>,
    ) -> Result<bool, CallbackError> {
        let now = self.world.now();
        if let Some(session) = visitor.session {
            // Any link can begin a silent login: it ends no session that need not be confirmed by one.
            let is_due = session.silent_login().is_some_and(|it| it.is_due(now));
            if !is_due || !ENDING.contains(&code) {
                self.postpone_silent_login(app, session, now, cookies);
                return Ok(true);
            }
        } else if !ENDING.contains(&code) {
            return Ok(true);
        }
        let reason = if code == DENIED { DENIED } else { REASON };
        let mut carried = CarriedSessions::new(&*self.store, &app.realm, app.cookies.session(), visitor.headers);
        while let Some((token, session)) = carried.next().await? {
            self.refresher.end(app, &token, &session, reason, Some(&visitor.asker)).await;
        }
        Ok(false)
    }

    /// Keeps a new session under a new token; the one that this browser had before is forgotten.
    async fn open_session(
        &self,
        app: &Application,
        visitor: &Visitor<'_>,
        identity: Identity,
        login: Login,
        attempt: &ReturnedAttempt,
        set_cookies: &mut Vec<HeaderValue>,
    ) -> Result<Audited, CallbackError> {
        let now: UnixTime = self.world.now();
        let session_id = login.session_id().map(str::to_owned);
        let auth_times = auth_times(&login, &identity, visitor);
        let token_ends = login.id_token_expires_at();
        let ends = [token_ends, login.access_token_lifetime.map(|lifetime| now + lifetime)];
        let schedule = login.refresh_token.as_ref().and_then(|_| self.refresher.schedule(now, ends));
        let refreshable = login.refresh_token.zip(schedule);
        let refreshable = refreshable.map(|(token, schedule)| Refreshable { token, rotates: None, schedule });
        let silent_login = self.silent_schedule(now, refreshable.is_some());
        let identity = app.pack(identity, &login.id_token, token_ends, &login.claims);
        let bytes = wire_bytes(&app.headers_for(&identity, &app.jwks(), now));
        if bytes > app.headers.warn_bytes {
            app.metrics.header_block_too_large();
            tracing::warn!(
                application = %app.id,
                user = identity.label(),
                bytes,
                limit = app.headers.warn_bytes,
                "identity headers are large: the proxy may refuse them (application.headers.jwt, proxy buffers)"
            );
        }
        let session = Arc::new(Session::new(
            NewSession {
                realm: app.realm.clone(),
                identity,
                began_at: attempt.moment(),
                lifetime: self.lifetime,
                idle_timeout: self.idle_timeout,
                provider: ProviderSide {
                    session_id,
                    earlier_session_ids: Vec::new(),
                    auth_times,
                    refreshable,
                    silent_login,
                    asked: attempt.assurance.clone(),
                    userinfo_claims: login.userinfo_claims.into(),
                },
            },
            now,
        ));
        if session.refreshable().is_none() {
            self.refresher.warn_of_token_end(
                app,
                &session,
                "the session is not refreshed (no refresh token, or session.revalidate_after is off)",
            );
        }
        if self.guard.completed(&app.realm.application, &session, attempt.began(), now) == Verdict::Loop {
            // Perhaps the cookie does come back, among more of its name than are looked at.
            set_cookies.extend(attempt.target.expire_planted(app));
            return Err(CallbackError::Loop);
        }
        let token = SessionToken::generate(&self.world)?;
        let opened = Audited::new(app.provider.name(), &token, &session);
        let deadline = Instant::now() + SAVE_TIMEOUT;
        retried(deadline, || self.store.save(&token, Arc::clone(&session))).await?;
        retried(deadline, || self.forget(app, visitor, "replaced")).await?;
        self.revoker.signed_in(&app.provider, &session);
        set_cookies.push(app.cookies.set_session(&token.encode(), self.lifetime));
        Ok(opened)
    }
}

/// Sessions that are remembered as this browser's, by the times at which their logins took place.
const MOST_AUTH_TIMES: usize = 8;

/// When this browser's user was asked who it is: what tells this browser's sessions from others where no `sid` does.
///
/// A login that must be newer than the one before (`max_age`, `prompt=login`) has another time in the same session of the
/// provider, so the times of what it replaces are kept.
fn auth_times(login: &Login, identity: &Identity, visitor: &Visitor<'_>) -> Vec<u64> {
    let (None, Some(time)) = (login.session_id(), login.auth_time()) else { return Vec::new() };
    let before = visitor.session.filter(|session| session.identity().subject() == identity.subject);
    let mut times = before.map_or_else(Vec::new, |session| session.auth_times().to_vec());
    times.retain(|known| *known != time);
    times.push(time);
    times.drain(..times.len().saturating_sub(MOST_AUTH_TIMES));
    times
}

/// Asks the store again after an error, until `deadline`: the code is redeemed by now, so the browser cannot try again.
async fn retried<T, Asked: Future<Output = Result<T, StoreError>>>(
    deadline: Instant,
    ask: impl Fn() -> Asked,
) -> Result<T, StoreError> {
    loop {
        match ask().await {
            Err(_) if Instant::now() < deadline => sleep(STORE_PAUSE).await,
            done => return done,
        }
    }
}

fn failed(error: OidcError, attempt: &ReturnedAttempt) -> CallbackError {
    CallbackError::Provider { error, target: attempt.target.clone() }
}

/// A provider that names itself must name itself rightly; one that promised to must do so.
fn verify_issuer(provider: &Provider, iss: Option<&str>) -> Result<(), CallbackError> {
    let promised = provider.ready().is_some_and(|ready| ready.metadata.promises_issuer_parameter());
    match iss {
        Some(iss) if iss == provider.settings().issuer => Ok(()),
        None if !promised => Ok(()),
        None => Err(CallbackError::IssuerMissing),
        Some(_) => Err(CallbackError::OtherIssuer),
    }
}
