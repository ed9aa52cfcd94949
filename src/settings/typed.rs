//! The kinds of values that a table holds: texts, numbers, durations, lists.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::item::Item;
use super::mistakes::{Complaint, complaint, shown};
use super::reader::Table;
use super::values::spelled;

impl Table<'_> {
    /// A text that is not blank.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.read(key, |item| item.text().map(str::to_owned))
    }

    pub(super) fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        let boolean = self.read(key, |item| {
            let wanted = || item.wanted("true or false", "");
            item.boolean().ok_or_else(wanted)
        });
        boolean.unwrap_or(default)
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

    /// A duration that `0` or `off` switches off.
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

    /// A list, each element parsed on its own; wrong ones are left out.
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
