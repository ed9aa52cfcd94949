use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::on_each_program;
use super::server::{Server, open, settings, until};
use crate::session::redis::client::commands::command;
use crate::session::redis::client::{EntryId, Follower, ListState, Redis, RedisError};
use crate::world::{UnixTime, World};

on_each_program![
    what_was_and_what_comes_is_told,
    a_long_past_is_read_whole,
    nothing_is_missed_while_the_server_stands_still,
    a_new_start_of_the_server_is_a_gap,
    what_was_trimmed_unread_is_a_gap,
    a_lost_stream_is_a_gap,
    what_is_looked_up_after_a_gap_comes_over_a_new_connection,
];

/// What a follower was told.
#[derive(Default)]
pub(super) struct Told {
    revoked: Mutex<Vec<Vec<u8>>>,
    removed: Mutex<Vec<[u8; 32]>>,
    current: Mutex<Option<Instant>>,
    gaps: Mutex<usize>,
}

impl Follower for Told {
    fn revoked(&self, id: EntryId, entry: &[u8]) -> Result<(), RedisError> {
        assert!(id > EntryId::default());
        self.revoked.lock().unwrap().push(entry.to_vec());
        Ok(())
    }

    fn state(&self, heard: &ListState) {
        let now = World::system().now();
        let time = UnixTime::from_millis(heard.time);
        assert!(time.since(now).max(now.since(time)) < Duration::from_secs(10), "{heard:?}");
    }

    fn damaged(&self, what: &'static str) {
        panic!("{what}")
    }

    fn removed(&self, key: &[u8; 32]) {
        self.removed.lock().unwrap().push(*key);
    }

    fn current(&self, at: Instant) -> Result<(), RedisError> {
        let before = self.current.lock().unwrap().replace(at);
        assert!(before.is_none_or(|before| before <= at), "freshness went back");
        Ok(())
    }

    fn gap(&self) {
        *self.gaps.lock().unwrap() += 1;
    }
}

impl Told {
    pub(super) fn follow(redis: &Arc<Redis>) -> (Arc<Self>, JoinHandle<()>) {
        let (told, redis) = (Arc::new(Self::default()), Arc::clone(redis));
        let follower = Arc::clone(&told);
        let task = tokio::spawn(async move { match redis.follow(&*follower).await {} });
        (told, task)
    }

    /// Waits for proof that everything until now was told.
    pub(super) async fn until_current(&self) {
        let now = Instant::now();
        until("freshness", async || self.current.lock().unwrap().is_some_and(|at| at >= now)).await;
    }

    pub(super) fn revoked(&self) -> Vec<String> {
        self.revoked.lock().unwrap().iter().map(|entry| String::from_utf8(entry.clone()).unwrap()).collect()
    }

    pub(super) fn current_at(&self) -> Instant {
        self.current.lock().unwrap().unwrap()
    }

    pub(super) fn gaps(&self) -> usize {
        *self.gaps.lock().unwrap()
    }

    /// Without repetitions: an operation that had to send its script may tell twice.
    fn removed(&self) -> Vec<u8> {
        let mut keys: Vec<_> = self.removed.lock().unwrap().iter().map(|key| key[0]).collect();
        keys.dedup();
        keys
    }
}

async fn what_was_and_what_comes_is_told(program: &'static str) {
    let server = Server::start(program, &[]).await;
    let redis = Arc::new(open(&settings(server.address)));
    redis.revoke(&[b"a", b"b"], None).await.unwrap();
    redis.remove(&[1; 32]).await.unwrap();
    let (told, _) = Told::follow(&redis);
    told.until_current().await;
    assert_eq!((told.revoked(), told.removed(), told.gaps()), (vec!["a".into(), "b".into()], vec![], 1));
    redis.revoke(&[b"c"], None).await.unwrap();
    redis.remove(&[2; 32]).await.unwrap();
    redis.revoke(&[b"d"], None).await.unwrap();
    // Long before the follower's request times out.
    let asked = Instant::now();
    until("news", async || told.revoked().len() == 4 && told.removed().len() == 1).await;
    assert!(asked.elapsed() < Duration::from_millis(250), "{:?}", asked.elapsed());
    told.until_current().await;
    told.until_current().await;
    assert_eq!((told.revoked().concat(), told.removed(), told.gaps()), ("abcd".into(), vec![2], 1));
    // Removing old entries that were told is not a gap.
    server.ask(&["XTRIM", "test:{revocations}", "MAXLEN", "0"]).await;
    server.ask(&["XTRIM", "test:{revocations}:removals", "MAXLEN", "0"]).await;
    redis.revoke(&[b"e"], None).await.unwrap();
    redis.remove(&[3; 32]).await.unwrap();
    told.until_current().await;
    assert_eq!((told.revoked().concat(), told.removed(), told.gaps()), ("abcde".into(), vec![2, 3], 1));
    let (late, _) = Told::follow(&redis);
    late.until_current().await;
    assert_eq!((late.revoked(), late.removed(), late.gaps()), (vec!["e".into()], vec![], 1));
}

