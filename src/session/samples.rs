//! Sessions for tests.

use std::time::Duration;

use super::{NewSession, Session};
use crate::app::Application;
use crate::identity::{HeaderBlock, Identity, Meta, header_value};
use crate::world::UnixTime;

pub(crate) fn alice(app: &Application, now: UnixTime, lifetime: Duration, idle_timeout: Option<Duration>) -> Session {
    let identity = Identity {
        subject: "alice-subject".into(),
        username: "alice".into(),
        email: "alice@example.test".into(),
        name: "Alice Ärger".into(),
        uid: "alice-subject".into(),
        groups: vec!["admins".into(), "staff".into()],
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
