mod clocks;
mod damage;
mod ending;
mod uses;

use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::*;
use crate::session::contract::{ISSUER, SECRET, contract_but_for_time, contract_of_clocks, parts, token};
use crate::session::redis::client::tests::server::list_name;
use crate::session::redis::client::tests::server::{Server, owner, settings, until};
use crate::session::redis::client::tests::stage::{
    Manner, cluster, cluster_of, cluster_settings, cluster_settings_of, watched,
};
use crate::session::revocation::vouched::ListKey;
use crate::session::samples::{alice, app, tied};
use crate::session::{LeaseAnswer, Once, ProviderSide, Refreshable, Schedule, SessionStore, SessionToken, Whom};
use crate::world::World;

const LONG: Duration = Duration::from_hours(1);

/// The key of the list of revocations, or of a key beside it.
fn list(beside: &str) -> String {
    list_name(&ListKey::new(SECRET).name()) + beside
}

fn store(settings: &RedisSettings) -> RedisStore {
    RedisStore::with_lease(settings, parts(1000), Duration::from_secs(1)).unwrap()
}

/// A server, and two processes that share it.
async fn scene() -> (Server, RedisStore, RedisStore) {
    let server = Server::start("redis-server", &[]).await;
    let settings = settings(server.address);
    (server, store(&settings), store(&settings))
}

fn of_alice(provider: ProviderSide) -> Arc<Session> {
    Arc::new(tied(alice(app(), World::system().now(), LONG, None), provider))
}

fn refreshable(refresh_token: &str, rotates: Option<bool>, due_in: Duration) -> Arc<Session> {
    let now = World::system().now();
    let schedule = Schedule::new(now + due_in, now + LONG);
    let refreshable = Some(Refreshable { token: refresh_token.into(), rotates, schedule });
    of_alice(ProviderSide { refreshable, ..ProviderSide::default() })
}

async fn saved(store: &RedisStore, session: Arc<Session>) -> SessionToken {
    let token = token();
    store.save(&token, session).await.unwrap();
    token
}

#[tokio::test]
async fn redis_keeps_the_contract() {
    let server = Server::start("redis-server", &[]).await;
    let store = store(&settings(server.address));
    contract_but_for_time(&store).await;
    contract_of_clocks(&store).await;
}

#[tokio::test]
async fn valkey_keeps_the_contract() {
    let server = Server::start("valkey-server", &[]).await;
    contract_but_for_time(&store(&settings(server.address))).await;
}

#[tokio::test]
async fn a_cluster_keeps_the_contract() {
    let servers = cluster("redis-server").await;
    let store = store(&cluster_settings(&servers));
    contract_but_for_time(&store).await;
    contract_of_clocks(&store).await;
}

#[tokio::test]
async fn a_cluster_keeps_the_contract_with_a_user_who_has_rights() {
    let servers = cluster_of("redis-server", &Manner::User).await;
    contract_but_for_time(&store(&cluster_settings_of(&servers, &Manner::User))).await;
}

#[tokio::test]
async fn a_cluster_keeps_the_contract_over_tls() {
    let manner = Manner::tls();
    let servers = cluster_of("redis-server", &manner).await;
    contract_but_for_time(&store(&cluster_settings_of(&servers, &manner))).await;
}

#[tokio::test]
async fn sentinels_keep_the_contract() {
    for manner in [Manner::Plain, Manner::User, Manner::tls()] {
        let stage = watched("redis-server", &manner).await;
        let store = store(&stage.settings);
        contract_but_for_time(&store).await;
        store.reclaim(World::system().now()).await.unwrap();
    }
}

