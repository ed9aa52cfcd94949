//! Reads tables of the merged configuration, and reports every mistake.
//!
//! A reader takes each key that it knows from a [`Table`]; the keys that are left are unknown. After a mistake, reading goes on
//! with the default, so that one run finds all mistakes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use figment::value::{Dict, Tag, Value};
use figment::{Figment, Profile, Provider};

use super::item::Item;
use super::mistakes::{Complaint, Mistake, complaint, shown};
use super::values::which_key;
use crate::tls::CaFile;

/// The source name of layers in which every value is a text: the environment, flags and labels.
pub(super) const TEXT_LAYER: &str = "text";

/// The merged layers, and the mistakes found so far.
pub(super) struct Report {
    figment: Figment,
    mistakes: RefCell<Vec<Mistake>>,
    files: RefCell<BTreeSet<PathBuf>>,
}

impl Report {
    pub(super) fn new(figment: Figment) -> Self {
        Self { figment, mistakes: RefCell::default(), files: RefCell::default() }
    }

    /// The whole configuration.
    pub(super) fn root(&self) -> Table<'_> {
        Table::whole(self, self.values())
    }

    /// What the layers say together.
    pub(super) fn values(&self) -> Dict {
        match self.figment.data() {
            Ok(mut profiles) => profiles.remove(&Profile::Default).unwrap_or_default(),
            Err(error) => {
                self.note(String::new(), None, complaint(error.to_string(), ""));
                Dict::new()
            }
        }
    }

    /// Reports a mistake that is not one of a single key.
    pub(super) fn note(&self, path: String, tag: Option<Tag>, complaint: Complaint) {
        self.mistakes.borrow_mut().push(Mistake {
            path,
            problem: complaint.problem,
            hint: complaint.hint,
            origin: tag.and_then(|tag| self.origin(tag)).map(str::to_owned),
        });
    }

    /// The number of mistakes so far.
    pub(super) fn mistakes(&self) -> usize {
        self.mistakes.borrow().len()
    }

    /// Notes that the configuration depends on what is in this file.
    pub(super) fn depends_on(&self, file: &str) {
        self.files.borrow_mut().insert(file.into());
    }

    /// The mistakes, and the files that the configuration depends on.
    pub(super) fn into_parts(self) -> (Vec<Mistake>, BTreeSet<PathBuf>) {
        (self.mistakes.into_inner(), self.files.into_inner())
    }

    /// What `tag` stands for: a file, an environment variable or a flag.
    fn origin(&self, tag: Tag) -> Option<&str> {
        self.figment.get_metadata(tag).map(|metadata| &*metadata.name)
    }

    pub(super) fn item<'v>(&self, value: &'v Value) -> Item<'v> {
        let source = self.figment.get_metadata(value.tag()).and_then(|metadata| metadata.source.as_ref()?.custom());
        Item { value, is_text: source == Some(TEXT_LAYER) }
    }
}

/// A table from which a reader takes one key after the other; [`Table::finish`] reports the rest as unknown.
pub(super) struct Table<'r> {
    report: &'r Report,
    path: String,
    values: Dict,
    known: Vec<&'static str>,
    /// The origins of the keys that were taken.
    tags: BTreeMap<&'static str, Tag>,
    tag: Tag,
}

impl<'r> Table<'r> {
    fn new(report: &'r Report, path: String, values: Dict, tag: Tag) -> Self {
        Self { report, path, values, known: Vec::new(), tags: BTreeMap::new(), tag }
    }

    /// A table that is the whole.
    pub(super) fn whole(report: &'r Report, values: Dict) -> Self {
        Self::new(report, String::new(), values, Tag::Default)
    }

    /// The path of a key of this table.
    pub(super) fn key_path(&self, key: &str) -> String {
        let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let key = if key.bytes().all(bare) && !key.is_empty() { key.to_owned() } else { shown(key) };
        match self.path.as_str() {
            "" => key,
            path => format!("{path}.{key}"),
        }
    }

    /// Whether the configuration has the key, with a right or a wrong value; it must have been taken before.
    pub(super) fn was_given(&self, key: &str) -> bool {
        self.tags.contains_key(key)
    }

    /// Reports what is wrong with a key.
    pub(super) fn wrong(&self, key: &str, complaint: Complaint) {
        let tag = self.tags.get(key).copied().unwrap_or(self.tag);
        self.report.note(self.key_path(key), Some(tag), complaint);
    }

