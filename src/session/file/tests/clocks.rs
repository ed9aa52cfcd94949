//! Clocks that were wrong during a login.

use super::*;
use crate::session::Once;
use crate::session::samples::{Shifted, app};

fn shifted(folder: &TempDir, seconds: i64) -> FileStore {
    let parts = StoreParts { world: World::with_clock(Shifted(seconds)), ..parts(1000) };
    FileStore::new(StateDirectory::open(folder.path()).unwrap(), parts).unwrap()
}

fn began(at: UnixTime) -> Arc<Session> {
    Arc::new(alice(app(), at, Duration::from_hours(24), None))
}

async fn check(store: &FileStore, expected: &[(SessionToken, bool)]) {
    for (number, (token, lives)) in expected.iter().enumerate() {
        assert_eq!(store.load(token).await.unwrap().is_some(), *lives, "{number}");
    }
}

#[tokio::test]
async fn after_a_restart_with_the_right_time_orders_end_what_began_ahead_of_it() {
    let once = Once { issuer: ISSUER, id: "jti", until: World::system().now() + Duration::from_mins(2) };
    let alices = Whom::Subject { issuer: ISSUER, subject: "alice-subject" };
    for ahead in [40, 3000] {
        for (whom, once) in [(alices, None), (alices, Some(once)), (Whom::Everybody, None)] {
            let folder = folder();
            let fast = shifted(&folder, ahead);
            let token = token();
            fast.save(&token, began(fast.cache.world.moment())).await.unwrap();
            let under_way = began(fast.cache.world.moment());
            drop(fast);
            let store = shifted(&folder, 0);
            assert!(SessionStore::revoke(&store, &Revocation { whom, once }).await.unwrap());
            let late = self::token();
            store.save(&late, under_way).await.unwrap();
            let new = self::token();
            store.save(&new, began(store.cache.world.moment())).await.unwrap();
            let expected = [(token, false), (late, false), (new, true)];
            check(&store, &expected).await;
            drop(store);
            check(&shifted(&folder, 0), &expected).await;
        }
    }
}

/// Such a session does not count, and does not end others, until the clock gets there.
#[tokio::test]
async fn a_clock_that_was_years_ahead_spoils_nothing() {
    let (folder, years) = (folder(), 9 * 365 * 24 * 3600);
    let absurd = shifted(&folder, years);
    let token = saved(&absurd).await;
    let fast = self::token();
    absurd.save(&fast, began(absurd.cache.world.moment())).await.unwrap();
    drop(absurd);
    for _ in 0..2 {
        let store = shifted(&folder, 0);
        assert!(store.load(&fast).await.unwrap().is_none(), "not by this clock");
        assert!(SessionStore::outline(&store, fast.key()).await.unwrap().is_none());
        let before = self::token();
        store.save(&before, began_now(&store)).await.unwrap();
        assert!(store.load(&before).await.unwrap().is_some());
        let order = Revocation { whom: Whom::Everybody, once: None };
        assert!(SessionStore::revoke(&store, &order).await.unwrap());
        let after = self::token();
        store.save(&after, began_now(&store)).await.unwrap();
        assert!(store.load(&before).await.unwrap().is_none() && store.load(&after).await.unwrap().is_some());
        SessionStore::reclaim(&store, World::system().now()).await.unwrap();
        assert!(store.load(&after).await.unwrap().is_some());
    }
    // By the clock that made it, it has ended as well.
    let absurd = shifted(&folder, years);
    assert!(absurd.load(&token).await.unwrap().is_none() && absurd.load(&fast).await.unwrap().is_none());
}

/// A session whose login began at the store's moment and was completed now.
fn began_now(store: &FileStore) -> Arc<Session> {
    let mut session = alice(app(), World::system().now(), Duration::from_hours(24), None);
    session.began_at = store.cache.world.moment();
    Arc::new(session)
}
