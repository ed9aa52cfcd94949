//! Applications out of the labels of a container. The readers are those of the file, so that keys and messages are the same.

mod keys;
mod numbers;

use std::collections::{BTreeMap, BTreeSet};

use figment::Figment;
use figment::value::{Dict, Tag, Value};

use self::keys::{LAST_RULE, OF_HOSTS, keys_of};
use self::numbers::Numbers;
use super::address::external_host;
use super::layers::Layer;
use super::mistakes::{Complaint, complaint, shown};
use super::reader::{Report, Table};
use super::values::slugified;
use super::{application, application_host};
use crate::access::Rule;
use crate::app::{DeclaredApplication, DeclaredHost, ExternalHost};
use crate::host::{CookieDomain, Host};
use crate::identity::ClaimNames;

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

/// What labels are read with.
#[derive(Clone, Debug, Default)]
pub(crate) struct LabelContext {
    /// The names of the identity providers.
    pub(crate) providers: Vec<String>,
    /// Whether the operator named the proxies that are trusted, which rules for networks need.
    pub(crate) names_proxies: bool,
    /// The applications of the file that have a cookie domain, with the claims of their identity providers.
    pub(crate) domains: Vec<(DeclaredApplication, ClaimNames)>,
}

impl LabelContext {
    /// The application with the longest cookie domain that `host` is under, unless logins come back to that host.
    fn above(&self, host: &Host<'_>) -> Option<(&DeclaredApplication, &CookieDomain, &ClaimNames)> {
        let above = self.domains.iter().filter_map(|(application, claims)| {
            let domain = application.cookie_domain.as_ref().filter(|domain| domain.contains(host))?;
            (application.external_host.host != *host).then_some((application, domain, claims))
        });
        above.max_by_key(|(_, domain, _)| domain.as_str().len())
    }
}

/// What labels declare.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum OfLabels {
    /// An application.
    Application(Box<DeclaredApplication>),
    /// A host under the cookie domain of an application of the file.
    Host {
        /// The slug of the application.
        application: String,
        /// The host.
        host: DeclaredHost,
    },
}

/// A host, and the label that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LabelledHost {
    pub(crate) label: String,
    /// A host or an address, as `external_host` takes it.
    pub(crate) host: String,
}

/// Reads what the labels of a container declare: the same for each host, but for the slug.
///
/// `labels` are all of the container's that begin with [`PREFIX`], without it. The first host has the slug that the labels give or
/// their name makes; another one has one out of the host.
///
/// # Errors
///
/// All mistakes, each with its label, a remedy, and on one line.
pub(crate) fn declared(
    labels: &BTreeMap<String, String>,
    hosts: &[LabelledHost],
    context: &LabelContext,
) -> Result<Vec<OfLabels>, Vec<String>> {
    let bytes: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
    if labels.len() > MOST_LABELS || bytes > MOST_BYTES {
        return Err(vec![format!("labels {PREFIX}*: are too many; {MOST_LABELS} with {MOST_BYTES} bytes are read")]);
    }
    let mut tree = Tree::default();
    for (name, value) in labels {
        tree.add(name, value);
    }
    tree.check_users();
    let (mut declared, mut mistakes) = (Vec::new(), std::mem::take(&mut tree.mistakes));
    for (number, host) in hosts.iter().enumerate() {
        let address = external_host(&host.host).ok();
        let above = address.as_ref().and_then(|address| Some((address, context.above(&address.host)?)));
        let read = match above {
            Some((address, (application, _, claims))) => tree.host(host, address, application, claims, context),
            None => tree.application(host, context),
        };
        match read {
            Ok(one) => declared.push(if number > 0 { one.with_slug_of_host() } else { one }),
            Err(more) => mistakes.extend(more),
        }
    }
    let mut seen = BTreeSet::new();
    mistakes.retain(|mistake| seen.insert(mistake.clone()));
    if mistakes.is_empty() { Ok(declared) } else { Err(mistakes) }
}

impl OfLabels {
    /// Where it answers.
    pub(crate) fn host(&self) -> &Host<'static> {
        match self {
            Self::Application(application) => &application.external_host.host,
            Self::Host { host, .. } => &host.host,
        }
    }

    /// Its short name.
    pub(crate) fn slug(&self) -> &str {
        match self {
            Self::Application(application) => &application.slug,
            Self::Host { host, .. } => &host.slug,
        }
    }

    /// Its cookie domain; a host has none of its own.
    pub(crate) fn cookie_domain(&self) -> Option<&CookieDomain> {
        match self {
            Self::Application(application) => application.cookie_domain.as_ref(),
            Self::Host { .. } => None,
        }
    }

    fn with_slug_of_host(mut self) -> Self {
        let own = slugified(self.host().as_str());
        match &mut self {
            Self::Application(application) => application.slug = own,
            Self::Host { host, .. } => host.slug = own,
        }
        self
    }
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

