//! Catalogues for tests.

use std::sync::Arc;

use super::hosts::Hosts;
use super::{Catalog, CurrentCatalog};
use crate::app::Application;

/// A catalogue of these applications and their identity providers.
pub(crate) fn catalog(applications: Vec<Application>) -> Arc<CurrentCatalog> {
    let applications: Vec<_> = applications.into_iter().map(Arc::new).collect();
    let mut providers: Vec<_> = applications.iter().map(|app| Arc::clone(&app.provider)).collect();
    providers.sort_by(|one, other| one.name().cmp(other.name()));
    providers.dedup_by(|one, other| one.name() == other.name());
    let hosts = Hosts::new(&applications, false, &[]);
    Arc::new(CurrentCatalog::new(Catalog::new(1, hosts, applications, providers)))
}
