//! Processes whose clocks differ by 20 seconds.

use super::*;
use crate::session::samples::{Shifted, app};

fn shifted(server: &Server, seconds: i64) -> RedisStore {
    let parts = StoreParts { world: World::with_clock(Shifted(seconds)), ..parts(1000) };
    RedisStore::with_lease(&settings(server.address), parts, Duration::from_secs(1)).unwrap()
}

fn began(at: UnixTime) -> Arc<Session> {
    Arc::new(alice(app(), at, LONG, None))
}

const ALICES: Whom<'_> = Whom::Subject { issuer: ISSUER, subject: "alice-subject" };

async fn end(store: &RedisStore, whom: Whom<'_>) {
    assert!(store.revoke(&Revocation { whom, once: None }).await.unwrap());
}

/// The clock of the process that signs users in, and of the one that gets the order.
const CLOCKS: [(i64, i64); 4] = [(20, 0), (0, -20), (20, -20), (-20, 20)];

#[tokio::test]
async fn an_order_ends_what_began_by_another_clock() {
    for (theirs, ours) in CLOCKS {
        for whom in [ALICES, Whom::Everybody, Whom::Application("app-example-com")] {
            let server = Server::start("redis-server", &[]).await;
            let (fast, slow) = (shifted(&server, theirs), shifted(&server, ours));
            // Before the processes had a clock in common.
            let token = saved(&fast, began(fast.cache.world.now())).await;
            end(&slow, whom).await;
            let context = format!("{theirs} s, {ours} s, {whom:?}");
            assert!(slow.load(&token).await.unwrap().is_none(), "{context}");
            until("the order is heard of", async || fast.cached(&token).is_none()).await;
            assert!(fast.load(&token).await.unwrap().is_none(), "{context}");
            let late = shifted(&server, ours);
            assert!(late.load(&token).await.unwrap().is_none(), "{context}");
            // New logins at each process come after the order.
            for store in [&fast, &slow, &late] {
                let token = saved(store, began(store.cache.world.moment())).await;
                for store in [&fast, &slow, &late] {
                    assert!(store.load(&token).await.unwrap().is_some(), "{context}");
                }
            }
        }
    }
}

/// A login begins at one process, the order comes to the other, and then the login comes back to either.
#[tokio::test]
async fn an_order_ends_logins_that_are_under_way_elsewhere() {
    let server = Server::start("redis-server", &[]).await;
    for (theirs, ours) in CLOCKS {
        let (fast, slow) = (shifted(&server, theirs), shifted(&server, ours));
        for store in [&fast, &slow] {
            until("it follows", async || store.is_up()).await;
        }
        let session = began(fast.cache.world.moment());
        until("some milliseconds pass", async || {
            fast.cache.world.moment() > session.began_at + Duration::from_millis(20)
        })
        .await;
        end(&slow, ALICES).await;
        for store in [&fast, &slow] {
            let token = saved(store, Arc::clone(&session)).await;
            until("it has ended", async || {
                slow.load(&token).await.unwrap().is_none() && fast.load(&token).await.unwrap().is_none()
            })
            .await;
        }
    }
}

/// A login that a process saved long ago, which is gone.
#[tokio::test]
async fn who_starts_later_goes_on_from_the_latest_login() {
    let server = Server::start("redis-server", &[]).await;
    let fast = shifted(&server, 600);
    let token = saved(&fast, began(fast.cache.world.now())).await;
    drop(fast);
    let store = shifted(&server, 0);
    end(&store, Whom::Everybody).await;
    assert!(store.load(&token).await.unwrap().is_none());
    let token = saved(&store, began(store.cache.world.moment())).await;
    end(&store, ALICES).await;
    let other = saved(&store, began(store.cache.world.moment())).await;
    assert!(store.load(&token).await.unwrap().is_none() && store.load(&other).await.unwrap().is_some());
}
