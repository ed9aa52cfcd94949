//! Disks that are full, that fail, and that are away.

use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::atomic::AtomicI64;

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use super::*;
use crate::session::file::database::{Opener, open_backend};
use crate::session::file::directory::open_private;

/// The behaviour of a disk, for all files that are opened on it.
#[derive(Clone, Debug)]
struct Disk(Arc<Faults>);

#[derive(Debug)]
struct Faults {
    /// Whether the disk is full.
    full: std::sync::atomic::AtomicBool,
    /// The number of reads, or syncs, that still succeed; negative: all.
    reads: AtomicI64,
    syncs: AtomicI64,
    synced: AtomicU64,
    opened: AtomicU64,
}

#[derive(Debug)]
struct File(FileBackend, Arc<Faults>);

/// Counts down; fails when nothing is left.
fn counted(left: &AtomicI64) -> io::Result<()> {
    let next = |left: i64| (left > 0).then(|| left - 1);
    match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
        Err(0) => Err(io::Error::other("the disk is broken")),
        Ok(_) | Err(_) => Ok(()),
    }
}

impl StorageBackend for File {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        counted(&self.1.reads)?;
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        counted(&self.1.syncs)?;
        self.1.synced.fetch_add(1, Ordering::Relaxed);
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        // A sector that exists can be overwritten.
        if self.1.full.load(Ordering::Relaxed) && offset > 0 {
            Err(ErrorKind::StorageFull.into())
        } else {
            self.0.write(offset, data)
        }
    }
    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }
}

impl Disk {
    fn new() -> Self {
        Self(Arc::new(Faults {
            full: false.into(),
            reads: (-1).into(),
            syncs: (-1).into(),
            synced: 0.into(),
            opened: 0.into(),
        }))
    }

    fn full(&self, full: bool) {
        self.0.full.store(full, Ordering::Relaxed);
    }

    /// Lets this many more reads and syncs succeed.
    fn breaks_after(&self, reads: i64, syncs: i64) {
        self.0.reads.store(reads, Ordering::Relaxed);
        self.0.syncs.store(syncs, Ordering::Relaxed);
    }

    fn is_mended(&self) {
        self.breaks_after(-1, -1);
    }

    fn synced(&self) -> u64 {
        self.0.synced.load(Ordering::Relaxed)
    }

    fn opened(&self) -> u64 {
        self.0.opened.load(Ordering::Relaxed)
    }

    fn database(&self, folder: &TempDir) -> Result<Database, FileError> {
        let faults = Arc::clone(&self.0);
        let opener: Opener = Box::new(move |path, missing| {
            faults.opened.fetch_add(1, Ordering::Relaxed);
            let file = open_private(path, missing).map_err(|cause| FileError::io(path, cause))?;
            open_backend(path, || Ok(File(FileBackend::new(file)?, Arc::clone(&faults))))
        });
        Database::open_with(path(folder), opener)
    }

    fn store(&self, folder: &TempDir, max_sessions: u64) -> FileStore {
        of(StateDirectory::with(folder.path(), self.database(folder).unwrap()), SECRET, max_sessions)
    }
}

fn path(folder: &TempDir) -> PathBuf {
    folder.path().join("sessions.redb")
}

async fn loads(store: &FileStore, token: &SessionToken) -> bool {
    store.load(token).await.unwrap().is_some()
}

#[tokio::test]
async fn what_is_answered_is_on_the_disk() {
    let (folder, disk) = (folder(), Disk::new());
    let store = disk.store(&folder, 10);
    let now = World::system().now();
    let schedule = Schedule::new(now, now + Duration::from_mins(1));
    let refreshable = Some(Refreshable { token: "refresh token".into(), rotates: None, schedule });
    let session = alice(app(), now, Duration::from_hours(1), None);
    let session = Arc::new(tied(session, ProviderSide { refreshable, ..ProviderSide::default() }));
    let mut before = disk.synced();
    let mut durable = |what: &str| {
        assert!(disk.synced() > before, "{what}");
        before = disk.synced();
    };
    let token = token();
    store.save(&token, Arc::clone(&session)).await.unwrap();
    durable("a login");
    let LeaseAnswer::Lease(lease, _) = SessionStore::begin_refresh(&store, &token).await.unwrap() else { panic!() };
    durable("a refresh that begins");
    assert!(SessionStore::finish_refresh(&store, &token, &lease, Finished::Renewed(session)).await.unwrap());
    durable("a refresh that ends");
    let order = Revocation { whom: Whom::Application("other"), once: None };
    assert!(SessionStore::revoke(&store, &order).await.unwrap());
    durable("a revocation");
    assert!(store.remove(&token).await.unwrap().is_some());
    durable("a sign-out");
}

