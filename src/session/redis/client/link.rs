//! A connection to one server that is opened again when it breaks.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::commands::command;
use super::connection::{Connection, Connector};
use super::error::RedisError;
use super::sentinel::Sentinels;
use super::settings::RedisAddress;
use super::stream::history;
use super::value::only;
use crate::limit::Backoff;

/// The first pause after a failed connection; it doubles up to the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The server of a link.
pub(super) enum Target {
    /// The server at this address.
    Server(RedisAddress),
    /// The present master.
    Master(Sentinels),
}

/// A connection that is opened when it is needed, replaced when it is broken, and shared by all operations.
pub(super) struct Link {
    target: Target,
    connector: Arc<Connector>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<(Connection, RedisAddress)>,
    /// The number of connections so far.
    number: u64,
    pauses: Pauses,
}

/// The growing, random pause after failed connections.
pub(super) struct Pauses {
    backoff: Backoff,
    /// Until when no attempt is made, and the error of the last one.
    until: Option<(Instant, String)>,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE), until: None }
    }
}

impl Link {
    pub(super) fn new(target: Target, connector: Arc<Connector>) -> Self {
        Self { target, connector, state: Mutex::default() }
    }

    /// Sends the commands, over a new connection where there is none; a broken connection is not used again.
    pub(super) async fn send(&self, commands: &[Cmd], deadline: Instant) -> Result<Vec<Value>, RedisError> {
        let (connection, number) = self.connected(deadline).await?;
        let sent = connection.send(commands, deadline).await;
        let spoilt = sent.as_ref().map_or(true, |answers| {
            answers.iter().any(|answer| matches!(answer, Value::ServerError(error) if RedisError::is_misplaced(error)))
        });
        if spoilt {
            let mut state = self.state.lock().await;
            if state.number == number {
                state.connection = None;
            }
        }
        sent
    }

    async fn connected(&self, deadline: Instant) -> Result<(Connection, u64), RedisError> {
        let mut state = timeout_at(deadline, self.state.lock()).await.map_err(|_| self.connector.timed_out())?;
        if let Some((connection, _)) = &state.connection {
            return Ok((connection.clone(), state.number));
        }
        state.pauses.is_over()?;
        match timeout_at(deadline, self.connect(deadline)).await.map_err(|_| self.connector.timed_out()).flatten() {
            Ok((connection, address)) => {
                state.pauses.reset();
                state.number += 1;
                state.connection = Some((connection.clone(), address));
                Ok((connection, state.number))
            }
            Err(error) => {
                state.pauses.prolong(&error);
                Err(error)
            }
        }
    }

    /// A connection for the caller alone, and its address.
    pub(super) async fn connect(&self, deadline: Instant) -> Result<(Connection, RedisAddress), RedisError> {
        match &self.target {
            Target::Server(address) => Ok((self.connector.connect(address, deadline).await?, address.clone())),
            Target::Master(sentinels) => {
                let address = sentinels.master(deadline).await?;
                let connection = self.connector.connect(&address, deadline).await?;
                // Sentinels may be ahead of the server, or behind it.
                let answers = connection.send(&[command("INFO", &[b"replication"])], deadline).await?;
                history(&only(answers)?)?;
                Ok((connection, address))
            }
        }
    }

    /// Fails unless the link still leads to `address`. A shared connection to another server is not used again, even where that
    /// server takes itself for the master.
    pub(super) async fn leads_to(&self, address: &RedisAddress, deadline: Instant) -> Result<(), RedisError> {
        let Target::Master(sentinels) = &self.target else { return Ok(()) };
        if sentinels.master(deadline).await? != *address {
            return Err(RedisError::Away("the master is another one".to_owned()));
        }
        let mut state = timeout_at(deadline, self.state.lock()).await.map_err(|_| self.connector.timed_out())?;
        if state.connection.as_ref().is_some_and(|(_, connected)| connected != address) {
            state.connection = None;
        }
        Ok(())
    }

    /// Does not use the present connection again.
    pub(super) async fn reset(&self, deadline: Instant) -> Result<(), RedisError> {
        timeout_at(deadline, self.state.lock()).await.map_err(|_| self.connector.timed_out())?.connection = None;
        Ok(())
    }

    pub(super) const fn target(&self) -> &Target {
        &self.target
    }
}

impl Pauses {
    /// Notes a success.
    pub(super) fn reset(&mut self) {
        self.backoff.reset();
        self.until = None;
    }

    /// Whether nothing failed since the last success.
    pub(super) const fn is_first(&self) -> bool {
        self.until.is_none()
    }

    /// Fails with the last error, while no new attempt is due.
    fn is_over(&self) -> Result<(), RedisError> {
        match &self.until {
            Some((until, why)) if Instant::now() < *until => Err(RedisError::Away(why.clone())),
            _ => Ok(()),
        }
    }

    /// Notes a failure; returns the pause, between half and the whole of a length that doubles.
    pub(super) fn prolong(&mut self, error: &RedisError) -> Duration {
        // Without randomness the pause is the whole length.
        let share = getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX));
        let pause = self.backoff.pause().mul_f64(0.5 + share / 2.0);
        let why = match error {
            RedisError::Away(why) => why.clone(),
            other => other.to_string(),
        };
        self.until = Some((Instant::now() + pause, why));
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_they_are_long() {
        let mut pauses = Pauses::default();
        assert!(pauses.is_first() && pauses.is_over().is_ok());
        for whole in [50, 100, 200, 400, 800, 1600, 2000, 2000, 2000, 2000, 2000, 2000, 2000] {
            let whole = Duration::from_millis(whole);
            let length = pauses.prolong(&RedisError::Away("why".to_owned()));
            assert!((whole / 2..=whole).contains(&length), "{length:?} of {whole:?}");
            assert!(!pauses.is_first());
            assert_eq!(pauses.is_over(), Err(RedisError::Away("why".to_owned())));
            let (until, _) = pauses.until.as_mut().unwrap();
            assert!(*until <= Instant::now() + length);
            *until = Instant::now();
            assert_eq!(pauses.is_over(), Ok(()));
        }
    }
}
