//! Applications out of the labels of a container. The readers are those of the file, so that keys and messages are the same.

use std::collections::{BTreeMap, BTreeSet};

use figment::Figment;
use figment::value::{Dict, Tag, Value};

use super::application;
use super::layers::Layer;
use super::mistakes::{Complaint, complaint, shown};
use super::reader::{Report, Table};
use super::values::{slugified, which_key};
use crate::access::Rule;
use crate::app::DeclaredApplication;

/// What forepost's labels begin with.
pub(crate) const PREFIX: &str = "forepost.";

/// Labels in one container.
const MOST_LABELS: usize = 100;
/// Bytes of their names and values together.
const MOST_BYTES: usize = 16_384;
/// Bytes of the name of one.
const LONGEST_NAME: usize = 128;
/// Keys in the name of one.
const DEEPEST: usize = 8;
/// The number of the rule that `forepost.users` makes: behind all others, which have nine digits at most.
const LAST_RULE: &str = "1000000000";

/// The first key of a label: as operators write it, and the key of the application.
const KEYS: [(&str, &str); 17] = [
    ("basic_auth", "basic_auth"),
    ("cookie_domain", "cookie_domain"),
    ("cors", "cors"),
    ("enable", ""),
    ("groups", "required_groups"),
    ("header", "header"),
    ("headers", "headers"),
    ("host", ""),
    ("name", "name"),
    ("post_logout_redirect_uri", "post_logout_redirect_uri"),
    ("provider", "identity_provider"),
    ("public", "public_paths"),
    ("rule", "rule"),
    ("show_required", "show_required"),
    ("slug", "slug"),
    ("tokens", "tokens"),
    ("users", ""),
];

/// Keys whose tables have numbers in labels.
const LISTS: [&str; 5] = ["header", "paths", "public_paths", "require", "rule"];

/// The keys of a rule, as labels have them.
const RULE_KEYS: [&str; 13] = [
    "deny", "groups", "hosts", "methods", "networks", "path", "paths", "prefix", "public", "regex", "require", "users",
    "when",
];

/// What labels are read with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelContext {
    /// The names of the identity providers.
    pub(crate) providers: Vec<String>,
    /// Whether the operator named the proxies that are trusted, which rules for networks need.
    pub(crate) names_proxies: bool,
}

/// A host, and the label that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LabelledHost {
    pub(crate) label: String,
    /// A host or an address, as `external_host` takes it.
    pub(crate) host: String,
}

/// Reads the applications of a container: one for each host, the same but for the slug.
///
/// `labels` are all of the container's that begin with [`PREFIX`], without it. The first host has the slug that the labels give or
/// their name makes; another one has one out of the host.
///
/// # Errors
///
/// All mistakes, each with its label, a remedy, and on one line.
pub(crate) fn applications(
    labels: &BTreeMap<String, String>,
    hosts: &[LabelledHost],
    context: &LabelContext,
) -> Result<Vec<DeclaredApplication>, Vec<String>> {
    let bytes: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
    if labels.len() > MOST_LABELS || bytes > MOST_BYTES {
        return Err(vec![format!("labels {PREFIX}*: are too many; {MOST_LABELS} with {MOST_BYTES} bytes are read")]);
    }
    let mut tree = Tree::default();
    for (name, value) in labels {
        tree.add(name, value);
    }
    tree.check_users();
    let (mut applications, mut mistakes) = (Vec::new(), tree.mistakes);
    for (number, host) in hosts.iter().enumerate() {
        let figment = tree.figment.clone().merge(layer(&host.label, &["external_host"], &host.host));
        match read(figment, &tree.given, context) {
            Ok(mut application) => {
                if number > 0 {
                    application.slug = slugified(application.external_host.host.as_str());
                }
                applications.push(application);
            }
            Err(more) => mistakes.extend(more),
        }
    }
    let mut seen = BTreeSet::new();
    mistakes.retain(|mistake| seen.insert(mistake.clone()));
    if mistakes.is_empty() { Ok(applications) } else { Err(mistakes) }
}

/// The labels as layers of keys.
#[derive(Default)]
struct Tree {
    figment: Figment,
    /// The keys of each label.
    given: BTreeMap<Vec<String>, String>,
    mistakes: Vec<String>,
}