#[tokio::test]
async fn on_a_full_disk_new_sessions_are_in_memory() {
    let (folder, disk) = (folder(), Disk::new());
    let store = disk.store(&folder, 10);
    let (older, newer) = (saved(&store).await, saved(&store).await);
    assert!(store.is_up() && store.is_durable());
    disk.full(true);
    let unwritten = [saved(&store).await, saved(&store).await, saved(&store).await];
    let abandoned = token();
    let mut save = store.save(&abandoned, session(None));
    begin(&mut save).await;
    drop(save);
    assert!(store.remove(&saved(&store).await).await.unwrap().is_some());
    assert!(loads(&store, &abandoned).await, "also of a requester who is gone");
    assert!(store.is_up() && !store.is_durable());
    for token in &unwritten {
        assert!(loads(&store, token).await);
    }
    let begun = SessionStore::begin_refresh(&store, &unwritten[0]).await;
    assert!(!matches!(begun, Ok(LeaseAnswer::Lease(..) | LeaseAnswer::Gone | LeaseAnswer::Spent)), "{begun:?}");
    // The session in the file would be there again after a restart.
    let error = store.remove(&newer).await.unwrap_err().to_string();
    assert!(error.contains("sessions.redb") && error.contains("make room"), "{error}");
    assert!(store.cached(&newer).is_some());
    let order = Revocation { whom: Whom::Everybody, once: None };
    assert!(SessionStore::revoke(&store, &order).await.is_err());
    assert!(store.remove(&unwritten[0]).await.unwrap().is_some());
    assert!(!loads(&store, &unwritten[0]).await);
    disk.full(false);
    let another = saved(&store).await;
    assert!(store.is_durable());
    assert!(store.remove(&newer).await.unwrap().is_some());
    assert!(store.remove(&unwritten[1]).await.unwrap().is_some());
    drop(store);
    let store = self::store(&folder);
    for (token, there) in [
        (&older, true),
        (&newer, false),
        (&another, true),
        (&unwritten[0], false),
        (&unwritten[1], false),
        (&unwritten[2], true),
    ] {
        assert_eq!(loads(&store, token).await, there);
    }
}

#[tokio::test]
async fn a_full_disk_is_started_on_where_there_are_sessions() {
    let (folder, disk) = (folder(), Disk::new());
    let token = saved(&disk.store(&folder, 10)).await;
    disk.full(true);
    let store = disk.store(&folder, 10);
    assert_eq!(store.count(), 1);
    assert!(loads(&store, &token).await);
    assert!(store.is_up() && !store.is_durable());
    let empty = self::folder();
    let error = disk.database(&empty).err().unwrap().to_string();
    assert!(error.contains("make room"), "{error}");
    disk.full(false);
    while !store.is_durable() {
        // A request for the state, or the next login, starts another attempt.
        saved(&store).await;
    }
}

/// An order whose transaction failed may be in the file, and a repetition of it is reported as carried out before.
#[tokio::test]
async fn an_order_that_failed_and_is_repeated_is_followed() {
    let mut failed = 0;
    for syncs in 0..8 {
        let (folder, disk) = (folder(), Disk::new());
        let store = disk.store(&folder, 10);
        let token = saved(&store).await;
        let now = World::system().now();
        let once = Some(crate::session::Once { issuer: ISSUER, id: "jti", until: now + Duration::from_mins(2) });
        let order = Revocation { whom: Whom::Everybody, once };
        disk.breaks_after(-1, syncs);
        let followed = SessionStore::revoke(&store, &order).await;
        failed += u32::from(followed.is_err());
        assert!(followed.is_err() || !loads(&store, &token).await);
        disk.is_mended();
        SessionStore::revoke(&store, &order).await.unwrap();
        assert!(!loads(&store, &token).await, "after {syncs} syncs");
    }
    assert!((1..8).contains(&failed), "{failed}");
}

/// Wherever reading fails, it ends with an error, and the next transaction works.
#[tokio::test]
async fn a_disk_that_cannot_be_read_blocks_no_transaction() {
    let (folder, disk) = (folder(), Disk::new());
    let first = disk.store(&folder, 10);
    let now = World::system().now();
    for number in 0..600 {
        let whom = Whom::Subject { issuer: ISSUER, subject: &format!("subject-{number}") };
        first.revoke(&Revocation { whom, once: None }).await.unwrap();
    }
    drop(first);
    let (mut reads, mut failed) = (0, 0);
    loop {
        let database = disk.database(&folder).unwrap();
        let list = List::new(SECRET, World::system());
        database.read_list(&list, 0).unwrap().unwrap();
        // redb forgets what it has read so far.
        database.mark_broken();
        database.reopen().unwrap();
        disk.breaks_after(reads, -1);
        let freed = database.write(|tables| tables.forget_revocations(now + Duration::from_hours(1)));
        disk.is_mended();
        database.reopen().unwrap();
        let left = database.read_list(&list, 0).unwrap().unwrap();
        assert_eq!(left.len(), 600);
        if freed.is_ok() {
            break;
        }
        (reads, failed) = (reads + 1, failed + 1);
    }
    assert!(failed > 5, "{failed}");
}

#[tokio::test]
async fn who_cannot_be_looked_up_disturbs_no_others() {
    let (folder, disk) = (folder(), Disk::new());
    let (one, other) = {
        let store = disk.store(&folder, 10);
        (saved(&store).await, saved(&store).await)
    };
    let store = disk.store(&folder, 10);
    let opened = disk.opened();
    disk.breaks_after(0, -1);
    assert!(store.load(&one).await.is_err());
    disk.is_mended();
    for _ in 0..100 {
        assert!(store.load(&one).await.is_err(), "not tried again at once");
    }
    let further = saved(&store).await;
    for token in [&other, &further] {
        assert!(loads(&store, token).await);
    }
    // One more where an attempt was made while the disk still failed.
    assert!(disk.opened() <= opened + 2);
}

#[tokio::test]
async fn a_disk_that_is_away_is_no_empty_one() {
    let (folder, disk) = (folder(), Disk::new());
    let store = disk.store(&folder, 1);
    let (older, _) = (saved(&store).await, saved(&store).await);
    disk.breaks_after(-1, 0);
    fs::rename(path(&folder), folder.path().join("elsewhere")).unwrap();
    assert!(store.save(&token(), session(None)).await.is_err());
    disk.is_mended();
    assert!(!store.is_up());
    assert!(store.load(&older).await.is_err(), "the file might have it");
    assert!(store.save(&token(), session(None)).await.is_err());
    assert!(!path(&folder).exists());
    fs::rename(folder.path().join("elsewhere"), path(&folder)).unwrap();
    saved(&store).await;
    assert!(store.is_up() && store.is_durable());
}
