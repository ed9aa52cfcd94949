//! Whether logins, new keys or TLS handshakes hold checks up, and whether a crowd of logins queues.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::Lane;
use super::connection::{Target, sample};
use super::disturber::{HANDSHAKES, KEYS, LOGINS, REST, SOME_LOGINS};
use super::door::Door;
use super::duel::{self, Party, Slice, Slices};
use super::expected::Expected;
use super::options::Options;
use super::report::{Goal, Report, Row, Unit};
use super::request::{Question, Request};
use super::servers::{Place, free_address, pinned};
use super::sessions::{Logins, USERS, login_name};
use super::stage::{FEW, Stage};
use super::stats::{Estimate, as_f64};
use super::{Fallible, cpu};

/// Checks in a second.
const RATE: u32 = 2000;

/// Connections that ask.
const CONNECTIONS: usize = 16;

/// Longer than elsewhere: of a thousand checks, ten are beyond the 99 of 100.
const TURN: Duration = Duration::from_millis(500);

/// The provider forgets what is under way at ten thousand codes, so there are fewer logins than that in all.
const MOST_LOGINS: usize = 7000;

const QUIET: &str = "quiet";

/// What checks are measured beside, and what it is called in the report.
const STORMS: [(&str, &str); 4] = [
    (SOME_LOGINS, "at most 100 logins/s"),
    (LOGINS, "as many logins as possible"),
    (KEYS, "a refresh of keys that takes 250 ms"),
    (HANDSHAKES, "as many TLS handshakes as possible"),
];

/// The process that disturbs; dropping it ends it.
struct Disturber {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// For each of [`STORMS`], how many there were, and in how many seconds.
    done: [(u64, f64); STORMS.len()],
}

