//! Makes values of an identity for an expression.

use std::collections::HashMap;
use std::sync::Arc;

use cel::Value;
use cel::objects::Key;
use serde_json::{Map, Value as Json};

use crate::identity::Identity;

/// The most elements of all lists and objects of an identity. With more, the result is not known.
const MOST_ELEMENTS: usize = 1024;

/// The fields of `identity`.
pub(super) const IDENTITY: [&str; 6] = ["subject", "username", "email", "name", "groups", "claims"];

/// A map of these fields.
pub(super) fn object<'k>(fields: impl Iterator<Item = (&'k str, Value)>) -> Value {
    let fields: HashMap<Key, Value> =
        fields.map(|(name, value)| (Key::String(Arc::new(name.to_owned())), value)).collect();
    Value::Map(fields.into())
}

/// The variable `identity`; its `email` is null without an address.
pub(super) fn identity_of(
    identity: &Identity,
    email: Option<&str>,
    claims: &Map<String, Json>,
) -> Result<Value, String> {
    let mut room = MOST_ELEMENTS.checked_sub(identity.groups.len());
    let claims = object(claims.iter().map(|(name, claim)| (name.as_str(), value_of(claim, &mut room))));
    room.ok_or("the claims have too many elements")?;
    let groups: Vec<Value> = identity.groups.iter().map(|group| Value::from(group.as_str())).collect();
    let text = |text: &String| Value::from(text.as_str());
    let fields = [
        text(&identity.subject),
        text(&identity.username),
        email.map_or(Value::Null, Value::from),
        text(&identity.name),
        Value::List(Arc::new(groups)),
        claims,
    ];
    Ok(object(IDENTITY.into_iter().zip(fields)))
}

/// Makes a value of JSON, with at most `room` more elements; `None` if there are more.
fn value_of(json: &Json, room: &mut Option<usize>) -> Value {
    *room = room.and_then(|room| room.checked_sub(1));
    if room.is_none() {
        return Value::Null;
    }
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Value::Int(integer),
            None => number.as_f64().map_or(Value::Null, Value::Float),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(|item| value_of(item, room)).collect())),
        Json::Object(fields) => object(fields.iter().map(|(name, field)| (name.as_str(), value_of(field, room)))),
    }
}
