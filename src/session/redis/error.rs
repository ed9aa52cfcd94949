use std::time::Duration;

use redis::ServerError;

/// Why a Redis did not do what it was asked; its text holds no secret and no key.
///
/// After [`RedisError::Away`] and [`RedisError::TimedOut`] it is not known whether the operation took place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RedisError {
    /// No server is connected, or the one that is cannot serve now.
    #[error("Redis is away: {0}")]
    Away(String),
    /// No answer in time.
    #[error("Redis does not answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// The server will not do it.
    #[error("Redis refuses: {0}")]
    Refused(String),
    /// What came back is nothing that was asked for.
    #[error("Redis answers with something else")]
    Unexpected,
    /// The certificate authorities cannot be read, or the TLS library refuses its own defaults.
    #[error("TLS for Redis cannot be set up: {0}")]
    Tls(String),
}

/// What a server says when it cannot serve now, but may later or another one may.
const AWAY: [&str; 7] = ["LOADING", "MASTERDOWN", "CLUSTERDOWN", "READONLY", "TRYAGAIN", "MISCONF", "UNBLOCKED"];

impl RedisError {
    /// The error that a server answered with.
    pub(super) fn answered(error: &ServerError) -> Self {
        let code = error.code();
        if Self::is_away(error) {
            return Self::Away(code.to_owned());
        }
        // The details of some errors quote what was sent.
        let explains = matches!(code, "WRONGPASS" | "NOAUTH" | "OOM" | "NOREPLICAS");
        Self::Refused(match error.details().filter(|_| explains) {
            Some(details) => format!("{code} {}", clean(details)),
            None => code.to_owned(),
        })
    }

    /// What the client library says of a connection.
    pub(super) fn connection(error: &redis::RedisError) -> Self {
        if error.kind() == redis::ErrorKind::AuthenticationFailed {
            return Self::Refused("the user or its password is wrong, or the database does not exist".to_owned());
        }
        Self::Away(clean(&error.to_string()))
    }

    /// Whether the server cannot serve now, but may later or another one may.
    pub(super) fn is_away(error: &ServerError) -> bool {
        AWAY.contains(&error.code())
    }

    /// Whether the server lost its place to another one.
    pub(super) fn is_misplaced(error: &ServerError) -> bool {
        matches!(error.code(), "READONLY" | "MASTERDOWN")
    }
}

/// One line of bounded length.
pub(super) fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
