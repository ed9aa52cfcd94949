//! The parts of the benchmark, each a comparison or a reading that ends in rows of the report.

use std::time::Duration;

use super::client::{CONNECTIONS, Lane};
use super::duel::{self, Load, Party, Slice, Slices};
use super::fresh::Fresh;
use super::http2::{self, Streams};
use super::options::Options;
use super::report::{Goal, Report, Row, Unit};
use super::servers::Server;
use super::stage::{FEW, Stage};
use super::stats::{Estimate, as_f64};
use super::{Fallible, connection::Target};

/// One turn of one party.
pub(crate) const SLICE: Duration = Duration::from_millis(100);

/// Of a fixed rate, the share below which a slice was late.
pub(crate) const KEPT_UP: f64 = 0.95;

/// Cycles that a ratio of latencies needs.
pub(crate) const FEWEST: usize = 3;

const FOREPOST: &str = "forepost, allowed";
const NGINX: &str = "nginx return 200";
const TUNED: &str = "nginx, header buffer 4k";
const HELLO: &str = "hyper hello";
const DENIED: &str = "forepost, denied (401)";
const PUBLIC: &str = "forepost, public path";

fn party<'a>(name: &'static str, server: &'a Server, load: impl FnMut() -> Fallible<Load> + 'a) -> Party<'a> {
    Party { name, servers: vec![server], load: Box::new(load) }
}

fn closed<'a>(name: &'static str, server: &'a Server, target: Target<'a>) -> Fallible<Party<'a>> {
    let mut lane = Lane::open(target, CONNECTIONS)?;
    Ok(party(name, server, move || lane.closed_loop(SLICE)))
}

