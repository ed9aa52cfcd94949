//! The daemon: from settings to something that serves.

mod assembly;
mod publisher;
mod stores;
mod supervisor;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::assembly::{Assembly, catalog};
use self::publisher::Publisher;
use self::supervisor::Supervisor;
use crate::admin::{self, Admin};
use crate::catalog::{Conflict, CurrentCatalog, ReloadRequest};
use crate::http::Status;
use crate::lifecycle::Shutdown;
use crate::logout::Revoker;
use crate::refresh::Refresher;
use crate::serve::{BindError, Drained, Listeners, Serving};
use crate::session::{FileError, SessionStore, StoreError};
use crate::settings::{Layers, Settings};
use crate::sources::{Docker, Files, warn_about};
use crate::telemetry::log;
use crate::world::{EntropyError, World};

/// How often the memory of ended sessions is freed, and their last uses are written down.
const RECLAIM_INTERVAL: Duration = Duration::from_mins(1);

/// Sessions that may be idle for a short time only are looked at so many times in it.
const RECLAIMS_PER_IDLE_TIMEOUT: u32 = 10;

/// How often is told what was left out of the log.
const LEFT_OUT_INTERVAL: Duration = Duration::from_secs(10);

/// By so much more than the time that passed a clock may go forward.
const CLOCK_JUMP: Duration = Duration::from_mins(2);

/// A daemon that serves until it is shut down.
#[must_use = "a daemon is shut down in order only if its caller waits for it"]
pub struct Daemon {
    http_address: Option<SocketAddr>,
    https_address: Option<SocketAddr>,
    metrics_address: Option<SocketAddr>,
    shutdown: Shutdown,
    serving: Serving,
    catalog: Arc<CurrentCatalog>,
    reloads: mpsc::Sender<Option<ReloadRequest>>,
    refresher: Arc<Refresher>,
    revoker: Arc<Revoker>,
    tasks: JoinSet<()>,
    background: TaskTracker,
}

