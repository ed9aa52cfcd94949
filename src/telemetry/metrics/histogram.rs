//! Histograms that count without a lock, and tables of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// A histogram of durations.
#[derive(Debug)]
pub(super) struct Histogram {
    /// The upper bounds in seconds, in ascending order; the last one is infinite.
    bounds: &'static [f64],
    /// How many values are below a bound and not below the bound before.
    counts: Box<[AtomicU64]>,
    nanos: AtomicU64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: bounds.iter().map(|_| AtomicU64::new(0)).collect(), nanos: AtomicU64::new(0) }
    }

    pub(super) fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = self.bounds.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    fn is_empty(&self) -> bool {
        self.counts.iter().all(|c| c.load(Ordering::Relaxed) == 0)
    }

    fn encode(&self, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        let counts = self.counts.iter().map(|c| c.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = self.bounds.iter().copied().zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

/// A histogram for each possible label set. All are made beforehand, so that a lookup is arithmetic.
///
/// Empty histograms are not shown, because few applications are asked about in every dialect.
#[derive(Debug)]
pub(super) struct Table<L> {
    cells: Arc<[(L, Histogram)]>,
}

impl<L> Clone for Table<L> {
    fn clone(&self) -> Self {
        Self { cells: Arc::clone(&self.cells) }
    }
}

impl<L> Table<L> {
    pub(super) fn new(bounds: &'static [f64], labels: impl Iterator<Item = L>) -> Self {
        let cells = labels.map(|label| (label, Histogram::new(bounds)));
        Self { cells: cells.collect() }
    }

    /// Counts in the cell with this number, in the order of the labels given to [`Table::new`].
    pub(super) fn observe(&self, cell: usize, duration: Duration) {
        if let Some((_, histogram)) = self.cells.get(cell) {
            histogram.observe(duration);
        }
    }
}

impl<L: EncodeLabelSet> Table<L> {
    fn show(&self, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        for (labels, histogram) in self.cells.iter() {
            if !histogram.is_empty() {
                histogram.encode(&mut encoder.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}

/// Tables of one metric, by a name: each is made when it is first asked for.
#[derive(Debug)]
pub(super) struct Tables<L> {
    tables: Arc<RwLock<BTreeMap<String, Table<L>>>>,
}

impl<L> Clone for Tables<L> {
    fn clone(&self) -> Self {
        Self { tables: Arc::clone(&self.tables) }
    }
}

impl<L> Default for Tables<L> {
    fn default() -> Self {
        Self { tables: Arc::default() }
    }
}

impl<L> Tables<L> {
    /// The table with this name, where there is none a new one.
    pub(super) fn get_or_create(&self, name: &str, new: impl FnOnce() -> Table<L>) -> Table<L> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.entry(name.to_owned()).or_insert_with(new).clone()
    }
}

impl<L> Tables<L> {
    /// Shows the table with this name no more; who has it counts in vain.
    pub(super) fn remove(&self, name: &str) {
        self.tables.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

impl<L: EncodeLabelSet> Tables<L> {
    fn show(&self, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.values().try_for_each(|table| table.show(encoder))
    }
}

impl<L: EncodeLabelSet> EncodeMetric for Tables<L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        self.show(&mut encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// Tables and a further table that are encoded under one name.
#[derive(Debug)]
pub(super) struct Both<L>(pub(super) Tables<L>, pub(super) Table<L>);

impl<L: EncodeLabelSet> EncodeMetric for Both<L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        self.0.show(&mut encoder)?;
        self.1.show(&mut encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
