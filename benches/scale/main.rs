//! Measures what many applications cost: to build and publish their catalogue, to change one of them, in memory, and for each check.
//!
//! `cargo bench --bench scale`, in a minute. Times are medians of one run; a check is compared with one beside a single application, in
//! turns, because a shared machine is good for proportions only.

#[expect(dead_code, reason = "other benches ask an outpost with one application, and as scripts do")]
#[path = "../stage/mod.rs"]
mod stage;

use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use forepost::catalog::{Builder, Catalog, CurrentCatalog, Declaration, Declared};
use forepost::forwarded::Dialect;
use forepost::settings::Settings;
use forepost::telemetry::metrics::Metrics;
use forepost::world::World;
use http::HeaderValue;
use http::request::Parts;
use tokio::time::Instant;

use self::stage::{Browser, Failure, PROXY, Stage, question, ready};

/// As the daemon has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [usize; 3] = [1, 1_000, 10_000];

/// Catalogues of one size.
const BUILDS: usize = 9;

/// Turns in which each size is asked once, and the questions of a turn.
const TURNS: usize = 200;
const QUESTIONS: usize = 500;

fn main() -> Result<(), Failure> {
    println!("| | Applications | First catalogue | One changed | Memory for each |");
    println!("|---|--:|--:|--:|--:|");
    for (kind, text) in [("each with a host", alone as fn(usize) -> String), ("hosts of one domain", hosts)] {
        for size in SIZES {
            publish(kind, size, &text(size))?;
        }
    }
    println!();
    checks()
}

/// Applications with a host each.
fn alone(size: usize) -> String {
    let application = |number| {
        format!(
            "[[application]]\nexternal_host = \"https://app{number}.example.com\"\nrequired_groups = [\"staff\"]\n\
             public_paths = [{{ prefix = \"/public\" }}]\n\
             [[application.rule]]\npaths = [{{ prefix = \"/admin\" }}]\nrequire = {{ groups_any = [\"admins\"] }}\n"
        )
    };
    (0..size).map(application).collect()
}

/// One application with so many hosts.
fn hosts(size: usize) -> String {
    let domain = "[[application]]\nname = \"Home\"\nexternal_host = \"https://auth.example.com\"\n\
                  cookie_domain = \"example.com\"\nrequired_groups = [\"staff\"]\n\
                  [[application.rule]]\npaths = [{ prefix = \"/internal\" }]\ndeny = true\n";
    let host = |number| {
        format!(
            "[[application.host]]\nhost = \"{}\"\npublic_paths = [{{ prefix = \"/public\" }}]\n\
             [[application.host.rule]]\npaths = [{{ prefix = \"/admin\" }}]\nrequire = {{ groups_any = [\"admins\"] }}\n",
            name(number)
        )
    };
    std::iter::once(domain.to_owned()).chain((0..size).map(host)).collect()
}

fn name(number: usize) -> String {
    format!("app{number}.example.com")
}

/// Times the first catalogue, and the next one, in which the last application or host requires another group.
fn publish(kind: &str, size: usize, applications: &str) -> Result<(), Failure> {
    let provider = "[identity_provider.default]\nissuer = \"https://id.example.com\"\nclient_id = \"proxy\"\nclient_secret = \"x\"\n";
    let declared = Settings::from_toml(&format!("{provider}{applications}"))?.declarations();
    let mut changed = declared.clone();
    if let Some(Declaration { declared: Declared::Application(last), .. }) = changed.last_mut() {
        match last.hosts.last_mut() {
            Some(host) => Arc::make_mut(host).required_groups = vec!["others".to_owned()],
            None => last.required_groups = vec!["others".to_owned()],
        }
    }
    let (mut first, mut next, mut memory) = (Vec::new(), Vec::new(), None);
    for _ in 0..BUILDS {
        let metrics = Arc::new(Metrics::new("forepost", &["traefik"], &["allow", "forbid"]));
        let builder = Builder {
            world: World::system(),
            metrics,
            outpost_name: "forepost".to_owned(),
            any_host: false,
            named_only: Vec::new(),
        };
        let current = CurrentCatalog::default();
        let before = resident()?;
        first.push(timed(&builder, &current, &declared)?);
        // Later ones use what the ones before gave back.
        memory.get_or_insert(resident()?.saturating_sub(before) / u64::try_from(size)?);
        next.push(timed(&builder, &current, &changed)?);
    }
    let memory = memory.filter(|_| size > 1).map_or_else(String::new, |bytes| format!("{} KiB", bytes / 1024));
    println!("| {kind} | {size} | {:.1?} | {:.1?} | {memory} |", median(&mut first), median(&mut next));
    Ok(())
}

/// Builds and publishes.
fn timed(builder: &Builder, current: &CurrentCatalog, declared: &[Declaration]) -> Result<Duration, Failure> {
    let before: Arc<Catalog> = current.load_full();
    let began = Instant::now();
    let (catalog, conflicts) = builder.build(&before, declared);
    drop(current.publish(Arc::new(catalog)));
    let took = began.elapsed();
    if conflicts.is_empty() { Ok(took) } else { Err(format!("{conflicts:?}").into()) }
}

/// Compares what a check costs beside so many hosts, asked about in turn, with one beside a single host.
fn checks() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut stages = Vec::new();
    for size in SIZES {
        let stage = runtime.block_on(Stage::of(&hosts(size), "level = \"error\""))?;
        let token = stage.token()?;
        ready(stage.store.save(&token, Arc::new(stage.session(1))))?;
        let cookie = stage.cookie(&token);
        let asked = (0..QUESTIONS).map(|number| ask(&cookie, (number * 61_987) % size));
        let asked = asked.collect::<Result<Vec<_>, Failure>>()?;
        stages.push((size, stage, asked, Vec::new()));
    }
    for turn in 0..=TURNS {
        for (_, stage, asked, took) in &mut stages {
            let began = Instant::now();
            for parts in asked.iter() {
                let answer = ready(stage.outpost.answer(black_box(parts), PROXY));
                if answer.status() != 200 {
                    return Err(format!("a check is answered {}", answer.status()).into());
                }
            }
            // The first one is to warm up.
            if turn > 0 {
                took.push(began.elapsed());
            }
        }
    }
    let alone = stages.first().map(|(.., took)| took.clone()).ok_or("there is no size")?;
    println!("| Applications | A check | ÷ one application |");
    println!("|--:|--:|--:|");
    for (size, _, _, mut took) in stages {
        let mut ratios: Vec<_> =
            took.iter().zip(&alone).map(|(it, alone)| it.as_secs_f64() / alone.as_secs_f64()).collect();
        ratios.sort_by(f64::total_cmp);
        let each = median(&mut took) / u32::try_from(QUESTIONS)?;
        println!("| {size} | {each:.0?} | {:.2} |", ratios[ratios.len() / 2]);
    }
    Ok(())
}

/// The question of a proxy about a page of the host with this number.
fn ask(cookie: &str, number: usize) -> Result<Parts, Failure> {
    let mut parts = question(Dialect::Traefik, Browser::Navigates, "/dashboards/17", Some(cookie))?;
    parts.headers.insert("x-forwarded-host", HeaderValue::try_from(name(number))?);
    Ok(parts)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Bytes of this process in memory.
fn resident() -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024)
}
