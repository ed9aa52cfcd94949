//! That the provider answered a silent login without ending the session, as the browser carries it from one replica to another.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::app::Application;
use crate::cookie::{Sealer, cookies};
use crate::session::Session;
use crate::world::{UnixTime, World};

const PURPOSE: &str = "answered";

/// In place of an attempt's id, so that the next attempt takes the cookie back.
const ID: &str = "answered";

/// What the browser keeps; without it the session is good as well, and a page is sent to the provider once more.
#[derive(Serialize, Deserialize)]
pub(super) struct Answered {
    #[serde(rename = "a")]
    application: String,
    #[serde(rename = "s")]
    subject: String,
    /// When the session began, in milliseconds.
    #[serde(rename = "b")]
    began: u64,
    /// The next silent login is not due before, in milliseconds.
    #[serde(rename = "u")]
    until: u64,
}

impl Answered {
    fn of(session: &Session, until: UnixTime) -> Self {
        Self {
            application: session.application().to_string(),
            subject: session.identity().subject().to_owned(),
            began: session.created_at().as_millis(),
            until: until.as_millis(),
        }
    }

    /// The cookie; `None` when the system gives no randomness.
    pub(super) fn cookie(
        app: &Application,
        session: &Session,
        until: UnixTime,
        pause: Duration,
        sealer: &Sealer,
        world: &World,
    ) -> Option<HeaderValue> {
        let plain = serde_json::to_vec(&Self::of(session, until)).ok()?;
        let value = sealer.seal(world, PURPOSE, &plain).ok()?;
        Some(app.cookies.set_attempt(ID, &value, pause))
    }

    /// Until when the provider need not be asked about `session`, as the browser says that we said.
    pub(super) fn until(
        app: &Application,
        session: &Session,
        headers: &HeaderMap,
        sealer: &Sealer,
    ) -> Option<UnixTime> {
        let prefix = app.cookies.attempt_prefix();
        let kept = cookies(headers).filter(|(name, _)| name.strip_prefix(prefix) == Some(ID));
        let mut kept = kept.filter_map(|(_, value)| {
            let plain = sealer.open(PURPOSE, value).ok()?;
            serde_json::from_slice::<Self>(&plain).ok()
        });
        let is_about = |it: &Self| {
            let Self { application, subject, began, .. } = Self::of(session, UnixTime::default());
            (&it.application, &it.subject, it.began) == (&application, &subject, began)
        };
        kept.find(is_about).map(|it| UnixTime::from_millis(it.until))
    }
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;

    use super::*;
    use crate::app::samples::single;
    use crate::session::samples::{alice, bob};

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn it_is_of_one_session_and_of_our_making() {
        let (app, other) = (single("https://app.example.com"), single("https://other.example.com"));
        let (begin, until) = (UnixTime::from_secs(1000), UnixTime::from_secs(1300));
        let (sealer, world) = (Sealer::new(b"secret"), World::system());
        let session = alice(&app, begin, HOUR, None);
        let cookie = Answered::cookie(&app, &session, until, HOUR, &sealer, &world).unwrap();
        let cookie = cookie.to_str().unwrap().split_once(';').unwrap().0.to_owned();
        let seen = |app: &Application, session: &Session, text: &str, sealer: &Sealer| {
            let headers = HeaderMap::from_iter([(COOKIE, text.parse().unwrap())]);
            Answered::until(app, session, &headers, sealer)
        };
        assert_eq!(seen(&app, &session, &cookie, &sealer), Some(until));
        let others = [
            alice(&app, UnixTime::from_millis(1_000_001), HOUR, None),
            alice(&other, begin, HOUR, None),
            bob(&app, begin, HOUR),
        ];
        for session in others {
            assert_eq!(seen(&app, &session, &cookie, &sealer), None, "{session:?}");
        }
        assert_eq!(seen(&app, &session, &cookie, &Sealer::new(b"other")), None);
        let (name, value) = cookie.split_once('=').unwrap();
        for text in [format!("{name}x={value}"), format!("{name}={}", &value[1..]), format!("{name}=")] {
            assert_eq!(seen(&app, &session, &text, &sealer), None, "{text}");
        }
    }
}
