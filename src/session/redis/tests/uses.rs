//! The last use of a session, as other processes know it.

use super::*;
use crate::session::redis::client::tests::server::calls;

/// For a session that may be idle for an hour.
#[tokio::test]
async fn uses_are_written_down_for_the_others() {
    let (_server, one, other) = scene().await;
    let session = Arc::new(alice(app(), World::system().now(), LONG * 24, Some(LONG)));
    let token = saved(&one, Arc::clone(&session)).await;
    let later = session.last_use() + Duration::from_mins(30);
    session.touch(later);
    one.reclaim(later).await.unwrap();
    assert_eq!(other.load(&token).await.unwrap().unwrap().last_use(), later);
    assert_eq!(one.count(), 1);
}

/// A use that is not written down must not end a session early: the next one may come to another process, or to this one after
/// it dropped the session from memory.
#[tokio::test]
async fn a_record_outlives_uses_that_were_not_written_down() {
    let server = Server::start("redis-server", &[]).await;
    let store = store(&settings(server.address));
    let left = async |token: &SessionToken| {
        let name = format!("test:s:{{{}}}", token.key());
        let ::redis::Value::Int(left) = server.ask(&["PTTL", &name]).await else { panic!("a time") };
        Duration::from_millis(u64::try_from(left).unwrap()).as_secs().div_ceil(60)
    };
    let session = Arc::new(alice(app(), World::system().now(), LONG * 24, Some(LONG)));
    let token = saved(&store, Arc::clone(&session)).await;
    assert_eq!(left(&token).await, 67);
    // Another process wrote a later use than this one knows.
    let began = session.last_use();
    let record = store.backend.get(token.key()).await.unwrap().unwrap();
    let elsewhere = store.cache.open(&token, record).unwrap();
    elsewhere.touch(began + Duration::from_mins(30));
    store.backend.shared.save_uses(vec![(token.key(), Arc::clone(&elsewhere))]).await.unwrap();
    assert_eq!(left(&token).await, 97);
    session.touch(began + Duration::from_mins(10));
    store.backend.shared.save_uses(vec![(token.key(), Arc::clone(&session))]).await.unwrap();
    assert_eq!(left(&token).await, 97);
    assert_eq!(session.last_use(), elsewhere.last_use());
}

/// For a session that may be idle for an hour and is used once a minute.
#[tokio::test]
async fn a_use_is_written_once_in_a_tenth_of_the_time_out() {
    let server = Server::start("redis-server", &[]).await;
    let store = store(&settings(server.address));
    until("it is followed", async || store.is_up()).await;
    let session = Arc::new(alice(app(), World::system().now(), LONG * 24, Some(LONG)));
    saved(&store, Arc::clone(&session)).await;
    let began = session.last_use();
    server.ask(&["CONFIG", "RESETSTAT"]).await;
    for minute in 1..=60 {
        for second in 0..60 {
            session.touch(began + Duration::from_secs(60 * minute + second));
        }
        store.reclaim(began + Duration::from_secs(60 * minute + 59)).await.unwrap();
    }
    let calls = calls(&server).await;
    assert!((8..=10).contains(&calls["set"]), "{calls:?}");
}

/// The server with a part of the records is away.
#[tokio::test]
async fn what_can_be_written_is_while_a_part_of_a_cluster_is_away() {
    let servers = cluster("redis-server").await;
    for server in &servers {
        server.ask(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]).await;
    }
    let store = store(&cluster_settings(&servers));
    until("it is followed", async || store.is_up()).await;
    let mut sessions = Vec::new();
    for _ in 0..60 {
        let session = Arc::new(alice(app(), World::system().now(), LONG * 24, Some(LONG)));
        saved(&store, Arc::clone(&session)).await;
        session.touch(session.last_use() + Duration::from_mins(30));
        sessions.push(session);
    }
    let streams = owner(&servers, "test:{revocations}");
    servers[(streams + 1) % 3].signal("STOP");
    assert!(store.reclaim(World::system().now()).await.is_err());
    let unsaved = |sessions: &[Arc<Session>]| sessions.iter().filter(|session| session.has_unsaved_use()).count();
    assert!((1..60).contains(&unsaved(&sessions)), "{}", unsaved(&sessions));
    servers[(streams + 1) % 3].signal("CONT");
    until("all are written", async || {
        let _ = store.reclaim(World::system().now()).await;
        unsaved(&sessions) == 0
    })
    .await;
}

/// By the server's clock, which gives the ids.
#[tokio::test]
async fn old_entries_go_also_where_no_use_can_be_written() {
    let server = Server::start("redis-server", &[]).await;
    let add = "for i = 1, 300 do redis.call('XADD', KEYS[1], '1-' .. i, 'k', ARGV[1]) end";
    server.ask(&["EVAL", add, "1", &list(":removals"), &"k".repeat(32)]).await;
    let store = store(&settings(server.address));
    until("it is followed", async || store.is_up()).await;
    let session = Arc::new(alice(app(), World::system().now(), LONG * 24, Some(LONG)));
    saved(&store, Arc::clone(&session)).await;
    session.touch(session.last_use() + Duration::from_mins(30));
    server.ask(&["ACL", "SETUSER", "default", "-set"]).await;
    assert!(store.reclaim(World::system().now()).await.is_err());
    let ::redis::Value::Int(left) = server.ask(&["XLEN", &list(":removals")]).await else { panic!() };
    assert!(left < 300, "{left}");
    assert_eq!(store.count(), 1, "and all are counted");
}

/// The unsaved uses are written to the new server.
#[tokio::test]
async fn uses_are_written_down_before_all_is_forgotten() {
    let (server, store, _) = scene().await;
    until("it is followed", async || store.is_up()).await;
    let session = Arc::new(alice(app(), World::system().now(), LONG * 24, Some(LONG)));
    let token = saved(&store, Arc::clone(&session)).await;
    session.touch(session.last_use() + Duration::from_mins(30));
    server.ask(&["XADD", &list(":removals"), "*", "k", &"k".repeat(32)]).await;
    server.ask(&["DEL", &list(":removals")]).await;
    until("all is looked up again", async || store.cache.sessions.get(&token.key()).is_none()).await;
    until("it is written", async || !session.has_unsaved_use()).await;
    assert_eq!(store.load(&token).await.unwrap().unwrap().last_use(), session.last_use());
}
