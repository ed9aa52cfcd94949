//! One HTTP/1.1 connection to a target: the question, the session that asks, and a look at every answer.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;

use super::expected::Expected;
use super::request::Request;
use super::sessions::Known;
use super::stats::Dice;
use super::{Fallible, Mistake};

/// No answer is longer.
const BUFFER: usize = 16 * 1024;

/// What is asked of whom.
#[derive(Clone, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) request: Request,
    pub(crate) expected: Expected,
    /// Whose sessions ask, in random order; empty where none is needed.
    pub(crate) askers: &'a [Known],
}

/// One connection, and the question that it waits with.
pub(crate) struct Connection<'a> {
    pub(crate) stream: TcpStream,
    question: Vec<u8>,
    answer: Box<[u8]>,
    have: usize,
    asked: Option<&'a Known>,
}

impl<'a> Connection<'a> {
    /// Asks nothing yet.
    pub(crate) fn new(stream: TcpStream, question: &[u8]) -> Self {
        let answer = vec![0; BUFFER].into_boxed_slice();
        Self { stream, question: question.to_vec(), answer, have: 0, asked: None }
    }

    /// Asks for whom the dice choose.
    pub(crate) fn ask(&mut self, target: &Target<'a>, dice: &mut Dice) -> Fallible<()> {
        let askers = target.askers;
        self.asked = (!askers.is_empty()).then(|| &askers[dice.below(askers.len())]);
        if let (Some(place), Some(known)) = (&target.request.token, self.asked) {
            self.question[place.clone()].copy_from_slice(&known.token);
        }
        self.have = 0;
        // A question is smaller than an empty socket's buffer.
        let written = self.stream.write(&self.question)?;
        if written == self.question.len() { Ok(()) } else { Err("a question did not fit into a socket".into()) }
    }

    /// Takes in what has come; true: the answer is whole, and right.
    pub(crate) fn hear(&mut self, expected: &Expected) -> Fallible<bool> {
        loop {
            match self.stream.read(&mut self.answer[self.have..]) {
                Ok(0) => return Err(self.cut("the server closed the connection")),
                Ok(more) => self.have += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
            if expected.is_whole(&self.answer[..self.have]) {
                expected.check(&self.answer[..self.have], self.asked)?;
                return Ok(true);
            }
        }
    }

    fn cut(&self, why: &str) -> Mistake {
        format!("{why} after:\n{}", String::from_utf8_lossy(&self.answer[..self.have])).into()
    }
}

/// Why nothing goes on.
pub(crate) fn stuck<'c>(mut connections: impl Iterator<Item = &'c Connection<'c>>) -> Mistake {
    match connections.find(|connection| connection.have > 0) {
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
