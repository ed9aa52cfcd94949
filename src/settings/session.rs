//! `[session]` and `[log]`, and how a secret is read.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::mistakes::{Complaint, complaint, shown};
use super::reader::Table;
use super::redis;
use super::values::LONGEST;
use crate::session::{RedisSettings, Revalidation};
use crate::telemetry::log::check_level;
use crate::telemetry::{Log, LogFormat, RoutineChecks};

/// Where sessions are kept.
#[derive(Clone, Debug)]
pub enum Store {
    /// In memory; the sessions end with the process.
    Memory,
    /// In a file in this directory.
    File(PathBuf),
    /// In a Redis or Valkey, for several processes.
    Redis(RedisSettings),
}

/// `[session]`.
#[derive(Clone, Debug)]
pub struct Session {
    /// The store of sessions.
    pub store: Store,
    /// The time from the login to the end of the session.
    pub lifetime: Duration,
    /// The time without a request after which a session ends; `None`: no limit.
    pub idle_timeout: Option<Duration>,
    /// The largest number of sessions in memory; the store removes those that are unused for the longest time.
    pub(crate) max_sessions: u64,
    /// Whether forepost offers users to end all of their sessions.
    pub sign_out_everywhere: bool,
    /// The secret that seals cookies and records. `None`: the one in the directory of the store, or else a random one, with which
    /// logins under way end with the process. With a Redis it is required, because all processes need the same.
    pub secret: Option<SecretString>,
    /// When forepost asks the provider whether it still vouches for a user.
    pub revalidation: Revalidation,
}

/// One in this many routine checks is logged. The proxy's own log has each of them, and a line costs more than the check itself.
const DEFAULT_ROUTINE_CHECKS: u32 = 1000;

/// The directory of the file of sessions, unless another one is configured.
const STATE_DIRECTORY: &str = "/var/lib/forepost";

/// The shortest secret: 128 bits in hexadecimal digits.
const SHORTEST_SECRET: usize = 32;
/// The largest file of a secret. The limit ends the read of a wrong path (`/dev/zero`).
const LARGEST_SECRET_FILE: u64 = 65_536;

/// Reads `[session]`.
///
/// `state_directory` is the directory that the service manager gives, if it does.
pub(super) fn read(mut table: Table<'_>, state_directory: Option<&Path>) -> Session {
    let (kind, directory) = (kind(&mut table), table.text("directory").map(PathBuf::from));
    let redis = redis::read(table.table("redis"), kind == Some(Kind::Redis));
    let shortest = Duration::from_secs(1);
    let lifetime = table.duration("lifetime", Duration::from_hours(24), shortest..=LONGEST);
    let default_idle = Some(Duration::from_hours(8));
    let idle_timeout = table.optional_duration("idle_timeout", default_idle, shortest..=LONGEST);
    let max_sessions = table.number("max_sessions", 100_000, 1..=100_000_000);
    let sign_out_everywhere = table.boolean("sign_out_everywhere", false);
    let secret = secret(&mut table, "secret", "secret_file");
    if let Some(secret) = &secret
        && secret.expose_secret().len() < SHORTEST_SECRET
    {
        let key = if table.was_given("secret") { "secret" } else { "secret_file" };
        let hint = "give 32 characters at least, random ones: openssl rand -hex 32";
        table.wrong(key, complaint("is too short to seal cookies", hint));
    }
    if kind == Some(Kind::Redis) && !table.was_given("secret_file") {
        table.missing("secret", "all that share a Redis need the same, and it must be secret: openssl rand -hex 32");
    }
    let revalidation = revalidation(&mut table);
    table.finish();
    let store = store(kind, directory.as_deref().or(state_directory), redis);
    Session { store, lifetime, idle_timeout, max_sessions, sign_out_everywhere, secret, revalidation }
}

fn revalidation(table: &mut Table<'_>) -> Revalidation {
    let shortest = Duration::from_secs(1);
    let after = table.optional_duration("revalidate_after", Some(Duration::from_mins(5)), shortest..=LONGEST);
    let default_within = after.map_or(Duration::ZERO, |after| 2 * after).max(Duration::from_hours(1));
    let within = table.duration("revalidate_within", default_within, shortest..=LONGEST);
    let silent_login = table.boolean("silent_login", false);
    let reauthorize_after = table.optional_duration("reauthorize_after", None, shortest..=LONGEST);
    match after {
        Some(after) if within < after => {
            let problem = "is shorter than revalidate_after";
            table.wrong("revalidate_within", complaint(problem, "give it room for a few tries: 1h for 5m"));
        }
        None if silent_login => {
            let problem = "has no effect without revalidate_after";
            table.wrong("silent_login", complaint(problem, "say after how long: revalidate_after = \"5m\""));
        }
        Some(_) | None => {}
    }
    Revalidation { after, within, silent_login, reauthorize_after }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Memory,
    File,
    Redis,
}

