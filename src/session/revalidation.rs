//! When a provider is asked again.

use std::time::Duration;

/// When the provider is asked whether it still confirms a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revalidation {
    /// The time after its last answer when it is asked again, while no request waits; `None`: never.
    pub after: Option<Duration>,
    /// The time after its last confirmation from which on a session does not count without another one.
    pub within: Duration,
    /// Whether browsers without a refresh token are sent to the provider and back without a question to the user.
    pub silent_login: bool,
    /// The time after a login when every browser is sent to the provider and back, also with a refresh token; `None`: never.
    pub reauthorize_after: Option<Duration>,
}
