//! Programs: what they show in `Authorization`.

use std::sync::Arc;

use super::ladder::{Check, Protected};
use super::request::{Checked, User};
use crate::access::{Because, Decision};
use crate::app::{AcceptedTokens, Application};
use crate::credentials::{Presented, Rejection, Scheme, Verification};
use crate::http::outcome::{BadCredentials, Cause, CredentialError, Denial, Forbid, Outcome, Unavailable};
use crate::http::resource;
use crate::world::UnixTime;

impl<'c> Check<'c> {
    /// By a credential that was looked at.
    pub(super) fn judge_credential(
        &self,
        protected: Protected<'c>,
        accepted: &'c AcceptedTokens,
        scheme: Scheme,
        credential: &Verification,
        now: UnixTime,
    ) -> Checked<'c> {
        let Protected { app, original, .. } = protected;
        let session = match credential {
            Verification::Accepted(session) => Some(session),
            Verification::Rejected(_) => None,
        };
        let outcome = match (self.decide(protected, session, now), credential) {
            (Decision::Allow(permit), _) => Outcome::Allow(Self::grant(app, permit, now)),
            // A public path needs no user, and its application may have tokens of its own.
            (Decision::Pass(permit), _) => Outcome::Pass(Self::grant(app, permit, now)),
            (Decision::Forbid(forbidden), credential) => {
                let is_good_token = scheme == Scheme::Bearer && matches!(credential, Verification::Accepted(_));
                let lacks_privileges = is_good_token && forbidden.because == Because::NotEntitled;
                let insufficient_scope = lacks_privileges.then(|| resource::address(app, &original.authority.host));
                Denial::Forbid(Forbid { app, original, forbidden, insufficient_scope }).into()
            }
            (Decision::StartLogin(_) | Decision::Challenge(_), Verification::Rejected(rejection)) => {
                refuse(protected, accepted, scheme, *rejection).into()
            }
            // No token is made anew for being asked.
            (Decision::StartLogin(_) | Decision::Challenge(_), Verification::Accepted(_)) => {
                refuse(protected, accepted, scheme, Rejection::Invalid).into()
            }
        };
        let user = session.map(|session| User::Session(Arc::clone(session)));
        Checked { outcome, app: Some(app), user }
    }

    /// Whether a valid session counts before this credential: the operator says so, or it is plainly the application's own.
    pub(super) fn yields(app: &Application, accepted: &AcceptedTokens, presented: Presented<'_>) -> bool {
        accepted.prefer_session || presented.is_foreign(accepted, &app.provider.settings().issuer)
    }
}

fn refuse<'c>(
    protected: Protected<'c>,
    accepted: &'c AcceptedTokens,
    scheme: Scheme,
    rejection: Rejection,
) -> Denial<'c> {
    let Protected { app, original, .. } = protected;
    let error = match rejection {
        Rejection::Invalid => CredentialError::Invalid,
        Rejection::Scope => CredentialError::Scope(&accepted.scopes),
        Rejection::Limited => CredentialError::Limited,
        Rejection::Unavailable => return Denial::Unavailable(Unavailable { app, cause: Cause::Provider }),
    };
    Denial::BadCredentials(BadCredentials {
        error,
        scheme,
        realm: &app.id,
        resource: resource::address(app, &original.authority.host),
        origin: protected.readable_by(),
    })
}
