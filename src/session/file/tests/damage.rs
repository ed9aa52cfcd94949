//! Damage anywhere in the file: what has ended stays so, and a start succeeds or says what is damaged.

use redb::backends::FileBackend;

use super::*;
use crate::session::file::database::{Missing, open_backend};
use crate::session::file::directory::open_private;
use crate::session::revocation::Revocations;

const PAGE: usize = 4096;

/// A file, and which of its sessions live.
struct Scene {
    bytes: Vec<u8>,
    ended: Vec<SessionToken>,
    alive: Vec<SessionToken>,
}

/// A file with sessions that were signed out, and with sessions of a user who was signed out among many others.
async fn scene(stops: bool) -> Scene {
    let folder = folder();
    let store = store(&folder);
    let (mut ended, mut alive) = (Vec::new(), Vec::new());
    for _ in 0..12 {
        let of_bob = token();
        store.save(&of_bob, Arc::new(bob(app(), World::system().now(), Duration::from_hours(10)))).await.unwrap();
        let removed = saved(&store).await;
        assert!(store.remove(&removed).await.unwrap().is_some());
        ended.extend([of_bob, removed]);
        alive.push(saved(&store).await);
    }
    // A damaged head could undo the last transaction.
    for number in 0..90 {
        let subject = if number == 89 { "bob-subject".to_owned() } else { format!("subject-{number}") };
        let whom = Whom::Subject { issuer: ISSUER, subject: &subject };
        assert!(SessionStore::revoke(&store, &Revocation { whom, once: None }).await.unwrap());
    }
    let path = folder.path().join("sessions.redb");
    // `kill -9` leaves the file as it is now; an orderly stop writes to it.
    let killed = fs::read(&path).unwrap();
    drop(store);
    let bytes = if stops { fs::read(&path).unwrap() } else { killed };
    Scene { bytes, ended, alive }
}

impl Scene {
    /// Whether forepost starts with `bytes` as the file.
    async fn check(&self, bytes: &[u8], what: &str) -> bool {
        let folder = folder();
        fs::write(folder.path().join("sessions.redb"), bytes).unwrap();
        // Twice where the file is a changed one, because a start writes to it.
        for _ in 0..=usize::from(*bytes != self.bytes) {
            let started = StateDirectory::open(folder.path());
            let store = match started.and_then(|directory| FileStore::new(directory, parts(1000))) {
                Ok(store) => store,
                Err(error) => {
                    let error = error.to_string();
                    let told = error.contains("sessions.redb is damaged") && error.contains("move it away");
                    assert!(told, "{what}: {error}");
                    return false;
                }
            };
            for token in &self.ended {
                assert!(!matches!(store.load(token).await, Ok(Some(_))), "{what}: a session lives that has ended");
            }
            for token in &self.alive {
                if let Ok(Some(session)) = store.load(token).await {
                    assert_eq!(session.identity().label(), "alice", "{what}");
                }
            }
        }
        true
    }

    fn used_pages(&self) -> impl Iterator<Item = usize> {
        let used = |(_, page): &(usize, &[u8])| page.iter().any(|byte| *byte != 0);
        self.bytes.chunks(PAGE).enumerate().filter(used).map(|(number, _)| number)
    }

    /// The pages that have the revocation of bob, or once had it.
    fn revocations_pages(&self) -> Vec<usize> {
        let whom = Whom::Subject { issuer: ISSUER, subject: "bob-subject" };
        let revocations = Revocations::new(SECRET);
        let entries = revocations.entries(&Revocation { whom, once: None }, UnixTime::default(), UnixTime::default());
        let tag = entries.revoked[0].tag;
        let found = self.bytes.windows(16).enumerate().filter(|(_, it)| *it == tag.0);
        found.map(|(at, _)| at / PAGE).collect()
    }
}

#[tokio::test]
async fn damage_to_a_file_that_was_closed_revives_no_session() {
    trial(true).await;
}

#[tokio::test]
async fn damage_to_a_file_after_a_kill_revives_no_session() {
    trial(false).await;
}

