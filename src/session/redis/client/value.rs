//! Reads servers' answers.

use redis::Value;

use super::error::RedisError;

/// A string of bytes.
pub(super) fn bytes(value: &Value) -> Result<&[u8], RedisError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.as_bytes()),
        Value::ServerError(error) => Err(RedisError::answered(error)),
        _ => Err(RedisError::Unexpected),
    }
}

/// A string of bytes, or nothing.
pub(super) fn optional_bytes(value: Value) -> Result<Option<Vec<u8>>, RedisError> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::ServerError(error) => Err(RedisError::answered(&error)),
        _ => Err(RedisError::Unexpected),
    }
}

/// A number, or a string with one.
pub(super) fn number(value: &Value) -> Result<u64, RedisError> {
    match value {
        Value::Int(number) => u64::try_from(*number).map_err(|_| RedisError::Unexpected),
        other => {
            std::str::from_utf8(bytes(other)?).ok().and_then(|text| text.parse().ok()).ok_or(RedisError::Unexpected)
        }
    }
}

/// The elements of a list.
pub(super) fn list(value: &Value) -> Result<&[Value], RedisError> {
    match value {
        Value::Array(elements) => Ok(elements),
        Value::Nil => Ok(&[]),
        Value::ServerError(error) => Err(RedisError::answered(error)),
        _ => Err(RedisError::Unexpected),
    }
}

/// Whether something was done: `OK`, or a number other than 0.
pub(super) fn done(value: &Value) -> Result<bool, RedisError> {
    match value {
        Value::Okay => Ok(true),
        other => Ok(number(other)? != 0),
    }
}

/// The only answer of a single command.
pub(super) fn only(answers: Vec<Value>) -> Result<Value, RedisError> {
    let [answer] = <[Value; 1]>::try_from(answers).map_err(|_| RedisError::Unexpected)?;
    Ok(answer)
}
