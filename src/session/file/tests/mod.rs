mod clocks;
mod damage;
mod faults;
mod reclaim;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use super::database::Database;
use super::*;
use crate::session::contract::{ISSUER, SECRET, contract, parts, token};
use crate::session::samples::{alice, app, bob, tied};
use crate::session::{LeaseAnswer, ProviderSide, Schedule, SessionStore, SessionToken, Whom};
use crate::world::World;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn of(directory: StateDirectory, secret: &[u8], max_sessions: u64) -> FileStore {
    FileStore::new(directory, StoreParts { secret, ..parts(max_sessions) }).unwrap()
}

fn store(folder: &TempDir) -> FileStore {
    of(StateDirectory::open(folder.path()).unwrap(), SECRET, 1000)
}

fn session(idle_timeout: Option<Duration>) -> Arc<Session> {
    Arc::new(alice(app(), World::system().now(), Duration::from_hours(24), idle_timeout))
}

async fn saved(store: &FileStore) -> SessionToken {
    let token = token();
    store.save(&token, session(None)).await.unwrap();
    token
}

#[tokio::test]
async fn keeps_the_contract() {
    let folder = folder();
    contract(store(&folder)).await;
    let folder = self::folder();
    contract(of(StateDirectory::open(folder.path()).unwrap(), SECRET, 2)).await;
}

#[tokio::test]
async fn sessions_survive_and_stay_removed() {
    let folder = folder();
    let first = store(&folder);
    let (kept, removed) = (saved(&first).await, saved(&first).await);
    assert!(first.remove(&removed).await.unwrap().is_some());
    assert_eq!(first.count(), 1);
    drop(first);
    let second = store(&folder);
    assert_eq!(second.count(), 1);
    assert!(second.cached(&kept).is_none(), "nothing is loaded at the start");
    assert_eq!(second.load(&kept).await.unwrap().unwrap().identity().label(), "alice");
    assert!(second.cached(&kept).is_some());
    assert!(second.load(&removed).await.unwrap().is_none());
    assert!(second.remove(&kept).await.unwrap().is_some());
    drop(second);
    let third = of(StateDirectory::open(folder.path()).unwrap(), b"another secret", 10);
    assert_eq!(third.count(), 0);
}

/// Begins what `future` does, and does not wait for it; returns whether it is over.
async fn begin<T>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
    tokio::select! {
        biased;
        _ = future => true,
        () = std::future::ready(()) => false,
    }
}

/// The requester goes on after the session was removed.
#[tokio::test]
async fn a_save_that_is_answered_late_revives_nothing() {
    let folder = folder();
    let store = store(&folder);
    for _ in 0..20 {
        let (token, session) = (token(), session(None));
        let mut save = store.save(&token, session);
        let is_over = begin(&mut save).await;
        let removed = store.remove(&token).await.unwrap();
        assert!(removed.is_some(), "saved before");
        if !is_over {
            save.await.unwrap();
        }
        assert!(store.cached(&token).is_none());
        assert!(store.load(&token).await.unwrap().is_none());
    }
}

/// Memory follows the file without the requester.
#[tokio::test]
async fn what_is_saved_for_a_requester_who_is_gone_is_in_memory() {
    let folder = folder();
    let store = store(&folder);
    let token = token();
    let mut save = store.save(&token, session(None));
    begin(&mut save).await;
    drop(save);
    saved(&store).await;
    assert!(store.cached(&token).is_some());
}

#[tokio::test]
async fn what_is_removed_without_being_in_memory_is_given_back() {
    let folder = folder();
    let token = saved(&store(&folder)).await;
    let removed = store(&folder).remove(&token).await.unwrap().unwrap();
    assert_eq!(removed.identity().id_token(), "id.to.ken");
}

