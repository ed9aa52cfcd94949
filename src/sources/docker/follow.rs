//! Follows an engine: a list, events, another list.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::engine::{Container, Engine, EngineError};
use crate::limit::Backoff;

/// How fast an engine is followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Events so close to each other cause one list.
    pub(super) quiet: Duration,
    /// After the first of several events a list comes at last after this time.
    pub(super) burst: Duration,
    /// A list comes at least so often: a connection can be dead for long before the system knows.
    pub(super) interval: Duration,
    /// The first pause after the engine went away, and the longest one.
    pub(super) pauses: (Duration, Duration),
    /// A visit that lasted so long was a good one: the next pause is the first one again.
    pub(super) good_visit: Duration,
    /// For an answer to arrive whole; events have no end.
    pub(super) answer: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(200),
            burst: Duration::from_secs(2),
            interval: Duration::from_mins(5),
            pauses: (Duration::from_millis(500), Duration::from_secs(30)),
            good_visit: Duration::from_mins(1),
            answer: Duration::from_secs(30),
        }
    }
}

/// What is known of an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The last list; `None` before the first one.
    pub(super) containers: Option<Arc<[Container]>>,
    /// Why the list is old.
    pub(super) away: Option<String>,
}

/// Keeps `seen` up to date until its receivers are gone.
pub(super) async fn follow(engine: Engine, pace: Pace, seen: watch::Sender<Seen>) {
    let mut backoff = Backoff::new(pace.pauses.0, pace.pauses.1);
    loop {
        let began = Instant::now();
        let error = tokio::select! {
            error = visit(&engine, pace, &seen) => error,
            () = seen.closed() => return,
        };
        let away = error.to_string();
        tracing::debug!(endpoint = %engine.endpoint, error = %away, "the container engine cannot be followed");
        seen.send_if_modified(|seen| {
            let changes = seen.away.as_ref() != Some(&away);
            seen.away = Some(away);
            changes
        });
        if began.elapsed() >= pace.good_visit {
            backoff.reset();
        }
        tokio::select! {
            () = sleep(backoff.pause()) => {}
            () = seen.closed() => return,
        }
    }
}

/// Lists containers, at once and after each event, until the engine goes away.
async fn visit(engine: &Engine, pace: Pace, seen: &watch::Sender<Seen>) -> EngineError {
    let greeting = match engine.greet().await {
        Ok(greeting) => greeting,
        Err(error) => return error,
    };
    let (changed, mut changes) = mpsc::channel(1);
    // When an event waits already, the list that it causes comes after this one too.
    let events = engine.events(&greeting, || _ = changed.try_send(()));
    let lists = async {
        loop {
            match engine.containers(&greeting).await {
                Ok(containers) => seen.send_if_modified(|seen| {
                    let new = Seen { containers: Some(containers.into()), away: None };
                    let changes = *seen != new;
                    *seen = new;
                    changes
                }),
                Err(error) => return error,
            };
            if let Ok(Some(())) = timeout(pace.interval, changes.recv()).await {
                quiet(&mut changes, pace).await;
            }
        }
    };
    tokio::select! {
        error = events => error,
        error = lists => error,
    }
}

/// Waits until no event has come for a moment.
async fn quiet(changes: &mut mpsc::Receiver<()>, pace: Pace) {
    let end = Instant::now() + pace.burst;
    let none = async { while let Ok(Some(())) = timeout(pace.quiet, changes.recv()).await {} };
    tokio::select! {
        () = none => {}
        () = sleep_until(end) => {}
    }
}
