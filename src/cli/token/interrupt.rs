//! SIGINT while the command works.

use std::future::Future;

use tokio_util::sync::CancellationToken;

use crate::cli::command_error::CommandError;

/// The exit status of a process that SIGINT ends, by the convention of shells.
const INTERRUPTED: u8 = 130;

/// The user's way to end the command: SIGINT, which ends only what may be left half done.
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
    pub(super) async fn or<T>(&self, work: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
        let ended = || Err(CommandError::new(INTERRUPTED, "interrupted"));
        self.0.run_until_cancelled(work).await.unwrap_or_else(ended)
    }
}
