//! The background work of identity providers, which follows the catalogue.

use std::sync::Arc;

use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::catalog::Catalog;
use crate::oidc::Provider;

/// Keeps the metadata and keys of all providers of a catalogue fresh, and of no others.
pub(super) struct Supervisor {
    stop: CancellationToken,
    /// Aborted when the supervisor is dropped.
    tasks: JoinSet<()>,
    watched: Vec<Watched>,
    /// Whether the cryptographic library has its entropy.
    entropy: Arc<OnceCell<()>>,
}

/// A provider with background work.
struct Watched {
    provider: Arc<Provider>,
    stop: CancellationToken,
    /// Whether the provider is asked about tokens, so that the operator is warned where it has no endpoint for that.
    introspects: bool,
}

impl Supervisor {
    /// Watches no provider yet; all work ends with `stop`.
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self { stop, tasks: JoinSet::new(), watched: Vec::new(), entropy: Arc::default() }
    }

    /// Begins the work for providers that are new in `catalog`, and ends that for those which are gone.
    pub(super) fn follow(&mut self, catalog: &Catalog) {
        while self.tasks.try_join_next().is_some() {}
        let all: Vec<_> = catalog.providers().iter().chain(catalog.token_issuers()).collect();
        self.watched.retain(|watched| {
            let stays = all.iter().any(|provider| Arc::ptr_eq(provider, &watched.provider));
            if !stays {
                watched.stop.cancel();
            }
            stays
        });
        for provider in all {
            let introspects = catalog.introspects(provider);
            match self.watched.iter_mut().find(|watched| Arc::ptr_eq(&watched.provider, provider)) {
                Some(watched) if introspects && !watched.introspects => {
                    watched.introspects = true;
                    let stop = watched.stop.clone();
                    self.warn_without_introspection(provider, stop);
                }
                Some(_) => {}
                None => self.watch(provider, introspects),
            }
        }
    }

    fn watch(&mut self, provider: &Arc<Provider>, introspects: bool) {
        let stop = self.stop.child_token();
        self.watched.push(Watched { provider: Arc::clone(provider), stop: stop.clone(), introspects });
        if introspects {
            self.warn_without_introspection(provider, stop.clone());
        }
        let (provider, entropy) = (Arc::clone(provider), Arc::clone(&self.entropy));
        self.tasks.spawn(async move {
            entropy.get_or_init(gather_entropy).await;
            provider.keep_ready(stop).await;
        });
    }

    fn warn_without_introspection(&mut self, provider: &Arc<Provider>, stop: CancellationToken) {
        let provider = Arc::clone(provider);
        self.tasks.spawn(async move {
            stop.run_until_cancelled(provider.warn_without_introspection()).await;
        });
    }

    /// Waits until all work has ended.
    pub(super) async fn finished(self) {
        self.tasks.join_all().await;
    }
}

/// Lets the cryptographic library gather its entropy, which takes it up to a tenth of a second at its first use, in a thread
/// that no request waits for: the first handshake with a provider would take that time from the checks.
async fn gather_entropy() {
    let gathered = tokio::task::spawn_blocking(|| aws_lc_rs::rand::fill(&mut [0])).await;
    if !matches!(gathered, Ok(Ok(()))) {
        tracing::error!("the cryptographic library has no entropy: connections over TLS will fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::samples::{at_provider, provider};
    use crate::catalog::samples::catalog;

    #[tokio::test]
    async fn work_follows_the_catalogue() {
        let stop = CancellationToken::new();
        let mut supervisor = Supervisor::new(stop.clone());
        let (one, other) = (provider("one", "http://127.0.0.1:9"), provider("other", "http://127.0.0.1:9"));
        let of = |providers: &[&Arc<Provider>]| {
            let app = |(number, it): (usize, &&Arc<Provider>)| {
                at_provider(&format!("https://app{number}.example.com"), None, Arc::clone(it), |_| ())
            };
            catalog(providers.iter().enumerate().map(app).collect()).load_full()
        };
        supervisor.follow(&of(&[&one]));
        let first = supervisor.watched[0].stop.clone();
        supervisor.follow(&of(&[&one, &other]));
        assert_eq!((supervisor.watched.len(), first.is_cancelled()), (2, false), "its work goes on");
        supervisor.follow(&of(&[&other]));
        assert_eq!((supervisor.watched.len(), first.is_cancelled()), (1, true));
        // A provider of the same name with other settings is another one.
        let last = supervisor.watched[0].stop.clone();
        supervisor.follow(&of(&[&provider("other", "http://127.0.0.1:10")]));
        assert_eq!((supervisor.watched.len(), last.is_cancelled()), (1, true));
        stop.cancel();
        supervisor.finished().await;
    }
}
