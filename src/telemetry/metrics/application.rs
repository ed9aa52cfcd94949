//! What is counted of one application.

use std::time::Duration;

use http::Method;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::histogram::Table;
use super::labels::{self, CheckLabels, OutpostLabels, TokenLabels, Words};

/// The series of one application, so that counting takes no lock and looks nothing up.
#[derive(Clone, Debug)]
pub struct ApplicationMetrics {
    pub(super) dialects: Words,
    pub(super) outcomes: Words,
    pub(super) checks: Table<CheckLabels>,
    pub(super) outpost: Table<OutpostLabels>,
    pub(super) sign_outs: Counter,
    pub(super) header_blocks: Counter,
    pub(super) application: String,
    pub(super) tokens: Family<TokenLabels, Counter>,
}

impl ApplicationMetrics {
    /// Counts a check.
    ///
    /// Dialect and outcome are given by their positions in what [`super::Metrics::new`] was told.
    pub fn check(&self, dialect: usize, outcome: usize, method: &Method, elapsed: Duration) {
        let cell = self.dialects.bounded(dialect) * self.outcomes.len() + self.outcomes.bounded(outcome);
        self.checks.observe(cell, elapsed);
        self.outpost.observe(labels::method_number(method), elapsed);
    }

    /// Counts a session that was signed out.
    pub fn sign_out(&self) {
        self.sign_outs.inc();
    }

    /// Counts a bearer token or app password that a program showed, by what became of it.
    pub fn token(&self, result: &'static str) {
        let labels = TokenLabels { application: self.application.clone(), result };
        self.tokens.get_or_create(&labels).inc();
    }

    /// Counts an identity whose header block is larger than the application's limit.
    pub fn header_block_too_large(&self) {
        self.header_blocks.inc();
    }
}
