//! Reads the values of a table: texts, numbers, durations, lists.

use std::ops::RangeInclusive;
use std::time::Duration;

use figment::value::Value;

use super::item::Item;
use super::mistakes::{Complaint, complaint, shown};
use super::reader::Table;
use super::values::spelled;
use crate::identity::ClaimPath;
use crate::identity::PathForm;

/// The meaning of a list of texts under a key that names a claim.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FlatList {
    /// Several claims, of which the first one with a value counts.
    Alternatives,
    /// A mistake: the texts can be alternatives or the steps of a path, and a wrong guess would read the wrong claim.
    Ambiguous,
}

impl Table<'_> {
    /// A text that is not blank.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.read(key, |item| item.text().map(str::to_owned))
    }

    pub(super) fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        self.optional_boolean(key).unwrap_or(default)
    }

    /// `None` if the key is absent or wrong.
    pub(super) fn optional_boolean(&mut self, key: &'static str) -> Option<bool> {
        self.read(key, |item| {
            let wanted = || item.wanted("true or false", "");
            item.boolean().ok_or_else(wanted)
        })
    }

    pub(super) fn number<T>(&mut self, key: &'static str, default: T, range: RangeInclusive<T>) -> T
    where
        T: TryFrom<i128> + PartialOrd + std::fmt::Display,
    {
        let number = self.read(key, |item| {
            let number = item.integer()?;
            T::try_from(number)
                .ok()
                .filter(|number| range.contains(number))
                .ok_or_else(|| out_of_range(number, range.start(), range.end()))
        });
        number.unwrap_or(default)
    }

    pub(super) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let duration = self.read(key, |item| within(item.duration()?.unwrap_or_default(), &range));
        duration.unwrap_or(default)
    }

    /// A duration; `0` or `off` switches it off.
    pub(super) fn optional_duration(
        &mut self,
        key: &'static str,
        default: Option<Duration>,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let duration = self.read(key, |item| match item.duration()? {
            Some(duration) => within(duration, &range).map(Some),
            None => Ok(None),
        });
        duration.unwrap_or(default)
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, default: T, choices: &[(&str, T)]) -> T {
        let choice = self.read(key, |item| {
            let text = item.text()?;
            let found = choices.iter().find(|(name, _)| *name == text);
            found.map(|(_, choice)| *choice).ok_or_else(|| {
                let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
                complaint(format!("{} is unknown", shown(text)), format!("one of {}", names.join(", ")))
            })
        });
        choice.unwrap_or(default)
    }

    /// A list. Parses each element by itself, and leaves out those that are wrong.
    pub(super) fn each<T>(
        &mut self,
        key: &'static str,
        separators: &[char],
        parse: impl Fn(Item<'_>) -> Result<T, Complaint>,
    ) -> Option<Vec<T>> {
        let values = self.read(key, |item| item.list(separators))?;
        let parsed = values.iter().enumerate().filter_map(|(i, value)| {
            parse(self.report().item(value)).map_err(|complaint| self.wrong_element(key, i, complaint)).ok()
        });
        Some(parsed.collect())
    }

    /// The place of a claim: a text, or a list of places of which the first one with a value counts. A place in the list is a
    /// text, or a list of the steps of a path.
    pub(super) fn claim_path(&mut self, key: &'static str, flat: FlatList) -> Option<ClaimPath> {
        self.read(key, |item| {
            let is_list = |text: &str| {
                text.trim_start().starts_with('[') || (flat == FlatList::Alternatives && text.contains(','))
            };
            let values = match item.value {
                Value::Array(..) => item.list(&[])?,
                Value::String(_, text) if item.is_text && is_list(text) => item.list(&[','])?,
                _ => return Ok(ClaimPath::new(item.text()?)),
            };
            if values.is_empty() {
                return Err(complaint("is an empty list", "name a claim, or remove the key"));
            }
            if flat == FlatList::Ambiguous && values.len() > 1 && values.iter().any(|value| value.as_str().is_some()) {
                let hint = "one path in steps is a list within a list: [[\"a\", \"b\"]]; several claims of which the first counts \
                            that is there: [[\"a\"], [\"b\"]]";
                return Err(complaint("has more than one reading", hint));
            }
            let places = values.iter().map(|value| place(Item { value, is_text: false }));
            places.collect::<Result<Vec<_>, _>>().map(ClaimPath::any)
        })
    }
}

fn place(item: Item<'_>) -> Result<PathForm, Complaint> {
    match item.value {
        Value::Array(_, steps) if steps.is_empty() => Err(complaint("is an empty list", "name each step of the path")),
        Value::Array(_, steps) => {
            let step = |value| Item { value, is_text: false }.text().map(Box::from);
            steps.iter().map(step).collect::<Result<_, _>>().map(PathForm::Steps)
        }
        _ => Ok(PathForm::Text(item.text()?.into())),
    }
}

fn within(value: Duration, range: &RangeInclusive<Duration>) -> Result<Duration, Complaint> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(out_of_range(spelled(value), &spelled(*range.start()), &spelled(*range.end())))
}

fn out_of_range<T: std::fmt::Display>(value: impl std::fmt::Display, least: &T, most: &T) -> Complaint {
    complaint(format!("{value} is out of range"), format!("from {least} to {most}"))
}