impl Tree {
    fn add(&mut self, name: &str, value: &str) {
        let label = format!("{PREFIX}{name}");
        if let Err(complaint) = self.try_add(name, &label, value) {
            let label = if name.len() > LONGEST_NAME { shown(&label) } else { label.escape_debug().to_string() };
            self.mistakes.push(told(&label, &complaint));
        }
    }

    fn try_add(&mut self, name: &str, label: &str, value: &str) -> Result<(), Complaint> {
        if name.len() > LONGEST_NAME {
            return Err(complaint("is too long", format!("{LONGEST_NAME} bytes at most")));
        }
        if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(complaint("has a character that no key has", "letters, digits, _, - and dots"));
        }
        let keys: Vec<&str> = name.splitn(DEEPEST, '.').collect();
        if keys.iter().any(|key| key.starts_with("danger_")) {
            return Err(complaint("cannot be said by a label", "set it in the configuration file"));
        }
        if keys[0] == "token_issuer" {
            let hint = "set it in the configuration file: forepost connects to its address";
            return Err(complaint("cannot be said by a label", hint));
        }
        let keys = keys_of(&keys)?;
        if keys.is_empty() {
            return Ok(()); // The caller read it.
        }
        if value.trim_matches([' ', '\t', '\n', '\r', ',', '[', ']']).is_empty() {
            return Err(complaint("is empty", "give a value, or remove the label"));
        }
        let clash = self.given.iter().find(|(other, _)| other.starts_with(&keys) || keys.starts_with(other));
        if let Some((_, other)) = clash {
            return Err(complaint(format!("says the same as label {other}"), "give one of them"));
        }
        let figment = std::mem::take(&mut self.figment);
        self.figment = figment.merge(layer(label, &keys, value));
        self.given.insert(keys, label.to_owned());
        Ok(())
    }

    /// Users and groups together can mean either or both.
    fn check_users(&mut self) {
        let first = |key: &str| self.given.keys().any(|keys| keys[0] == key);
        if first("required_groups") && self.given.keys().any(|keys| keys.get(1).is_some_and(|key| key == LAST_RULE)) {
            let hint =
                "write rules: forepost.rule.1.users, forepost.rule.2.groups and so on; the first that matches decides";
            let complaint = complaint("has more than one reading beside forepost.groups", hint);
            self.mistakes.push(told(&format!("{PREFIX}users"), &complaint));
        }
    }
}

/// The keys of the application that a label's keys mean; none for a label that no reader of applications takes.
fn keys_of(keys: &[&str]) -> Result<Vec<String>, Complaint> {
    let known: Vec<&'static str> = KEYS.iter().map(|(label, _)| *label).collect();
    let found = KEYS.iter().find(|(label, key)| keys[0] == *label || (!key.is_empty() && keys[0] == *key));
    let Some((label, key)) = found else {
        if keys[0] == "external_host" {
            return Ok(Vec::new());
        }
        return Err(complaint("is an unknown label", which_key(keys[0], &known)));
    };
    let owned = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    if ["enable", "host", "users"].contains(label) {
        if keys.len() > 1 {
            return Err(complaint("is an unknown label", format!("write {PREFIX}{label}")));
        }
        let users = ["rule", LAST_RULE, "require", "users"];
        return Ok(if *label == "users" { owned(&users) } else { Vec::new() });
    }
    let is_list = LISTS.contains(key);
    let (number, rest) = match keys {
        [_, number, rest @ ..] if is_list && is_number(number) && !rest.is_empty() => (*number, rest),
        [_] if !["rule", "header"].contains(key) => return Ok(owned(&[key])),
        [_, rest @ ..] if !is_list => return Ok([owned(&[key]), owned(rest)].concat()),
        _ => return Err(complaint("has no number", format!("write {PREFIX}{label}.1.KEY"))),
    };
    if let ("rule", [first, ..]) = (*label, rest)
        && !RULE_KEYS.contains(first)
    {
        return Err(complaint("is an unknown label", which_key(first, &RULE_KEYS)));
    }
    if let ["paths", number, _, ..] | ["paths", number] = rest
        && !is_number(number)
    {
        return Err(complaint("has no number", format!("write {PREFIX}{label}.1.paths.1.prefix")));
    }
    let rest = match (*label, rest) {
        ("rule", [key @ ("path" | "prefix" | "regex")]) => {
            let place = ["path", "prefix", "regex"].iter().position(|it| it == key).unwrap_or_default();
            vec!["paths".to_owned(), place.to_string(), (*key).to_owned()]
        }
        ("rule", ["groups"]) => owned(&["require", "groups_any"]),
        ("rule", ["users"]) => owned(&["require", "users"]),
        // Names of claims hold dots.
        ("rule", ["require", "claims", first, more @ ..]) => {
            let claim = [&[*first], more].concat().join(".");
            [owned(&["require", "claims"]), vec![claim]].concat()
        }
        (_, rest) => owned(rest),
    };
    Ok([owned(&[*key, number]), rest].concat())
}

