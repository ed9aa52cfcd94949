//! Lists out of tables whose keys are numbers.

use std::collections::BTreeMap;

use figment::value::{Tag, Value};

use super::PREFIX;
use super::keys::{KEYS, LAST_RULE, LISTS, is_number};

/// The numbers of the entries of lists, by the paths of the lists.
#[derive(Default)]
pub(super) struct Numbers(BTreeMap<String, Vec<String>>);

impl Numbers {
    /// Makes lists of the tables whose keys are numbers, and of texts that are paths with commas between them.
    pub(super) fn listed(&mut self, path: String, key: &str, value: Value) -> Value {
        let dict = match value {
            Value::Dict(_, dict) => dict,
            Value::String(tag, text) if ["paths", "public_paths"].contains(&key) && !text.starts_with(['[', '{']) => {
                let paths = text.split(',').map(str::trim).filter(|path| !path.is_empty());
                return Value::Array(tag, paths.map(|path| Value::String(tag, path.to_owned())).collect());
            }
            other => return other,
        };
        // A table has no label of its own: without a tag, its path is shown.
        let tag = Tag::Default;
        let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        let is_list =
            LISTS.contains(&key) && !dict.is_empty() && dict.keys().all(|key| is_number(key) || key == LAST_RULE);
        if !is_list {
            // Under `claims` are names that the operator chose.
            let inner = |(key, value): (String, Value)| {
                let value = if path.ends_with(".claims") { value } else { self.listed(join(&key), &key, value) };
                (key, value)
            };
            return Value::Dict(tag, dict.into_iter().map(inner).collect());
        }
        let mut entries: Vec<(u64, String, Value)> =
            dict.into_iter().map(|(key, value)| (key.parse().unwrap_or(u64::MAX), key, value)).collect();
        entries.sort_by_key(|(number, _, _)| *number);
        self.0.insert(path.clone(), entries.iter().map(|(_, key, _)| key.clone()).collect());
        let entries =
            entries.into_iter().enumerate().map(|(at, (_, _, value))| self.listed(format!("{path}[{at}]"), "", value));
        Value::Array(tag, entries.collect())
    }

    /// The label of a path that no label alone is responsible for.
    pub(super) fn label(&self, path: &str) -> String {
        let (mut label, mut rest) = (String::new(), path);
        while let Some((before, after)) = rest.split_once('[') {
            label.push_str(before);
            let read = &path[..path.len() - after.len() - 1];
            let Some((index, behind)) = after.split_once(']') else { break };
            let number = index.parse().ok().and_then(|at: usize| self.0.get(read)?.get(at));
            label.push('.');
            label.push_str(number.map_or(index, String::as_str));
            rest = behind;
        }
        label.push_str(rest);
        let (first, more) = label.split_once('.').map_or((label.as_str(), ""), |(first, more)| (first, more));
        let first = KEYS.iter().find(|(_, key)| *key == first).map_or(first, |(label, _)| label);
        match more {
            "" => format!("{PREFIX}{first}"),
            more if first == "rule" && more.starts_with(LAST_RULE) => format!("{PREFIX}users"),
            more => format!("{PREFIX}{first}.{more}"),
        }
    }
}
