//! Metrics of the configuration and its changes.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;
use super::labels::SourceLabels;
use crate::world::UnixTime;

/// The configuration and its changes.
#[derive(Debug, Default)]
pub(super) struct Configuration {
    revision: Gauge,
    conflicts: Gauge,
    succeeded: Family<SourceLabels, Gauge>,
    failed: Family<SourceLabels, Gauge>,
}

impl Configuration {
    pub(super) fn add_to(&self, registry: &mut Registry) {
        let revision = "Revision of the configuration that counts; each change raises it";
        registry.register("configuration_revision", revision, self.revision.clone());
        let conflicts = "Applications and identity providers that cannot be used as they are declared";
        registry.register("configuration_conflicts", conflicts, self.conflicts.clone());
        registry.register_with_unit(
            "configuration_last_success_timestamp",
            "Unix time of the last reading of a source without a mistake",
            Unit::Seconds,
            self.succeeded.clone(),
        );
        registry.register_with_unit(
            "configuration_last_failure_timestamp",
            "Unix time of the last reading of a source with a mistake",
            Unit::Seconds,
            self.failed.clone(),
        );
    }
}

impl Metrics {
    /// Sets what a reading of `source` came to.
    pub(crate) fn configuration(
        &self,
        source: &'static str,
        revision: u64,
        succeeded: bool,
        conflicts: usize,
        now: UnixTime,
    ) {
        let Configuration { revision: current, conflicts: open, succeeded: successes, failed } = &self.configuration;
        current.set(i64::try_from(revision).unwrap_or(i64::MAX));
        open.set(i64::try_from(conflicts).unwrap_or(i64::MAX));
        let times = if succeeded { successes } else { failed };
        times.get_or_create(&SourceLabels { source }).set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    }
}
