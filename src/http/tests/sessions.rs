//! The search for a session: what it finds, and how often it waits for the store or the provider.

use std::sync::Arc;

use http::Request;
use http::header::COOKIE;

use super::stage::{Credential, Mode, Stage};
use crate::http::request::Received;
use crate::http::sessions::Search;
use crate::serve::Peer;

/// Whose session the search finds with these cookies, and how often it waited before that.
async fn found(stage: &Stage, credentials: &[Credential]) -> (Option<String>, usize) {
    let cookies = credentials.iter().map(|it| stage.cookies[&(Mode::Single, *it)].as_str());
    let request = Request::get("/").header(COOKIE, cookies.collect::<Vec<_>>().join("; "));
    let parts = request.body(()).unwrap().into_parts().0;
    let outpost = &stage.outpost;
    let catalog = outpost.catalog.load();
    let app = catalog.applications().iter().find(|app| app.cookie_domain.is_none()).map(Arc::clone).unwrap();
    let peer = Peer::UnixSocket { uid: None };
    let received = Received::new(&parts, &catalog, peer, &outpost.trusted, outpost.ids.next());
    let mut search = Search::new(&app, &parts.headers);
    for waits in 0.. {
        if let Some(found) = search.advance(outpost, &app, outpost.world.now()) {
            return (found.unwrap().map(|held| held.session.identity().label().to_owned()), waits);
        }
        assert!(search.advance(outpost, &app, outpost.world.now()).is_none(), "it waits until it has what it needs");
        if let Some(held) = outpost.fetch_session(&mut search, &app, &received).await.unwrap() {
            return (Some(held.session.identity().label().to_owned()), waits);
        }
    }
    unreachable!()
}

#[tokio::test]
async fn what_is_in_memory_is_found_at_once() {
    use Credential::{
        BadThenValid, BadTwice, Garbage, None, NotEntitled, OtherApplication, Unknown, Valid, ValidThenBad,
    };
    let stage = Stage::new().await;
    for (credentials, user, waits) in [
        (&[None][..], Option::None, 0),
        (&[Garbage], Option::None, 0),
        (&[OtherApplication], Option::None, 0),
        (&[Unknown], Option::None, 1),
        (&[BadTwice], Option::None, 1),
        (&[Valid], Some("alice"), 0),
        (&[ValidThenBad], Some("alice"), 0),
        (&[BadThenValid], Some("alice"), 1),
        (&[Unknown, BadThenValid], Some("alice"), 2),
        (&[Valid, ValidThenBad], Some("alice"), 0),
        (&[NotEntitled], Some("bob"), 0),
        // Sessions of two users count for neither, and end.
        (&[Valid, NotEntitled], Option::None, 1),
        (&[Valid], Option::None, 1),
        (&[NotEntitled], Option::None, 1),
    ] {
        assert_eq!(found(&stage, credentials).await, (user.map(str::to_owned), waits), "{credentials:?}");
    }
}