    /// Reports what is wrong with the table as a whole.
    pub(super) fn wrong_whole(&self, complaint: Complaint) {
        self.report.note(self.path.clone(), Some(self.tag), complaint);
    }

    /// Reports what is wrong with a key of the table under `key`.
    pub(super) fn wrong_below(&self, key: &str, name: &str, complaint: Complaint) {
        let path = format!("{}.{name}", self.key_path(key));
        self.report.note(path, self.tags.get(key).copied(), complaint);
    }

    /// Reports that a key is missing, unless it has a wrong value.
    pub(super) fn missing(&self, key: &str, hint: &str) {
        if !self.was_given(key) {
            self.wrong(key, complaint("is missing", hint));
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        let value = self.values.remove(key)?;
        // A value inside the text of an environment variable has no tag of its own.
        let tag = match value.tag() {
            tag if tag.is_default() => self.tag,
            tag => tag,
        };
        self.tags.insert(key, tag);
        Some(value)
    }

    /// Takes a key and parses it; `None` if it is absent or wrong.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(Item<'_>) -> Result<T, Complaint>,
    ) -> Option<T> {
        let value = self.take(key)?;
        parse(self.report.item(&value)).map_err(|complaint| self.wrong(key, complaint)).ok()
    }

    /// Those of these keys that hold an empty list; none of them may have been taken before.
    pub(super) fn empty_lists(&self, keys: &[&'static str]) -> Vec<&'static str> {
        let is_empty = |value: &Value| self.report.item(value).list(&[',']).is_ok_and(|list| list.is_empty());
        keys.iter().copied().filter(|key| self.values.get(*key).is_some_and(is_empty)).collect()
    }

    /// Reports what is wrong with an element of the list under `key`.
    pub(super) fn wrong_element(&self, key: &str, index: usize, complaint: Complaint) {
        let path = format!("{}[{index}]", self.key_path(key));
        self.report.note(path, self.tags.get(key).copied(), complaint);
    }

    /// Reports what is wrong with a key of a table in the list under `key`.
    pub(super) fn wrong_in_element(&self, key: &str, index: usize, name: &str, complaint: Complaint) {
        let path = format!("{}[{index}].{name}", self.key_path(key));
        self.report.note(path, self.tags.get(key).copied(), complaint);
    }

    /// The table under a key; an empty table if the key is absent or not a table.
    pub(super) fn table(&mut self, key: &'static str) -> Table<'r> {
        let values = self.read(key, |item| item.dict(key)).unwrap_or_default();
        let tag = self.tags.get(key).copied().unwrap_or_default();
        Table::new(self.report, self.key_path(key), values, tag)
    }

    /// The tables of a list; `None` if it is absent or not a list.
    pub(super) fn tables(&mut self, key: &'static str) -> Option<Vec<Table<'r>>> {
        self.tables_or_texts(key, None)
    }

    /// The same, but a text counts as a table with that text under `text_key`.
    pub(super) fn tables_or_texts(
        &mut self,
        key: &'static str,
        text_key: Option<&'static str>,
    ) -> Option<Vec<Table<'r>>> {
        let values = self.read(key, |item| match item.value {
            Value::Dict(..) => Err(item.wanted(
                "a list of tables",
                "write double brackets: [[application]]; in the environment, a list of inline tables",
            )),
            _ => item.list(&[]),
        });
        let of_key = self.tags.get(key).copied().unwrap_or_default();
        let mut tables = Vec::new();
        let mut numbers = BTreeMap::new();
        for value in &values? {
            let tag = if value.tag().is_default() { of_key } else { value.tag() };
            // Files that are read together are numbered each on its own, as the operator sees them.
            let number = numbers.entry(tag).or_insert(0_usize);
            let i = *number;
            *number += 1;
            let item = self.report.item(value);
            let dict = match (text_key, value) {
                (Some(text_key), Value::String(_, text)) if !text.trim_start().starts_with('{') => {
                    Ok(Dict::from([(text_key.to_owned(), value.clone())]))
                }
                _ => item.dict(key),
            };
            match dict {
                Ok(dict) => {
                    let path = format!("{}[{i}]", self.key_path(key));
                    tables.push(Table::new(self.report, path, dict, tag));
                }
                Err(complaint) => self.wrong_element(key, i, complaint),
            }
        }
        Some(tables)
    }

    /// The table under a key as a list of one, or the tables of a list; `None` if it is absent or neither.
    pub(super) fn table_or_tables(&mut self, key: &'static str) -> Option<Vec<Table<'r>>> {
        let is_list = |item: &Item<'_>| match item.value {
            Value::Array(..) => true,
            Value::String(_, text) => item.is_text && text.trim_start().starts_with('['),
            _ => false,
        };
        let value = self.values.get(key)?;
        if is_list(&self.report.item(value)) { self.tables(key) } else { Some(vec![self.table(key)]) }
    }

    /// The tables under names that the operator chose.
    pub(super) fn named_tables(&mut self, key: &'static str) -> Vec<(String, Table<'r>)> {
        let outer = self.table(key);
        let mut tables = Vec::new();
        for (name, value) in &outer.values {
            let path = outer.key_path(name);
            match self.report.item(value).dict(key) {
                Ok(dict) => {
                    let table = Table::new(self.report, path, dict, value.tag());
                    tables.push((name.clone(), table));
                }
                Err(complaint) => self.report.note(path, Some(value.tag()), complaint),
            }
        }
        tables
    }

    /// Lists of texts under names that the operator chose; a text counts as a list of one.
    pub(super) fn lists_by_name(&mut self, key: &'static str) -> Vec<(String, Vec<String>)> {
        let outer = self.table(key);
        let mut lists = Vec::new();
        for (name, value) in &outer.values {
            let item = self.report.item(value);
            let texts = match value {
                Value::Array(_, values) => {
                    values.iter().map(|value| self.report.item(value).text().map(str::to_owned)).collect()
                }
                _ => item.text().map(|text| vec![text.to_owned()]),
            };
            match texts {
                Ok(texts) => lists.push((name.clone(), texts)),
                Err(complaint) => self.report.note(outer.key_path(name), Some(value.tag()), complaint),
            }
        }
        lists
    }

    /// All texts, numbers and switches, as texts, under names that the operator chose.
    pub(super) fn texts_by_name(&mut self, key: &'static str) -> Vec<(String, String)> {
        let outer = self.table(key);
        let mut texts = Vec::new();
        for (name, value) in &outer.values {
            let item = self.report.item(value);
            let text = match (item.integer(), item.value) {
                (Ok(number), Value::Num(..)) => Ok(number.to_string()),
                (_, Value::Bool(_, switch)) => Ok(switch.to_string()),
                _ => item.text().map(str::to_owned),
            };
            match text {
                Ok(text) => texts.push((name.clone(), text)),
                Err(complaint) => {
                    self.report.note(outer.key_path(name), Some(value.tag()), complaint);
                }
            }
        }
        texts
    }

    /// Splits off the keys of a table that was written without its header.
    pub(super) fn split(&mut self, keys: &[&'static str]) -> Option<Table<'r>> {
        self.known.extend(keys);
        let mut values = Dict::new();
        for key in keys {
            values.extend(self.values.remove_entry(*key));
        }
        let table = Table::new(self.report, self.path.clone(), values, Tag::Default);
        (!table.values.is_empty()).then_some(table)
    }

    /// The path and the origin of the first key that is left in this table.
    pub(super) fn first_key(&self) -> Option<(&str, Tag)> {
        let (key, value) = self.values.first_key_value()?;
        Some((key, value.tag()))
    }

    /// Where the operator finds this table: a file, an environment variable or a flag.
    pub(super) fn origin(&self) -> Arc<str> {
        let of_a_key = self.tags.values().copied().find(|tag| !tag.is_default());
        let tag = if self.tag.is_default() { of_a_key.unwrap_or_default() } else { self.tag };
        self.report.origin(tag).unwrap_or("the configuration").into()
    }

    /// Takes the path of a file with certificates, and reads the file; the user of the certificates reports what is wrong with it.
    pub(super) fn ca_file(&mut self) -> Option<CaFile> {
        let path = self.text("ca_file")?;
        self.report.depends_on(&path);
        Some(CaFile::read(path.into()))
    }

    /// The report that mistakes go to.
    pub(super) fn report(&self) -> &'r Report {
        self.report
    }

    /// Reports every key that is left as unknown.
    pub(super) fn finish(self) {
        for (key, value) in &self.values {
            let tag = match value.tag() {
                tag if tag.is_default() => self.tag,
                tag => tag,
            };
            let hint = which_key(key, &self.known);
            let complaint = complaint("is an unknown key", hint);
            self.report.note(self.key_path(key), Some(tag), complaint);
        }
    }
}