impl Disturber {
    fn start(place: &Place) -> Fallible<Self> {
        let mut command = pinned(place.core, "chrt".as_ref());
        command.args(["--idle", "0"]).arg(std::env::current_exe()?).args(["--bench", "--disturber"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else { return Err("a process without pipes".into()) };
        Ok(Self { child, input, output: BufReader::new(output), done: [(0, 0.0); STORMS.len()] })
    }

    fn tell(&mut self, line: &str) -> Fallible<()> {
        writeln!(self.input, "{line}")?;
        Ok(self.input.flush()?)
    }

    fn hear(&mut self) -> Fallible<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// Ends storm number `at`, which began then.
    fn rest(&mut self, at: usize, began: Instant) -> Fallible<()> {
        self.tell(REST)?;
        let line = self.hear()?;
        let count: u64 = line.parse().map_err(|_| format!("the storm of {} broke off: {line}", STORMS[at].1))?;
        let (sum, seconds) = &mut self.done[at];
        *sum += count;
        *seconds += began.elapsed().as_secs_f64();
        Ok(())
    }
}

impl Drop for Disturber {
    fn drop(&mut self) {
        // Fails only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Checks beside each storm and in quiet, in turns; then a thousand logins at once.
pub(crate) fn measure(stage: &Stage, options: &Options, report: &mut Report) -> Fallible<()> {
    let mut disturber = Disturber::start(&stage.place)?;
    let line = disturber.hear()?;
    let (issuer, provider) = line.split_once(' ').ok_or("the process that disturbs does not start")?;
    let https = free_address()?;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let (certificate, key) = (stage.place.folder.join("tls.crt"), stage.place.folder.join("tls.key"));
    fs::write(&certificate, made.cert.pem())?;
    fs::write(&key, made.signing_key.serialize_pem())?;
    let mut settings = options.clone();
    settings.set.extend([
        format!("server.https.listen={https}"),
        format!("server.https.certificate={}", certificate.display()),
        format!("server.https.key={}", key.display()),
        "identity_provider.company.jwks_cooldown=1s".to_owned(),
    ]);
    let forepost = stage.place.forepost(issuer, &settings)?.listening()?;
    let mut logins = Logins::new(forepost.address, provider.parse()?);
    stage.runtime.block_on(async {
        logins.possible().await?;
        logins.up_to(FEW).await
    })?;
    disturber.tell(&format!("{} {https} {}", forepost.address, certificate.display()))?;

    let request = Request::new(Question::Allowed, &logins.cookie_name);
    let known = Some(&logins.known[0]);
    let expected = Expected::like(&sample(forepost.address, &request, known)?, known)?;
    let target = Target { address: forepost.address, request, expected, askers: &logins.known };
    let cycles = options.storms();
    let most = MOST_LOGINS / (cycles + 1);
    let disturber = RefCell::new(disturber);
    let mut lane = Lane::open(target.clone(), CONNECTIONS)?;
    let mut parties =
        vec![Party { name: QUIET, servers: vec![&forepost], load: Box::new(move || lane.fixed_rate(RATE, TURN)) }];
    for (at, (storm, _)) in STORMS.into_iter().enumerate() {
        let mut lane = Lane::open(target.clone(), CONNECTIONS)?;
        let disturber = &disturber;
        let load = move || {
            let began = Instant::now();
            disturber.borrow_mut().tell(&format!("{storm} {most}"))?;
            let load = lane.fixed_rate(RATE, TURN);
            disturber.borrow_mut().rest(at, began)?;
            load
        };
        parties.push(Party { name: storm, servers: vec![&forepost], load: Box::new(load) });
    }
    let (began, before) = (Instant::now(), cpu::waited()?);
    let slices = duel::run(&mut parties, cycles)?;
    drop(parties);
    let waited = Duration::from_nanos(cpu::waited()? - before).as_secs_f64() / began.elapsed().as_secs_f64();
    report.method.push(format!(
        "Storms: others had the measuring client's core for {:.1} % of the time; above some tenths of 1 % its latencies are not to \
         be quoted.",
        100.0 * waited
    ));
    tell(report, &slices, disturber.borrow().done)?;
    crowd(stage, report)
}

fn tell(report: &mut Report, slices: &Slices, done: [(u64, f64); STORMS.len()]) -> Fallible<()> {
    report.method.push(format!(
        "Storms: {RATE} checks a second on {CONNECTIONS} connections, slices of {} ms. The daemon has one core; the process that disturbs it, \
         and the provider, take what it leaves of that core (idle policy), and the client that measures has its own.",
        TURN.as_millis()
    ));
    let quiet = |what, value: fn(&Slice) -> f64| {
        let value = Estimate::exactly(slices.median(QUIET, value)? / 1000.0);
        Fallible::Ok(Row::new(&format!("checks at {RATE}/s, quiet: {what}"), value, Unit::Microseconds))
    };
    report.proportion("storms", QUIET, slices.median(QUIET, Slice::cpu)?, slices.median(QUIET, Slice::rate)?);
    report.rows.extend([quiet("p50", Slice::p50)?, quiet("p99", Slice::p99)?]);
    for ((storm, name), (count, seconds)) in STORMS.into_iter().zip(done) {
        report.rows.extend([
            Row::ratio(&format!("p99 of checks beside {name} ÷ quiet"), slices.ratio(storm, QUIET, Slice::p99)?),
            Row::ratio(&format!("p50 of checks beside {name} ÷ quiet"), slices.ratio(storm, QUIET, Slice::p50)?),
        ]);
        // How busy the daemon is, which is what checks wait for.
        report.proportion("storms", storm, slices.median(storm, Slice::cpu)?, slices.median(storm, Slice::rate)?);
        let rate = Estimate::exactly(as_f64(count) / seconds);
        if storm != KEYS {
            report.rows.push(Row::new(&format!("{name}: done meanwhile, all successful"), rate, Unit::PerSecond));
        }
    }
    Ok(())
}

/// As many logins at once as there are users; they queue.
fn crowd(stage: &Stage, report: &mut Report) -> Fallible<()> {
    let door = Arc::new(Door::new(stage.forepost.address, stage.provider.address()));
    let began = Instant::now();
    let (failed, first) = stage.runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for number in 0..USERS {
            let door = Arc::clone(&door);
            tasks.spawn(async move { door.login(&login_name(number), None).await.map(drop) });
        }
        let (mut failed, mut first) = (0, None);
        while let Some(done) = tasks.join_next().await {
            if let Err(error) = done? {
                failed += 1;
                first.get_or_insert(error);
            }
        }
        Fallible::Ok((failed, first))
    })?;
    if let Some(error) = first {
        report.method.push(format!("A login of {USERS} at once failed: {error}"));
    }
    let seconds = began.elapsed().as_secs_f64();
    let failures =
        Row::new(&format!("failures of {USERS} logins at once"), Estimate::exactly(as_f64(failed)), Unit::Count);
    let rate = Estimate::exactly(as_f64(USERS as u64) / seconds);
    report.rows.extend([
        failures.goal(Goal { must: 0.0, aim: 0.0 }),
        Row::new("the same: logins, browsers and provider on the client's core", rate, Unit::PerSecond),
    ]);
    Ok(())
}
