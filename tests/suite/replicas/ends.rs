//! The ways in which a session is ended, each of which may meet a store that is away.

use std::sync::OnceLock;

use http::Method;
use tokio::time::Instant;

use super::scene::Scene;
use crate::provider::LogoutToken;
use crate::support::{Browser, Reply};

/// How a session is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By its browser: the record is removed.
    SignOut,
    /// By the provider, through the back channel: an entry of the list of revocations.
    Logout,
    /// By an operator who names the user: an entry of the list.
    RevokeUser,
    /// By an operator who names the session: the record is removed.
    RevokeSession,
}

impl End {
    pub(super) const ALL: [Self; 4] = [Self::SignOut, Self::Logout, Self::RevokeUser, Self::RevokeSession];
}

/// What has to be said to end a user's session.
pub(super) struct Orders {
    pub(super) end: End,
    user: String,
    /// The session, as `forepost sessions list` shows it.
    session: String,
    /// A provider sends the same token again.
    token: OnceLock<String>,
}

impl Orders {
    pub(super) fn new(end: End, user: String, session: String) -> Self {
        Self { end, user, session, token: OnceLock::new() }
    }

    /// Gives the order to a replica; the moment at which it was acknowledged, if it was.
    ///
    /// An earlier order may have taken place, and its answer was lost: that no user is signed in any more is acknowledgement, too.
    pub(super) async fn give(&self, scene: &Scene, browser: &Browser, number: usize) -> Option<Instant> {
        let acknowledged = match self.end {
            End::SignOut => {
                let mut browser = scene.at_replica(browser, number);
                let here = [("sec-fetch-site", "same-origin")];
                let url = scene.url("/outpost.goauthentik.io/sign_out");
                is_acknowledged(&browser.send(Method::GET, &url, &here, None).await)
            }
            End::Logout => {
                let wanted = LogoutToken { subject: Some(format!("id-{}", self.user)), ..LogoutToken::default() };
                let token = self.token.get_or_init(|| scene.provider.logout_token("proxy", &wanted).unwrap());
                let mut provider = scene.at_replica(&scene.browser(), number);
                let url = scene.url("/outpost.goauthentik.io/backchannel-logout");
                is_acknowledged(&provider.post(&url, &format!("logout_token={token}")).await)
            }
            End::RevokeUser => self.command(scene, number, ["--user", &self.user]).await,
            End::RevokeSession => self.command(scene, number, ["--id", &self.session]).await,
        };
        acknowledged.then(Instant::now)
    }

    async fn command(&self, scene: &Scene, number: usize, whose: [&str; 2]) -> bool {
        let (code, text) = scene.replicas[number].tell(&[&["sessions", "revoke"], &whose[..]].concat()).await;
        match code {
            // 1: no user is signed in like that.
            Some(0 | 1) => true,
            Some(69) => false,
            _ => panic!("{whose:?}: {code:?} {text}"),
        }
    }
}

#[track_caller]
fn is_acknowledged(reply: &Reply) -> bool {
    if matches!(reply.status.as_u16(), 200 | 302) {
        return true;
    }
    is_refusal(reply);
    false
}

/// A browser whose session cannot be looked up now is told to come again, and keeps its cookies.
#[track_caller]
pub(super) fn is_refusal(reply: &Reply) {
    assert!(matches!(reply.status.as_u16(), 503 | 403), "{reply:#?}");
    assert!(!reply.header("retry-after").is_empty() && reply.header("set-cookie").is_empty(), "{reply:#?}");
}