#[tokio::test]
async fn what_one_process_saves_another_knows_and_ends_for_both() {
    let (server, one, other) = scene().await;
    let signed_out = saved(&one, of_alice(ProviderSide::default())).await;
    let revoked = saved(&one, of_alice(ProviderSide::default())).await;
    for token in [&signed_out, &revoked] {
        assert_eq!(other.load(token).await.unwrap().unwrap().identity().label(), "alice");
        assert!(other.cached(token).is_some());
    }
    assert!(other.remove(&signed_out).await.unwrap().is_some());
    until("the sign-out is heard of", async || one.cached(&signed_out).is_none()).await;
    assert!(one.load(&signed_out).await.unwrap().is_none());
    let whom = Whom::Subject { issuer: ISSUER, subject: "alice-subject" };
    one.revoke(&Revocation { whom, once: None }).await.unwrap();
    until("the revocation is heard of", async || other.cached(&revoked).is_none()).await;
    assert!(other.load(&revoked).await.unwrap().is_none());
    let later = store(&settings(server.address));
    assert!(later.load(&revoked).await.unwrap().is_none(), "who comes later hears of it too");
}

#[tokio::test]
async fn one_of_two_processes_refreshes_and_the_other_gets_it() {
    let (_server, one, other) = scene().await;
    let token = saved(&one, refreshable("first", Some(true), Duration::ZERO)).await;
    let old = other.load(&token).await.unwrap().unwrap();
    let LeaseAnswer::Lease(lease, _) = one.begin_refresh(&token).await.unwrap() else { panic!("no lease is held") };
    assert!(matches!(other.begin_refresh(&token).await.unwrap(), LeaseAnswer::Busy));
    let renewed = refreshable("second", Some(true), LONG);
    assert!(one.finish_refresh(&token, &lease, Finished::Renewed(renewed)).await.unwrap());
    let LeaseAnswer::Lease(lease, newest) = other.begin_refresh(&token).await.unwrap() else { panic!("given back") };
    assert!(!Arc::ptr_eq(&newest, &old));
    assert_eq!(newest.refreshable().unwrap().token.expose_secret(), "second");
    assert!(Arc::ptr_eq(&newest, &other.cached(&token).unwrap()), "it is used from now on");
    assert!(other.finish_refresh(&token, &lease, Finished::Untouched).await.unwrap());
}

/// An older session in memory may say that the token can be sent repeatedly.
#[tokio::test]
async fn whether_a_token_may_be_sent_again_the_record_says() {
    let (_server, one, other) = scene().await;
    let token = saved(&one, refreshable("first", Some(false), Duration::ZERO)).await;
    assert!(other.load(&token).await.unwrap().unwrap().refreshable().unwrap().is_reusable());
    let LeaseAnswer::Lease(lease, _) = one.begin_refresh(&token).await.unwrap() else { panic!("no lease is held") };
    let renewed = Finished::Renewed(refreshable("second", Some(true), Duration::ZERO));
    assert!(one.finish_refresh(&token, &lease, renewed).await.unwrap());
    drop(one.begin_refresh(&token).await.unwrap());
    until("the lease runs out", async || !matches!(one.begin_refresh(&token).await.unwrap(), LeaseAnswer::Busy)).await;
    for _ in 0..2 {
        let begun = other.begin_refresh(&token).await.unwrap();
        assert!(matches!(begun, LeaseAnswer::Spent), "{begun:?}");
    }
    assert_eq!(other.cached(&token).unwrap().refreshable().unwrap().token.expose_secret(), "second");
}

/// A process that dies during a refresh makes the token unusable.
#[tokio::test]
async fn what_a_process_may_have_sent_is_not_sent_by_another() {
    for (rotates, spent) in [(None, true), (Some(true), true), (Some(false), false)] {
        let (_server, one, other) = scene().await;
        let token = saved(&one, refreshable("token", rotates, Duration::ZERO)).await;
        let begun = one.begin_refresh(&token).await.unwrap();
        let LeaseAnswer::Lease(lease, _) = &begun else { panic!("no lease is held") };
        let owner = lease.owner;
        // Longer than the lease: its holder renews it.
        let held = Instant::now() + Duration::from_secs(2);
        until("two seconds", async || Instant::now() > held).await;
        assert!(matches!(other.begin_refresh(&token).await.unwrap(), LeaseAnswer::Busy));
        drop(begun);
        until("the lease runs out", async || !matches!(other.begin_refresh(&token).await.unwrap(), LeaseAnswer::Busy))
            .await;
        let begun = other.begin_refresh(&token).await.unwrap();
        assert_eq!(matches!(begun, LeaseAnswer::Spent), spent, "{rotates:?}: {begun:?}");
        let late = Lease { owner, _keeper: None };
        let renewed = Finished::Renewed(refreshable("late", rotates, LONG));
        if !spent {
            assert!(!one.finish_refresh(&token, &late, renewed).await.unwrap(), "the lease is another's");
        }
    }
}