async fn trial(stops: bool) {
    let scene = scene(stops).await;
    assert!(scene.check(&scene.bytes, "whole").await);
    let mut random = 1;
    let mut next = |most: usize| {
        // The same pseudo-random numbers each time.
        random = (random * 1_103_515_245 + 12_345) % 0x8000_0000_usize;
        random / 7 % most
    };
    let (mut starts, mut refusals) = (0, 0);
    for page in scene.used_pages() {
        let place = page * PAGE..scene.bytes.len().min((page + 1) * PAGE);
        let mut damage = vec![("zeros", scene.bytes.clone())];
        damage[0].1[place.clone()].fill(0);
        let mut bytes = scene.bytes.clone();
        bytes[place.start + next(place.len())] ^= 1 << next(8);
        damage.push(("one bit", bytes));
        // At a byte that is not zero.
        let full: Vec<_> = place.clone().filter(|at| scene.bytes[*at] != 0).collect();
        let mut bytes = scene.bytes.clone();
        bytes[full[next(full.len())]] ^= 1 << next(8);
        damage.push(("one bit of something", bytes));
        damage.push(("the end", scene.bytes[..place.start + next(PAGE)].to_vec()));
        for (name, bytes) in damage {
            let started = scene.check(&bytes, &format!("page {page}: {name}")).await;
            if started { starts += 1 } else { refusals += 1 }
        }
    }
    assert!(starts > 0 && refusals > 0, "{starts} starts, {refusals} refusals");
}

/// Every bit of the page counts.
#[tokio::test]
async fn one_bit_of_the_list_of_revocations_is_noticed_at_the_start() {
    for stops in [true, false] {
        let scene = scene(stops).await;
        let pages = scene.revocations_pages();
        for at in (0..PAGE).step_by(397) {
            let mut bytes = scene.bytes.clone();
            for page in &pages {
                bytes[page * PAGE + at] ^= 1 << (at % 8);
            }
            assert!(!scene.check(&bytes, &format!("byte {at}")).await, "byte {at} of {pages:?}");
        }
    }
}

/// Others remove rows, restore them, or write new ones.
#[tokio::test]
async fn rows_that_others_take_out_are_missed() {
    type Rows = redb::TableDefinition<'static, &'static [u8; 16], (u64, u64, &'static [u8; 16])>;
    let rows: Rows = Rows::new("revocations");
    for what in ["one is gone", "all are gone", "one is later", "one is new"] {
        let (folder, scene) = (folder(), scene(true).await);
        let path = folder.path().join("sessions.redb");
        fs::write(&path, &scene.bytes).unwrap();
        let file = open_private(&path, Missing::Fail).unwrap();
        let database = open_backend(&path, || FileBackend::new(file)).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut table = transaction.open_table(rows).unwrap();
            let first = {
                let (tag, row) = redb::ReadableTable::first(&table).unwrap().unwrap();
                (*tag.value(), (row.value().0, row.value().1, *row.value().2))
            };
            let (tag, (until, at, code)) = first;
            match what {
                "one is gone" => drop(table.remove(&tag).unwrap()),
                "all are gone" => table.retain(|_, _| false).unwrap(),
                "one is later" => drop(table.insert(&tag, (until, at - 1, &code)).unwrap()),
                _ => drop(table.insert(&[7; 16], (until, at, &code)).unwrap()),
            }
        }
        transaction.commit().unwrap();
        drop(database);
        let bytes = fs::read(&path).unwrap();
        assert!(!scene.check(&bytes, what).await, "{what}");
    }
}

/// All sessions of the other secret have ended, and do not come back with it.
#[tokio::test]
async fn with_another_secret_everybody_has_ended() {
    let folder = folder();
    let first = store(&folder);
    let tokens = [saved(&first).await, saved(&first).await];
    let whom = Whom::Everybody;
    assert!(SessionStore::revoke(&first, &Revocation { whom, once: None }).await.unwrap());
    drop(first);
    let other = of(StateDirectory::open(folder.path()).unwrap(), b"another secret", 10);
    assert_eq!(other.count(), 0);
    let theirs = saved(&other).await;
    drop(other);
    let first = store(&folder);
    for token in tokens.iter().chain([&theirs]) {
        assert!(first.load(token).await.unwrap().is_none());
    }
    let mode = fs::metadata(folder.path().join("sessions.redb")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
}
