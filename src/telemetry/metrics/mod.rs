//! Metrics in the `OpenMetrics` text form, without globals.
//!
//! Clients do not choose values of labels: applications, hosts and identity providers are those of the configuration or
//! `unknown`, and all other values are constants. So the configuration fixes the number of series.

mod application;
mod configuration;
mod histogram;
mod labels;

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use http::Method;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub use application::ApplicationMetrics;
use configuration::Configuration;
use histogram::{Both, Table, Tables};
use labels::{
    ApplicationLabels, CheckLabels, LoginLabels, OperationLabels, OutpostLabels, ProviderLabels, ProviderRequestLabels,
    RefreshLabels, RevocationLabels, TokenLabels, UNKNOWN, Words,
};

/// The `Content-Type` of the text of [`Metrics::encode`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Bounds in seconds: a check is a lookup in memory, or the sealing of a login attempt.
const CHECK_BOUNDS: [f64; 15] =
    [50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1.0, f64::INFINITY];

/// Bounds in seconds: those of authentik's outpost, for its dashboards.
const OUTPOST_BOUNDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, f64::INFINITY];

/// Bounds in seconds, for requests over a network.
const PROVIDER_BOUNDS: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Bounds in requests.
const CONNECTION_BOUNDS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0, 10_000.0, 100_000.0];

/// All metrics of the daemon, with their registry.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    outpost_name: String,
    providers: RwLock<BTreeSet<String>>,
    dialects: Words,
    outcomes: Words,
    checks: Tables<CheckLabels>,
    outpost: Tables<OutpostLabels>,
    /// Of requests for a host that no application has.
    unknown: ApplicationMetrics,
    ping: Table<OutpostLabels>,
    sessions: Gauge,
    store_up: Gauge,
    store_durable: Gauge,
    revocations: Family<RevocationLabels, Counter>,
    logins: Family<LoginLabels, Counter>,
    sign_outs: Family<ApplicationLabels, Counter>,
    logout_tokens: Family<LoginLabels, Counter>,
    refreshes: Family<LoginLabels, Counter>,
    tokens: Family<TokenLabels, Counter>,
    provider_requests: Family<ProviderRequestLabels, Counter>,
    provider_durations: Family<OperationLabels, Histogram, fn() -> Histogram>,
    jwks_refreshes: Family<RefreshLabels, Counter>,
    provider_ready: Family<ProviderLabels, Gauge>,
    header_blocks: Family<ApplicationLabels, Counter>,
    connections: Histogram,
    left_out: Counter,
    configuration: Configuration,
}

