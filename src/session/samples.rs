//! Sessions for tests.

use std::time::Duration;

use super::{NewSession, Session};
use crate::app::Application;
use crate::identity::{HeaderBlock, Identity, Meta, header_value};
use crate::world::UnixTime;

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
    let meta = Meta {
        jwks: header_value("https://idp.example.com/jwks"),
        outpost: header_value("forepost"),
        provider: app.meta_provider.clone(),
        app: app.meta_app.clone(),
        version: header_value("test"),
    };
    let new = NewSession {
        application: app.slug.clone(),
        headers: HeaderBlock::new(&identity, "id.to.ken", &app.headers, meta),
        identity,
        id_token: "id.to.ken".into(),
        lifetime,
        idle_timeout,
    };
    Session::new(new, now)
}
