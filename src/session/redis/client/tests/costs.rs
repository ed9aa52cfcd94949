//! What operations cost a server, and what it answers when it cannot execute them.

use std::time::Duration;

use super::on_each_program;
use super::operations::{KEY, LONG};
use super::server::{Server, calls, open, settings, until};
use crate::session::redis::client::{BeginReply, Finish, Redis, RedisError, Update};

const OURS: [u8; 16] = [1; 16];

on_each_program![
    each_operation_has_one_round_trip,
    a_full_server_refuses_what_would_take_room,
    a_server_that_is_no_master_is_away,
];

/// The commands that the server executed for `operation`: `evalsha` for a script, and those in it.
async fn check(server: &Server, operation: impl Future<Output = ()>, expected: &str) {
    server.ask(&["CONFIG", "RESETSTAT"]).await;
    operation.await;
    let mut calls = calls(server).await;
    // Without the test's own commands.
    for name in ["config|resetstat", "client|setinfo", "hello", "ping", "info", "command"] {
        calls.remove(name);
    }
    let calls: Vec<_> = calls.iter().map(|(name, count)| format!("{name} {count}")).collect();
    assert_eq!(calls.join(", "), expected);
}

async fn each_operation_has_one_round_trip(program: &'static str) {
    let server = Server::start(program, &[]).await;
    let redis = open(&settings(server.address));
    // Afterwards the server knows all scripts.
    Box::pin(all(&redis, async |_: &str, operation| operation.await)).await;
    Box::pin(all(&redis, async |expected: &str, operation| check(&server, operation, expected).await)).await;
}

type Operation<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;

/// All operations, in an order in which they succeed.
async fn all(redis: &Redis, mut does: impl AsyncFnMut(&str, Operation<'_>)) {
    let put = || async { redis.put(&KEY, b"one", LONG, 0).await.unwrap() };
    let begin =
        || async { assert!(matches!(redis.begin_refresh(&KEY, &OURS, LONG, true).await, Ok(BeginReply::Taken(_)))) };
    let finish = |finish| async move { assert!(redis.finish_refresh(&KEY, &OURS, finish).await.unwrap()) };
    let updates: Vec<_> = (0..9).map(|number| [number; 32]).collect();
    let update = |key: &[u8; 32]| Update { key: *key, old: b"one".to_vec(), new: b"two".to_vec(), ttl: LONG };
    does("evalsha 1, get 1, set 1", Box::pin(put())).await;
    does("get 1", Box::pin(async { drop(redis.get(&KEY).await.unwrap()) })).await;
    let taken = "evalsha 1, get 1, hget 1, hset 1, pexpire 1, pttl 1, time 1";
    does(taken, Box::pin(begin())).await;
    let renewed = "evalsha 1, hmget 1, hset 1, pexpire 1, pttl 1, time 1";
    does(renewed, Box::pin(async { assert!(redis.renew_refresh(&KEY, &OURS, LONG).await.unwrap()) })).await;
    does("del 1, evalsha 1, exists 1, hget 1, set 1", Box::pin(finish(Finish::Replace(b"one", LONG)))).await;
    begin().await;
    does("del 1, evalsha 1, exists 1, hget 1", Box::pin(finish(Finish::Release))).await;
    let read = async { drop(redis.get_many(&updates).await) };
    does("get 9", Box::pin(read)).await;
    let used = async { assert!(redis.update_uses(&[update(&KEY)]).await.iter().all(Result::is_ok)) };
    does("evalsha 1, get 1, pexpire 1, set 1", Box::pin(used)).await;
    let taken_out = async { assert!(redis.take_out(&KEY).await.unwrap().is_notified) };
    does("del 1, evalsha 1, get 1, xadd 1", Box::pin(taken_out)).await;
    let revoked = async { assert!(redis.revoke(&[b"a"], None).await.unwrap()) };
    does("evalsha 1, get 2, set 1, xadd 1", Box::pin(revoked)).await;
    let trimmed = async { assert!(redis.trim(LONG).await.unwrap() > 0) };
    does("evalsha 1, time 1, xtrim 1", Box::pin(trimmed)).await;
}

/// `docs/SESSIONS.md` says so: sign-outs take place, all other writes are refused.
async fn a_full_server_refuses_what_would_take_room(program: &'static str) {
    let server = Server::start(program, &["--maxmemory-policy", "noeviction"]).await;
    let redis = open(&settings(server.address));
    let (other, update) = ([8; 32], Update { key: KEY, old: b"one".to_vec(), new: b"two".to_vec(), ttl: LONG });
    for key in [KEY, other] {
        redis.put(&key, b"one", LONG, 0).await.unwrap();
    }
    assert!(matches!(redis.begin_refresh(&other, &OURS, LONG, true).await.unwrap(), BeginReply::Taken(_)));
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let refused = |error: RedisError| matches!(&error, RedisError::Refused(why) if why.starts_with("OOM"));
    assert!(refused(redis.put(&KEY, b"one", LONG, 0).await.unwrap_err()), "a login");
    assert!(refused(redis.begin_refresh(&KEY, &OURS, LONG, true).await.unwrap_err()), "a refresh");
    let renewed = Finish::Replace(b"two", LONG);
    assert!(refused(redis.finish_refresh(&other, &OURS, renewed).await.unwrap_err()), "its end");
    assert!(refused(redis.update_uses(&[update]).await.pop().unwrap().unwrap_err()), "a use");
    assert!(refused(redis.revoke(&[b"a"], None).await.unwrap_err()), "a revocation");
    assert!(refused(redis.notify_removed(&KEY).await.unwrap_err()), "word of a sign-out in a Cluster");
    assert_eq!(redis.get(&KEY).await.unwrap().unwrap(), b"one");
    assert_eq!(redis.take_out(&KEY).await.unwrap().record.unwrap(), b"one", "a sign-out");
    assert_eq!(server.ask(&["XLEN", "test:{revocations}:removals"]).await, redis::Value::Int(1));
    assert!(redis.trim(Duration::ZERO).await.is_ok());
}

async fn a_server_that_is_no_master_is_away(program: &'static str) {
    let (server, other) = (Server::start(program, &[]).await, Server::start(program, &[]).await);
    let redis = open(&settings(server.address));
    redis.put(&KEY, b"one", LONG, 0).await.unwrap();
    server.ask(&["REPLICAOF", "127.0.0.1", &other.address.port().to_string()]).await;
    let error = redis.put(&KEY, b"one", LONG, 0).await.unwrap_err();
    assert_eq!(error, RedisError::Away("READONLY".to_owned()));
    server.ask(&["REPLICAOF", "NO", "ONE"]).await;
    until("a master", async || redis.put(&KEY, b"two", LONG, 0).await.is_ok()).await;
}