fn kind(table: &mut Table<'_>) -> Option<Kind> {
    let kinds = [("memory", Some(Kind::Memory)), ("file", Some(Kind::File)), ("redis", Some(Kind::Redis))];
    table.choice("store", None, &kinds)
}

/// The store: a file if there is a directory for it, unless the operator names another one.
fn store(kind: Option<Kind>, directory: Option<&Path>, redis: Option<RedisSettings>) -> Store {
    match (kind, directory) {
        (Some(Kind::File), _) | (None, Some(_)) => {
            Store::File(directory.unwrap_or(Path::new(STATE_DIRECTORY)).to_owned())
        }
        // Without an address there is a mistake, and the settings are not used.
        (Some(Kind::Redis), _) => redis.map_or(Store::Memory, Store::Redis),
        (Some(Kind::Memory), _) | (None, None) => Store::Memory,
    }
}

/// Reads `[log]`.
pub(super) fn read_log(mut table: Table<'_>) -> Log {
    let format = table.choice(
        "format",
        LogFormat::Auto,
        &[("auto", LogFormat::Auto), ("json", LogFormat::Json), ("human", LogFormat::Human)],
    );
    let level = table.read("level", |item| {
        let text = item.text()?;
        check_level(text)
            .map(|()| text.to_owned())
            .map_err(|error| complaint(error.to_string(), "as in \"info\" or \"info,forepost::login=debug\""))
    });
    let routine_checks = table.read("routine_checks", |item| {
        let hint = "\"all\", \"off\", or a number N to write one in N";
        match (item.raw_text(), item.integer()) {
            (Ok("all"), _) | (_, Ok(1)) => Ok(RoutineChecks::All),
            (Ok("off"), _) => Ok(RoutineChecks::Off),
            (_, Ok(number)) => match u32::try_from(number) {
                Ok(n) if n > 0 => Ok(RoutineChecks::OneIn(n)),
                _ => Err(complaint(format!("{number} is out of range"), hint)),
            },
            (Ok(text), _) => Err(complaint(format!("{} is unknown", shown(text)), hint)),
            _ => Err(item.wanted("a text or a number", hint)),
        }
    });
    table.finish();
    Log {
        format,
        level: level.unwrap_or_else(|| "info".to_owned()),
        routine_checks: routine_checks.unwrap_or(RoutineChecks::OneIn(DEFAULT_ROUTINE_CHECKS)),
    }
}

/// Reads a secret from a value or from a file. Both together are a mistake.
pub(super) fn secret(table: &mut Table<'_>, key: &'static str, file_key: &'static str) -> Option<SecretString> {
    let value = table.read(key, |item| {
        let text = item.raw_text()?;
        if text.trim().is_empty() {
            return Err(complaint("is empty", "give a value or remove the key"));
        }
        if text.contains('\u{fffd}') {
            return Err(complaint("is not UTF-8", "give the secret in a file that is"));
        }
        Ok(SecretString::from(text))
    });
    let report = table.report();
    let from_file = table.read(file_key, |item| {
        let path = item.text()?;
        report.depends_on(path);
        secret_file(path)
    });
    if table.was_given(key) && table.was_given(file_key) {
        let hint = format!("remove {key} or {file_key}");
        table.wrong(key, complaint(format!("a secret given twice, with {file_key}"), hint));
    }
    value.or(from_file)
}

/// The text of a file without one newline at its end.
fn secret_file(path: &str) -> Result<SecretString, Complaint> {
    let hint = "it must be readable by the user that forepost runs as";
    let unreadable = |why: &dyn std::fmt::Display| complaint(format!("{} cannot be read: {why}", shown(path)), hint);
    let file = std::fs::File::open(path).map_err(|error| unreadable(&error))?;
    let mut text = String::new();
    let read = file.take(LARGEST_SECRET_FILE + 1).read_to_string(&mut text);
    read.map_err(|error| unreadable(&error))?;
    if text.len() as u64 > LARGEST_SECRET_FILE {
        return Err(unreadable(&"it is larger than 64 KiB"));
    }
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.trim().is_empty() {
        return Err(complaint(format!("{} is empty", shown(path)), "write the secret into it"));
    }
    Ok(SecretString::from(secret))
}
