//! What every store must do; the tests of each store call [`contract`].

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::samples::{alice, app, bob, in_session, tied};
use super::{
    Finished, Lease, LeaseAnswer, Once, ProviderSide, Refreshable, Renewal, Revocation, Schedule, Session,
    SessionOutline, SessionStore, SessionToken, StoreParts, Whom,
};
use crate::world::{UnixTime, World};

pub(super) const SECRET: &[u8] = b"a secret of some length, for tests";
pub(super) const ISSUER: &str = "https://id.example.com";
const SLUG: &str = "app-example-com";

/// The parts of a store for `max_sessions` in memory, as [`contract`] needs them.
pub(crate) fn parts(max_sessions: u64) -> StoreParts<'static> {
    StoreParts {
        secret: SECRET,
        max_sessions,
        lifetime: Duration::from_hours(24),
        idle_timeout: None,
        world: World::system(),
    }
}

pub(super) fn token() -> SessionToken {
    SessionToken::generate(&World::system()).unwrap()
}

fn now() -> UnixTime {
    World::system().now()
}

fn session(seconds: u64) -> Session {
    alice(app(), now(), Duration::from_secs(seconds), None)
}

async fn saved(store: &impl SessionStore, session: Session) -> SessionToken {
    let token = token();
    store.save(&token, Arc::new(session)).await.unwrap();
    token
}

async fn is_there(store: &impl SessionStore, token: &SessionToken) -> bool {
    let loaded = store.load(token).await.unwrap().is_some();
    assert!(loaded || store.cached(token).is_none(), "what cannot be loaded is not in memory");
    loaded
}

/// Tests all of the contract with `store`, which must be empty.
pub(super) async fn contract(store: impl SessionStore) {
    contract_but_for_time(&store).await;
    reclaiming(&store).await;
    contract_of_clocks(&store).await;
}

/// Tests the contract without its part on time, for a store with a clock of its own; only revocations are in it afterwards.
pub(super) async fn contract_but_for_time(store: &impl SessionStore) {
    keeping(store).await;
    assert!(store.is_up());
    refreshing(store).await;
    spending(store).await;
    showing(store).await;
    revoking(store).await;
}

async fn keeping(store: &impl SessionStore) {
    let (one, other, unknown) = (token(), token(), token());
    assert!(store.load(&unknown).await.unwrap().is_none(), "an unknown token is never adopted");
    assert!(store.remove(&unknown).await.unwrap().is_none());

    store.save(&one, Arc::new(session(60))).await.unwrap();
    store.save(&other, Arc::new(session(120))).await.unwrap();
    let loaded = store.load(&one).await.unwrap().unwrap();
    let cached = store.cached(&one).expect("what was just loaded is in memory");
    assert!(Arc::ptr_eq(&loaded, &cached), "there is one of each");
    assert_eq!(loaded.identity().label(), "alice");
    assert!(loaded.is_valid_for(&app().realm, now()));
    assert!(store.load(&unknown).await.unwrap().is_none());

    let replacement = Arc::new(session(240));
    store.save(&one, Arc::clone(&replacement)).await.unwrap();
    let loaded = store.load(&one).await.unwrap().unwrap();
    assert_eq!(loaded.expires_at(), replacement.expires_at(), "the last save wins");

    assert!(store.remove(&one).await.unwrap().is_some());
    assert!(store.cached(&one).is_none(), "removed is gone at once");
    assert!(store.load(&one).await.unwrap().is_none(), "removed is gone at once");
    assert!(store.remove(&one).await.unwrap().is_none(), "removed once");
    assert!(is_there(store, &other).await, "others stay");
    assert!(store.remove(&other).await.unwrap().is_some());
}

/// A session of alice with this refresh token.
fn refreshable(refresh_token: &str, rotates: Option<bool>) -> Session {
    let schedule = Schedule::new(now(), now() + Duration::from_mins(1));
    let refreshable = Some(Refreshable { token: SecretString::from(refresh_token), rotates, schedule });
    tied(session(60), ProviderSide { refreshable, ..ProviderSide::default() })
}

async fn lease(store: &impl SessionStore, token: &SessionToken, refresh_token: &str) -> Lease {
    match store.begin_refresh(token).await.unwrap() {
        LeaseAnswer::Lease(lease, session) => {
            assert_eq!(session.refreshable().unwrap().token.expose_secret(), refresh_token);
            lease
        }
        other => panic!("{other:?}"),
    }
}

