//! What a user sees: a page behind a real proxy that asks forepost, beside the same page behind the same proxy that does not.

use super::Fallible;
use super::client::Lane;
use super::connection::{Target, sample};
use super::duel::{self, Party, Slice, Slices};
use super::expected::{Expected, find};
use super::nginx::Asks;
use super::options::Options;
use super::parts::{FEWEST, KEPT_UP, SLICE, note};
use super::report::{Report, Row, Unit};
use super::request::Request;
use super::servers::Server;
use super::stage::{FEW, Stage};

/// Browsers' connections to each proxy, as many as nginx keeps to forepost in our example.
const CONNECTIONS: usize = 32;

/// Requests in a second, where latencies are measured: few enough that no request waits for another.
const NGINX_RATE: u32 = 1000;
const TRAEFIK_RATE: u32 = 250;

const NGINX: &str = "nginx, no auth";
const NGINX_ASKS: &str = "nginx, auth_request";
const NGINX_ANEW: &str = "nginx, auth_request without keep-alive";
const TRAEFIK: &str = "Traefik, no auth";
const TRAEFIK_ASKS: &str = "Traefik, forwardAuth";

/// A proxy, and all who work for one of its answers.
struct Path<'a> {
    name: &'static str,
    /// Forepost last, where it is one of them.
    servers: Vec<&'a Server>,
    target: Target<'a>,
}

impl<'a> Path<'a> {
    /// In a closed loop, or so many times a second.
    fn party(&self, rate: Option<u32>) -> Fallible<Party<'a>> {
        let mut lane = Lane::open(self.target.clone(), CONNECTIONS)?;
        let load = move || match rate {
            None => lane.closed_loop(SLICE),
            Some(rate) => lane.fixed_rate(rate, SLICE),
        };
        Ok(Party { name: self.name, servers: self.servers.clone(), load: Box::new(load) })
    }
}

/// nginx with and without `auth_request`, Traefik with and without forwardAuth.
pub(crate) fn measure(stage: &Stage, options: &Options, report: &mut Report) -> Fallible<()> {
    let body = body();
    let page = stage.place.page(&body)?.listening()?;
    report.method.push(format!(
        "Through a proxy: {CONNECTIONS} connections of browsers, a page of {} bytes in an nginx of its own; CPU is that of proxy, \
         page and forepost together, all on one core. The proxies are configured as in examples/, without \
         access log.",
        body.len()
    ));
    through_nginx(stage, options, report, (&page, &body))?;
    through_traefik(stage, options, report, (&page, &body))
}

fn through_nginx(stage: &Stage, options: &Options, report: &mut Report, page: (&Server, &str)) -> Fallible<()> {
    let start = |asks| stage.place.gateway(asks, stage.forepost.address, page.0.address)?.listening();
    let (open, kept, anew) = (start(Asks::Never)?, start(Asks::KeepAlive)?, start(Asks::Anew)?);
    let paths = [
        path(stage, (NGINX, &open, false), page)?,
        path(stage, (NGINX_ASKS, &kept, true), page)?,
        path(stage, (NGINX_ANEW, &anew, true), page)?,
    ];
    let slices = Both::measure(&paths, NGINX_RATE, options)?;
    slices.compare(report, NGINX_ASKS, NGINX)?;
    slices.compare(report, NGINX_ANEW, NGINX)?;
    let price = slices.closed.ratio(NGINX_ANEW, NGINX_ASKS, Slice::cpu)?;
    report.rows.push(Row::ratio("nginx: CPU of the path without keep-alive to forepost ÷ with", price));
    slices.note(report, "nginx", &[NGINX, NGINX_ASKS, NGINX_ANEW])
}

