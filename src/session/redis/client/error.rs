use std::time::Duration;

use redis::ServerError;

/// Why Redis did not do what it was asked. The text has no secret and no key.
///
/// After [`RedisError::Away`] and [`RedisError::TimedOut`] it is not known whether the operation took place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RedisError {
    /// No server is connected, or it cannot serve now.
    #[error("Redis is away: {0}")]
    Away(String),
    /// No answer in time.
    #[error("Redis does not answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// The server refuses.
    #[error("Redis refuses: {0}")]
    Refused(String),
    /// The answer does not have the expected form.
    #[error("Redis answers with something else")]
    Unexpected,
    /// The data does not authenticate.
    #[error("the list of revocations in Redis is damaged: {0}")]
    Damaged(&'static str),
    /// The certificate authorities cannot be read, or the TLS library refuses its own defaults.
    #[error("TLS for Redis cannot be set up: {0}")]
    Tls(String),
}

/// The errors of a server that cannot serve now, but may later or another one may.
const AWAY: [&str; 7] = ["LOADING", "MASTERDOWN", "CLUSTERDOWN", "READONLY", "TRYAGAIN", "MISCONF", "UNBLOCKED"];

impl RedisError {
    /// The error in a server's answer.
    pub(super) fn answered(error: &ServerError) -> Self {
        let code = error.code();
        if Self::is_away(error) {
            return Self::Away(code.to_owned());
        }
        // The details of other errors may quote what was sent.
        let explains = matches!(code, "WRONGPASS" | "NOAUTH" | "OOM" | "NOREPLICAS");
        Self::Refused(match error.details().filter(|_| explains) {
            Some(details) => format!("{code} {}", clean(details)),
            None => code.to_owned(),
        })
    }

    /// The client library's error about a connection.
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

    /// Whether another server took its place.
    pub(super) fn is_misplaced(error: &ServerError) -> bool {
        matches!(error.code(), "READONLY" | "MASTERDOWN")
    }
}

/// One line of bounded length.
pub(super) fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::*;

    #[track_caller]
    fn check(answer: &str, expected: &RedisError) {
        let Ok(Value::ServerError(error)) = redis::parse_redis_value(format!("-{answer}\r\n").as_bytes()) else {
            panic!("an error");
        };
        assert_eq!(RedisError::answered(&error), *expected);
    }

    #[test]
    fn what_servers_refuse_for_now_and_for_good() {
        let away = |code: &str| RedisError::Away(code.to_owned());
        let refused = |text: &str| RedisError::Refused(text.to_owned());
        check("LOADING Redis is loading the dataset in memory", &away("LOADING"));
        check("READONLY You can't write against a read only replica.", &away("READONLY"));
        check("MASTERDOWN Link with MASTER is down", &away("MASTERDOWN"));
        check("CLUSTERDOWN The cluster is down", &away("CLUSTERDOWN"));
        check("MISCONF Redis is configured to save RDB snapshots", &away("MISCONF"));
        check("OOM command not allowed", &refused("OOM command not allowed"));
        check(
            "NOREPLICAS Not enough good replicas to write.",
            &refused("NOREPLICAS Not enough good replicas to write."),
        );
        // The text may quote what was sent.
        check("NOPERM User x has no permissions to access 'secret'", &refused("NOPERM"));
        check("ERR unknown command 'secret'", &refused("ERR"));
    }
}
