//! From the start of a process to its first answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::Fallible;
use super::options::Options;
use super::report::{Goal, Report, Row, Unit};
use super::request::{Question, Request};
use super::servers::Server;
use super::stage::Stage;
use super::stats::Estimate;

const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// Between two tries.
const PAUSE: Duration = Duration::from_micros(200);

/// Forepost beside nginx and hyper, in rotation: to the answer of `ping`, and to the first check that can be answered, which
/// needs the provider.
pub(crate) fn measure(stage: &Stage, options: &Options, report: &mut Report) -> Fallible<()> {
    let ping = b"GET /outpost.goauthentik.io/ping HTTP/1.1\r\nHost: forepost:9000\r\n\r\n";
    let check = Request::new(Question::Allowed, "unknown").bytes;
    let [mut pings, mut checks, mut over_nginx, mut over_hello] = [const { Vec::<f64>::new() }; 4];
    for _ in 0..options.starts() {
        let began = Instant::now();
        let forepost = stage.place.forepost(stage.provider.issuer(), options)?;
        let ping = first_answer(&forepost, began, ping, "204")?;
        let first = first_answer(&forepost, began, &check, "302")?;
        drop(forepost);
        let began = Instant::now();
        let nginx = first_answer(&stage.place.nginx("x: y\n", "")?, began, &check, "200")?;
        let began = Instant::now();
        let hello = first_answer(&stage.place.hello("x: y\n")?, began, &check, "200")?;
        pings.push(ping);
        checks.push(first);
        over_nginx.push(first / nginx);
        over_hello.push(first / hello);
    }
    let estimate = |values: &[f64]| Estimate::of(values).ok_or("nothing was started");
    report.rows.extend([
        Row::new("start to the answer of ping", estimate(&pings)?, Unit::Milliseconds),
        Row::new("start to the first check, provider up", estimate(&checks)?, Unit::Milliseconds)
            .goal(Goal { must: 100.0, aim: 30.0 }),
        Row::ratio("the same ÷ nginx's start", estimate(&over_nginx)?),
        Row::ratio("the same ÷ hyper hello's start", estimate(&over_hello)?),
    ]);
    Ok(())
}

/// Milliseconds since `began` until `request` is answered with `status`.
fn first_answer(server: &Server, began: Instant, request: &[u8], status: &str) -> Fallible<f64> {
    let wanted = format!("HTTP/1.1 {status} ");
    while began.elapsed() < STARTS_WITHIN {
        if ask(server, request).is_ok_and(|answer| answer.starts_with(wanted.as_bytes())) {
            return Ok(began.elapsed().as_secs_f64() * 1000.0);
        }
        thread::sleep(PAUSE);
    }
    Err(format!("a server that was started does not answer {status}").into())
}

fn ask(server: &Server, request: &[u8]) -> Fallible<Vec<u8>> {
    let mut stream = TcpStream::connect(server.address)?;
    stream.set_read_timeout(Some(STARTS_WITHIN))?;
    stream.write_all(request)?;
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}
