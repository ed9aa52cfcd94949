//! Changes of the configuration while the daemon runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::mpsc::{Receiver, Sender};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::supervisor::Supervisor;
use crate::catalog::{Builder, Catalog, CurrentCatalog, Declaration, Difference, Publication, SourceState};
use crate::sources::{FILES, Reading, Source};
use crate::telemetry::metrics::Metrics;
use crate::world::World;

/// Builds one catalogue of all that the sources say, and publishes it.
pub(super) struct Publisher {
    pub(super) builder: Builder,
    pub(super) catalog: Arc<CurrentCatalog>,
    pub(super) supervisor: Supervisor,
    pub(super) metrics: Arc<Metrics>,
    pub(super) world: World,
    /// What each source declares, in the order of their precedence: of two declarations that conflict the earlier one counts.
    pub(super) declared: Vec<Vec<Declaration>>,
    /// What the first source declares, for sources that name it.
    pub(super) files: watch::Sender<Vec<Declaration>>,
}

/// The number of a source, in the order of their precedence, with its name and what it says.
pub(super) type FromSource = (usize, &'static str, Reading);

/// Hands on what `source` says, until `stop`.
pub(super) async fn follow(
    number: usize,
    mut source: impl Source,
    readings: Sender<FromSource>,
    stop: CancellationToken,
) {
    while let Some(reading) = stop.run_until_cancelled(source.next()).await {
        if readings.send((number, source.name(), reading)).await.is_err() {
            return;
        }
    }
}

impl Publisher {
    /// Tells operators of the configuration at the start.
    pub(super) fn begin(&self) {
        let (revision, now) = (self.catalog.load().revision(), self.world.now());
        let read_at = now.as_millis();
        let sources = [(FILES, SourceState { read_at, ..SourceState::default() })].into();
        self.metrics.configuration(FILES, revision, true, 0, now);
        self.catalog.set_publication(Publication {
            revision,
            published_at: read_at,
            sources,
            ..Publication::default()
        });
    }

    /// Publishes each reading, one after the other, until `stop`.
    pub(super) async fn run(mut self, mut readings: Receiver<FromSource>, stop: CancellationToken) {
        while let Some(Some((number, name, reading))) = stop.run_until_cancelled(readings.recv()).await {
            self.publish(number, name, reading);
        }
        stop.cancelled().await;
        self.supervisor.finished().await;
    }

    /// Removes the series of applications and hosts that are gone: with labels there is no end to new ones.
    fn forget(&self, before: &Catalog, after: &Catalog) {
        let hosts: BTreeSet<&str> = after.applications().iter().map(|app| app.own_host().as_str()).collect();
        for app in before.applications() {
            if after.application(&app.id).is_none() {
                self.metrics.forget_application(&app.id);
            }
            if !hosts.contains(app.own_host().as_str()) {
                self.metrics.forget_host(app.own_host().as_str());
            }
        }
    }

    fn publish(&mut self, number: usize, name: &'static str, reading: Reading) {
        let Reading { declarations, mistakes, needs_restart, stale, asked_by } = reading;
        if number == 0 {
            self.files.send_replace(declarations.clone());
        }
        if let Some(declared) = self.declared.get_mut(number) {
            *declared = declarations;
        }
        let before = self.catalog.load_full();
        let (catalog, conflicts) = self.builder.build(&before, &self.declared.concat());
        let conflicts: Vec<_> = conflicts.iter().map(ToString::to_string).collect();
        let told = self.catalog.publication();
        for conflict in conflicts.iter().filter(|conflict| !told.conflicts.contains(conflict)) {
            tracing::error!(%conflict, "a part of the configuration cannot be used; its form before stays, if it has one");
        }
        let changes = Difference::between(&before, &catalog);
        let now = self.world.now();
        let mut publication = Publication::clone(&told);
        if !changes.is_empty() || (asked_by.is_some() && mistakes.is_empty()) {
            let catalog = Arc::new(catalog);
            self.catalog.publish(Arc::clone(&catalog));
            self.supervisor.follow(&catalog);
            self.forget(&before, &catalog);
            // Behind the change, so that the line means that it counts.
            tracing::info!(
                source = name,
                revision = catalog.revision(),
                added = changes.added.join(", "),
                changed = changes.changed.join(", "),
                removed = changes.removed.join(", "),
                "the configuration is reloaded"
            );
            publication.revision = catalog.revision();
            publication.published_at = now.as_millis();
            publication.changes = changes;
        }
        self.metrics.configuration(name, publication.revision, mistakes.is_empty() && !stale, conflicts.len(), now);
        let state = SourceState { read_at: now.as_millis(), stale, mistakes, needs_restart };
        publication.sources.insert(name, state);
        publication.conflicts = conflicts;
        self.catalog.set_publication(publication.clone());
        if let Some(asked_by) = asked_by {
            // A client that has gone away needs no answer.
            drop(asked_by.send(publication));
        }
    }
}
