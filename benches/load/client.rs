//! The side that asks over HTTP/1.1: one thread, keep-alive connections, sockets that never block.

use std::collections::VecDeque;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use tokio::time::Instant;

use super::Fallible;
use super::connection::{Connection, Target, stuck};
use super::duel::Load;
use super::stats::{Dice, as_f64};

/// Keep-alive connections to each target, where nothing else is said.
pub(crate) const CONNECTIONS: usize = 64;

/// An answer that does not come within this time never comes.
pub(crate) const STUCK: Duration = Duration::from_secs(5);

/// The connections to one target.
pub(crate) struct Lane<'a> {
    target: Target<'a>,
    poll: Poll,
    events: Events,
    connections: Vec<Connection<'a>>,
    dice: Dice,
}

impl<'a> Lane<'a> {
    /// Connects so many times.
    pub(crate) fn open(target: Target<'a>, count: usize) -> Fallible<Self> {
        let poll = Poll::new()?;
        let mut connections = Vec::with_capacity(count);
        for at in 0..count {
            let stream = std::net::TcpStream::connect(target.address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(at), Interest::READABLE)?;
            connections.push(Connection::new(stream, &target.request.bytes));
        }
        Ok(Self { target, poll, events: Events::with_capacity(count), connections, dice: Dice::new(1) })
    }

    /// Asks on every connection again as soon as it is answered, for `time`.
    pub(crate) fn closed_loop(&mut self, time: Duration) -> Fallible<Load> {
        let Self { target, poll, events, connections, dice } = self;
        let end = Instant::now() + time;
        for connection in connections.iter_mut() {
            connection.ask(target, dice)?;
        }
        let mut under_way = connections.len();
        let mut answered = 0;
        while under_way > 0 {
            poll.poll(events, Some(STUCK))?;
            if events.is_empty() {
                return Err(stuck(connections.iter()));
            }
            for event in events.iter() {
                let connection = &mut connections[event.token().0];
                if !connection.hear(&target.expected)? {
                    continue;
                }
                answered += 1;
                if Instant::now() < end {
                    connection.ask(target, dice)?;
                } else {
                    under_way -= 1;
                }
            }
        }
        Ok(Load { answered, latencies: Vec::new() })
    }

    /// Asks `rate` times a second for `time`, whether answers come or not, and never sleeps.
    ///
    /// A latency counts from the time at which the question was due, so a server that holds questions up is charged for those
    /// that wait behind them.
    pub(crate) fn fixed_rate(&mut self, rate: u32, time: Duration) -> Fallible<Load> {
        let Self { target, poll, events, connections, dice } = self;
        let interval = Duration::from_secs(1) / rate;
        let began = Instant::now();
        let mut due = vec![began; connections.len()];
        let mut idle: VecDeque<usize> = (0..connections.len()).collect();
        let mut next = began;
        let mut latencies = Vec::new();
        while next < began + time || idle.len() < connections.len() {
            let now = Instant::now();
            while next <= now
                && next < began + time
                && let Some(at) = idle.pop_front()
            {
                connections[at].ask(target, dice)?;
                due[at] = next;
                next += interval;
            }
            if now > began + time + STUCK {
                return Err(stuck(connections.iter()));
            }
            poll.poll(events, Some(Duration::ZERO))?;
            for event in events.iter() {
                let at = event.token().0;
                if connections[at].hear(&target.expected)? {
                    let nanoseconds = u64::try_from(due[at].elapsed().as_nanos()).unwrap_or(u64::MAX);
                    latencies.push(as_f64(nanoseconds));
                    idle.push_back(at);
                }
            }
        }
        Ok(Load { answered: latencies.len() as u64, latencies })
    }
}
