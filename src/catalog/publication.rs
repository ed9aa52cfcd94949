//! What operators are told of changes of the catalogue.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::oneshot;

use super::Catalog;

/// A request to read the configuration again, of an operator or the service manager, which waits for what comes of it.
pub type ReloadRequest = oneshot::Sender<Publication>;

/// The state of the configuration after the last reading of a source. Times are in milliseconds since 1970.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Publication {
    /// The revision of the catalogue that counts.
    pub revision: u64,
    /// When it was published.
    pub published_at: u64,
    /// What it changed.
    pub changes: Difference,
    /// The sources, by their names.
    pub sources: BTreeMap<&'static str, SourceState>,
    /// Declarations that cannot be used, and why.
    pub conflicts: Vec<String>,
}

/// What the last reading of a source found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SourceState {
    /// When it was read.
    pub read_at: u64,
    /// Whether it cannot be reached, so that forepost goes by what it said before.
    pub stale: bool,
    /// What is wrong in it, and stays as it was before.
    pub mistakes: Vec<String>,
    /// Keys that differ from those of the running daemon and change with a restart only.
    pub needs_restart: Vec<&'static str>,
}

/// The applications and identity providers that differ between two catalogues, as `application.SLUG` and `identity_provider.NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Only in the later one.
    pub added: Vec<String>,
    /// In both, and not the same.
    pub changed: Vec<String>,
    /// Only in the earlier one.
    pub removed: Vec<String>,
}

impl Difference {
    /// Compares two catalogues.
    #[must_use]
    pub fn between(before: &Catalog, after: &Catalog) -> Self {
        let (before, mut difference) = (parts(before), Self::default());
        let mut gone = before.clone();
        for (name, part) in parts(after) {
            gone.remove(&name);
            match before.get(&name) {
                None => difference.added.push(name),
                Some(earlier) if *earlier != part => difference.changed.push(name),
                Some(_) => {}
            }
        }
        difference.removed = gone.into_keys().collect();
        difference
    }

    /// Whether both are the same.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

/// The addresses in memory of applications and identity providers, which are the same where nothing changed.
fn parts(catalog: &Catalog) -> BTreeMap<String, usize> {
    let providers = catalog.providers().iter();
    let providers = providers.map(|it| (format!("identity_provider.{}", it.name()), Arc::as_ptr(it).addr()));
    let applications = catalog.applications().iter();
    let applications = applications.map(|it| (format!("application.{}", it.id), Arc::as_ptr(it).addr()));
    providers.chain(applications).collect()
}
