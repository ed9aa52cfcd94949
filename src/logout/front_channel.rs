//! Logout by way of the browser (OpenID Connect Front-Channel Logout 1.0 §3).
//!
//! Nothing proves such a request: it counts because it names a session of the provider, which few know.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;
use url::form_urlencoded;

use super::{Ended, Logouts};
use crate::app::Application;
use crate::session::{Revocation, SessionToken, StoreError, Whom};

/// Orders at once that no session proves; an organisation that goes home at five.
const MOST_AT_ONCE: u32 = 10_000;

/// Further ones within the time that an order is remembered.
const MOST_LATER: u32 = 90_000;

/// A front-channel logout that was obeyed.
#[derive(Debug)]
pub struct Left {
    /// The provider's name in the settings; where several are the same provider, the first.
    pub identity_provider: String,
    /// The browser's own session, where its cookie came along.
    pub ended: Option<Ended>,
    /// Takes its cookie back.
    pub cookie: Option<HeaderValue>,
}

/// Why nobody was logged out.
#[derive(Debug, thiserror::Error)]
pub enum FrontChannelError {
    /// `iss` or `sid` is missing, empty or repeated.
    #[error("the request is no front-channel logout: iss and sid must be there, once")]
    Malformed,
    /// No provider has this issuer and `frontchannel_logout` on.
    #[error("no identity provider with this issuer has frontchannel_logout on")]
    UnknownIssuer,
    /// Too many requests came that named sessions without belonging to one.
    #[error("too many front-channel logouts without a session")]
    TooMany,
    /// The order could not be written down.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Logouts {
    /// Ends the sessions that were made in the provider's session that `query` names; refresh tokens are left alone.
    ///
    /// The session cookie, which browsers rarely send here, is not needed. Without it anybody could ask, about sessions that
    /// never were, and each order takes room: so of such requests a hundred thousand count within a session's lifetime.
    ///
    /// # Errors
    ///
    /// When nobody is logged out.
    pub async fn leave(
        &self,
        app: Option<&Application>,
        query: &str,
        headers: &HeaderMap,
    ) -> Result<Left, FrontChannelError> {
        let (issuer, session_id) = named(query).ok_or(FrontChannelError::Malformed)?;
        let allowed = |name: &str| {
            self.providers
                .get(name)
                .is_some_and(|it| it.settings().issuer == issuer && it.settings().frontchannel_logout)
        };
        let identity_provider = self.providers.keys().find(|name| allowed(name)).cloned();
        let identity_provider = identity_provider.ok_or(FrontChannelError::UnknownIssuer)?;
        let mut own = None;
        if let Some(app) = app.filter(|app| allowed(&app.identity_provider)) {
            for token in SessionToken::all(app.cookies.session(), headers) {
                let session = self.store.load(&token).await?;
                if let Some(session) = session.filter(|it| it.is_of(app) && it.session_id() == Some(&session_id)) {
                    own = Some((app, token, session));
                }
            }
        }
        if own.is_none() && !self.unproved.take() {
            return Err(FrontChannelError::TooMany);
        }
        let whom = Whom::ProviderSession { issuer: &issuer, session_id: &session_id, subject: None };
        self.store.revoke(&Revocation { whom, at: self.world.now(), once: None }).await?;
        let Some((app, token, session)) = own else {
            return Ok(Left { identity_provider, ended: None, cookie: None });
        };
        self.store.remove(&token).await?;
        let ended = Some(Ended::new(&token, &session));
        Ok(Left { identity_provider, ended, cookie: Some(app.cookies.expire_session()) })
    }
}

/// `iss` and `sid`: each once, and not empty.
fn named(query: &str) -> Option<(String, String)> {
    let (mut iss, mut sid) = (None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let slot = match &*name {
            "iss" => &mut iss,
            "sid" => &mut sid,
            _ => continue,
        };
        if value.is_empty() || slot.replace(value.into_owned()).is_some() {
            return None;
        }
    }
    iss.zip(sid)
}

/// So many at once, and then one after each interval.
#[derive(Debug)]
pub(super) struct Budget {
    interval: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    left: u32,
    /// Up to when `left` has grown.
    grown: Instant,
}

impl Budget {
    /// For orders that are remembered for `lifetime`.
    pub(super) fn new(lifetime: Duration) -> Self {
        let interval = (lifetime / MOST_LATER).max(Duration::from_nanos(1));
        Self { interval, inner: Mutex::new(Inner { left: MOST_AT_ONCE, grown: Instant::now() }) }
    }

    fn take(&self) -> bool {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let earned = now.saturating_duration_since(inner.grown).as_nanos() / self.interval.as_nanos();
        match u32::try_from(earned).ok().filter(|earned| inner.left.saturating_add(*earned) < MOST_AT_ONCE) {
            Some(earned) => {
                inner.left += earned;
                inner.grown += self.interval * earned;
            }
            None => *inner = Inner { left: MOST_AT_ONCE, grown: now },
        }
        let taken = inner.left > 0;
        inner.left = inner.left.saturating_sub(1);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expected: Option<(&str, &str)>) {
        let found = named(query);
        assert_eq!(found.as_ref().map(|(iss, sid)| (&**iss, &**sid)), expected, "{query}");
    }

    #[test]
    fn both_are_named_once() {
        check("iss=https%3A%2F%2Fid.test%2F&sid=a+b", Some(("https://id.test/", "a b")));
        check("sid=s&x=y&iss=https://id.test", Some(("https://id.test", "s")));
        for query in
            ["", "iss=i", "sid=s", "iss=&sid=s", "iss=i&sid=", "iss=i&sid=s&sid=s", "iss=i&iss=&sid=s", "ISS=i&sid=s"]
        {
            check(query, None);
        }
    }

    #[test]
    fn what_nobody_proves_is_bounded() {
        let day = Duration::from_hours(24);
        let budget = Budget::new(day);
        let mut now = Instant::now();
        let spend = |now| (0..200_000).take_while(|_| budget.take_at(now)).count();
        assert_eq!(spend(now), 10_000);
        now += Duration::from_secs(96);
        assert_eq!(spend(now), 100);
        let mut within_a_day = 10_100;
        for _ in 0..23 {
            now += Duration::from_mins(61);
            within_a_day += spend(now);
        }
        assert!((90_000..=100_000).contains(&within_a_day), "{within_a_day}");
        now += day * 400;
        assert_eq!(spend(now), 10_000, "no more is saved up");
    }
}
