use std::fs;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::time::Instant;

use super::following::Told;
use super::on_each_program;
use super::port::reserved_address;
use super::server::{Server, at, cluster, cluster_settings, open, owner, password, settings, until};
use crate::session::redis::{Redis, RedisError};
use crate::settings::{RedisMode, RedisSettings};

const LONG: Duration = Duration::from_mins(1);
const KEY: [u8; 32] = [7; 32];

on_each_program![
    a_silent_server_ends_in_time,
    a_server_that_comes_back_is_used,
    users_and_databases,
    a_cluster_is_followed_to_its_new_master,
    sentinels_lead_to_the_new_master,
];

async fn a_silent_server_ends_in_time(program: &'static str) {
    let server = Server::start(program, &[]).await;
    let timeout = Duration::from_millis(300);
    let connected = open(&RedisSettings { timeout, ..settings(server.address) });
    let fresh = open(&RedisSettings { timeout, ..settings(server.address) });
    connected.put(&KEY, b"one", LONG).await.unwrap();
    server.signal("STOP");
    for redis in [&connected, &fresh] {
        for _ in 0..3 {
            let begun = Instant::now();
            let error = redis.get(&KEY).await.unwrap_err();
            assert!(matches!(error, RedisError::TimedOut(_) | RedisError::Away(_)), "{error}");
            assert!(begun.elapsed() < timeout * 2, "{:?}", begun.elapsed());
        }
    }
    server.signal("CONT");
    for redis in [&connected, &fresh] {
        until("an answer", async || redis.get(&KEY).await.is_ok_and(|record| record.unwrap() == b"one")).await;
    }
}

async fn a_server_that_comes_back_is_used(program: &'static str) {
    let mut server = Server::prepare(program, reserved_address(), &[]);
    let redis = open(&settings(server.address));
    for _ in 0..2 {
        let error = redis.put(&KEY, b"one", LONG).await.unwrap_err();
        assert!(matches!(error, RedisError::Away(_)), "{error}");
        server.run();
        until("a connection", async || redis.put(&KEY, b"one", LONG).await.is_ok()).await;
        server.kill();
    }
}

async fn users_and_databases(program: &'static str) {
    let server = Server::start(program, &["--requirepass", ""]).await;
    let commands = "+get +set +del +exists +scan +dbsize +hget +hset +hmget +pttl +pexpire +time +evalsha +eval +xadd +xtrim \
                    +xread +xinfo|stream +info +select";
    let mut rules = vec!["ACL", "SETUSER", "forepost", "on", ">hunter2", "resetkeys", "~mine:*", "-@all"];
    rules.extend(commands.split_whitespace());
    server.ask(&rules).await;
    let with = |user: &str, secret: &str| RedisSettings {
        username: Some(user.to_owned()),
        password: Some(password(secret)),
        database: 3,
        prefix: "mine:".to_owned(),
        ..settings(server.address)
    };
    let redis = Arc::new(open(&with("forepost", "hunter2")));
    redis.put(&KEY, b"one", LONG).await.unwrap();
    let (told, _) = Told::follow(&redis);
    told.until_current().await;
    redis.remove(&KEY).await.unwrap();
    redis.trim(LONG, LONG).await.unwrap();
    assert_eq!((redis.longest(5).await.unwrap(), redis.count().await.unwrap()), (5, 0));
    for (user, secret) in [("forepost", "hunter3"), ("nobody", "hunter2")] {
        let error = open(&with(user, secret)).get(&KEY).await.unwrap_err().to_string();
        assert!(error.contains("password") && !error.contains("hunter"), "{error}");
    }
    let error = open(&RedisSettings { prefix: "other:".to_owned(), ..with("forepost", "hunter2") });
    let error = error.put(&KEY, b"one", LONG).await.unwrap_err();
    assert_eq!(error, RedisError::Refused("NOPERM".to_owned()));
    assert!(!format!("{:?}", with("forepost", "hunter2")).contains("hunter2"));
}

/// Only Redis: no package of Valkey speaks TLS.
#[tokio::test]
async fn tls_and_its_authorities() {
    let folder = tempfile::tempdir().unwrap();
    let [ca, other_ca, certificate, key] = ["ca", "other", "crt", "key"].map(|name| folder.path().join(name));
    let key_pair = rcgen::KeyPair::generate().unwrap();
    let signed = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key_pair).unwrap();
    let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(&ca, signed.pem()).unwrap();
    fs::write(&certificate, signed.pem()).unwrap();
    fs::write(&key, key_pair.serialize_pem()).unwrap();
    fs::write(&other_ca, stranger.cert.pem()).unwrap();
    let address = reserved_address();
    let (port, certificate, key) = (address.port().to_string(), certificate.to_str().unwrap(), key.to_str().unwrap());
    let tls = ["--tls-port", &port, "--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "no"];
    let _server = Server::start("redis-server", &tls).await;
    let with = |ca_file| RedisSettings { tls: true, ca_file, ..settings(address) };
    let redis = Arc::new(open(&with(Some(ca))));
    redis.put(&KEY, b"one", LONG).await.unwrap();
    let (told, _) = Told::follow(&redis);
    told.until_current().await;
    for ca_file in [None, Some(other_ca)] {
        let error = open(&with(ca_file)).get(&KEY).await.unwrap_err().to_string();
        assert!(error.contains("certificate"), "{error}");
    }
    let missing = Redis::new(&with(Some(folder.path().join("missing"))));
    assert!(matches!(missing, Err(RedisError::Tls(_))));
}

