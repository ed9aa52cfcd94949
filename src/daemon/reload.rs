//! Changes of the configuration while the daemon runs.

use std::sync::Arc;

use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::supervisor::Supervisor;
use super::warnings;
use crate::access::Rule;
use crate::catalog::{Builder, Catalog, CurrentCatalog};
use crate::settings::{Mistakes, Settings};

/// Publishes a new catalogue for each configuration that is read.
pub(super) struct Reloader {
    /// The settings that count until the restart.
    pub(super) running: Settings,
    pub(super) builder: Builder,
    pub(super) catalog: Arc<CurrentCatalog>,
    pub(super) supervisor: Supervisor,
}

impl Reloader {
    /// Applies each configuration that was `read`, one after the other, until `stop`.
    pub(super) async fn run(mut self, mut read: Receiver<Result<Settings, Mistakes>>, stop: CancellationToken) {
        while let Some(Some(settings)) = stop.run_until_cancelled(read.recv()).await {
            self.reload(settings);
        }
        stop.cancelled().await;
        self.supervisor.finished().await;
    }

    /// Applies a configuration; one with a mistake changes nothing.
    fn reload(&mut self, read: Result<Settings, Mistakes>) {
        let settings = match read {
            Ok(settings) => settings,
            Err(mistakes) => {
                tracing::error!(%mistakes, "the configuration is not reloaded; the one before it stays in force");
                return;
            }
        };
        let keys = settings.needs_restart(&self.running);
        if !keys.is_empty() {
            tracing::warn!(keys = keys.join(", "), "these settings change with a restart only");
        }
        if keys.contains(&"server.trusted_proxies")
            && settings.applications.iter().any(|app| app.rules.iter().any(Rule::looks_at_client))
        {
            // Rules for networks would believe proxies that the new configuration does not trust.
            tracing::error!("not reloaded: rules for networks and another server.trusted_proxies need a restart");
            return;
        }
        warnings::about(&settings);
        self.publish(&settings);
    }

    fn publish(&mut self, settings: &Settings) {
        let before = self.catalog.load_full();
        let (catalog, conflicts) = self.builder.build(&before, &settings.declarations());
        for conflict in &conflicts {
            tracing::error!(%conflict, "a part of the configuration cannot be used; its form before stays, if it has one");
        }
        let catalog = Arc::new(catalog);
        self.catalog.publish(Arc::clone(&catalog));
        self.supervisor.follow(&catalog);
        tell(&before, &catalog);
    }
}

/// Logs what differs between two catalogues.
fn tell(before: &Catalog, after: &Catalog) {
    let (mut added, mut changed, mut removed) = (Vec::new(), Vec::new(), Vec::new());
    let mut compare = |name: String, same: Option<bool>| match same {
        Some(true) => {}
        Some(false) => changed.push(name),
        None => added.push(name),
    };
    for provider in after.providers() {
        let name = format!("identity_provider.{}", provider.name());
        compare(name, before.provider(provider.name()).map(|it| Arc::ptr_eq(it, provider)));
    }
    for app in after.applications() {
        compare(format!("application.{}", app.id), before.application(&app.id).map(|it| Arc::ptr_eq(it, app)));
    }
    let gone = before.providers().iter().filter(|it| after.provider(it.name()).is_none());
    removed.extend(gone.map(|it| format!("identity_provider.{}", it.name())));
    let gone = before.applications().iter().filter(|it| after.application(&it.id).is_none());
    removed.extend(gone.map(|it| format!("application.{}", it.id)));
    tracing::info!(
        revision = after.revision(),
        added = added.join(", "),
        changed = changed.join(", "),
        removed = removed.join(", "),
        "the configuration is reloaded"
    );
}
