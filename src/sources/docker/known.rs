//! What is known of containers: those that there are, and for a while those that there were.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::engine::Container;
use super::labels::{self, Labelled};
use crate::access::{Action, Cors, Rule};
use crate::app::{DeclaredApplication, DeclaredHost};
use crate::host::Host;
use crate::settings::{LABEL_PREFIX, LabelContext, OfLabels};

/// Containers with labels of ours; those that were made later are left out.
const MOST: usize = 10_000;
/// Containers that are gone and still remembered.
const MOST_GONE: usize = 1_000;

/// The states of containers that do not run any more; engines have others.
const STOPPED: [&str; 5] = ["dead", "exited", "removing", "stopped", "stopping"];

/// What labels declare, with the origins, and what is wrong with others.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Said {
    pub(super) declared: Vec<(Arc<str>, OfLabels)>,
    pub(super) mistakes: Vec<String>,
}

/// What bounds the containers' claims.
pub(super) struct Bounds<'a> {
    /// `docker.domains`.
    pub(super) domains: &'a [Host<'static>],
    /// The applications of the file.
    pub(super) file: &'a [DeclaredApplication],
}

/// A container with labels of ours.
#[derive(Clone, Debug)]
struct Known {
    container: Container,
    name: String,
    /// When it was first seen not to run, or not to be there.
    stopped: Option<Instant>,
    /// Whether it has been stopped for so long that its application is gone.
    expired: bool,
    /// What its labels declare, or those of the container of that name before it that could be read.
    labelled: Vec<Labelled>,
    mistakes: Vec<String>,
}

impl Known {
    fn id(&self) -> &str {
        &self.container.id
    }
}

/// The containers with labels of ours, by their ids.
#[derive(Default)]
pub(super) struct Containers {
    known: BTreeMap<String, Known>,
    left_out: usize,
}

impl Containers {
    /// Takes a complete list.
    pub(super) fn list(&mut self, listed: &[Container], context: &LabelContext, now: Instant) {
        let mut ours: Vec<&Container> = listed.iter().filter(|container| labels::concern(container)).collect();
        ours.sort_by_key(|container| (container.created.unwrap_or(i64::MAX), &container.id));
        self.left_out = ours.len().saturating_sub(MOST);
        ours.truncate(MOST);
        let before = std::mem::take(&mut self.known);
        let good = last_good(&before);
        for container in ours {
            let is_stopped = container.state.as_deref().is_some_and(|state| STOPPED.contains(&state));
            let earlier = before.get(&container.id);
            let mut known = match earlier.filter(|it| it.container.labels == container.labels && it.mistakes.is_empty())
            {
                Some(earlier) => earlier.clone(),
                None => read(container, context, &good),
            };
            known.stopped = is_stopped.then(|| earlier.and_then(|it| it.stopped).unwrap_or(now));
            known.expired = is_stopped && earlier.is_some_and(|it| it.expired);
            known.container = container.clone();
            known.name = labels::name(container);
            self.known.insert(container.id.clone(), known);
        }
        let gone = before.into_iter().filter(|(id, it)| !self.known.contains_key(id) && !it.expired);
        let gone = gone.map(|(id, it)| (id, Known { stopped: it.stopped.or(Some(now)), mistakes: Vec::new(), ..it }));
        let mut gone: Vec<_> = gone.filter(|(_, it)| !it.labelled.is_empty()).collect();
        gone.sort_by_key(|(_, it)| Reverse(it.stopped));
        gone.truncate(MOST_GONE);
        self.known.extend(gone);
    }

    /// Reads all labels again, for another configuration file.
    pub(super) fn read_again(&mut self, context: &LabelContext) {
        let before = self.known.clone();
        let good = last_good(&before);
        for known in self.known.values_mut() {
            let Known { labelled, mistakes, .. } = read(&known.container, context, &good);
            (known.labelled, known.mistakes) = (labelled, mistakes);
        }
    }

    /// Ends the applications of containers that have been stopped for `grace`, and returns when the next one will have been.
    pub(super) fn expire(&mut self, grace: Duration, now: Instant) -> Option<Instant> {
        for known in self.known.values_mut() {
            known.expired |= known.stopped.is_some_and(|stopped| stopped + grace <= now);
        }
        let left = self.known.values().filter(|known| !known.expired);
        left.filter_map(|known| Some(known.stopped? + grace)).min()
    }

    /// What the labels of all containers say together.
    ///
    /// Of two containers with one host, slug or cookie domain the one that runs counts, then the older one; of two that are as old
    /// as each other neither does. Containers that say the same are one application.
    pub(super) fn say(&self, bounds: &Bounds<'_>) -> Said {
        let mut said = Said::default();
        let mut claims = Claims::default();
        for known in self.known.values().filter(|known| !known.expired) {
            let origin = format!("docker container {}", known.name);
            said.mistakes.extend(known.mistakes.iter().map(|mistake| format!("{origin}: {mistake}")));
            for labelled in &known.labelled {
                match labels::trespass(labelled, bounds.domains, bounds.file) {
                    Some(mistake) => said.mistakes.push(format!("{origin}: {mistake}")),
                    None => claims.add(known, labelled),
                }
            }
        }
        if self.left_out > 0 {
            let what = "containers with labels of forepost are left out";
            said.mistakes.push(format!("docker: {} {what}; {MOST} are read", self.left_out));
        }
        said.declared = claims.settle(&mut said.mistakes).iter().map(Claim::declared).collect();
        said
    }
}

/// What worked last for each name of a container.
fn last_good(before: &BTreeMap<String, Known>) -> BTreeMap<&str, &Known> {
    let mut good: Vec<_> = before.values().filter(|known| !known.labelled.is_empty()).collect();
    good.sort_by_key(|known| (known.stopped.is_none(), known.container.created));
    good.into_iter().map(|known| (known.name.as_str(), known)).collect()
}