async fn a_cluster_is_followed_to_its_new_master(program: &'static str) {
    let mut servers = cluster(program).await;
    let redis = Arc::new(open(&cluster_settings(&servers)));
    redis.revoke(&[b"a"], None).await.unwrap();
    let (told, _) = Told::follow(&redis);
    told.until_current().await;
    // A replica of the server that has the streams.
    let owner = owner(&servers, "test:{revocations}");
    let Value::BulkString(id) = servers[owner].ask(&["CLUSTER", "MYID"]).await else { panic!() };
    let bus = reserved_address().port().to_string();
    let arguments = ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "1000"];
    let mut replica = Server::prepare(program, reserved_address(), &arguments);
    replica.run();
    replica.until_ready().await;
    let port = replica.address.port().to_string();
    servers[(owner + 1) % 3].ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await;
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
        redis.put(&[number; 32], b"one", LONG).await.unwrap();
        redis.remove(&[number; 32]).await.unwrap();
    }
}

async fn sentinels_lead_to_the_new_master(program: &'static str) {
    let master = Server::start(program, &[]).await;
    let master_port = master.address.port().to_string();
    let mut replica = Server::start(program, &["--replicaof", "127.0.0.1", &master_port]).await;
    let mut sentinels = Vec::new();
    for _ in 0..3 {
        let mut sentinel = Server::prepare(program, reserved_address(), &[]);
        let config = format!(
            "sentinel monitor main 127.0.0.1 {master_port} 2\nsentinel down-after-milliseconds main 500\n\
             sentinel failover-timeout main 1000\n"
        );
        sentinel.configure(&config);
        sentinel.run();
        sentinel.until_ready().await;
        sentinels.push(sentinel);
    }
    let mode = RedisMode::Sentinel { master: "main".to_owned(), username: None, password: None };
    let addresses = sentinels.iter().map(|sentinel| at(sentinel.address)).collect();
    let settings = RedisSettings { addresses, mode, ..settings(master.address) };
    let redis = Arc::new(open(&settings));
    redis.put(&KEY, b"one", LONG).await.unwrap();
    redis.revoke(&[b"a"], None).await.unwrap();
    let (told, _) = Told::follow(&redis);
    told.until_current().await;
    for sentinel in &sentinels {
        until("acquaintance", async || {
            let Value::Array(found) = sentinel.ask(&["SENTINEL", "REPLICAS", "main"]).await else { panic!() };
            let Value::Array(others) = sentinel.ask(&["SENTINEL", "SENTINELS", "main"]).await else { panic!() };
            found.len() == 1 && others.len() == 2
        })
        .await;
    }
    until("a copy", async || has_copy(&replica).await).await;
    told.until_current().await;
    let gaps = told.gaps();
    sentinels[0].ask(&["SENTINEL", "FAILOVER", "main"]).await;
    until("exchanged places", async || has_copy(&master).await).await;
    until("the new master", async || redis.revoke(&[b"b"], None).await.is_ok()).await;
    told.until_current().await;
    assert_eq!((told.revoked().last().unwrap().as_str(), told.gaps()), ("b", gaps + 1));
    assert_eq!(redis.get(&KEY).await.unwrap().unwrap(), b"one");
    // And back, because one dies.
    let new_master = replica.address.port().to_string();
    for sentinel in &sentinels {
        until("agreement", async || {
            let Value::Array(address) = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]).await else {
                panic!()
            };
            address[1] == Value::BulkString(new_master.clone().into_bytes())
        })
        .await;
    }
    replica.kill();
    until("the old master", async || redis.revoke(&[b"c"], None).await.is_ok()).await;
    told.until_current().await;
    assert_eq!((told.revoked().last().unwrap().as_str(), told.gaps()), ("c", gaps + 2));
    assert_eq!(redis.get(&KEY).await.unwrap().unwrap(), b"one");
    // A minority proves nothing.
    for sentinel in &sentinels[1..] {
        sentinel.signal("STOP");
    }
    let stopped = Instant::now();
    assert!(open(&settings).get(&KEY).await.is_err());
    assert!(told.current_at() <= stopped);
    for sentinel in &sentinels[1..] {
        sentinel.signal("CONT");
    }
    told.until_current().await;
}

/// Whether it is a replica that has everything.
async fn has_copy(server: &Server) -> bool {
    let Some(Value::BulkString(info)) = server.try_to_ask(&["INFO", "replication"]).await else { return false };
    String::from_utf8(info).unwrap().contains("master_link_status:up")
        && server.try_to_ask(&["EXISTS", "test:{revocations}"]).await == Some(Value::Int(1))
}