/// Redis stands still while it is asked, and executes the request when its sender has given up.
#[tokio::test]
async fn a_lease_whose_answer_was_lost_is_given_back() {
    let server = Server::start("redis-server", &[]).await;
    let store = || RedisStore::new(&settings(server.address), parts(1000)).unwrap();
    let (one, other) = (store(), store());
    let token = saved(&one, refreshable("token", Some(true), Duration::ZERO)).await;
    server.signal("STOP");
    assert!(one.begin_refresh(&token).await.is_err());
    server.signal("CONT");
    let began = Instant::now();
    until("the lease", async || matches!(other.begin_refresh(&token).await, Ok(LeaseAnswer::Lease(..)))).await;
    assert!(began.elapsed() < LEASE, "it did not run out");
}

/// No new entry has to come first.
#[tokio::test]
async fn who_starts_knows_at_once_what_there_is() {
    let server = Server::start("redis-server", &[]).await;
    let settings = RedisSettings { staleness: Duration::from_mins(5), ..settings(server.address) };
    assert!(store(&settings).load(&token()).await.unwrap().is_none());
}

#[tokio::test]
async fn while_redis_is_away_memory_answers_for_a_while() {
    let (mut server, store, _) = scene().await;
    let (cached, other) = (saved(&store, of_alice(ProviderSide::default())).await, token());
    assert!(store.load(&cached).await.unwrap().is_some());
    server.signal("STOP");
    assert!(store.cached(&cached).is_some(), "nothing older than the staleness was missed");
    assert!(store.load(&other).await.is_err());
    until("too old to be relied on", async || !store.is_up()).await;
    assert!(store.cached(&cached).is_none());
    for _ in 0..3 {
        assert!(store.load(&cached).await.is_err(), "not known, which is not: none");
    }
    server.signal("CONT");
    until("it is back", async || store.is_up()).await;
    assert!(store.load(&cached).await.unwrap().is_some());
    server.kill();
    until("too old to be relied on", async || !store.is_up()).await;
    server.run();
    until("it is back", async || store.is_up()).await;
    assert!(store.load(&cached).await.unwrap().is_none(), "this server keeps nothing");
}

#[tokio::test]
async fn what_lies_in_redis_opens_and_tells_nothing() {
    let (server, store, _) = scene().await;
    let token = saved(&store, refreshable("refresh-token", None, LONG)).await;
    let whom = Whom::Subject { issuer: ISSUER, subject: "bob-subject" };
    store.revoke(&Revocation { whom, once: None }).await.unwrap();
    let ::redis::Value::Array(names) = server.ask(&["KEYS", "*"]).await else { panic!("a list of names") };
    let mut seen = Vec::new();
    for name in names {
        let ::redis::Value::BulkString(name) = name else { panic!("a name") };
        let dump = server.ask(&["DUMP", std::str::from_utf8(&name).unwrap()]).await;
        let ::redis::Value::BulkString(dump) = dump else { panic!("what lies there") };
        seen.extend([name, dump].concat());
    }
    for text in ["alice", "bob", "app-example-com", "refresh-token", "id.to.ken", "example", &token.encode()] {
        assert!(!seen.windows(text.len()).any(|it| it == text.as_bytes()), "{text}");
    }
    let key = token.key().to_string();
    assert!(seen.windows(key.len()).any(|it| it == key.as_bytes()), "the search works");
}