#[tokio::test]
async fn another_secret_opens_nothing_and_is_freed() {
    let folder = folder();
    let token = saved(&store(&folder)).await;
    let other = of(StateDirectory::open(folder.path()).unwrap(), b"another secret", 10);
    assert!(other.load(&token).await.unwrap().is_none());
    SessionStore::reclaim(&other, World::system().now() + Duration::from_hours(25)).await.unwrap();
    assert_eq!(other.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_lookups_at_once_each_gets_the_same_session() {
    let folder = folder();
    let token = saved(&store(&folder)).await;
    let store = Arc::new(store(&folder));
    let lookups: Vec<_> = (0..50)
        .map(|_| {
            let (store, token) = (Arc::clone(&store), token.clone());
            tokio::spawn(async move { store.load(&token).await.unwrap().unwrap() })
        })
        .collect();
    let cached = store.load(&token).await.unwrap().unwrap();
    for lookup in lookups {
        assert!(Arc::ptr_eq(&lookup.await.unwrap(), &cached));
    }
}

#[tokio::test]
async fn what_memory_has_no_room_for_comes_from_the_file() {
    let folder = folder();
    let store = of(StateDirectory::open(folder.path()).unwrap(), SECRET, 1);
    let tokens = [saved(&store).await, saved(&store).await, saved(&store).await];
    assert!(store.cached(&tokens[0]).is_none());
    for token in &tokens {
        assert!(store.load(token).await.unwrap().is_some());
    }
    assert_eq!(store.count(), 3);
}

/// For a session that may be idle for an hour.
#[tokio::test]
async fn a_use_is_written_down_once_a_tenth_of_the_time_out_has_passed() {
    let hour = Duration::from_hours(1);
    for (used_after, survives) in [(59, true), (6, true), (5, false)] {
        let folder = folder();
        let (first, token, session) = (store(&folder), token(), session(Some(hour)));
        first.save(&token, Arc::clone(&session)).await.unwrap();
        let began = session.last_use();
        session.touch(began + Duration::from_mins(used_after));
        SessionStore::reclaim(&first, began + Duration::from_mins(used_after)).await.unwrap();
        drop(first);
        let second = store(&folder);
        let loaded = second.load(&token).await.unwrap().unwrap();
        assert_eq!(loaded.last_use(), if survives { session.last_use() } else { began }, "{used_after} minutes");
        assert_eq!(loaded.was_checked(), survives);
    }
}

#[tokio::test]
async fn a_session_that_memory_knows_to_be_used_is_not_freed() {
    let folder = folder();
    let (store, token, session) = (store(&folder), token(), session(Some(Duration::from_hours(1))));
    store.save(&token, Arc::clone(&session)).await.unwrap();
    let began = session.last_use();
    session.touch(began + Duration::from_mins(10));
    // The file does not know of the use: by the file, the session has ended.
    SessionStore::reclaim(&store, began + Duration::from_mins(67)).await.unwrap();
    assert_eq!(store.count(), 1);
    SessionStore::reclaim(&store, began + Duration::from_mins(76) + Duration::from_secs(1)).await.unwrap();
    assert_eq!(store.count(), 0);
}

#[tokio::test]
async fn what_has_ended_is_freed_and_its_room_used_again() {
    let folder = folder();
    let store = store(&folder);
    let size = || fs::metadata(folder.path().join("sessions.redb")).unwrap().len();
    let mut sizes = Vec::new();
    for _ in 0..3 {
        let (store, tokens): (_, Vec<_>) = (&store, (0..600).map(|_| token()).collect());
        let short = Arc::new(bob(app(), World::system().now(), Duration::from_secs(10)));
        let all = tokens.iter().map(|token| store.save(token, Arc::clone(&short)));
        let mut all: Vec<_> = all.collect();
        for save in &mut all {
            save.await.unwrap();
        }
        assert_eq!(store.count(), 600);
        SessionStore::reclaim(store, World::system().now() + Duration::from_secs(11)).await.unwrap();
        assert_eq!(store.count(), 0);
        sizes.push(size());
    }
    assert!(sizes[2] <= sizes[0] * 2, "{sizes:?}");
}

#[tokio::test]
async fn what_was_revoked_stays_so() {
    let folder = folder();
    let first = store(&folder);
    let (one, other) = (saved(&first).await, saved(&first).await);
    let others = token();
    first.save(&others, Arc::new(bob(app(), World::system().now(), Duration::from_mins(1)))).await.unwrap();
    let whom = Whom::Subject { issuer: ISSUER, subject: "alice-subject" };
    let order = Revocation { whom, once: None };
    assert!(first.revoke(&order).await.unwrap());
    drop(first);
    let shorter = StoreParts { lifetime: Duration::from_secs(1), ..parts(1000) };
    let second = FileStore::new(StateDirectory::open(folder.path()).unwrap(), shorter).unwrap();
    // Earlier sessions may live longer than new ones.
    SessionStore::reclaim(&second, World::system().now() + Duration::from_secs(10)).await.unwrap();
    drop(second);
    let third = store(&folder);
    for (token, stays) in [(&one, false), (&other, false), (&others, true)] {
        assert_eq!(third.load(token).await.unwrap().is_some(), stays);
    }
}

/// As a crash during a refresh leaves it.
#[tokio::test]
async fn after_a_crash_a_refresh_token_that_was_sent_is_spent() {
    for (rotates, spent) in [(None, true), (Some(true), true), (Some(false), false)] {
        let folder = folder();
        let (first, token) = (store(&folder), token());
        let now = World::system().now();
        let schedule = Schedule::new(now, now + Duration::from_mins(1));
        let refreshable = Some(Refreshable { token: "refresh token".into(), rotates, schedule });
        let session = alice(app(), now, Duration::from_hours(1), None);
        let session = tied(session, ProviderSide { refreshable, ..ProviderSide::default() });
        first.save(&token, Arc::new(session)).await.unwrap();
        let begun = SessionStore::begin_refresh(&first, &token).await.unwrap();
        assert!(matches!(begun, LeaseAnswer::Lease(..)));
        drop(first);
        let second = store(&folder);
        let begun = SessionStore::begin_refresh(&second, &token).await.unwrap();
        assert_eq!(matches!(begun, LeaseAnswer::Spent), spent, "{rotates:?}");
    }
}

#[tokio::test]
async fn what_lies_in_the_directory_opens_and_tells_nothing() {
    let folder = folder();
    let store = store(&folder);
    let (token, used) = (saved(&store).await, session(Some(Duration::from_mins(1))));
    store.save(&token, Arc::clone(&used)).await.unwrap();
    used.touch(used.last_use() + Duration::from_secs(30));
    SessionStore::reclaim(&store, used.last_use()).await.unwrap();
    drop(store);
    let bytes = fs::read(folder.path().join("sessions.redb")).unwrap();
    let raw = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, token.encode()).unwrap();
    let texts = ["alice", "rger", "app-example-com", "admins", "id.to.ken", "example", "created"].map(str::as_bytes);
    for text in texts.into_iter().chain([token.encode().as_bytes(), &raw]) {
        assert!(!bytes.windows(text.len()).any(|it| it == text), "{}", String::from_utf8_lossy(text));
    }
    let key = token.key();
    assert!(bytes.windows(32).any(|it| it == key.as_bytes()), "the search works");
}

#[track_caller]
fn refused(folder: &Path, parts: &[&str]) {
    let error = match StateDirectory::open(folder) {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    };
    for part in parts.iter().chain(&["session.directory: ", folder.to_str().unwrap()]) {
        assert!(error.contains(part), "{part} is not in {error}");
    }
}

#[tokio::test]
async fn a_directory_has_one_user() {
    let folder = folder();
    let store = store(&folder);
    refused(folder.path(), &["sessions.redb is used by another process", "a directory of its own"]);
    drop(store);
    StateDirectory::open(folder.path()).unwrap();
}

#[test]
fn what_cannot_be_a_directory_is_told() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    refused(&file, &["it must be a directory", "session.store = \"memory\""]);
    refused(&file.join("below"), &["it must be a directory"]);
    refused(Path::new("/proc/forepost"), &["it must be a directory"]);
}