/// Why a daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address, a socket or a certificate cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Identity providers or applications cannot be used as they are declared.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Conflicts(Vec<Conflict>),
    /// Sessions cannot be kept where the settings say.
    #[error(transparent)]
    Sessions(#[from] FileError),
    /// Sessions cannot be kept in Redis like this.
    #[error("session.redis: {0}")]
    Redis(StoreError),
    /// No randomness for the secret.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

impl Daemon {
    /// Listens, and discovers the identity providers in the background.
    ///
    /// # Errors
    ///
    /// When an address or a file cannot be had; a provider that is away is not an error.
    pub async fn start(settings: Settings, world: World) -> Result<Self, StartError> {
        let shutdown = Shutdown::new(settings.server.shutdown_timeout);
        Self::start_until(shutdown, settings, None, world).await
    }

    /// The same, with a switch that may be turned already while the daemon starts.
    ///
    /// The `layers` from which the settings were read are read again when they change; without them nothing changes.
    ///
    /// # Errors
    ///
    /// As [`Daemon::start`].
    pub async fn start_until(
        shutdown: Shutdown,
        settings: Settings,
        layers: Option<Layers>,
        world: World,
    ) -> Result<Self, StartError> {
        let listeners = Listeners::bind(&settings.server).await?;
        warn_about(&settings);
        let idle_timeout = settings.session.idle_timeout.unwrap_or(Duration::MAX);
        let reclaim_interval = RECLAIM_INTERVAL.min(idle_timeout / RECLAIMS_PER_IDLE_TIMEOUT);
        let server = settings.server.clone();
        let running = settings.clone();
        let Assembly { outpost, catalog, builder, refresher, store, metrics, revoker, background } =
            Assembly::new(settings, world.clone())?;
        // Behind the store, which makes the directory that the socket may lie in.
        let admin = admin::socket(&server).await?;
        let (reloads, requests) = mpsc::channel(1);
        let operators = Admin {
            store: Arc::clone(&store),
            metrics: Arc::clone(&metrics),
            catalog: Arc::clone(&catalog),
            reloads: reloads.clone(),
            count_timeout: admin::COUNT_TIMEOUT,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(reclaim(Arc::clone(&store), world.clone(), reclaim_interval, shutdown.token()));
        tasks.spawn(tell_left_out(shutdown.token()));
        let status =
            Status { metrics: Arc::clone(&metrics), store, catalog: Arc::clone(&catalog), shutdown: shutdown.clone() };
        let mut supervisor = Supervisor::new(shutdown.token());
        supervisor.follow(&catalog.load());
        let (files, of_files) = watch::channel(running.declarations());
        let declared = vec![running.declarations(), Vec::new()];
        let publisher =
            Publisher { builder, catalog: Arc::clone(&catalog), supervisor, metrics, world, declared, files };
        publisher.begin();
        let (readings, read) = mpsc::channel(1);
        tasks.spawn(publisher.run(read, shutdown.token()));
        if let Some(docker) = running.docker.clone() {
            let docker = Docker::new(docker, running.names_proxies(), of_files);
            tasks.spawn(publisher::follow(1, docker, readings.clone(), shutdown.token()));
        }
        if let Some(layers) = layers {
            let files = Files::new(layers, running, requests);
            tasks.spawn(publisher::follow(0, files, readings, shutdown.token()));
        }
        let addresses = (listeners.http_address(), listeners.https_address(), listeners.metrics_address());
        let serving = listeners.spawn(Arc::new(outpost), Arc::new(status), &shutdown);
        if let Some(admin) = admin {
            serving.serve_private(admin, Arc::new(operators));
        }
        Ok(Self {
            http_address: addresses.0,
            https_address: addresses.1,
            metrics_address: addresses.2,
            serving,
            shutdown,
            catalog,
            reloads,
            refresher,
            revoker,
            tasks,
            background,
        })
    }

    /// Where cleartext HTTP is served, with the port that the system chose when 0 was asked for.
    #[must_use]
    pub const fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// Where TLS is served.
    #[must_use]
    pub const fn https_address(&self) -> Option<SocketAddr> {
        self.https_address
    }

    /// Where metrics, liveness and readiness are served.
    #[must_use]
    pub const fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Takes requests to read the configuration again. One is refused if the daemon was started without layers.
    #[must_use]
    pub fn reloads(&self) -> mpsc::Sender<Option<ReloadRequest>> {
        self.reloads.clone()
    }

    /// Waits until logins are possible through every identity provider; one that is away is waited for.
    pub async fn ready(&self) {
        for provider in self.catalog.load_full().providers() {
            provider.until_ready().await;
        }
    }

    /// Waits until the shutdown was begun and is over.
    pub async fn finished(self) -> Drained {
        let Self { serving, tasks, refresher, revoker, background, shutdown, .. } = self;
        let drained = serving.finished().await;
        revoker.hurry();
        background.close();
        let rest = async {
            refresher.finish().await;
            background.wait().await;
            tasks.join_all().await;
        };
        // A provider that does not answer must not hold up the end; a refresh token that it was sent counts as spent then.
        match shutdown.deadline() {
            Some(deadline) => drop(timeout_at(deadline, rest).await),
            None => rest.await,
        }
        drained
    }

    /// Begins the shutdown and waits for its end.
    pub async fn shutdown(self) -> Drained {
        self.shutdown.begin();
        self.finished().await
    }
}

/// Frees what ended sessions hold, until `stop`.
async fn reclaim(store: Arc<dyn SessionStore>, world: World, interval: Duration, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = (Instant::now(), world.now());
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let expected = last.1 + last.0.elapsed() + CLOCK_JUMP;
        last = (Instant::now(), world.now());
        if last.1 > expected {
            // What ended by a clock that was set wrong for a moment would be gone for good.
            tracing::warn!("the clock was set forward; ended sessions are removed in the next round");
            continue;
        }
        let reclaimed = stop.run_until_cancelled(store.reclaim(last.1)).await;
        if let Some(Err(error)) = reclaimed {
            tracing::warn!(%error, "ended sessions could not be removed");
        }
    }
}

/// Says what was left out of the log, until `stop` and once more then.
async fn tell_left_out(stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LEFT_OUT_INTERVAL);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        log::tell_left_out();
    }
    log::tell_left_out();
}
