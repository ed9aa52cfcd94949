//! How a provider is asked again.

use std::time::Duration;

/// How the provider is asked whether it still vouches for a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revalidation {
    /// So long after it was asked for the last time it is asked again, beside the requests; `None`: never.
    pub after: Option<Duration>,
    /// So long after it was asked successfully a session is used no more without asking.
    pub within: Duration,
    /// Whether browsers without a refresh token are sent to it and back, unseen.
    pub silent_login: bool,
    /// So long after a login every browser is sent to it and back, also with a refresh token; `None`: never.
    pub reauthorize_after: Option<Duration>,
}
