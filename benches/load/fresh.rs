//! A new connection for each request, as a proxy without keep-alive makes them.

use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use tokio::time::Instant;

use super::Fallible;
use super::client::STUCK;
use super::connection::{Connection, Target, stuck};
use super::duel::Load;
use super::stats::Dice;

/// Requests under way at once.
const AT_ONCE: usize = 16;

/// Connects, asks, is answered, closes.
pub(crate) struct Fresh<'a> {
    target: Target<'a>,
    poll: Poll,
    events: Events,
    slots: Vec<Slot<'a>>,
    dice: Dice,
}

struct Slot<'a> {
    connection: Option<Connection<'a>>,
    asked: bool,
}

impl<'a> Fresh<'a> {
    pub(crate) fn new(target: Target<'a>) -> Fallible<Self> {
        let slots = (0..AT_ONCE).map(|_| Slot { connection: None, asked: false }).collect();
        Ok(Self { target, poll: Poll::new()?, events: Events::with_capacity(AT_ONCE), slots, dice: Dice::new(1) })
    }

    /// Asks in every slot again as soon as it is answered, for `time`.
    pub(crate) fn closed_loop(&mut self, time: Duration) -> Fallible<Load> {
        let Self { target, poll, events, slots, dice } = self;
        let end = Instant::now() + time;
        for (at, slot) in slots.iter_mut().enumerate() {
            slot.connect(at, target, poll)?;
        }
        let mut under_way = slots.len();
        let mut answered = 0;
        while under_way > 0 {
            poll.poll(events, Some(STUCK))?;
            if events.is_empty() {
                return Err(stuck(slots.iter().filter_map(|slot| slot.connection.as_ref())));
            }
            for event in events.iter() {
                let at = event.token().0;
                if !slots[at].go_on(target, dice)? {
                    continue;
                }
                answered += 1;
                slots[at].connection = None;
                if Instant::now() < end {
                    slots[at].connect(at, target, poll)?;
                } else {
                    under_way -= 1;
                }
            }
        }
        Ok(Load { answered, latencies: Vec::new() })
    }
}

impl<'a> Slot<'a> {
    fn connect(&mut self, at: usize, target: &Target<'a>, poll: &Poll) -> Fallible<()> {
        let mut stream = TcpStream::connect(target.address)?;
        poll.registry().register(&mut stream, Token(at), Interest::READABLE | Interest::WRITABLE)?;
        *self = Self { connection: Some(Connection::new(stream, &target.request.bytes)), asked: false };
        Ok(())
    }

    /// Asks once connected, then listens; true: answered.
    fn go_on(&mut self, target: &Target<'a>, dice: &mut Dice) -> Fallible<bool> {
        let Some(connection) = &mut self.connection else { return Ok(false) };
        if self.asked {
            return connection.hear(&target.expected);
        }
        if let Some(error) = connection.stream.take_error()? {
            return Err(error.into());
        }
        // Not connected yet: another event will come.
        if connection.stream.peer_addr().is_ok() {
            connection.ask(target, dice)?;
            self.asked = true;
        }
        Ok(false)
    }
}
