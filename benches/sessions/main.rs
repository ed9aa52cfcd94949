//! Measures what sessions cost where they are kept: bytes for each, and how fast logins are made durable.
//!
//! `cargo bench --bench sessions` writes tables, in some five minutes; `… -- 10000` measures that many only. Redis is measured
//! where `FOREPOST_TEST_TOOLS` names a folder with `bin/redis-server`. Each measurement has a process of its own, so that none
//! sees memory that another one left.

use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use forepost::identity::{Identity, PackedIdentity};
use forepost::session::{
    FileStore, MemoryStore, NewSession, ProviderSide, Realm, RedisStore, Refreshable, Schedule, Session, SessionStore,
    SessionToken, StateDirectory, StoreParts,
};
use forepost::settings::{Settings, Store};
use forepost::world::{UnixTime, World};
use redis::{Cmd, Value};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// As the daemon has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The argument with which this program is its own child.
const MEASURE: &str = "measure";

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
const KINDS: [&str; 3] = ["memory", "file", "redis"];

/// Logins at once where it is about room, and the numbers of them where it is about time.
const AT_ONCE: usize = 4096;
const PACES: [usize; 3] = [1, 16, 256];

/// The unit of `st_blocks`.
const BLOCK: u64 = 512;

const SECRET: &[u8] = b"the secret of a bench, as long as any";
const LIFETIME: Duration = Duration::from_hours(24);

fn main() -> Fallible<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [MEASURE, kind, number] => runtime()?.block_on(measure(kind, number.parse()?)),
        [MEASURE, "pace"] => runtime()?.block_on(paces()),
        [] => tables(&SIZES),
        numbers => tables(&numbers.iter().map(|number| number.parse()).collect::<Result<Vec<_>, _>>()?),
    }
}

fn runtime() -> Fallible<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn tables(sizes: &[usize]) -> Fallible<()> {
    println!("| Sessions | Where | Bytes for each | Logins a second, {AT_ONCE} at once | Further |");
    println!("|--:|---|--:|--:|---|");
    for number in sizes {
        for kind in KINDS {
            if kind == "redis" && redis_server().is_none() {
                println!("| {number} | redis | not measured: FOREPOST_TEST_TOOLS is not set | | |");
            } else {
                child(&[MEASURE, kind, &number.to_string()])?;
            }
        }
    }
    println!();
    child(&[MEASURE, "pace"])
}

fn child(arguments: &[&str]) -> Fallible<()> {
    let status = Command::new(std::env::current_exe()?).args(arguments).status()?;
    if status.success() { Ok(()) } else { Err(format!("{arguments:?}: {status}").into()) }
}

fn redis_server() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("FOREPOST_TEST_TOOLS")?).join("bin/redis-server");
    path.exists().then_some(path)
}

/// A session as a large provider makes it: an ID token of a kilobyte, a refresh token, five groups.
fn session(number: usize, world: &World) -> Session {
    let now = world.now();
    let identity = Identity {
        subject: format!("5f4dcc3b5aa765d61d83{number:012}"),
        username: format!("user{number:07}"),
        email: format!("user{number:07}@example.com"),
        name: format!("User Number {number:07}"),
        uid: format!("5f4dcc3b5aa765d61d83{number:012}"),
        groups: ["admins", "staff", "developers", "everybody", "operations"].map(String::from).to_vec(),
        entitlements: Vec::new(),
    };
    let text = |length: usize| format!("{number:09}").chars().cycle().take(length).collect::<String>();
    let schedule = Schedule::new(now + Duration::from_mins(5), now + Duration::from_hours(1));
    let refreshable = Refreshable { token: text(200).into(), rotates: None, schedule };
    let new = NewSession {
        realm: Realm::new("app", "https://id.example.com/application/o/app/"),
        identity: PackedIdentity::new(identity, &text(1024), Some(UnixTime::from_millis(u64::MAX))),
        began_at: now,
        lifetime: LIFETIME,
        idle_timeout: Some(Duration::from_hours(8)),
        provider: ProviderSide {
            session_id: Some(text(36)),
            refreshable: Some(refreshable),
            ..ProviderSide::default()
        },
    };
    Session::new(new, now)
}

fn parts(max_sessions: u64) -> StoreParts<'static> {
    StoreParts { secret: SECRET, max_sessions, lifetime: LIFETIME, idle_timeout: None, world: World::system() }
}

/// Signs in so many, so many at once; how long that took, and the last token.
async fn log_in(store: &Arc<dyn SessionStore>, number: usize, at_once: usize) -> Fallible<(Duration, SessionToken)> {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..at_once.min(number) {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            let world = World::system();
            let mut last = SessionToken::generate(&world)?;
            for number in (task..number).step_by(at_once) {
                last = SessionToken::generate(&world)?;
                store.save(&last, Arc::new(session(number, &world))).await?;
            }
            Fallible::Ok(last)
        });
    }
    let mut last = None;
    while let Some(ended) = tasks.join_next().await {
        last = Some(ended??);
    }
    Ok((began.elapsed(), last.ok_or("no user signed in")?))
}