async fn refreshing(store: &impl SessionStore) {
    let token = saved(store, refreshable("first", None)).await;
    let first = lease(store, &token, "first").await;
    assert!(matches!(store.begin_refresh(&token).await.unwrap(), LeaseAnswer::Busy), "one at a time");
    let renewed = Finished::Renewed(Arc::new(refreshable("second", Some(true))));
    assert!(store.finish_refresh(&token, &first, renewed).await.unwrap());
    let second = lease(store, &token, "second").await;
    assert!(store.finish_refresh(&token, &second, Finished::Untouched).await.unwrap());
    let loaded = store.load(&token).await.unwrap().unwrap();
    assert_eq!(loaded.refreshable().unwrap().rotates, Some(true));

    let third = lease(store, &token, "second").await;
    assert!(store.remove(&token).await.unwrap().is_some());
    let late = Finished::Renewed(Arc::new(refreshable("third", None)));
    assert!(!store.finish_refresh(&token, &third, late).await.unwrap(), "it was removed in the meantime");
    assert!(!is_there(store, &token).await, "and does not come back");
    assert!(matches!(store.begin_refresh(&token).await.unwrap(), LeaseAnswer::Gone));
}

async fn spending(store: &impl SessionStore) {
    let token = saved(store, refreshable("once", Some(true))).await;
    let first = lease(store, &token, "once").await;
    assert!(store.finish_refresh(&token, &first, Finished::Unanswered).await.unwrap());
    assert!(matches!(store.begin_refresh(&token).await.unwrap(), LeaseAnswer::Spent), "it may be spent");
    assert!(is_there(store, &token).await, "the session lives on");
    store.remove(&token).await.unwrap();

    let token = saved(store, refreshable("often", Some(false))).await;
    let first = lease(store, &token, "often").await;
    assert!(store.finish_refresh(&token, &first, Finished::Unanswered).await.unwrap());
    let second = lease(store, &token, "often").await;
    assert!(store.finish_refresh(&token, &second, Finished::Untouched).await.unwrap());
    store.remove(&token).await.unwrap();
}

async fn all(store: &impl SessionStore) -> Vec<SessionOutline> {
    let (mut at, mut sessions) = (None, Vec::new());
    loop {
        let page = store.page(at).await.unwrap().unwrap();
        sessions.extend(page.sessions);
        at = page.next;
        if at.is_none() {
            return sessions;
        }
    }
}

async fn showing(store: &impl SessionStore) {
    assert_eq!(all(store).await, []);
    let of_alice = saved(store, in_session(session(60), "sid")).await;
    let of_bob = saved(store, bob(app(), now(), Duration::from_mins(1))).await;
    let sessions = all(store).await;
    let users: HashSet<&str> = sessions.iter().map(|it| it.user.as_str()).collect();
    assert_eq!((sessions.len(), users), (2, HashSet::from(["alice", "bob"])));

    let shown = store.outline(of_alice.key()).await.unwrap().unwrap();
    assert!(sessions.contains(&shown), "{shown:?} is not in {sessions:?}");
    assert_eq!(shown.id, of_alice.key());
    assert_eq!((&*shown.application, &*shown.issuer, &*shown.subject), (SLUG, ISSUER, "alice-subject"));
    assert_eq!((shown.session_id.as_deref(), shown.last_use), (Some("sid"), None));
    assert!(store.outline(token().key()).await.unwrap().is_none());
    assert!(store.page(Some("nowhere".to_owned())).await.unwrap().is_none_or(|page| page.sessions.is_empty()));

    assert_eq!(store.end(of_alice.key()).await.unwrap().unwrap().user, "alice");
    assert!(!is_there(store, &of_alice).await);
    assert!(store.end(of_alice.key()).await.unwrap().is_none());
    assert!(store.remove(&of_bob).await.unwrap().is_some());
    assert_eq!(all(store).await, []);
}

async fn revoke(store: &impl SessionStore, whom: Whom<'_>) {
    assert!(store.revoke(&Revocation { whom, once: None }).await.unwrap());
}

async fn revoking(store: &impl SessionStore) {
    let alices = Whom::Subject { issuer: ISSUER, subject: "alice-subject" };
    let (one, other) = (saved(store, session(60)).await, saved(store, session(60)).await);
    let of_bob = saved(store, bob(app(), now(), Duration::from_mins(1))).await;
    assert!(is_there(store, &one).await);
    revoke(store, Whom::Subject { issuer: ISSUER, subject: "unknown" }).await;
    assert!(is_there(store, &one).await);
    let refreshing = saved(store, refreshable("token", None)).await;
    let (unanswered, untouched) =
        (saved(store, refreshable("token", None)).await, saved(store, refreshable("token", None)).await);
    let leases = (lease(store, &unanswered, "token").await, lease(store, &untouched, "token").await);
    let lease = lease(store, &refreshing, "token").await;
    revoke(store, alices).await;
    for token in [&one, &other, &refreshing, &unanswered, &untouched] {
        assert!(!is_there(store, token).await);
        assert!(store.outline(token.key()).await.unwrap().is_none());
    }
    store.finish_refresh(&unanswered, &leases.0, Finished::Unanswered).await.unwrap();
    store.finish_refresh(&untouched, &leases.1, Finished::Untouched).await.unwrap();
    assert!(matches!(store.begin_refresh(&one).await.unwrap(), LeaseAnswer::Gone), "what was revoked is not refreshed");
    let renewed = Finished::Renewed(Arc::new(store_independent_renewal()));
    store.finish_refresh(&refreshing, &lease, renewed).await.unwrap();
    assert!(!is_there(store, &refreshing).await, "a refresh revives nothing");
    for token in [unanswered, untouched] {
        assert!(!is_there(store, &token).await, "nor does one that brought nothing");
    }
    assert!(is_there(store, &of_bob).await);
    assert_eq!(all(store).await.len(), 1);

    moving(store).await;

    let old = alice(app(), UnixTime::from_millis(now().as_millis() - 1000), HOUR, None);
    let in_flight = saved(store, old).await;
    revoke(store, alices).await;
    assert!(!is_there(store, &in_flight).await, "its login began before");

    let once = Once { issuer: ISSUER, id: "jti", until: now() + Duration::from_mins(2) };
    let order = Revocation { whom: Whom::Everybody, once: Some(once) };
    assert!(store.revoke(&order).await.unwrap());
    assert!(!is_there(store, &of_bob).await);
    let later = now() + Duration::from_secs(5);
    let newer = saved(store, alice(app(), later, HOUR, None)).await;
    assert!(!store.revoke(&order).await.unwrap(), "followed before");
    assert!(is_there(store, &newer).await);
    assert!(store.remove(&newer).await.unwrap().is_some());
    assert_eq!(all(store).await, []);
}

