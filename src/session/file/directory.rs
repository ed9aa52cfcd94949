use std::fmt::Write as _;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::database::{Database, Missing};
use crate::world::World;

const SESSIONS: &str = "sessions.redb";
const SECRET: &str = "secret";
/// The name under which the secret is written first.
const NEW_SECRET: &str = "secret.new";

/// For the owner alone.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// 32 random bytes as hexadecimal digits.
const SECRET_LENGTH: usize = 64;

/// Why sessions cannot be kept in a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The directory or a file in it cannot be made, read or written.
    #[error(
        "session.directory: {}: {cause}; it must be a directory that the user forepost runs as may write to \
         (session.store = \"memory\" needs none)", path.display()
    )]
    Io {
        /// The path.
        path: PathBuf,
        /// The cause.
        cause: io::Error,
    },
    /// The disk has no room for it.
    #[error("session.directory: {}: {cause}; make room on its disk", path.display())]
    Full {
        /// The path.
        path: PathBuf,
        /// The cause.
        cause: io::Error,
    },
    /// Another process uses it.
    #[error(
        "session.directory: {} is used by another process; give each forepost a directory of its own", path.display()
    )]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// It does not contain what forepost wrote.
    #[error(
        "session.directory: {} is damaged, or nothing of ours: {cause}; move it away, and everybody has to sign in again",
        path.display()
    )]
    Damaged {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
}

impl FileError {
    pub(super) fn io(path: &Path, cause: io::Error) -> Self {
        let path = path.to_owned();
        match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full { path, cause }
            }
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Self::Damaged { path, cause: cause.to_string() }
            }
            _ => Self::Io { path, cause },
        }
    }

    pub(super) fn damaged(path: &Path, cause: impl ToString) -> Self {
        Self::Damaged { path: path.to_owned(), cause: cause.to_string() }
    }
}

/// The directory in which a daemon keeps its sessions; while it is open, no other process can open it.
pub struct StateDirectory {
    path: PathBuf,
    database: Database,
}

impl StateDirectory {
    /// Opens the directory, and makes it where there is none. What it makes is for the owner alone.
    ///
    /// # Errors
    ///
    /// When it cannot be written, another process uses it, or it has a file that forepost did not write.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(DIRECTORY_MODE);
        builder.create(path).map_err(|cause| FileError::io(path, cause))?;
        let database = Database::open(path.join(SESSIONS))?;
        // The name of a new file must be as durable as its content.
        File::open(path).and_then(|directory| directory.sync_all()).map_err(|cause| FileError::io(path, cause))?;
        Ok(Self { path: path.to_owned(), database })
    }

    /// Reads the secret in the directory, and makes one where there is none.
    ///
    /// # Errors
    ///
    /// When it cannot be read or written, or forepost did not write it.
    pub fn secret(&self, world: &World) -> Result<SecretString, FileError> {
        let path = self.path.join(SECRET);
        match std::fs::read_to_string(&path) {
            Ok(text) if text.len() == SECRET_LENGTH && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                Ok(SecretString::from(text))
            }
            Ok(_) => Err(FileError::damaged(&path, "wanted 64 hexadecimal digits")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = world.random::<32>().map_err(io::Error::other).and_then(|bytes| self.write_secret(&bytes));
                made.map_err(|cause| FileError::io(&path, cause))
            }
            Err(cause) => Err(FileError::io(&path, cause)),
        }
    }

    /// Writes under another name first: whenever the process ends, the secret is whole or absent.
    fn write_secret(&self, bytes: &[u8]) -> io::Result<SecretString> {
        let text = bytes.iter().fold(String::with_capacity(SECRET_LENGTH), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        let new = self.path.join(NEW_SECRET);
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, self.path.join(SECRET))?;
        File::open(&self.path)?.sync_all()?;
        Ok(SecretString::from(text))
    }

    #[cfg(test)]
    pub(super) fn with(path: &Path, database: Database) -> Self {
        Self { path: path.to_owned(), database }
    }

    pub(super) fn into_database(self) -> Database {
        self.database
    }
}

/// Opens a file for its owner alone.
pub(super) fn open_private(path: &Path, missing: Missing) -> io::Result<File> {
    let make = missing == Missing::Create;
    OpenOptions::new().read(true).write(true).create(make).truncate(false).mode(FILE_MODE).open(path)
}
