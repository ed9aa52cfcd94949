use std::collections::BTreeMap;
use std::time::Duration;

use redis::Value;

use super::on_each_program;
use super::server::{Server, open, settings, until};
use crate::session::redis::client::{BeginReply, Cursor, EntryId, Finish, Order, OrderReply, Redis, Update};

pub(super) const LONG: Duration = Duration::from_mins(1);
const SHORT: Duration = Duration::from_millis(30);
pub(super) const KEY: [u8; 32] = [7; 32];
const OURS: [u8; 16] = [1; 16];
const THEIRS: [u8; 16] = [2; 16];

on_each_program![
    records,
    a_lease_is_one_owners,
    what_lost_its_lease_changes_nothing,
    what_is_removed_stays_away,
    marks_live_as_long_as_their_record,
    uses_are_written_once,
    many_records_at_once,
    revocations_take_effect_once,
    orders_come_one_after_the_other,
    all_records_are_found,
];

#[track_caller]
fn taken(begun: BeginReply) -> Vec<u8> {
    match begun {
        BeginReply::Taken(record) => record,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn retaken(begun: BeginReply) -> Vec<u8> {
    match begun {
        BeginReply::Retaken(record) => record,
        other => panic!("{other:?}"),
    }
}

async fn records(program: &'static str) {
    let server = Server::start(program, &[]).await;
    let redis = open(&settings(server.address));
    assert_eq!(redis.get(&KEY).await.unwrap(), None);
    redis.put(&KEY, b"one\0\r\n", LONG, 0).await.unwrap();
    assert_eq!(redis.get(&KEY).await.unwrap().unwrap(), b"one\0\r\n");
    let name = redis.record(&KEY);
    assert_eq!(name, "test:s:{BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc}");
    let Value::Int(left) = server.ask(&["PTTL", &name]).await else { panic!() };
    assert!((50_000..=60_000).contains(&left), "{left}");
    assert_eq!(redis.remove(&KEY).await.unwrap().unwrap(), b"one\0\r\n");
    assert_eq!(redis.remove(&KEY).await.unwrap(), None);
    redis.put(&KEY, b"", Duration::ZERO, 0).await.unwrap();
    until("its end", async || redis.get(&KEY).await.unwrap().is_none()).await;
    // A server that lost its scripts gets them again.
    server.ask(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(redis.remove(&KEY).await.unwrap(), None);
}

async fn a_lease_is_one_owners(program: &'static str) {
    let server = Server::start(program, &[]).await;
    leases(&open(&settings(server.address))).await;
}

pub(super) async fn leases(redis: &Redis) {
    assert_eq!(redis.begin_refresh(&KEY, &OURS, LONG, true).await.unwrap(), BeginReply::Gone);
    redis.put(&KEY, b"old", LONG, 0).await.unwrap();
    assert_eq!(taken(redis.begin_refresh(&KEY, &OURS, LONG, false).await.unwrap()), b"old");
    for owner in [&OURS, &THEIRS] {
        assert_eq!(redis.begin_refresh(&KEY, owner, LONG, true).await.unwrap(), BeginReply::Busy);
    }
    assert!(redis.renew_refresh(&KEY, &OURS, LONG).await.unwrap());
    assert!(!redis.renew_refresh(&KEY, &THEIRS, LONG).await.unwrap());
    assert!(!redis.finish_refresh(&KEY, &THEIRS, Finish::Replace(b"theirs", LONG)).await.unwrap());
    assert!(redis.finish_refresh(&KEY, &OURS, Finish::Replace(b"new", LONG)).await.unwrap());
    assert_eq!(redis.get(&KEY).await.unwrap().unwrap(), b"new");
    // A released lease is free; a kept one is abandoned.
    assert_eq!(taken(redis.begin_refresh(&KEY, &THEIRS, LONG, false).await.unwrap()), b"new");
    assert!(redis.finish_refresh(&KEY, &THEIRS, Finish::Release).await.unwrap());
    assert_eq!(taken(redis.begin_refresh(&KEY, &OURS, LONG, false).await.unwrap()), b"new");
    assert!(redis.finish_refresh(&KEY, &OURS, Finish::Keep).await.unwrap());
    assert!(!redis.renew_refresh(&KEY, &OURS, LONG).await.unwrap());
    assert_eq!(redis.begin_refresh(&KEY, &THEIRS, LONG, false).await.unwrap(), BeginReply::Abandoned(b"new".to_vec()));
    assert_eq!(retaken(redis.begin_refresh(&KEY, &THEIRS, LONG, true).await.unwrap()), b"new");
}

async fn what_lost_its_lease_changes_nothing(program: &'static str) {
    let server = Server::start(program, &[]).await;
    let redis = open(&settings(server.address));
    redis.put(&KEY, b"old", LONG, 0).await.unwrap();
    taken(redis.begin_refresh(&KEY, &OURS, SHORT, false).await.unwrap());
    until("the end of the lease", async || {
        redis.begin_refresh(&KEY, &THEIRS, LONG, false).await.unwrap() == BeginReply::Abandoned(b"old".to_vec())
    })
    .await;
    retaken(redis.begin_refresh(&KEY, &THEIRS, LONG, true).await.unwrap());
    for finish in [Finish::Replace(b"late", LONG), Finish::Release, Finish::Keep] {
        assert!(!redis.finish_refresh(&KEY, &OURS, finish).await.unwrap());
    }
    assert!(!redis.renew_refresh(&KEY, &OURS, LONG).await.unwrap());
    assert_eq!(redis.begin_refresh(&KEY, &OURS, LONG, true).await.unwrap(), BeginReply::Busy);
    assert_eq!(redis.get(&KEY).await.unwrap().unwrap(), b"old");
}

async fn what_is_removed_stays_away(program: &'static str) {
    let server = Server::start(program, &[]).await;
    let redis = open(&settings(server.address));
    redis.put(&KEY, b"old", LONG, 0).await.unwrap();
    taken(redis.begin_refresh(&KEY, &OURS, LONG, false).await.unwrap());
    assert_eq!(redis.remove(&KEY).await.unwrap().unwrap(), b"old");
    assert!(!redis.renew_refresh(&KEY, &OURS, LONG).await.unwrap());
    assert!(!redis.finish_refresh(&KEY, &OURS, Finish::Replace(b"new", LONG)).await.unwrap());
    assert!(!redis.update(&KEY, b"old", b"new", LONG).await.unwrap());
    assert_eq!(redis.get(&KEY).await.unwrap(), None);
    // Also where only the record is gone.
    redis.put(&KEY, b"old", LONG, 0).await.unwrap();
    taken(redis.begin_refresh(&KEY, &OURS, LONG, false).await.unwrap());
    server.ask(&["DEL", &redis.record(&KEY)]).await;
    assert!(!redis.finish_refresh(&KEY, &OURS, Finish::Replace(b"new", LONG)).await.unwrap());
    assert_eq!(server.ask(&["EXISTS", &redis.record(&KEY), &redis.lease(&KEY)]).await, Value::Int(0));
}

async fn marks_live_as_long_as_their_record(program: &'static str) {
    let server = Server::start(program, &[]).await;
    let redis = open(&settings(server.address));
    let check = async |least: i64, most: i64| {
        for name in [redis.record(&KEY), redis.lease(&KEY)] {
            let Value::Int(left) = server.ask(&["PTTL", &name]).await else { panic!() };
            assert!((least..=most).contains(&left), "{name}: {left}");
        }
    };
    redis.put(&KEY, b"old", LONG, 0).await.unwrap();
    taken(redis.begin_refresh(&KEY, &OURS, SHORT, false).await.unwrap());
    check(50_000, 60_000).await;
    assert!(redis.update(&KEY, b"old", b"new", LONG * 10).await.unwrap());
    check(590_000, 600_000).await;
    assert!(redis.renew_refresh(&KEY, &OURS, LONG).await.unwrap());
    check(590_000, 600_000).await;
}

async fn uses_are_written_once(program: &'static str) {
    let server = Server::start(program, &[]).await;
    let redis = open(&settings(server.address));
    assert!(!redis.update(&KEY, b"", b"new", LONG).await.unwrap());
    redis.put(&KEY, b"old", LONG, 0).await.unwrap();
    assert!(redis.update(&KEY, b"old", b"new", LONG).await.unwrap());
    assert!(!redis.update(&KEY, b"old", b"newer", LONG).await.unwrap());
    assert_eq!(redis.get(&KEY).await.unwrap().unwrap(), b"new");
}

/// Operations on several records at once.
pub(super) async fn many_at_once(redis: &Redis) {
    let keys: Vec<[u8; 32]> = (0..60).map(|number| [number; 32]).collect();
    for key in &keys[..50] {
        redis.put(key, &key[..1], LONG, 0).await.unwrap();
    }
    assert_eq!(redis.which_exist(&keys).await.unwrap(), keys[..50]);
    let found: Vec<_> = redis.get_many(&keys).await.into_iter().map(Result::unwrap).collect();
    for (number, record) in found.iter().enumerate() {
        assert_eq!(record.as_deref(), keys[..50].get(number).map(|key| &key[..1]));
    }
    let update = |key: &[u8; 32]| {
        let old = vec![if key[0] < 25 { key[0] } else { 99 }];
        Update { key: *key, old, new: b"new".to_vec(), ttl: LONG }
    };
    // Twice: a server may not know the script yet.
    for expected in [25, 0] {
        let updates: Vec<_> = keys.iter().map(update).collect();
        let updated: Vec<bool> = redis.update_uses(&updates).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(updated.iter().filter(|it| **it).count(), expected);
        assert!(updated.iter().skip(25).all(|it| !it));
    }
    assert!(redis.get_many(&[]).await.is_empty() && redis.update_uses(&[]).await.is_empty());
    for key in keys {
        redis.remove(&key).await.unwrap();
    }
}

async fn many_records_at_once(program: &'static str) {
    let server = Server::start(program, &[]).await;
    many_at_once(&open(&settings(server.address))).await;
}

async fn revocations_take_effect_once(program: &'static str) {
    let server = Server::start(program, &[]).await;
    let redis = open(&settings(server.address));
    let stream = "test:{revocations}";
    let length = async |expected| assert_eq!(server.ask(&["XLEN", stream]).await, Value::Int(expected));
    assert!(redis.revoke(&[b"a", b"b"], None).await.unwrap());
    length(2).await;
    assert!(redis.revoke(&[b"c"], Some((b"jti", LONG))).await.unwrap());
    assert!(!redis.revoke(&[b"d"], Some((b"jti", LONG))).await.unwrap());
    assert!(redis.revoke(&[b"d"], Some((b"other", SHORT))).await.unwrap());
    length(4).await;
    until("the tag's end", async || redis.revoke(&[b"e"], Some((b"other", LONG))).await.unwrap()).await;
    length(5).await;
    for (given, kept) in [(5, 5), (3, 5), (34_560_000_000, 34_560_000_000), (7, 34_560_000_000)] {
        assert_eq!(redis.longest(given).await.unwrap(), kept);
    }
    redis.trim(Duration::ZERO).await.unwrap();
    length(5).await;
}

/// The head and the list change together, or not at all.
async fn orders_come_one_after_the_other(program: &'static str) {
    let server = Server::start(program, &[]).await;
    let redis = open(&settings(server.address));
    let order = |head, new_head| Order { entry: b"e", head, new_head, at: Some(100), ..Order::default() };
    let other = |head: &[u8]| OrderReply::OtherHead(head.to_vec());
    assert_eq!(redis.order(&order(b"", b"one")).await.unwrap(), OrderReply::Done);
    assert_eq!(redis.order(&order(b"", b"two")).await.unwrap(), other(b"one"));
    assert_eq!(redis.order(&order(b"one", b"two")).await.unwrap(), OrderReply::Done);
    redis.put(&KEY, b"record", LONG, 100).await.unwrap();
    assert_eq!(redis.order(&order(b"two", b"three")).await.unwrap(), OrderReply::Done);
    redis.put(&KEY, b"record", LONG, 101).await.unwrap();
    redis.put(&KEY, b"record", LONG, 99).await.unwrap();
    assert_eq!(redis.order(&order(b"three", b"four")).await.unwrap(), OrderReply::Late(101));
    assert_eq!(redis.order(&Order { at: None, ..order(b"three", b"four") }).await.unwrap(), OrderReply::Done);
    assert_eq!(redis.note_latest(100).await.unwrap(), 101);
    let length = async || server.ask(&["XLEN", "test:{revocations}"]).await;
    assert_eq!(length().await, Value::Int(4));
    let first = EntryId::default();
    assert!(!redis.trim_list(first, b"three", b"five").await.unwrap());
    assert!(redis.trim_list(first, b"four", b"five").await.unwrap());
    assert_eq!(length().await, Value::Int(4));
    let anew = Order { at: Some(101), anew: true, ..order(b"five", b"six") };
    assert_eq!(redis.order(&anew).await.unwrap(), OrderReply::Done);
    assert_eq!(length().await, Value::Int(1));
    assert_eq!(redis.order(&anew).await.unwrap(), other(b"six"));
}

async fn all_records_are_found(program: &'static str) {
    let server = Server::start(program, &[]).await;
    finds_all(&open(&settings(server.address)), async |command| drop(server.ask(command).await)).await;
}

/// Other keys in the database are not counted.
pub(super) async fn finds_all(redis: &Redis, ask: impl AsyncFn(&[&str])) {
    let mut expected = BTreeMap::new();
    for number in 0..=255 {
        let key = [number; 32];
        redis.put(&key, &[number], LONG, 0).await.unwrap();
        expected.insert(key, vec![number]);
    }
    ask(&["SET", "{0}", "else"]).await;
    ask(&["SET", "{0}test:s:{AA}", "else"]).await;
    let (mut found, mut at) = (BTreeMap::new(), Some(Cursor::start()));
    while let Some(place) = at {
        assert_eq!(Cursor::parse(&place.to_string()).as_ref(), Some(&place));
        let records = redis.records(&place).await.unwrap();
        found.extend(records.found);
        at = records.next;
    }
    assert_eq!(found, expected);
    assert_eq!(redis.count().await.unwrap(), 256);
}
