//! The side that asks over HTTP/1.1: one thread, sockets that never block, and a look at every answer.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use tokio::time::Instant;

use super::Fallible;
use super::expected::Expected;
use super::request::Request;
use super::sessions::Known;
use super::stats::Dice;

/// Keep-alive connections to each target.
pub(crate) const CONNECTIONS: usize = 64;

/// An answer that does not come within this time never comes.
const STUCK: Duration = Duration::from_secs(5);

/// No answer is longer.
const BUFFER: usize = 16 * 1024;

/// Which sessions ask, in random order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Askers<'a>(pub(crate) &'a [Known]);

impl<'a> Askers<'a> {
    fn pick(self, dice: &mut Dice) -> Option<&'a Known> {
        (!self.0.is_empty()).then(|| &self.0[dice.below(self.0.len())])
    }
}

/// What is asked of whom.
#[derive(Clone, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) request: Request,
    pub(crate) expected: Expected,
    pub(crate) askers: Askers<'a>,
}

/// One connection, and the question that it waits with.
pub(crate) struct Connection<'a> {
    stream: TcpStream,
    question: Vec<u8>,
    answer: Box<[u8]>,
    have: usize,
    asked: Option<&'a Known>,
}

impl<'a> Connection<'a> {
    fn new(stream: TcpStream, question: &[u8]) -> Self {
        let answer = vec![0; BUFFER].into_boxed_slice();
        Self { stream, question: question.to_vec(), answer, have: 0, asked: None }
    }

    /// Asks for whom the dice choose.
    fn ask(&mut self, target: &Target<'a>, dice: &mut Dice) -> Fallible<()> {
        self.asked = target.askers.pick(dice);
        if let (Some(place), Some(known)) = (&target.request.token, self.asked) {
            self.question[place.clone()].copy_from_slice(&known.token);
        }
        self.have = 0;
        // A question is smaller than an empty socket's buffer.
        let written = self.stream.write(&self.question)?;
        if written == self.question.len() { Ok(()) } else { Err("a question did not fit into a socket".into()) }
    }

    /// Takes in what has come; true: the answer is whole, and right.
    fn hear(&mut self, expected: &Expected) -> Fallible<bool> {
        loop {
            match self.stream.read(&mut self.answer[self.have..]) {
                Ok(0) => return Err(self.cut("the server closed the connection")),
                Ok(more) => self.have += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
            if self.have >= expected.length {
                expected.check(&self.answer[..self.have], self.asked)?;
                return Ok(true);
            }
        }
    }

    fn cut(&self, why: &str) -> super::Mistake {
        format!("{why} after:\n{}", String::from_utf8_lossy(&self.answer[..self.have])).into()
    }
}

/// The connections to one target.
pub(crate) struct Lane<'a> {
    target: Target<'a>,
    poll: Poll,
    events: Events,
    connections: Vec<Connection<'a>>,
    dice: Dice,
}

impl<'a> Lane<'a> {
    /// Connects.
    pub(crate) fn open(target: Target<'a>) -> Fallible<Self> {
        let poll = Poll::new()?;
        let mut connections = Vec::with_capacity(CONNECTIONS);
        for at in 0..CONNECTIONS {
            let stream = std::net::TcpStream::connect(target.address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(at), Interest::READABLE)?;
            connections.push(Connection::new(stream, &target.request.bytes));
        }
        Ok(Self { target, poll, events: Events::with_capacity(CONNECTIONS), connections, dice: Dice::new(1) })
    }

    /// Asks on every connection again as soon as it is answered, for `time`; how many were answered.
    pub(crate) fn closed_loop(&mut self, time: Duration) -> Fallible<u64> {
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
                return Err(stuck(connections));
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
        Ok(answered)
    }
}

fn stuck(connections: &[Connection<'_>]) -> super::Mistake {
    match connections.iter().find(|connection| connection.have > 0) {
        Some(connection) => connection.cut("nothing more came"),
        None => "no answer comes".into(),
    }
}

/// The answer to one question, read until nothing more comes for a while.
pub(crate) fn sample(address: SocketAddr, request: &Request, known: Option<&Known>) -> Fallible<Vec<u8>> {
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut question = request.bytes.clone();
    if let (Some(place), Some(known)) = (&request.token, known) {
        question[place.clone()].copy_from_slice(&known.token);
    }
    stream.write_all(&question)?;
    let mut answer = Vec::new();
    let mut part = [0; BUFFER];
    loop {
        match stream.read(&mut part) {
            Ok(0) => return Ok(answer),
            Ok(more) => answer.extend_from_slice(&part[..more]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(answer),
            Err(error) => return Err(error.into()),
        }
    }
}