async fn a_long_past_is_read_whole(program: &'static str) {
    let server = Server::start(program, &[]).await;
    let redis = Arc::new(open(&settings(server.address)));
    let entries: Vec<_> = (0..2500).map(|number: u32| number.to_string()).collect();
    let given: Vec<_> = entries.iter().map(String::as_bytes).collect();
    redis.revoke(&given, None).await.unwrap();
    let (told, _) = Told::follow(&redis);
    told.until_current().await;
    assert!(told.revoked() == entries);
}

async fn nothing_is_missed_while_the_server_stands_still(program: &'static str) {
    let server = Server::start(program, &[]).await;
    let redis = Arc::new(open(&settings(server.address)));
    let (told, _) = Told::follow(&redis);
    told.until_current().await;
    server.signal("STOP");
    let stopped = Instant::now();
    // Each attempt takes longer than the follower waits.
    for _ in 0..2 {
        assert!(redis.revoke(&[b"lost"], None).await.is_err());
        assert!(told.current_at() <= stopped);
    }
    server.signal("CONT");
    told.until_current().await;
    until("a connection", async || redis.revoke(&[b"a"], None).await.is_ok()).await;
    redis.remove(&[1; 32]).await.unwrap();
    told.until_current().await;
    assert_eq!((told.revoked().last().unwrap().as_str(), told.removed(), told.gaps()), ("a", vec![1], 1));
}

async fn a_new_start_of_the_server_is_a_gap(program: &'static str) {
    let mut server = Server::start(program, &[]).await;
    let redis = Arc::new(open(&settings(server.address)));
    let (told, _) = Told::follow(&redis);
    redis.revoke(&[b"a"], None).await.unwrap();
    told.until_current().await;
    server.ask(&["SAVE"]).await;
    server.kill();
    server.run();
    server.until_ready().await;
    until("a connection", async || redis.revoke(&[b"b"], None).await.is_ok()).await;
    told.until_current().await;
    // The old entries come again.
    let told_since = told.revoked().concat();
    assert!(told_since.starts_with('a') && told_since.ends_with("ab"), "{told_since}");
    assert_eq!(told.gaps(), 2);
}

/// Others add and trim within one script, before the follower reads.
async fn what_was_trimmed_unread_is_a_gap(program: &'static str) {
    let server = Server::start(program, &[]).await;
    let redis = Arc::new(open(&settings(server.address)));
    for stream in ["test:{revocations}", "test:{revocations}:removals"] {
        let (told, _) = Told::follow(&redis);
        told.until_current().await;
        let add = "redis.call('XADD', KEYS[1], '*', 'e', ARGV[1]) ";
        let script = format!("{add}{add}redis.call('XTRIM', KEYS[1], 'MAXLEN', '1')");
        server.ask(&["EVAL", &script, "1", stream, &"k".repeat(32)]).await;
        told.until_current().await;
        assert_eq!(told.gaps(), 2, "{stream}");
    }
}

async fn a_lost_stream_is_a_gap(program: &'static str) {
    let server = Server::start(program, &[]).await;
    let redis = Arc::new(open(&settings(server.address)));
    redis.revoke(&[b"a"], None).await.unwrap();
    let (told, _) = Told::follow(&redis);
    told.until_current().await;
    server.ask(&["FLUSHALL"]).await;
    told.until_current().await;
    assert_eq!(told.gaps(), 2);
    redis.revoke(&[b"b"], None).await.unwrap();
    told.until_current().await;
    // Deleted and added again within one script.
    let script = "redis.call('DEL', KEYS[1]) redis.call('XADD', KEYS[1], '*', 'e', 'c')";
    server.ask(&["EVAL", script, "1", "test:{revocations}"]).await;
    told.until_current().await;
    assert_eq!((told.revoked().last().unwrap().as_str(), told.gaps()), ("c", 3));
}

/// The old connection may lead to a server that lost its place.
async fn what_is_looked_up_after_a_gap_comes_over_a_new_connection(program: &'static str) {
    let server = Server::start(program, &[]).await;
    let redis = Arc::new(open(&settings(server.address)));
    let connection = async || {
        let answers = redis.send("test:", &[command("CLIENT", &[b"ID"])]).await.unwrap();
        let [Value::Int(id)] = answers[..] else { panic!("a number") };
        id
    };
    let (told, _) = Told::follow(&redis);
    redis.revoke(&[b"a"], None).await.unwrap();
    told.until_current().await;
    let first = connection().await;
    assert_eq!(connection().await, first);
    server.ask(&["FLUSHALL"]).await;
    until("a gap", async || told.gaps() == 2).await;
    assert_ne!(connection().await, first);
}
