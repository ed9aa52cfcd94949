//! From start to stop: signals, and the one switch that begins a shutdown.

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A switch, turned once, that asks everything to finish.
///
/// Clones are the same switch. What is in flight may go on until [`Shutdown::deadline`].
#[derive(Clone, Debug)]
pub struct Shutdown {
    begun: CancellationToken,
    began_at: Arc<OnceLock<Instant>>,
    timeout: Duration,
}

impl Shutdown {
    /// A switch that leaves what is in flight `timeout` to finish.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { begun: CancellationToken::new(), began_at: Arc::default(), timeout }
    }

    /// Begins the shutdown; a second call changes nothing.
    pub fn begin(&self) {
        self.began_at.get_or_init(Instant::now);
        self.begun.cancel();
    }

    /// Whether the shutdown has begun: no new work, not ready.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.began_at.get().is_some()
    }

    /// Waits for the shutdown to begin.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// A token that is cancelled when the shutdown begins, for many waiters that should not share one lock.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.begun.child_token()
    }

    /// When everything must have ended; `None` before the shutdown has begun.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.began_at.get().map(|began_at| *began_at + self.timeout)
    }
}

/// Does `work` to its end, also when the request goes away that waits for it here.
///
/// For what must not stop between its parts: a session that ends, and the line that says so.
pub(crate) async fn to_the_end<T: Send + 'static>(
    tasks: &TaskTracker,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    match tasks.spawn(work).await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => resume_unwind(panic),
        // The runtime ends, and with it the task that waits here.
        Err(Err(_)) => std::future::pending().await,
    }
}

/// Begins the shutdown on SIGTERM or SIGINT; a second signal ends the process at once with code 1.
///
/// # Errors
///
/// The signal handlers could not be registered.
pub fn signals(shutdown: &Shutdown) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if shutdown.has_begun() {
                tracing::warn!(signal = name, "told to stop while stopping, exiting at once");
                std::process::exit(1);
            }
            tracing::info!(signal = name, timeout = ?shutdown.timeout, "stopping");
            shutdown.begin();
        }
    });
    Ok(())
}

/// Catches SIGHUP, which asks for the configuration to be read anew, and SIGUSR1 and SIGUSR2, which change nothing.
///
/// # Errors
///
/// The signal handlers could not be registered.
pub fn hangups() -> std::io::Result<Signal> {
    for kind in [SignalKind::user_defined1(), SignalKind::user_defined2()] {
        // A signal that was caught once does not end the process any more.
        drop(signal(kind)?);
    }
    signal(SignalKind::hangup())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[tokio::test]
    async fn begins_once() {
        let shutdown = Shutdown::new(Duration::from_secs(5));
        let token = shutdown.token();
        assert_eq!((shutdown.has_begun(), shutdown.deadline()), (false, None));

        let before = Instant::now();
        shutdown.begin();
        let deadline = shutdown.deadline().unwrap();
        assert!(deadline >= before + Duration::from_secs(5));

        shutdown.clone().begin();
        shutdown.begun().await;
        assert!(shutdown.has_begun() && token.is_cancelled());
        assert_eq!(shutdown.deadline(), Some(deadline));
    }

    #[tokio::test]
    async fn work_outlives_who_waits_for_it() {
        let tasks = TaskTracker::new();
        let (go, may_go) = tokio::sync::oneshot::channel::<()>();
        let (done, is_done) = tokio::sync::oneshot::channel();
        let work = async move {
            may_go.await.unwrap();
            done.send(7).unwrap();
        };
        tokio::select! {
            biased;
            () = to_the_end(&tasks, work) => panic!("it waits"),
            () = std::future::ready(()) => {}
        }
        go.send(()).unwrap();
        assert_eq!(is_done.await.unwrap(), 7);
        tasks.close();
        tasks.wait().await;
        let panics = tokio::spawn(async move { to_the_end(&tasks, async { panic!("a defect") }).await });
        assert!(panics.await.unwrap_err().is_panic(), "it is the request's own");
    }

    /// Set for the process that [`signals_stop_a_process`] starts.
    const CHILD: &str = "FOREPOST_TEST_SIGNALS";

    /// Signals have a process of their own: a handler, once registered, stays.
    #[tokio::test]
    async fn signals_in_a_child() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        let shutdown = Shutdown::new(Duration::from_secs(5));
        signals(&shutdown).unwrap();
        eprintln!("ready");
        shutdown.begun().await;
        eprintln!("begun");
        std::future::pending::<()>().await;
    }

    #[test]
    fn signals_stop_a_process() {
        check("TERM", "TERM");
        check("INT", "TERM");
        check("TERM", "INT");
    }

    #[track_caller]
    fn check(first: &str, second: &str) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "lifecycle::tests::signals_in_a_child", "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        for (line, signal) in [("ready", first), ("begun", second)] {
            assert!(lines.any(|written| written == line), "{line} was never written");
            let kill = format!("kill -{signal} {}", child.id());
            assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        }
        assert_eq!(child.wait().unwrap().code(), Some(1));
    }
}