fn through_traefik(stage: &Stage, options: &Options, report: &mut Report, page: (&Server, &str)) -> Fallible<()> {
    let start = |asks| stage.place.traefik(asks, stage.forepost.address, page.0.address);
    let (Some(open), Some(asks)) = (start(false)?, start(true)?) else {
        report.method.push("Through Traefik: LEFT OUT, there is no Traefik in PATH or FOREPOST_TEST_TOOLS.".to_owned());
        return Ok(());
    };
    let paths = [path(stage, (TRAEFIK, &open, false), page)?, path(stage, (TRAEFIK_ASKS, &asks, true), page)?];
    let slices = Both::measure(&paths, TRAEFIK_RATE, options)?;
    slices.compare(report, TRAEFIK_ASKS, TRAEFIK)?;
    slices.note(report, "Traefik", &[TRAEFIK, TRAEFIK_ASKS])
}

/// Two kibibytes.
fn body() -> String {
    let line = "<p>Nothing on this page is of interest to anybody.</p>\n";
    format!("<!doctype html>\n<title>Projects</title>\n{}", line.repeat(2048 / line.len()))
}

/// The way through `gateway` to the page; where it asks forepost, the page has to be told the user of every session.
fn path<'a>(
    stage: &'a Stage,
    (name, gateway, asks): (&'static str, &'a Server, bool),
    (page, body): (&'a Server, &str),
) -> Fallible<Path<'a>> {
    let request = Request::of_browser(&stage.logins.cookie_name);
    let asker = &stage.logins.known[0];
    let answer = sample(gateway.address, &request, Some(asker))?;
    if find(&answer, b"set-cookie: ").is_some() {
        return Err(format!("{name} sets a cookie that was not asked for").into());
    }
    let expected =
        Expected::page(&answer, body.as_bytes(), asks.then_some(asker)).map_err(|error| format!("{name}: {error}"))?;
    let mut servers = vec![gateway, page];
    servers.extend(asks.then_some(&stage.forepost));
    let askers = &stage.logins.known[..FEW];
    Ok(Path { name, servers, target: Target { address: gateway.address, request, expected, askers } })
}

/// Slices in a closed loop, and such at a low rate.
struct Both {
    closed: Slices,
    paced: Slices,
    rate: u32,
}

impl Both {
    fn measure(paths: &[Path<'_>], rate: u32, options: &Options) -> Fallible<Self> {
        let run = |rate| {
            let parties = paths.iter().map(|path| path.party(rate));
            duel::run(&mut parties.collect::<Fallible<Vec<_>>>()?, options.cycles())
        };
        Ok(Self { closed: run(None)?, paced: run(Some(rate))?, rate })
    }

    /// All figures of one path beside another.
    fn compare(&self, report: &mut Report, path: &str, baseline: &str) -> Fallible<()> {
        let closed = |value: fn(&Slice) -> f64| self.closed.ratio(path, baseline, value);
        report.rows.extend([
            Row::ratio(&format!("{path}: CPU of the whole path ÷ no auth"), closed(Slice::cpu)?),
            Row::ratio("the same: requests/s ÷ no auth", closed(Slice::rate)?),
        ]);
        let rate = self.rate;
        // Where the page alone was late, others had the machine.
        let paced = self.paced.only(baseline, |slice| slice.rate() > KEPT_UP * f64::from(rate))?;
        if paced.len() < FEWEST {
            report
                .method
                .push(format!("{path} at {rate}/s: too few cycles to judge by; try when the machine is free."));
            return Ok(());
        }
        let added = paced.compared(path, baseline, |one, other| (one.p50() - other.p50()) / 1000.0)?;
        report.rows.extend([
            Row::ratio(&format!("the same: p50 at {rate}/s ÷ no auth"), paced.ratio(path, baseline, Slice::p50)?),
            Row::new(&format!("the same: added to p50 at {rate}/s"), added, Unit::Microseconds),
        ]);
        Ok(())
    }

    fn note(&self, report: &mut Report, proxy: &str, names: &[&'static str]) -> Fallible<()> {
        for name in names {
            let share = 100.0 * self.closed.median(name, Slice::last_share)?;
            if *name != NGINX && *name != TRAEFIK {
                report.method.push(format!("{name}: forepost is {share:.0} % of the CPU of the whole path."));
            }
        }
        note(report, &format!("through {proxy}"), &self.closed, names)?;
        note(report, &format!("through {proxy}, {}/s", self.rate), &self.paced, names)
    }
}
