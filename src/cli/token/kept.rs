//! Tokens that are kept from one run to the next, in files for their owner alone.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::client::Tokens;
use super::interrupt::Interrupt;
use super::show::Screen;
use crate::cli::command_error::CommandError;
use crate::world::UnixTime;

/// For the owner alone.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Group and others.
const ANYBODY_ELSE: u32 = 0o077;
const ANYBODY_ELSE_WRITES: u32 = 0o022;

/// A token that ends sooner is not handed out, unless its whole life is shorter than twice that.
const SPARE: Duration = Duration::from_secs(30);
/// Between looks at a lock that another process has.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// What is kept of one login.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// What the application calls itself.
    pub(super) resource: String,
    /// Who gave the tokens; no other server gets them.
    pub(super) issuer: String,
    /// The client that they were given to.
    pub(super) client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) access_token: Option<String>,
    /// In seconds since the epoch.
    #[serde(default)]
    pub(super) use_until: u64,
}

impl Kept {
    /// Takes over new tokens, which were asked for at `asked`; a refresh token stays until another comes.
    pub(super) fn take(&mut self, tokens: &Tokens, asked: UnixTime) {
        use secrecy::ExposeSecret as _;
        if let Some(token) = &tokens.refresh {
            self.refresh_token = Some(token.expose_secret().to_owned());
        }
        self.access_token = Some(tokens.access.expose_secret().to_owned());
        let lifetime = tokens.lifetime.unwrap_or_default();
        self.use_until = (asked + lifetime.saturating_sub(SPARE.min(lifetime / 2))).as_secs();
    }

    /// The access token, if it is good for a while.
    pub(super) fn usable(&self, now: UnixTime) -> Option<&str> {
        self.access_token.as_deref().filter(|_| now.as_secs() < self.use_until)
    }
}

/// What a login is found by: the application, and how the token was asked for.
pub(super) fn name(resource: &str, asked: &impl Serialize) -> String {
    // Texts and lists of them are JSON.
    let text = serde_json::to_string(&(resource.trim_end_matches('/'), asked)).unwrap_or_default();
    format!("token-{}", URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes())))
}

/// The directory of such files.
pub(super) struct Store(PathBuf);

/// The right to change one login; ends when dropped.
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Store {
    /// The directory of the XDG base directory specification; `None` when the environment names no home.
    pub(super) fn of_environment() -> Option<Self> {
        // What is not absolute is to be ignored.
        let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = variable("XDG_STATE_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/state")));
        base.map(|base| Self(base.join("forepost")))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.json"))
    }

    /// What is kept under `name`; nothing that others could have read, or could have written.
    pub(super) fn read(&self, name: &str) -> Result<Option<Kept>, CommandError> {
        let path = self.file(name);
        let text = match self.read_private(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CommandError::denied(format!("{}: {error}", path.display()))),
        };
        // What is damaged is replaced by the next login.
        Ok(serde_json::from_str(&text).ok())
    }

    fn read_private(&self, path: &Path) -> io::Result<String> {
        let mut file = OpenOptions::new().read(true).open(path)?;
        if !file.metadata()?.is_file() || file.metadata()?.mode() & ANYBODY_ELSE != 0 {
            let hint = "other users may read this file of tokens: --forget ends them, chmod 600 keeps them";
            return Err(io::Error::new(ErrorKind::PermissionDenied, hint));
        }
        self.check_directory()?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(text)
    }

    fn check_directory(&self) -> io::Result<()> {
        if fs::metadata(&self.0)?.mode() & ANYBODY_ELSE_WRITES == 0 {
            return Ok(());
        }
        Err(io::Error::new(ErrorKind::PermissionDenied, "other users may write to this directory; chmod 700 ends that"))
    }

    /// Keeps a login, whole or not at all, in place of the one before.
    pub(super) fn write(&self, lock: &Lock, kept: &Kept) -> io::Result<()> {
        let path = lock.path.with_extension("json");
        let new = lock.path.with_extension("new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let text = serde_json::to_string(kept)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&new)?;
        // Whatever the umask is.
        file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(&self.0)?.sync_all()
    }

    /// Waits until no other run changes this login.
    pub(super) async fn lock(
        &self,
        name: &str,
        interrupt: &Interrupt,
        screen: &mut Screen,
    ) -> Result<Lock, CommandError> {
        let path = self.0.join(format!("{name}.lock"));
        let hint = "XDG_STATE_HOME can name another place for kept tokens";
        let failure = |error: io::Error| CommandError::denied(format!("{}: {error}; {hint}", path.display()));
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(DIRECTORY_MODE).create(&self.0).map_err(failure)?;
        self.check_directory().map_err(failure)?;
        let mut told = false;
        loop {
            if let Some(lock) = Lock::try_new(&path).map_err(failure)? {
                return Ok(lock);
            }
            if !told {
                screen.say("Waiting for another forepost that gets the same token.");
                told = true;
            }
            let pause = async {
                tokio::time::sleep(LOCK_PAUSE).await;
                Ok(())
            };
            interrupt.or(pause).await?;
        }
    }

    /// All logins of which `wanted` holds, by name, however badly they were guarded.
    pub(super) fn all(&self, wanted: impl Fn(&Kept) -> bool) -> Vec<(String, Kept)> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        let files = entries.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        files
            .filter_map(|path| {
                let kept: Kept = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
                let name = path.file_stem()?.to_str().filter(|name| name.starts_with("token-"))?;
                wanted(&kept).then(|| (name.to_owned(), kept))
            })
            .collect()
    }

    /// Takes a login away, and its lock with it.
    pub(super) fn remove(&self, lock: Lock, name: &str) -> io::Result<()> {
        fs::remove_file(self.file(name))?;
        fs::remove_file(&lock.path)
    }
}