/// An order means all logins before it, whatever clock they began by.
pub(super) async fn contract_of_clocks(store: &impl SessionStore) {
    let alices = Whom::Subject { issuer: ISSUER, subject: "alice-subject" };
    let rows = [alices, Whom::Everybody, Whom::Application(SLUG)];
    for (row, whom) in rows.into_iter().enumerate() {
        let ahead = Duration::from_secs(40 + 100 * row as u64);
        let [fast, seen] = [(); 2].map(|()| alice(app(), now() + ahead, HOUR, None));
        let (fast, seen) = (saved(store, fast).await, saved(store, seen).await);
        assert!(is_there(store, &seen).await);
        revoke(store, whom).await;
        for token in [fast, seen] {
            assert!(!is_there(store, &token).await, "{whom:?}");
        }
    }
    let far = now() + Duration::from_hours(24 * 365 * 9);
    let absurd = saved(store, alice(app(), far, HOUR, None)).await;
    assert!(store.load(&absurd).await.unwrap().is_none_or(|session| !session.lives(now())), "not by this clock");
    revoke(store, Whom::Everybody).await;
    store.remove(&absurd).await.unwrap();
    assert_eq!(all(store).await, []);
}

/// A refresh says that the session is in another session of the provider.
async fn moving(store: &impl SessionStore) {
    let in_it = |session_id: &str| ProviderSide {
        session_id: Some(session_id.to_owned()),
        refreshable: Some(Refreshable {
            token: SecretString::from("token"),
            rotates: None,
            schedule: Schedule::new(now(), now() + Duration::from_mins(1)),
        }),
        ..ProviderSide::default()
    };
    // Later than all revocations so far.
    let later = now() + Duration::from_secs(1);
    let rows = [("one", true, true), ("one", false, true), ("other", true, true), ("another", true, false)];
    for (row, (revoked, during, ends)) in rows.into_iter().enumerate() {
        let named = |name: &str| format!("{name} {row}");
        let session = alice(app(), later, Duration::from_mins(1), None);
        let session = tied(session, in_it(&named("one")));
        let renewal = Renewal { identity: session.identity().clone(), provider: in_it(&named("other")) };
        let renewed = Finished::Renewed(Arc::new(session.renewed(renewal)));
        let token = saved(store, session).await;
        let lease = lease(store, &token, "token").await;
        let order = Whom::ProviderSession { issuer: ISSUER, session_id: &named(revoked), subject: None };
        if during {
            revoke(store, order).await;
        }
        store.finish_refresh(&token, &lease, renewed).await.unwrap();
        if !during {
            revoke(store, order).await;
        }
        assert_eq!(is_there(store, &token).await, !ends, "{revoked}, during the refresh: {during}");
        assert_eq!(store.outline(token.key()).await.unwrap().is_some(), !ends, "{revoked} is not shown");
        store.remove(&token).await.unwrap();
    }
}

const HOUR: Duration = Duration::from_hours(1);

/// A session whose login began an hour ago.
fn store_independent_renewal() -> Session {
    alice(app(), UnixTime::from_millis(now().as_millis() - 3_600_000), HOUR * 2, None)
}

/// Long after all earlier steps.
async fn reclaiming(store: &impl SessionStore) {
    let later = now() + Duration::from_secs(10);
    let token = token();
    store.save(&token, Arc::new(alice(app(), later, Duration::from_mins(2), None))).await.unwrap();
    store.reclaim(now()).await.unwrap();
    assert!(is_there(store, &token).await, "what lives is not reclaimed");
    store.reclaim(later + Duration::from_hours(3)).await.unwrap();
    assert_eq!(store.count(), 0, "what has ended is");
}
