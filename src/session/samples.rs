//! Sessions for tests.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::{NewSession, ProviderSide, Session};
use crate::app::Application;
use crate::app::samples::single;
use crate::identity::{Identity, PackedIdentity};
use crate::world::{Clock, UnixTime, World};

/// The tokens of samples do not end.
const FOREVER: UnixTime = UnixTime::from_millis(u64::MAX);

/// The application of sessions in tests, one for all: to make one takes milliseconds.
pub(crate) fn app() -> &'static Application {
    static APP: LazyLock<Application> = LazyLock::new(|| single("https://app.example.com"));
    &APP
}

/// The right time plus this many seconds.
pub(crate) struct Shifted(pub(crate) i64);

impl Clock for Shifted {
    fn now(&self) -> UnixTime {
        World::system().now().shifted(self.0 * 1000)
    }
}

pub(crate) fn alice(app: &Application, now: UnixTime, lifetime: Duration, idle_timeout: Option<Duration>) -> Session {
    signed_in(app, "alice", &["admins", "staff"], now, lifetime, idle_timeout)
}

pub(crate) fn bob(app: &Application, now: UnixTime, lifetime: Duration) -> Session {
    signed_in(app, "bob", &["staff"], now, lifetime, None)
}

fn signed_in(
    app: &Application,
    user: &str,
    groups: &[&str],
    now: UnixTime,
    lifetime: Duration,
    idle_timeout: Option<Duration>,
) -> Session {
    let identity = Identity {
        subject: format!("{user}-subject"),
        username: user.into(),
        email: format!("{user}@example.test"),
        name: format!("{user} Ärger"),
        uid: format!("{user}-subject"),
        groups: groups.iter().map(ToString::to_string).collect(),
        entitlements: Vec::new(),
    };
    let new = NewSession {
        realm: app.realm.clone(),
        identity: PackedIdentity::new(identity, "id.to.ken", app.headers.jwt.then_some(FOREVER))
            .keeping(Arc::clone(app.wanted_claims.kept())),
        began_at: now,
        lifetime,
        idle_timeout,
        provider: ProviderSide::default(),
    };
    Session::new(new, now)
}

/// The same session, made in a session of the provider.
pub(crate) fn in_session(session: Session, session_id: &str) -> Session {
    tied(session, ProviderSide { session_id: Some(session_id.to_owned()), ..ProviderSide::default() })
}

/// The same session, tied to the provider like this.
pub(crate) fn tied(mut session: Session, provider: ProviderSide) -> Session {
    let kept = Arc::clone(session.identity().kept());
    session.identity =
        PackedIdentity::new(session.identity().identity().into_owned(), "id.to.ken", Some(FOREVER)).keeping(kept);
    session.provider = provider.boxed();
    session
}
