//! Others write to the list of revocations.

use super::*;

async fn end(store: &RedisStore, subject: &str) {
    let whom = Whom::Subject { issuer: ISSUER, subject };
    assert!(store.revoke(&Revocation { whom, once: None }).await.unwrap());
}

/// Five orders, of which the third one ended alice's session.
async fn scene_of_orders() -> (Server, RedisStore, SessionToken) {
    let server = Server::start("redis-server", &[]).await;
    let store = store(&settings(server.address));
    let token = saved(&store, of_alice(ProviderSide::default())).await;
    for subject in ["one", "two", "alice-subject", "four", "five"] {
        end(&store, subject).await;
    }
    assert!(store.load(&token).await.unwrap().is_none());
    (server, store, token)
}

/// Runs a script on the list `KEYS[1]`, with its head at `KEYS[2]` and its entries in `all`.
async fn damage(server: &Server, script: &str) {
    let script = format!("local all = redis.call('XRANGE', KEYS[1], '-', '+') {script}");
    let done = server.ask(&["EVAL", &script, "2", &list(""), &list(":head")]).await;
    assert!(!matches!(done, ::redis::Value::ServerError(_)), "{done:?}");
}

const DAMAGE: [(&str, &str); 10] = [
    ("the order is gone", "redis.call('XDEL', KEYS[1], all[3][1])"),
    ("the first ones are gone", "redis.call('XTRIM', KEYS[1], 'MINID', all[4][1])"),
    ("the last ones are gone", "redis.call('XDEL', KEYS[1], all[3][1], all[4][1], all[5][1]) redis.call('XSETID', KEYS[1], all[2][1])"),
    ("the last one is gone", "redis.call('XDEL', KEYS[1], all[5][1])"),
    ("all are gone", "redis.call('DEL', KEYS[1])"),
    ("the head is gone", "redis.call('DEL', KEYS[2])"),
    ("the head is another one", "redis.call('SETRANGE', KEYS[2], 8, 'x')"),
    ("an entry is another one", "redis.call('XDEL', KEYS[1], all[5][1]) redis.call('XADD', KEYS[1], '*', 'e', 'news')"),
    ("an entry is there twice", "redis.call('XADD', KEYS[1], '*', 'e', all[1][2][2])"),
    (
        "one bit of the order is another one",
        "redis.call('DEL', KEYS[1]) for i, entry in ipairs(all) do local e = entry[2][2]
        if i == 3 then e = string.char(255 - e:byte(1)) .. e:sub(2) end redis.call('XADD', KEYS[1], entry[1], 'e', e) end",
    ),
];

#[tokio::test]
async fn a_damaged_list_revives_no_session() {
    for (what, script) in DAMAGE {
        for others_run in [false, true] {
            println!("{what}, others run: {others_run}");
            let (server, first, token) = scene_of_orders().await;
            let alive = token_of_bob(&first).await;
            let others = others_run.then_some(first);
            damage(&server, script).await;
            let store = store(&settings(server.address));
            until("it answers", async || match store.load(&token).await {
                Ok(found) => {
                    assert!(found.is_none(), "{what}");
                    true
                }
                Err(_) => false,
            })
            .await;
            // Which sessions had ended was not certain.
            until("all have ended", async || matches!(store.load(&alive).await, Ok(None))).await;
            let new = saved(&store, began_now(&store)).await;
            until("new ones live", async || matches!(store.load(&new).await, Ok(Some(_)))).await;
            end(&store, "six").await;
            for store in others.iter().chain([&self::store(&settings(server.address))]) {
                until("all others agree", async || matches!(store.load(&new).await, Ok(Some(_)))).await;
                assert!(store.load(&token).await.unwrap().is_none(), "{what}");
            }
        }
    }
}

async fn token_of_bob(store: &RedisStore) -> SessionToken {
    saved(store, Arc::new(crate::session::samples::bob(app(), World::system().now(), LONG))).await
}

fn began_now(store: &RedisStore) -> Arc<Session> {
    Arc::new(alice(app(), store.cache.world.moment(), LONG, None))
}

/// Outdated orders can be removed without damage.
#[tokio::test]
async fn what_is_outdated_is_taken_off() {
    let (server, first, token) = scene_of_orders().await;
    until("all was heard", async || first.is_up()).await;
    first.reclaim(World::system().now()).await.unwrap();
    let length = async || server.ask(&["XLEN", &list("")]).await;
    assert_eq!(length().await, ::redis::Value::Int(5));
    let time = first.backend.shared.list.time();
    first.backend.shared.trim_list(time + LONG).await.unwrap();
    assert_eq!(length().await, ::redis::Value::Int(0));
    let store = store(&settings(server.address));
    assert!(store.load(&self::token()).await.unwrap().is_none(), "it answers");
    end(&first, "six").await;
    end(&store, "seven").await;
    assert_eq!(length().await, ::redis::Value::Int(2));
    assert!(first.load(&token).await.unwrap().is_none());
    until("it answers", async || self::store(&settings(server.address)).load(&self::token()).await.is_ok()).await;
}

/// Lists under different secrets are independent.
#[tokio::test]
async fn another_secret_has_a_list_of_its_own() {
    let (server, store, _) = scene_of_orders().await;
    let other = StoreParts { secret: b"another secret of some length", ..parts(1000) };
    let other = RedisStore::with_lease(&settings(server.address), other, Duration::from_secs(1)).unwrap();
    let new = saved(&store, began_now(&store)).await;
    let theirs = saved(&other, began_now(&other)).await;
    end(&other, "alice-subject").await;
    assert!(other.load(&theirs).await.unwrap().is_none());
    assert!(store.load(&new).await.unwrap().is_some());
}

/// The moment of the latest login does not authenticate. An order that took it over would end all later sessions.
#[tokio::test]
async fn a_moment_far_ahead_is_damage() {
    let server = Server::start("redis-server", &[]).await;
    let first = store(&settings(server.address));
    until("it answers", async || first.load(&token()).await.is_ok()).await;
    let bound = u64::try_from(super::super::list::MOST_AHEAD.as_millis()).unwrap();
    for ahead in [World::system().now().as_millis() + 2 * bound, i64::MAX.unsigned_abs(), u64::MAX] {
        server.ask(&["SET", &list(":latest"), &ahead.to_string()]).await;
        let later = store(&settings(server.address));
        until("it answers", async || later.load(&token()).await.is_ok()).await;
        for store in [&first, &later] {
            let old = saved(store, began_now(store)).await;
            server.ask(&["SET", &list(":latest"), &ahead.to_string()]).await;
            end(store, "alice-subject").await;
            until("it ends", async || matches!(store.load(&old).await, Ok(None))).await;
            let new = saved(store, began_now(store)).await;
            assert!(store.load(&new).await.unwrap().is_some(), "{ahead}");
        }
    }
}
