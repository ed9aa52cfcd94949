//! Why there is no token, and with which status the command ends.

use std::future::Future;

use tokio_util::sync::CancellationToken;

/// `EX_UNAVAILABLE` of sysexits.h.
const UNAVAILABLE: u8 = 69;
/// `EX_IOERR`.
const OUTPUT: u8 = 74;
/// `EX_TEMPFAIL`.
const AGAIN: u8 = 75;
/// `EX_NOPERM`.
const DENIED: u8 = 77;
/// What shells make of SIGINT.
const INTERRUPTED: u8 = 130;

/// What to tell the user, without a secret in it, and the exit status.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) status: u8,
}

impl Failure {
    fn new(status: u8, message: impl Into<String>) -> Self {
        Self { message: message.into(), status }
    }

    /// Something has to be said differently.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(super::USAGE, message)
    }

    /// A server does not answer, or not as it should.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(UNAVAILABLE, message)
    }

    /// The token could not be printed.
    pub(super) fn output(message: impl Into<String>) -> Self {
        Self::new(OUTPUT, message)
    }

    /// It may work the next time.
    pub(super) fn again(message: impl Into<String>) -> Self {
        Self::new(AGAIN, message)
    }

    /// Somebody said no, or should not have been able to look.
    pub(super) fn denied(message: impl Into<String>) -> Self {
        Self::new(DENIED, message)
    }
}

/// The user's way to end it: SIGINT, which ends only what may be left half done.
pub(super) struct Interrupt(CancellationToken);

impl Interrupt {
    /// Listens from now on.
    pub(super) fn listen() -> Self {
        let interrupted = CancellationToken::new();
        let tell = interrupted.clone();
        tokio::spawn(async move {
            // Where signals cannot be caught, they end the process at once.
            if tokio::signal::ctrl_c().await.is_ok() {
                tell.cancel();
            }
        });
        Self(interrupted)
    }

    /// The outcome of `work`, unless the user ends it before.
    pub(super) async fn or<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let ended = || Err(Failure::new(INTERRUPTED, "interrupted"));
        self.0.run_until_cancelled(work).await.unwrap_or_else(ended)
    }
}