/// A number of a list in its one spelling, so that no two labels name one entry.
fn is_number(key: &str) -> bool {
    let digits = !key.is_empty() && key.len() <= 9 && key.bytes().all(|byte| byte.is_ascii_digit());
    digits && (key == "0" || !key.starts_with('0'))
}

fn layer(label: &str, keys: &[impl AsRef<str>], value: &str) -> Layer {
    let keys = keys.iter().map(|key| key.as_ref().to_owned()).collect();
    Layer::text(label.to_owned(), keys, value.trim())
}

fn told(label: &str, complaint: &Complaint) -> String {
    match complaint.hint.as_str() {
        "" => format!("label {label}: {}", complaint.problem),
        hint => format!("label {label}: {}; {hint}", complaint.problem),
    }
}

fn read(
    figment: Figment,
    given: &BTreeMap<Vec<String>, String>,
    context: &LabelContext,
) -> Result<DeclaredApplication, Vec<String>> {
    let report = Report::new(figment);
    let mut numbers = Numbers::default();
    let values = match numbers.listed(String::new(), "", Value::Dict(Tag::Default, report.values())) {
        Value::Dict(_, values) => values,
        _ => Dict::new(),
    };
    let table = Table::whole(&report, values);
    let mut applications = application::read_all(vec![(table, None)], &context.providers, &mut BTreeMap::new());
    let mut mistakes: Vec<String> = report
        .into_parts()
        .0
        .into_iter()
        .map(|mistake| {
            let label = mistake.origin.unwrap_or_else(|| numbers.label(&mistake.path));
            told(&label, &complaint(mistake.problem, mistake.hint))
        })
        .collect();
    let Some(application) = applications.usable.pop().filter(|_| mistakes.is_empty()) else {
        if mistakes.is_empty() {
            mistakes.push(format!("labels {PREFIX}*: make no application"));
        }
        return Err(mistakes);
    };
    if !context.names_proxies && application.rules.iter().any(Rule::looks_at_client) {
        let hint = "name your proxies in server.trusted_proxies of the configuration file";
        mistakes.push(told(&format!("{PREFIX}rule"), &complaint("is for networks, which any peer could claim", hint)));
    }
    let issuers = application.tokens.as_ref().is_some_and(|tokens| !tokens.issuers.is_empty());
    if application.danger_unverified_email || issuers {
        mistakes.push(format!("labels {PREFIX}*: say what only the configuration file can say"));
    }
    // A list of commas and brackets is empty, and would let every user in.
    if let Some(label) = given.get(&["required_groups".to_owned()][..])
        && application.required_groups.is_empty()
    {
        mistakes.push(told(label, &complaint("names no group", "give a value, or remove the label")));
    }
    if mistakes.is_empty() { Ok(application) } else { Err(mistakes) }
}

/// The numbers of the entries of lists, by the paths of the lists.
#[derive(Default)]
struct Numbers(BTreeMap<String, Vec<String>>);

impl Numbers {
    /// Makes lists of the tables whose keys are numbers, and of texts that are paths with commas between them.
    fn listed(&mut self, path: String, key: &str, value: Value) -> Value {
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
    fn label(&self, path: &str) -> String {
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
