//! A server dies, and another one takes its place.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::time::Instant;

use super::following::Told;
use super::on_each_program;
use super::server::{open, owner, until};
use super::stage::{Manner, cluster_of, cluster_settings_of, node, watched};

const LONG: Duration = Duration::from_mins(1);
const KEY: [u8; 32] = [7; 32];

on_each_program![a_cluster_is_followed_to_its_new_master, sentinels_lead_to_the_new_master];

/// As a user with the rights in the documentation.
async fn a_cluster_is_followed_to_its_new_master(program: &'static str) {
    cluster_is_followed(program, Manner::User).await;
}

/// Redis alone: no package of Valkey has TLS.
#[tokio::test]
async fn a_cluster_is_followed_over_tls() {
    cluster_is_followed("redis-server", Manner::tls()).await;
}

async fn sentinels_lead_to_the_new_master(program: &'static str) {
    sentinels_lead(program, Manner::User).await;
}

#[tokio::test]
async fn sentinels_lead_over_tls() {
    sentinels_lead("redis-server", Manner::tls()).await;
}

async fn cluster_is_followed(program: &'static str, manner: Manner) {
    let mut servers = cluster_of(program, &manner).await;
    let redis = Arc::new(open(&cluster_settings_of(&servers, &manner)));
    redis.revoke(&[b"a"], None).await.unwrap();
    let (told, _) = Told::follow(&redis);
    told.until_current().await;
    // A replica of the server with the streams.
    let owner = owner(&servers, &redis.shared(crate::session::redis::client::Shared::Revocations));
    let Value::BulkString(id) = servers[owner].ask(&["CLUSTER", "MYID"]).await else { panic!() };
    let replica = node(program, &manner, Some(&servers[(owner + 1) % 3])).await;
    let id = String::from_utf8(id).unwrap();
    until("acquaintance", async || {
        let Value::BulkString(nodes) = replica.ask(&["CLUSTER", "NODES"]).await else { panic!() };
        String::from_utf8(nodes).unwrap().contains(&id)
    })
    .await;
    replica.ask(&["CLUSTER", "REPLICATE", &id]).await;
    until("a copy", async || {
        replica.ask(&["READONLY"]).await;
        let Value::BulkString(info) = replica.ask(&["INFO", "replication"]).await else { panic!() };
        String::from_utf8(info).unwrap().contains("master_link_status:up")
    })
    .await;
    // The first replica of a server begins a new history.
    told.until_current().await;
    let gaps = told.gaps();
    servers[owner].kill();
    until("the new master", async || redis.revoke(&[b"b"], None).await.is_ok()).await;
    told.until_current().await;
    assert_eq!((told.revoked().last().unwrap().as_str(), told.gaps()), ("b", gaps + 1));
    for number in 0..50 {
        redis.put(&[number; 32], b"one", LONG, 0).await.unwrap();
        redis.remove(&[number; 32]).await.unwrap();
    }
}

async fn sentinels_lead(program: &'static str, manner: Manner) {
    let mut stage = watched(program, &manner).await;
    let redis = Arc::new(open(&stage.settings));
    redis.put(&KEY, b"one", LONG, 0).await.unwrap();
    redis.revoke(&[b"a"], None).await.unwrap();
    let (told, _) = Told::follow(&redis);
    told.until_current().await;
    until("a copy", async || redis.is_copied_to(&stage.replica).await).await;
    told.until_current().await;
    let gaps = told.gaps();
    stage.sentinels[0].ask(&["SENTINEL", "FAILOVER", "main"]).await;
    until("exchanged places", async || redis.is_copied_to(&stage.master).await).await;
    until("the new master", async || redis.revoke(&[b"b"], None).await.is_ok()).await;
    told.until_current().await;
    assert_eq!((told.revoked().last().unwrap().as_str(), told.gaps()), ("b", gaps + 1));
    assert_eq!(redis.get(&KEY).await.unwrap().unwrap(), b"one");
    // And back, because one dies.
    let new_master = stage.replica.spoken().port().to_string();
    for sentinel in &stage.sentinels {
        until("agreement", async || {
            let Value::Array(address) = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]).await else {
                panic!()
            };
            address[1] == Value::BulkString(new_master.clone().into_bytes())
        })
        .await;
    }
    stage.replica.kill();
    until("the old master", async || redis.revoke(&[b"c"], None).await.is_ok()).await;
    told.until_current().await;
    assert_eq!((told.revoked().last().unwrap().as_str(), told.gaps()), ("c", gaps + 2));
    assert_eq!(redis.get(&KEY).await.unwrap().unwrap(), b"one");
    // A minority proves nothing.
    for sentinel in &stage.sentinels[1..] {
        sentinel.signal("STOP");
    }
    let stopped = Instant::now();
    assert!(open(&stage.settings).get(&KEY).await.is_err());
    assert!(told.current_at() <= stopped);
    for sentinel in &stage.sentinels[1..] {
        sentinel.signal("CONT");
    }
    told.until_current().await;
}