impl Metrics {
    /// Metrics without applications and identity providers ([`Metrics::application`], [`Metrics::add_provider`]).
    ///
    /// `dialects` and `outcomes` are all the words that [`ApplicationMetrics::check`] will be given.
    #[must_use]
    pub fn new(outpost_name: &str, dialects: &'static [&'static str], outcomes: &'static [&'static str]) -> Self {
        let (dialects, outcomes) = (Words(dialects), Words(outcomes));
        let ping = labels::outpost(outpost_name, UNKNOWN, "ping");
        let (checks, outpost) = (Tables::default(), Tables::default());
        let (sign_outs, tokens, header_blocks) = (Family::default(), Family::default(), Family::default());
        let mut metrics = Self {
            unknown: ApplicationMetrics {
                dialects,
                outcomes,
                checks: checks.get_or_create(UNKNOWN, || check_table(UNKNOWN, dialects, outcomes)),
                outpost: outpost.get_or_create(UNKNOWN, || outpost_table(outpost_name, UNKNOWN)),
                sign_outs: Counter::default(),
                header_blocks: Counter::default(),
                application: UNKNOWN.to_owned(),
                tokens: Family::clone(&tokens),
            },
            registry: Registry::default(),
            outpost_name: outpost_name.to_owned(),
            providers: RwLock::default(),
            dialects,
            outcomes,
            checks,
            outpost,
            ping: Table::new(&OUTPOST_BOUNDS, ping),
            sessions: Gauge::default(),
            store_up: Gauge::default(),
            store_durable: Gauge::default(),
            revocations: Family::default(),
            logins: Family::default(),
            sign_outs,
            logout_tokens: Family::default(),
            refreshes: Family::default(),
            tokens,
            provider_requests: Family::default(),
            provider_durations: Family::new_with_constructor(|| Histogram::new(PROVIDER_BOUNDS)),
            jwks_refreshes: Family::default(),
            provider_ready: Family::default(),
            header_blocks,
            connections: Histogram::new(CONNECTION_BOUNDS),
            left_out: super::log::left_out(),
            configuration: Configuration::default(),
        };
        // Shown from the start, so that the first event is a rise; those of applications and providers with each of them.
        drop(metrics.revocations.get_or_create(&RevocationLabels { reason: "operator" }));
        metrics.register();
        metrics.register_outpost();
        metrics
    }

    /// What is counted of an application at `host`; its series are there from now on, and the same when it is asked for again.
    #[must_use]
    pub fn application(&self, application: &str, host: &str) -> ApplicationMetrics {
        let (dialects, outcomes) = (self.dialects, self.outcomes);
        let labels = ApplicationLabels { application: application.to_owned() };
        ApplicationMetrics {
            dialects,
            outcomes,
            checks: self.checks.get_or_create(application, || check_table(application, dialects, outcomes)),
            outpost: self.outpost.get_or_create(host, || outpost_table(&self.outpost_name, host)),
            sign_outs: self.sign_outs.get_or_create_owned(&labels),
            header_blocks: self.header_blocks.get_or_create_owned(&labels),
            application: labels.application,
            tokens: Family::clone(&self.tokens),
        }
    }

    /// Removes the series of an application that is not configured any more; it begins at zero when it comes back.
    pub fn forget_application(&self, application: &str) {
        let labels = ApplicationLabels { application: application.to_owned() };
        self.checks.remove(application);
        self.sign_outs.remove(&labels);
        self.header_blocks.remove(&labels);
    }

    /// The same for a host.
    pub fn forget_host(&self, host: &str) {
        self.outpost.remove(host);
    }

    /// Of requests for a host that no application has.
    #[must_use]
    pub const fn unknown(&self) -> &ApplicationMetrics {
        &self.unknown
    }

    /// Makes an identity provider known, which is not ready yet; others count as unknown.
    pub fn add_provider(&self, name: &str) {
        let is_new = self.providers.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        if is_new {
            self.set_provider_ready(name, false);
        }
    }

    /// The value of a label.
    fn provider(&self, name: &str) -> String {
        let known = self.providers.read().unwrap_or_else(PoisonError::into_inner).contains(name);
        if known { name } else { UNKNOWN }.to_owned()
    }

    fn register(&mut self) {
        let ours = self.registry.sub_registry_with_prefix("forepost");
        ours.register("build", "The running version", Info::new([("version", VERSION)]));
        ours.register_with_unit(
            "check_duration",
            "Checks by outcome, from the end of the request's header section to the answer",
            Unit::Seconds,
            self.checks.clone(),
        );
        ours.register("sessions", "Sessions in the store", self.sessions.clone());
        ours.register("store_up", "Whether the store of sessions answers", self.store_up.clone());
        let durable = "Whether a session that begins now outlives the process";
        ours.register("store_durable", durable, self.store_durable.clone());
        ours.register("revocations", "Orders to end sessions that were followed", self.revocations.clone());
        ours.register("logins", "Logins that came back", self.logins.clone());
        ours.register("sign_outs", "Sessions signed out", self.sign_outs.clone());
        ours.register("logout_tokens", "Logout tokens of identity providers", self.logout_tokens.clone());
        ours.register("refreshes", "Logins that the provider was asked to refresh", self.refreshes.clone());
        ours.register("provider_requests", "Requests to identity providers", self.provider_requests.clone());
        ours.register("tokens", "Bearer tokens and app passwords that programs showed", self.tokens.clone());
        ours.register_with_unit(
            "provider_request_duration",
            "Requests to identity providers, connection included",
            Unit::Seconds,
            self.provider_durations.clone(),
        );
        ours.register("jwks_refreshes", "Refreshes of an identity provider's keys", self.jwks_refreshes.clone());
        ours.register(
            "provider_ready",
            "Whether logins are possible: metadata and keys are there",
            self.provider_ready.clone(),
        );
        ours.register(
            "header_block_too_large",
            "Identities whose headers are larger than proxies' usual buffers",
            self.header_blocks.clone(),
        );
        ours.register(
            "requests_per_connection",
            "Requests that a connection carried; about 1 means that the proxy keeps none alive",
            self.connections.clone(),
        );
        self.configuration.add_to(ours);
        ours.register(
            "log_lines_left_out",
            "Lines left out of the log, of events that came often",
            self.left_out.clone(),
        );
    }

    /// Registers the names of authentik's outpost, for its dashboards.
    fn register_outpost(&mut self) {
        let requests = Both(self.outpost.clone(), self.ping.clone());
        self.registry.register_with_unit(
            "authentik_outpost_proxy_request_duration",
            "Requests answered, under the name that authentik's outpost uses",
            Unit::Seconds,
            requests,
        );
        let info = Family::<Vec<(&'static str, String)>, Gauge>::default();
        let labels = [
            ("outpost_name", self.outpost_name.as_str()),
            ("outpost_type", "proxy"),
            ("uuid", ""),
            ("version", VERSION),
            ("build", ""),
        ];
        let labels = labels.map(|(name, value)| (name, value.to_owned()));
        info.get_or_create(&labels.into()).set(1);
        self.registry.register(
            "authentik_outpost_info",
            "This outpost, under the name that authentik's outpost uses",
            info,
        );
    }

    /// Counts a liveness request, which has no application.
    pub(crate) fn ping(&self, method: &Method, elapsed: Duration) {
        self.ping.observe(labels::method_number(method), elapsed);
    }

    /// Counts a login that came back from the identity provider.
    pub(crate) fn login(&self, identity_provider: &str, result: &'static str) {
        let labels = LoginLabels { identity_provider: self.provider(identity_provider), result };
        self.logins.get_or_create(&labels).inc();
    }

    /// Counts a logout token; `identity_provider` is empty if the token does not name a known issuer.
    pub(crate) fn logout_token(&self, identity_provider: &str, result: &'static str) {
        let labels = LoginLabels { identity_provider: self.provider(identity_provider), result };
        self.logout_tokens.get_or_create(&labels).inc();
    }

    /// Counts a refresh by its outcome.
    pub(crate) fn refresh(&self, identity_provider: &str, result: &'static str) {
        let labels = LoginLabels { identity_provider: self.provider(identity_provider), result };
        self.refreshes.get_or_create(&labels).inc();
    }

    /// Counts a successful order to end sessions.
    pub(crate) fn revocation(&self, reason: &'static str) {
        self.revocations.get_or_create(&RevocationLabels { reason }).inc();
    }

    /// Sets whether the store of sessions answers, and whether its sessions survive the process.
    pub(crate) fn set_store(&self, up: bool, durable: bool) {
        self.store_up.set(i64::from(up));
        self.store_durable.set(i64::from(durable));
    }

    /// Counts a request to an identity provider: `discovery`, `jwks`, `token`, `userinfo`.
    pub(crate) fn provider_request(
        &self,
        identity_provider: &str,
        operation: &'static str,
        result: &'static str,
        elapsed: Duration,
    ) {
        let identity_provider = self.provider(identity_provider);
        let labels = OperationLabels { identity_provider: identity_provider.clone(), operation };
        let durations = self.provider_durations.get_or_create_owned(&labels);
        durations.observe(elapsed.as_secs_f64());
        let labels = ProviderRequestLabels { identity_provider, operation, result };
        self.provider_requests.get_or_create(&labels).inc();
    }

    /// Counts a refresh of an identity provider's keys.
    pub(crate) fn jwks_refresh(&self, identity_provider: &str, reason: &'static str, result: &'static str) {
        let labels = RefreshLabels { identity_provider: self.provider(identity_provider), reason, result };
        self.jwks_refreshes.get_or_create(&labels).inc();
    }

    /// Sets whether logins at an identity provider are possible.
    pub(crate) fn set_provider_ready(&self, identity_provider: &str, ready: bool) {
        let labels = ProviderLabels { identity_provider: self.provider(identity_provider) };
        self.provider_ready.get_or_create(&labels).set(i64::from(ready));
    }

    /// Counts the requests of a connection that has ended.
    pub(crate) fn connection_closed(&self, requests: u32) {
        self.connections.observe(f64::from(requests));
    }

    /// All metrics in the `OpenMetrics` text form, with the current number of sessions.
    #[must_use]
    pub(crate) fn encode(&self, sessions: u64) -> String {
        self.sessions.set(i64::try_from(sessions).unwrap_or(i64::MAX));
        let mut body = String::new();
        text::encode(&mut body, &self.registry)
            .unwrap_or_else(|_| unreachable!("strings and numbers are written into a string"));
        body
    }
}

fn check_table(application: &str, dialects: Words, outcomes: Words) -> Table<CheckLabels> {
    Table::new(&CHECK_BOUNDS, labels::check(application, dialects, outcomes))
}

fn outpost_table(outpost_name: &str, host: &str) -> Table<OutpostLabels> {
    Table::new(&OUTPOST_BOUNDS, labels::outpost(outpost_name, host, "app"))
}

#[cfg(test)]
mod tests;