async fn measure(kind: &str, number: usize) -> Fallible<()> {
    let (bytes, took, further) = match kind {
        "memory" => in_memory(number).await?,
        "file" => in_a_file(number).await?,
        "redis" => in_redis(number).await?,
        other => return Err(format!("unknown store {other}").into()),
    };
    let each = bytes / number as u64;
    let pace = number as u128 * 1000 / took.as_millis().max(1);
    println!("| {number} | {kind} | {each} | {pace} | {further} |");
    Ok(())
}

async fn in_memory(number: usize) -> Fallible<(u64, Duration, String)> {
    let store: Arc<dyn SessionStore> = Arc::new(MemoryStore::new(parts(number as u64 * 2)));
    // The first ones bring what any number of them needs.
    log_in(&store, 100, 100).await?;
    let before = resident()?;
    // Few at once: what waits is not part of a session.
    let (took, _) = log_in(&store, number, 16).await?;
    Ok((resident()?.saturating_sub(before), took, "resident memory of the process; 16 at once".to_owned()))
}

/// Bytes of this process in memory.
fn resident() -> Fallible<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024)
}

async fn in_a_file(number: usize) -> Fallible<(u64, Duration, String)> {
    let (folder, crashed) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let file = |folder: &Path| folder.join("sessions.redb");
    let open = |path: &Path| -> Fallible<Arc<dyn SessionStore>> {
        Ok(Arc::new(FileStore::new(StateDirectory::open(path)?, parts(10_000))?))
    };
    let store = open(folder.path())?;
    let (took, last) = log_in(&store, number, AT_ONCE).await?;
    // The file is sparse: it grows long before it is filled.
    let bytes = fs::metadata(file(folder.path()))?.blocks() * BLOCK;
    // What a process that ends now would leave behind.
    fs::copy(file(folder.path()), file(crashed.path()))?;
    fs::File::open(file(crashed.path()))?.sync_all()?;
    let began = Instant::now();
    let after = open(crashed.path())?;
    let opened = began.elapsed();
    let began = Instant::now();
    after.load(&last).await?.ok_or("the last session is gone")?;
    let found = began.elapsed();
    Ok((bytes, took, format!("opened after a crash in {opened:.0?}, the first session found in {found:.1?}")))
}

/// A server that ends with its measurement.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn in_redis(number: usize) -> Fallible<(u64, Duration, String)> {
    let folder = tempfile::tempdir()?;
    let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = socket.local_addr()?.port();
    drop(socket);
    let server = redis_server().ok_or("FOREPOST_TEST_TOOLS names no redis-server")?;
    let arguments = ["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"];
    let mut command = Command::new(server);
    command.args(arguments).arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
    let _server = Server(command.spawn()?);
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}/"))?;
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut connection = loop {
        match client.get_multiplexed_async_connection().await {
            Ok(connection) => break connection,
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let settings = Settings::from_toml(&format!(
        r#"
        [identity_provider.default]
        issuer = "https://id.example.com"
        client_id = "proxy"
        client_secret = "the secret of a bench"
        [[application]]
        slug = "app"
        external_host = "https://app.example.com"
        [session]
        store = "redis"
        secret = "{}"
        [session.redis]
        url = "redis://127.0.0.1:{port}"
        timeout = "30s"
        "#,
        "0".repeat(64)
    ))?;
    let Store::Redis(settings) = settings.session.store else { return Err("no Redis".into()) };
    let store: Arc<dyn SessionStore> = Arc::new(RedisStore::new(&settings, parts(10_000))?);
    let mut used = async || -> Fallible<u64> {
        let info: String = Cmd::new().arg("INFO").arg("memory").query_async(&mut connection).await?;
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")).ok_or("no used_memory")?;
        Ok(line.trim().parse()?)
    };
    let before = used().await?;
    let (took, _) = log_in(&store, number, 256).await?;
    let bytes = used().await?.saturating_sub(before);
    let key: Value = Cmd::new().arg("RANDOMKEY").query_async(&mut connection).await?;
    let Value::BulkString(key) = key else { return Err("no key".into()) };
    let one: u64 = Cmd::new().arg("MEMORY").arg("USAGE").arg(key).query_async(&mut connection).await?;
    Ok((bytes, took, format!("`used_memory`; `MEMORY USAGE` of a record: {one}; 256 at once")))
}

async fn paces() -> Fallible<()> {
    println!("| Logins at once, into a file | A second |");
    println!("|--:|--:|");
    for at_once in PACES {
        let folder = tempfile::tempdir()?;
        let store: Arc<dyn SessionStore> =
            Arc::new(FileStore::new(StateDirectory::open(folder.path())?, parts(10_000))?);
        let number = 500 * at_once.min(16);
        let (took, _) = log_in(&store, number, at_once).await?;
        println!("| {at_once} | {} |", number as u128 * 1000 / took.as_millis().max(1));
    }
    Ok(())
}