impl Lock {
    /// `None` when another process has it.
    fn try_new(path: &Path) -> io::Result<Option<Self>> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let lock = Self { file, path: path.to_owned() };
        Ok(lock.is_in_place()?.then_some(lock))
    }

    /// The process that had it before may have removed its file.
    fn is_in_place(&self) -> io::Result<bool> {
        match fs::metadata(&self.path) {
            Ok(there) => Ok(there.ino() == self.file.metadata()?.ino()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store(folder.path().join("a/forepost"));
        (folder, store)
    }

    async fn lock(store: &Store, name: &str) -> Lock {
        store.lock(name, &Interrupt::listen(), &mut Screen::new(false)).await.unwrap()
    }

    fn tokens(access: &str, refresh: Option<&str>, lifetime: Option<u64>) -> Tokens {
        Tokens {
            access: SecretString::from(access),
            refresh: refresh.map(SecretString::from),
            lifetime: lifetime.map(Duration::from_secs),
        }
    }

    #[tokio::test]
    async fn logins_are_kept_for_their_owner() {
        let (_folder, store) = store();
        assert!(store.read("token-x").unwrap().is_none());
        let held = lock(&store, "token-x").await;
        let mut kept = Kept { resource: "https://app.test".to_owned(), ..Kept::default() };
        for refresh in ["one", "two"] {
            kept.refresh_token = Some(refresh.to_owned());
            store.write(&held, &kept).unwrap();
            assert!(store.read("token-x").unwrap().unwrap() == kept);
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&store.0), mode(&store.file("token-x"))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&store.0).unwrap().count(), 2, "nothing is left lying");

        assert_eq!(store.all(|_| true).len(), 1);
        assert!(store.all(|kept| kept.resource == "other").is_empty());
        store.remove(held, "token-x").unwrap();
        assert_eq!(fs::read_dir(&store.0).unwrap().count(), 0);
        assert!(store.read("token-x").unwrap().is_none());
    }

    #[tokio::test]
    async fn what_others_may_read_is_refused() {
        let (_folder, store) = store();
        let held = lock(&store, "token-x").await;
        store.write(&held, &Kept::default()).unwrap();
        let (file, folder) = (store.file("token-x"), store.0.clone());
        for (path, mode, allowed) in [
            (&file, 0o640, false),
            (&file, 0o604, false),
            (&file, 0o620, false),
            (&file, 0o400, true),
            (&folder, 0o777, false),
            (&folder, 0o720, false),
            (&folder, 0o755, true),
        ] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            let got = store.read("token-x");
            assert_eq!(got.is_ok(), allowed, "{mode:o}");
            assert!(got.err().is_none_or(|failure| failure.status == 77 && failure.message.contains("chmod")));
        }
        assert_eq!(store.all(|_| true).len(), 1);
    }

    #[tokio::test]
    async fn damage_is_no_login() {
        let (_folder, store) = store();
        let held = lock(&store, "token-x").await;
        for text in ["", "{", "[]", "{\"resource\":1}"] {
            store.write(&held, &Kept::default()).unwrap();
            fs::write(store.file("token-x"), text).unwrap();
            assert!(store.read("token-x").unwrap().is_none(), "{text}");
        }
    }

    #[tokio::test]
    async fn one_run_at_a_time() {
        let (_folder, store) = store();
        let held = lock(&store, "token-x").await;
        let path = store.0.join("token-x.lock");
        assert!(Lock::try_new(&path).unwrap().is_none());
        lock(&store, "token-y").await;
        drop(held);
        let held = Lock::try_new(&path).unwrap().unwrap();
        fs::remove_file(&path).unwrap();
        assert!(!held.is_in_place().unwrap());
        assert!(Lock::try_new(&path).unwrap().is_some(), "no process holds the old one any more");
    }

    #[test]
    fn names_tell_logins_apart() {
        let named = |resource, client: Option<&str>, scope: &[&str]| name(resource, &(client, scope));
        let usual = named("https://app.test", None, &[]);
        assert_eq!(usual, named("https://app.test/", None, &[]));
        assert_eq!(usual.len(), "token-".len() + 43);
        for other in [
            named("https://app.test/a", None, &[]),
            named("https://app.test", Some(""), &[]),
            named("https://app.test", Some("a"), &[]),
            named("https://app.test", None, &["a"]),
        ] {
            assert_ne!(usual, other);
        }
    }

    #[track_caller]
    fn check_use(lifetime: Option<u64>, elapsed: u64, expected: bool) {
        let mut kept = Kept { refresh_token: Some("old".to_owned()), ..Kept::default() };
        kept.take(&tokens("a", None, lifetime), UnixTime::from_secs(1000));
        assert_eq!(kept.refresh_token.as_deref(), Some("old"));
        assert_eq!(kept.usable(UnixTime::from_secs(1000 + elapsed)).is_some(), expected, "{lifetime:?} {elapsed}");
    }

    #[test]
    fn tokens_are_used_while_they_are_good_for_a_while() {
        check_use(Some(3600), 3569, true);
        check_use(Some(3600), 3570, false);
        check_use(Some(60), 29, true);
        check_use(Some(60), 30, false);
        check_use(Some(10), 4, true);
        check_use(Some(10), 5, false);
        check_use(Some(0), 0, false);
        check_use(None, 0, false);
        let mut kept = Kept::default();
        kept.take(&tokens("a", Some("new"), None), UnixTime::from_secs(0));
        assert_eq!(kept.refresh_token.as_deref(), Some("new"));
    }
}