/// The processor time of each party beside that of a baseline, and what it was, to show proportions.
pub(crate) fn note(report: &mut Report, part: &str, slices: &Slices, names: &[&'static str]) -> Fallible<()> {
    for name in names {
        report.proportion(part, name, slices.median(name, Slice::cpu)?, slices.median(name, Slice::rate)?);
    }
    Ok(())
}

/// Keep-alive, closed loop, a thousand sessions.
pub(crate) fn closed_loop(stage: &Stage, options: &Options, report: &mut Report) -> Fallible<()> {
    let mut parties = [
        closed(FOREPOST, &stage.forepost, stage.allowed(FEW))?,
        closed(NGINX, &stage.nginx, stage.to_nginx(&stage.nginx))?,
        closed(TUNED, &stage.tuned_nginx, stage.to_nginx(&stage.tuned_nginx))?,
        closed(HELLO, &stage.hello, stage.to_hello())?,
        closed(DENIED, &stage.forepost, stage.denied())?,
        closed(PUBLIC, &stage.forepost, stage.public())?,
    ];
    let slices = duel::run(&mut parties, options.cycles())?;
    let cpu = |one, other| slices.ratio(one, other, Slice::cpu);
    let rows = [
        Row::ratio("CPU of an allowed check, 1,000 sessions ÷ nginx", cpu(FOREPOST, NGINX)?)
            .goal(Goal { must: 1.20, aim: 1.05 })
            .bar("forepost, 1,000 sessions"),
        Row::ratio("the same ÷ hyper hello", cpu(FOREPOST, HELLO)?).goal(Goal { must: 1.15, aim: 1.02 }),
        Row::ratio("the same ÷ nginx with client_header_buffer_size 4k", cpu(FOREPOST, TUNED)?),
        Row::ratio("nginx with that ÷ nginx", cpu(TUNED, NGINX)?).bar("nginx, larger header buffer"),
        Row::ratio("hyper hello ÷ nginx", cpu(HELLO, NGINX)?).bar("hyper, the same 12 headers"),
        Row::ratio("denied (401 to a fetch) ÷ allowed", cpu(DENIED, FOREPOST)?).goal(Goal { must: 1.1, aim: 1.0 }),
        Row::ratio("denied ÷ nginx", cpu(DENIED, NGINX)?).bar("forepost, 401 to a fetch"),
        Row::ratio("public path ÷ nginx", cpu(PUBLIC, NGINX)?).bar("forepost, public path"),
    ];
    report.rows.extend(rows);
    note(report, "closed loop", &slices, &[FOREPOST, NGINX, TUNED, HELLO, DENIED, PUBLIC])
}

/// One session, a thousand, all of them.
pub(crate) fn sessions(stage: &Stage, options: &Options, report: &mut Report) -> Fallible<()> {
    const HOT: &str = "forepost, one session";
    const SOME: &str = "forepost, 1,000 sessions";
    const ALL: &str = "forepost, all sessions";
    let all = stage.logins.known.len();
    let mut parties = [
        closed(HOT, &stage.forepost, stage.allowed(1))?,
        closed(SOME, &stage.forepost, stage.allowed(FEW))?,
        closed(ALL, &stage.forepost, stage.allowed(all))?,
        closed(NGINX, &stage.nginx, stage.to_nginx(&stage.nginx))?,
    ];
    let slices = duel::run(&mut parties, options.cycles())?;
    let cpu = |one, other| slices.ratio(one, other, Slice::cpu);
    let count = grouped(all);
    let rows = [
        Row::ratio(&format!("{count} sessions at random ÷ one hot session"), cpu(ALL, HOT)?)
            .goal(Goal { must: 1.25, aim: 1.10 }),
        Row::ratio("1,000 sessions ÷ one hot session", cpu(SOME, HOT)?),
        Row::ratio("one hot session ÷ nginx", cpu(HOT, NGINX)?).bar("forepost, one session"),
        Row::ratio(&format!("{count} sessions ÷ nginx"), cpu(ALL, NGINX)?).bar(&format!("forepost, {count} sessions")),
    ];
    report.rows.extend(rows);
    note(report, "working set", &slices, &[HOT, SOME, ALL, NGINX])
}

/// Latency at fixed rates.
pub(crate) fn rates(stage: &Stage, options: &Options, report: &mut Report) -> Fallible<()> {
    for (rate, label) in [(20_000, "20,000/s"), (5_000, "5,000/s")] {
        let mut parties = Vec::new();
        for (name, server, target) in [
            (FOREPOST, &stage.forepost, stage.allowed(FEW)),
            (NGINX, &stage.nginx, stage.to_nginx(&stage.nginx)),
            (HELLO, &stage.hello, stage.to_hello()),
        ] {
            let mut lane = Lane::open(target, CONNECTIONS)?;
            parties.push(party(name, server, move || lane.fixed_rate(rate, SLICE)));
        }
        let all = duel::run(&mut parties, options.cycles())?;
        note(report, label, &all, &[FOREPOST, NGINX, HELLO])?;
        // Where nginx could not keep up, others had the machine.
        let slices = all.only(NGINX, |slice| slice.rate() > KEPT_UP * f64::from(rate))?;
        report.method.push(format!(
            "{label}: nginx kept up in {} of {} cycles; only these count.",
            slices.len(),
            all.len()
        ));
        if slices.len() < FEWEST {
            report.method.push(format!("{label}: too few to judge by; try again when the machine is free."));
            continue;
        }
        let ratio = |one, value: fn(&Slice) -> f64| slices.ratio(one, NGINX, value);
        let p50 = Row::ratio(&format!("p50 at {label} ÷ nginx"), ratio(FOREPOST, Slice::p50)?);
        let p50 = if rate == 20_000 { p50.goal(Goal { must: 1.10, aim: 1.03 }) } else { p50 };
        report.rows.extend([
            p50,
            Row::ratio(&format!("p99 at {label} ÷ nginx"), ratio(FOREPOST, Slice::p99)?),
            Row::ratio(&format!("CPU at {label} ÷ nginx"), ratio(FOREPOST, Slice::cpu)?),
            Row::ratio(&format!("p50 of hyper hello at {label} ÷ nginx"), ratio(HELLO, Slice::p50)?),
        ]);
    }
    Ok(())
}

/// A new connection for each request.
pub(crate) fn connections(stage: &Stage, options: &Options, report: &mut Report) -> Fallible<()> {
    let mut parties = Vec::new();
    for (name, server, target) in [
        (FOREPOST, &stage.forepost, stage.allowed(FEW)),
        (NGINX, &stage.nginx, stage.to_nginx(&stage.nginx)),
        (HELLO, &stage.hello, stage.to_hello()),
    ] {
        let mut fresh = Fresh::new(target)?;
        parties.push(party(name, server, move || fresh.closed_loop(SLICE)));
    }
    let slices = duel::run(&mut parties, options.cycles())?;
    let cpu = |one, other| slices.ratio(one, other, Slice::cpu);
    report.rows.extend([
        Row::ratio("new connection for each request ÷ nginx", cpu(FOREPOST, NGINX)?),
        Row::ratio("the same ÷ hyper hello", cpu(FOREPOST, HELLO)?),
    ]);
    note(report, "new connections", &slices, &[FOREPOST, NGINX, HELLO])
}

/// HTTP/2 without TLS.
pub(crate) fn http2(stage: &Stage, options: &Options, report: &mut Report) -> Fallible<()> {
    let askers = http2::askers(&stage.logins.known[..FEW], &stage.logins.cookie_name)?;
    let mut parties = Vec::new();
    for (name, server) in [(FOREPOST, &stage.forepost), (NGINX, &stage.nginx), (HELLO, &stage.hello)] {
        let mut streams = Streams::open(&stage.runtime, server.http2, &askers, name == FOREPOST)?;
        parties.push(party(name, server, move || streams.closed_loop(SLICE)));
    }
    let slices = duel::run(&mut parties, options.cycles())?;
    let cpu = |one, other| slices.ratio(one, other, Slice::cpu);
    report.rows.extend([
        Row::ratio("HTTP/2 ÷ nginx", cpu(FOREPOST, NGINX)?),
        Row::ratio("HTTP/2 ÷ hyper hello", cpu(FOREPOST, HELLO)?),
    ]);
    note(report, "HTTP/2", &slices, &[FOREPOST, NGINX, HELLO])
}

/// Memory without sessions, memory of a session, processor time of a login.
pub(crate) fn memory(stage: &Stage, report: &mut Report) {
    let mebibytes = as_f64(stage.idle.resident) / f64::from(1 << 20);
    let idle = Row::new("memory without sessions", Estimate::exactly(mebibytes), Unit::Mebibytes);
    report.rows.push(idle.goal(Goal { must: 15.0, aim: 8.0 }));
    let payload = as_f64(stage.payload as u64);
    let Some(((few, before), rest)) = stage.grown.split_first() else { return };
    for (count, after) in rest {
        let more = as_f64(after.anonymous.saturating_sub(before.anonymous));
        let each = more / as_f64((count - few) as u64);
        let label = grouped(*count);
        report.rows.push(Row::new(
            &format!("memory that a login leaves, of {label}"),
            Estimate::exactly(each),
            Unit::Bytes,
        ));
        // The session's own share is exact in the counts: this has what else a login leaves for a while, and gaps.
        report.rows.push(Row::ratio(
            &format!("the same ÷ the session's payload, {} bytes", stage.payload),
            Estimate::exactly(each / payload),
        ));
    }
    if let Some(login) = Estimate::of(&stage.login_cpu) {
        let microseconds = login.map(|nanoseconds| nanoseconds / 1000.0);
        report.rows.push(Row::new(
            "CPU of a login, with its redirect and a first check",
            microseconds,
            Unit::Microseconds,
        ));
    }
}

/// With commas between thousands.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let parts: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    parts.join(",")
}