impl Tree {
    /// Reads an application at `host`.
    fn application(&self, host: &LabelledHost, context: &LabelContext) -> Result<OfLabels, Vec<String>> {
        let figment = self.figment.clone().merge(layer(&host.label, &["external_host"], &host.host));
        let application = read(figment, |table| {
            application::read_all(vec![(table, None)], &context.providers, &mut BTreeMap::new()).usable.pop()
        })?;
        let issuers = application.tokens.as_ref().is_some_and(|tokens| !tokens.issuers.is_empty());
        if application.danger_unverified_email || issuers || !application.hosts.is_empty() {
            return Err(vec![format!("labels {PREFIX}*: say what only the configuration file can say")]);
        }
        self.check(&application.rules, &application.required_groups, context)?;
        Ok(OfLabels::Application(Box::new(application)))
    }

    /// Reads a host of `application`, at `address`.
    fn host(
        &self,
        host: &LabelledHost,
        address: &ExternalHost,
        application: &DeclaredApplication,
        claims: &ClaimNames,
        context: &LabelContext,
    ) -> Result<OfLabels, Vec<String>> {
        let slug = &application.slug;
        let with_scheme = host.host.contains("://");
        if (with_scheme && address.scheme != application.external_host.scheme)
            || address.port.is_some()
            || !address.base_path.is_empty()
        {
            let problem = format!("{} is more than a host", shown(&host.host));
            let hint =
                format!("give the host alone: the application {slug} says scheme and path of all hosts of its domain");
            return Err(vec![told(&host.label, &complaint(problem, hint))]);
        }
        let foreign = self.given.iter().filter(|(keys, _)| !OF_HOSTS.contains(&keys[0].as_str()));
        let foreign: Vec<_> = foreign
            .map(|(_, label)| {
                let problem =
                    format!("is for an application, and {} is a host of the application {slug}", address.host);
                told(label, &complaint(problem, "set it there in the file, or remove the label"))
            })
            .collect();
        if !foreign.is_empty() {
            return Err(foreign);
        }
        let figment = self.figment.clone().merge(layer(&host.label, &["host"], address.host.as_str()));
        let declared = read(figment, |table| application_host::read_alone(table, application))?;
        self.check(&declared.rules, &declared.required_groups, context)?;
        if !application.suits(&declared, claims) {
            let problem = format!("look at a claim, or send an ID token, that the application {slug} does not");
            let hint = "name it there in the file: the sessions of all its hosts depend on it";
            return Err(vec![format!("labels {PREFIX}rule, {PREFIX}header, {PREFIX}headers: {problem}; {hint}")]);
        }
        Ok(OfLabels::Host { application: slug.clone(), host: declared })
    }

    /// Checks what both may have.
    fn check(&self, rules: &[Rule], required_groups: &[String], context: &LabelContext) -> Result<(), Vec<String>> {
        let mut mistakes = Vec::new();
        if !context.names_proxies && rules.iter().any(Rule::looks_at_client) {
            let hint = "name your proxies in server.trusted_proxies of the configuration file";
            let problem = "is for networks, which any peer could claim";
            mistakes.push(told(&format!("{PREFIX}rule"), &complaint(problem, hint)));
        }
        // A list of commas and brackets is empty, and would let every user in.
        if let Some(label) = self.given.get(&["required_groups".to_owned()][..])
            && required_groups.is_empty()
        {
            mistakes.push(told(label, &complaint("names no group", "give a value, or remove the label")));
        }
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }
}

/// Reads the table of all layers.
fn read<T>(figment: Figment, read: impl FnOnce(Table<'_>) -> Option<T>) -> Result<T, Vec<String>> {
    let report = Report::new(figment);
    let mut numbers = Numbers::default();
    let values = match numbers.listed(String::new(), "", Value::Dict(Tag::Default, report.values())) {
        Value::Dict(_, values) => values,
        _ => Dict::new(),
    };
    let declared = read(Table::whole(&report, values));
    let mistakes = report.into_parts().0.into_iter().map(|mistake| {
        let label = mistake.origin.unwrap_or_else(|| numbers.label(&mistake.path));
        told(&label, &complaint(mistake.problem, mistake.hint))
    });
    let mistakes: Vec<String> = mistakes.collect();
    match declared {
        Some(declared) if mistakes.is_empty() => Ok(declared),
        None if mistakes.is_empty() => Err(vec![format!("labels {PREFIX}*: make no application")]),
        _ => Err(mistakes),
    }
}
