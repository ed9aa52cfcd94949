//! One value of the merged configuration, and how it is read as a type.

use std::time::Duration;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};

use super::mistakes::{Complaint, complaint};
use super::values::{duration, is_off, switch};

/// A value, and whether its source has texts only (the environment, flags, labels).
#[derive(Clone, Copy)]
pub(super) struct Item<'v> {
    pub(super) value: &'v Value,
    pub(super) is_text: bool,
}

impl<'v> Item<'v> {
    /// Any text.
    pub(super) fn raw_text(self) -> Result<&'v str, Complaint> {
        let hint = match self.value {
            Value::Num(..) | Value::Bool(..) => "put it in quotes",
            _ => "",
        };
        self.value.as_str().ok_or_else(|| self.wanted("a text", hint))
    }

    /// A text that is not blank and fits on a line.
    pub(super) fn text(self) -> Result<&'v str, Complaint> {
        let text = self.raw_text()?;
        if text.trim().is_empty() {
            return Err(complaint("is empty", "give a value or remove the key"));
        }
        if text.chars().any(char::is_control) {
            return Err(complaint("holds a control character", ""));
        }
        Ok(text)
    }

    pub(super) fn integer(self) -> Result<i128, Complaint> {
        let number = match self.value {
            Value::String(_, text) if self.is_text => text.trim().parse().ok(),
            value => value.to_i128().or_else(|| value.to_u128().and_then(|n| i128::try_from(n).ok())),
        };
        number.ok_or_else(|| self.wanted("a whole number", ""))
    }

    pub(super) fn boolean(self) -> Option<bool> {
        match self.value {
            Value::String(_, text) if self.is_text => switch(text.trim()),
            value => value.to_bool(),
        }
    }

    /// A duration; `None` if it is `0` or `off`.
    pub(super) fn duration(self) -> Result<Option<Duration>, Complaint> {
        match (self.value, self.integer()) {
            (Value::Num(..), Ok(0)) => Ok(None),
            (Value::Num(..), Ok(n)) => duration(&n.to_string()).map(Some),
            (Value::String(_, text), _) if is_off(text) => Ok(None),
            (Value::String(_, text), _) => duration(text).map(Some),
            _ => Err(self.wanted("a duration", "write it like \"90s\", \"10m\" or \"24h\"")),
        }
    }

    /// The elements of a list. A text from the environment is split at `separators`, or read as TOML if it is in brackets.
    pub(super) fn list(self, separators: &[char]) -> Result<Vec<Value>, Complaint> {
        match self.value {
            Value::Array(_, values) => Ok(values.clone()),
            Value::String(tag, text) if self.is_text => {
                if text.trim_start().starts_with('[') {
                    return match self.inline()? {
                        Value::Array(_, values) => Ok(values),
                        _ => Err(self.wanted("a list", "")),
                    };
                }
                let parts = text.split(separators).map(str::trim);
                let parts = parts.filter(|part| !part.is_empty());
                Ok(parts.map(|part| Value::String(*tag, part.to_owned())).collect())
            }
            _ => Err(self.wanted("a list", "put it in brackets: [\"…\"]")),
        }
    }

    pub(super) fn dict(self, key: &str) -> Result<Dict, Complaint> {
        match self.value {
            Value::Dict(_, dict) => Ok(dict.clone()),
            Value::String(_, text) if self.is_text && text.trim_start().starts_with('{') => match self.inline()? {
                Value::Dict(_, dict) => Ok(dict),
                _ => Err(self.wanted("a table", "")),
            },
            _ if self.is_text => {
                let variable = key.to_ascii_uppercase();
                Err(self.wanted("a table", &format!("set its keys one by one: {key}.KEY, or FOREPOST_{variable}__KEY")))
            }
            _ => Err(self.wanted("a table", "")),
        }
    }

    /// Reads a text as the right side of a TOML line.
    fn inline(self) -> Result<Value, Complaint> {
        let text = self.raw_text()?;
        Toml::from_str::<Dict>(&format!("value = {text}"))
            .ok()
            .and_then(|mut dict| dict.remove("value"))
            .ok_or_else(|| complaint("cannot be read as a TOML value", ""))
    }

    pub(super) fn wanted(self, wanted: &str, hint: &str) -> Complaint {
        let found = match self.value {
            Value::String(..) | Value::Char(..) => "a text",
            Value::Bool(..) => "true or false",
            Value::Num(..) => "a number",
            Value::Empty(..) => "nothing",
            Value::Dict(..) => "a table",
            Value::Array(..) => "a list",
        };
        if found == wanted || self.is_text {
            return complaint(format!("is not {wanted}"), hint);
        }
        complaint(format!("wanted {wanted}, found {found}"), hint)
    }
}