/// Reads the labels of a container. Where they have mistakes, what worked before goes on, whether the labels changed or the file.
fn read(container: &Container, context: &LabelContext, good: &BTreeMap<&str, &Known>) -> Known {
    let name = labels::name(container);
    let (labelled, mistakes) = match labels::read(container, context) {
        Ok(labelled) => (labelled, Vec::new()),
        Err(mistakes) => {
            let before = good.get(name.as_str()).map(|known| known.labelled.clone());
            (before.unwrap_or_default(), mistakes)
        }
    };
    Known { container: container.clone(), name, stopped: None, expired: false, labelled, mistakes }
}

/// An application that a container claims, or several that say the same.
struct Claim<'k> {
    known: &'k Known,
    labelled: &'k Labelled,
    is_stopped: bool,
    created: i64,
}

/// Claims of different applications.
#[derive(Default)]
struct Claims<'k> {
    claims: Vec<Claim<'k>>,
    by_host: BTreeMap<&'k Host<'static>, Vec<usize>>,
}

impl<'k> Claims<'k> {
    fn add(&mut self, known: &'k Known, labelled: &'k Labelled) {
        let created = known.container.created.unwrap_or(i64::MAX);
        let (claim, claims) =
            (Claim { known, labelled, is_stopped: known.stopped.is_some(), created }, &mut self.claims);
        let of_host = self.by_host.entry(labelled.declared.host()).or_default();
        let same = of_host.iter().find(|at| claims[**at].labelled.declared == labelled.declared);
        if let Some(same) = same {
            claims[*same].join(claim);
        } else {
            of_host.push(claims.len());
            claims.push(claim);
        }
    }

    /// Leaves out what another container has a better claim to, and says so.
    fn settle(mut self, mistakes: &mut Vec<String>) -> Vec<Claim<'k>> {
        self.claims.sort_by(|one, other| (one.rank(), one.known.id()).cmp(&(other.rank(), other.known.id())));
        let mut owners: BTreeMap<(&str, String), usize> = BTreeMap::new();
        let mut refused = BTreeSet::new();
        for (number, claim) in self.claims.iter().enumerate() {
            let mut clashes = claim.keys().filter_map(|(key, label, value)| {
                Some((key, label, owners.get(&(key, value.clone())).copied()?, value))
            });
            let Some((key, label, owner, value)) = clashes.next() else {
                owners.extend(claim.keys().map(|(key, _, value)| ((key, value), number)));
                continue;
            };
            refused.insert(number);
            let other = &self.claims[owner];
            if claim.is_stopped {
                continue; // The container that took its place has its host.
            }
            let outcome = if std::ptr::eq(other.known, claim.known) {
                "the first host counts"
            } else if other.rank() == claim.rank() {
                refused.insert(owner);
                "neither counts, because neither is older"
            } else {
                "that one is older and counts"
            };
            let (name, theirs) = (&claim.known.name, &other.known.name);
            let problem = format!("{key} {value} is that of docker container {theirs} too; {outcome}");
            mistakes.push(format!("docker container {name}: label {label}: {problem}; give each its own"));
        }
        let claims = self.claims.into_iter().enumerate().filter(|(number, _)| !refused.contains(number));
        claims.map(|(_, claim)| claim).collect()
    }
}

impl Claim<'_> {
    /// Takes the claim of another container that says the same: it runs if one of both does, and is as old as the older one.
    fn join(&mut self, other: Self) {
        let created = self.created.min(other.created);
        if (other.is_stopped, other.created) < (self.is_stopped, self.created) {
            (self.known, self.is_stopped) = (other.known, other.is_stopped);
        }
        self.created = created;
    }

    /// Smaller: comes first.
    fn rank(&self) -> (bool, i64) {
        (self.is_stopped, self.created)
    }

    /// What no other application may have, with the labels that say it.
    fn keys(&self) -> impl Iterator<Item = (&'static str, String, String)> {
        let Labelled { label, declared } = self.labelled;
        let of = |key: &str| format!("{LABEL_PREFIX}{key}");
        let host = ("host", label.clone(), declared.host().to_string());
        let slug = ("slug", of("slug"), declared.slug().to_owned());
        let domain = declared.cookie_domain();
        let domain = domain.map(|domain| ("cookie domain", of("cookie_domain"), domain.to_string()));
        [host, slug].into_iter().chain(domain)
    }

    fn declared(&self) -> (Arc<str>, OfLabels) {
        let declared = self.labelled.declared.clone();
        let declared = if self.is_stopped { denied(declared) } else { declared };
        (format!("docker container {}", self.known.name).into(), declared)
    }
}

/// The same, which lets no user in and says why.
fn denied(declared: OfLabels) -> OfLabels {
    let name = |name: &str| format!("{name} (stopped)");
    let deny = Rule {
        hosts: Vec::new(),
        paths: Vec::new(),
        methods: Vec::new(),
        networks: Vec::new(),
        when: None,
        action: Action::Deny,
    };
    match declared {
        OfLabels::Application(application) => OfLabels::Application(Box::new(DeclaredApplication {
            name: name(&application.name),
            public_paths: Vec::new(),
            rules: vec![deny],
            required_groups: Vec::new(),
            cors: Cors::default(),
            tokens: None,
            ..*application
        })),
        OfLabels::Host { application, host } => {
            let public_paths = Vec::new();
            let host = DeclaredHost { name: name(&host.name), public_paths, rules: vec![deny], ..host };
            OfLabels::Host { application, host }
        }
    }
}
