//! Why a command failed, and its exit status (sysexits.h).

use super::USAGE;

/// `EX_UNAVAILABLE`.
const UNAVAILABLE: u8 = 69;
/// `EX_IOERR`.
const OUTPUT: u8 = 74;
/// `EX_TEMPFAIL`.
const TEMPORARY: u8 = 75;
/// `EX_NOPERM`.
const DENIED: u8 = 77;

/// A message for the user, without a secret in it, and the exit status.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CommandError {
    pub(super) message: String,
    pub(super) status: u8,
}

impl CommandError {
    pub(super) fn new(status: u8, message: impl Into<String>) -> Self {
        Self { message: message.into(), status }
    }

    /// The settings or the arguments have to be changed.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, message)
    }

    /// A server does not answer, or not as it should.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(UNAVAILABLE, message)
    }

    /// The result could not be printed.
    pub(super) fn output(message: impl Into<String>) -> Self {
        Self::new(OUTPUT, message)
    }

    /// It may work the next time.
    pub(super) fn temporary(message: impl Into<String>) -> Self {
        Self::new(TEMPORARY, message)
    }

    /// The provider denies it, or the operating system does.
    pub(super) fn denied(message: impl Into<String>) -> Self {
        Self::new(DENIED, message)
    }
}