type Damage = fn(&mut Vec<u8>);

#[tokio::test]
async fn a_damaged_file_is_told() {
    let whole = {
        let folder = folder();
        let store = store(&folder);
        for _ in 0..20 {
            saved(&store).await;
        }
        drop(store);
        fs::read(folder.path().join("sessions.redb")).unwrap()
    };
    let damage: [(_, Damage); 5] = [
        ("no file of ours", |bytes| *bytes = b"Dear diary".repeat(1000)),
        ("a short one", |bytes| bytes.truncate(10)),
        ("cut in the middle", |bytes| bytes.truncate(bytes.len() / 2)),
        ("another beginning", |bytes| bytes[..512].fill(0x5a)),
        ("another beginning of its pages", |bytes| bytes[64..4096].fill(0xff)),
    ];
    for (name, damage) in damage {
        println!("{name}");
        let folder = folder();
        let mut bytes = whole.clone();
        damage(&mut bytes);
        fs::write(folder.path().join("sessions.redb"), &bytes).unwrap();
        refused(folder.path(), &["is damaged, or nothing of ours", "move it away"]);
        let left = fs::read(folder.path().join("sessions.redb")).unwrap();
        assert_eq!(left.len(), bytes.len(), "nothing is lost that could be repaired");
    }
}

/// Noise in the middle of a file that was closed in order is found when it is read, in the list of revocations at the start.
#[tokio::test]
async fn noise_in_the_file_opens_no_session() {
    let whole = folder();
    let first = store(&whole);
    let mut tokens = Vec::new();
    for _ in 0..10 {
        tokens.push(saved(&first).await);
    }
    drop(first);
    let whole = fs::read(whole.path().join("sessions.redb")).unwrap();
    for page in 1..whole.len() / 4096 {
        let folder = folder();
        let mut bytes = whole.clone();
        bytes[page * 4096..][..4096].fill(0xa5);
        fs::write(folder.path().join("sessions.redb"), &bytes).unwrap();
        let directory = StateDirectory::open(folder.path());
        let Ok(store) = directory.and_then(|directory| FileStore::new(directory, parts(1000))) else { continue };
        for token in &tokens {
            if let Ok(Some(session)) = store.load(token).await {
                assert_eq!(session.identity().label(), "alice");
            }
            assert!(!matches!(store.load(&self::token()).await, Ok(Some(_))));
        }
        // Each call returns, whatever the result.
        let _ = store.save(&token(), session(None)).await;
        let _ = store.remove(&tokens[0]).await;
        let _ = SessionStore::reclaim(&store, World::system().now() + Duration::from_hours(30)).await;
    }
}

#[test]
fn only_the_owner_may_look_into_it() {
    let folder = folder();
    let path = folder.path().join("lib/forepost");
    let directory = StateDirectory::open(&path).unwrap();
    let secret = directory.secret(&World::system()).unwrap();
    for (name, mode) in [("", 0o700), ("sessions.redb", 0o600), ("secret", 0o600)] {
        let found = fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}: {found:o}");
    }
    assert_eq!(fs::read_dir(&path).unwrap().count(), 2);
    let again = directory.secret(&World::system()).unwrap();
    assert_eq!(again.expose_secret(), secret.expose_secret(), "made once");
    assert_eq!(secret.expose_secret().len(), 64);
    fs::write(path.join("secret"), "short").unwrap();
    let error = directory.secret(&World::system()).unwrap_err().to_string();
    assert!(error.contains("secret is damaged") && !error.contains("short"), "{error}");
}
