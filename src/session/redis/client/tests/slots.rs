//! The same in a Cluster, and with slots that move.

use redis::Value;

use super::on_each_program;
use super::operations::{KEY, LONG, finds_all, leases, many_at_once};
use super::server::{Server, open, until};
use super::stage::{Manner, cluster, cluster_settings, node};
use crate::session::redis::client::cluster::slot;

on_each_program![a_cluster_does_the_same, a_server_without_slots_is_connected_once];

async fn a_cluster_does_the_same(program: &'static str) {
    let servers = cluster(program).await;
    let redis = open(&cluster_settings(&servers));
    leases(&redis).await;
    assert!(redis.revoke(&[b"a"], Some((b"jti", LONG))).await.unwrap());
    assert!(!redis.revoke(&[b"a"], Some((b"jti", LONG))).await.unwrap());
    assert_eq!(redis.longest(5).await.unwrap(), 5);
    redis.trim(LONG).await.unwrap();
    assert_eq!(redis.remove(&KEY).await.unwrap().unwrap(), b"new");
    many_at_once(&redis).await;
    finds_all(&redis, async |command| drop(servers[2].ask(command).await)).await;
    let moving = moves_slots(&servers).await;
    for number in 0..=255 {
        assert_eq!(redis.get(&[number; 32]).await.unwrap().unwrap(), [number]);
    }
    let keys: Vec<_> = (0..=255).map(|number| [number; 32]).collect();
    for (record, key) in redis.get_many(&keys).await.into_iter().zip(&keys) {
        assert_eq!(record.unwrap().unwrap(), key[..1]);
    }
    // While a slot is half moved, an operation on two keys waits for the second one.
    let update = async {
        for number in 0..=255 {
            assert!(redis.update(&[number; 32], &[number], b"new", LONG).await.unwrap());
        }
    };
    tokio::join!(update, settle_slots(&servers, &moving));
}

async fn id(server: &Server) -> String {
    let Value::BulkString(id) = server.ask(&["CLUSTER", "MYID"]).await else { panic!() };
    String::from_utf8(id).unwrap()
}

/// A slot moves to a server that had none.
async fn a_server_without_slots_is_connected_once(program: &'static str) {
    let mut servers = cluster(program).await;
    let redis = open(&cluster_settings(&servers));
    redis.put(&KEY, b"one", LONG, 0).await.unwrap();
    let slot = slot(redis.record(&KEY).as_bytes());
    let (old, slot) = (usize::from(slot / 5462), slot.to_string());
    let new = node(program, &Manner::Plain, Some(&servers[old])).await;
    let (from, to) = (id(&servers[old]).await, id(&new).await);
    let known = async |server: &Server, id: &str| {
        let Value::BulkString(nodes) = server.ask(&["CLUSTER", "NODES"]).await else { panic!() };
        String::from_utf8(nodes).unwrap().lines().any(|line| line.starts_with(id) && !line.contains("handshake"))
    };
    until("acquaintance", async || known(&new, &from).await && known(&servers[old], &to).await).await;
    until("a whole cluster", async || {
        let Value::BulkString(info) = new.ask(&["CLUSTER", "INFO"]).await else { panic!() };
        String::from_utf8(info).unwrap().contains("cluster_state:ok")
    })
    .await;
    new.ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from]).await;
    servers[old].ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to]).await;
    let port = new.address.port().to_string();
    servers[old].ask(&["MIGRATE", "127.0.0.1", &port, &redis.record(&KEY), "0", "5000"]).await;
    let connections = async || {
        let Value::BulkString(text) = new.ask(&["INFO", "stats"]).await else { panic!() };
        let text = String::from_utf8(text).unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix("total_connections_received:")).unwrap();
        count.parse::<u32>().unwrap()
    };
    let before = connections().await;
    for _ in 0..20 {
        assert_eq!(redis.get(&KEY).await.unwrap().unwrap(), b"one");
    }
    // The connection of the client, and that of the test.
    assert_eq!(connections().await - before, 2);
    servers.push(new);
}

async fn settle_slots(servers: &[Server], slots: &[String]) {
    let to = id(&servers[1]).await;
    for slot in slots {
        for server in servers {
            server.ask(&["CLUSTER", "SETSLOT", slot, "NODE", &to]).await;
        }
    }
}

/// Moves the keys of ten slots of the first server to the second, and settles half of them; returns the others.
async fn moves_slots(servers: &[Server]) -> Vec<String> {
    let (from, to) = (id(&servers[0]).await, id(&servers[1]).await);
    let port = servers[1].address.port().to_string();
    let mut slots = Vec::new();
    for slot in (0..5462).map(|slot: u16| slot.to_string()) {
        let Value::Array(keys) = servers[0].ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).await else { panic!() };
        if keys.is_empty() {
            continue;
        }
        servers[1].ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from]).await;
        servers[0].ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to]).await;
        for key in keys {
            let Value::BulkString(key) = key else { panic!() };
            let key = String::from_utf8(key).unwrap();
            servers[0].ask(&["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"]).await;
        }
        slots.push(slot);
        if slots.len() == 10 {
            settle_slots(servers, &slots[5..]).await;
            slots.truncate(5);
            return slots;
        }
    }
    panic!("only {} slots have keys", slots.len());
}
