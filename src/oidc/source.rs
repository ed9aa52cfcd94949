use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::{Request, Response, StatusCode, header};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::IdentityProvider;
use super::{HttpClient, KeyRefresh, Keys, Metadata, NoAnswer, Observer, OidcError, Operation, Ready, Unreachable};
use crate::limit::{Call, SingleFlight};
use crate::tls::TlsError;

/// The metadata and keys of a provider, and the means to fetch them.
///
/// Shared with the tasks that fetch, which go on when the request that began them ends.
pub(super) struct Source {
    name: String,
    settings: Arc<IdentityProvider>,
    /// Reads the metadata of `settings.issuer`.
    parse: Parse,
    http: HttpClient,
    observer: Arc<dyn Observer>,
    ready: ArcSwapOption<Ready>,
    fetches: Mutex<Fetches>,
    /// Discovery because a token did not verify.
    rediscovery: SingleFlight<(), Result<Newer, OidcError>>,
    /// The last ID token that the provider issued and that its metadata and keys do not verify.
    mismatch: ArcSwapOption<String>,
    /// Notified of a mismatch when there was none.
    mismatches: Notify,
}

/// [`Metadata::parse`], or [`Metadata::parse_issuer`].
pub(super) type Parse = fn(&str, &[u8]) -> Result<Metadata, OidcError>;

/// The result of a rediscovery.
#[derive(Clone)]
pub(super) struct Newer {
    pub(super) ready: Arc<Ready>,
    /// Why the metadata are still the old ones, when only the keys are new.
    pub(super) outdated: Option<OidcError>,
}

#[derive(Default)]
struct Fetches {
    /// When the current keys were requested; of two answers the one to the later request counts.
    known: Option<Instant>,
    /// When the last rediscovery began.
    forced: Option<Instant>,
}

impl Source {
    /// A provider that was not discovered yet.
    ///
    /// # Errors
    ///
    /// When its CA file cannot be used.
    pub(super) fn new(
        name: &str,
        settings: Arc<IdentityProvider>,
        parse: Parse,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, TlsError> {
        Ok(Self {
            name: name.to_owned(),
            parse,
            http: HttpClient::new(settings.ca_file.as_ref(), settings.timeout)?,
            settings,
            observer,
            ready: ArcSwapOption::empty(),
            fetches: Mutex::default(),
            rediscovery: SingleFlight::default(),
            mismatch: ArcSwapOption::empty(),
            mismatches: Notify::new(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn observer(&self) -> &dyn Observer {
        &*self.observer
    }

    pub(super) fn ready(&self) -> Option<Arc<Ready>> {
        self.ready.load_full()
    }

    /// Publishes what was discovered, with keys that were requested at `asked_at`.
    pub(super) fn learn(&self, asked_at: Instant, mut discovered: Ready) -> Arc<Ready> {
        let mut fetches = self.fetches.lock();
        match self.ready() {
            Some(current) if fetches.known > Some(asked_at) => discovered.keys = current.keys.clone(),
            Some(_) | None => fetches.known = Some(asked_at),
        }
        self.publish(discovered)
    }

    /// Fetches metadata and keys. Returns when it requested the keys, too.
    pub(super) async fn discover(&self) -> Result<(Instant, Ready), OidcError> {
        self.complete(self.fetch_metadata().await?).await
    }

    async fn fetch_metadata(&self) -> Result<Metadata, OidcError> {
        let address = Metadata::address(&self.settings.issuer);
        let response = self.fetch(Operation::Discovery, &address).await?;
        (self.parse)(&self.settings.issuer, response.body())
    }

    /// Fetches the keys that belong to `metadata`.
    async fn complete(&self, metadata: Metadata) -> Result<(Instant, Ready), OidcError> {
        let asked_at = Instant::now();
        let keys = self.fetch_keys(&metadata).await?;
        Ok((asked_at, Ready { jwks_header: crate::identity::header_value(metadata.jwks_uri()), metadata, keys }))
    }

    /// Newer metadata and keys than `stale`: fetched once for all callers, and at most once in a cooldown.
    ///
    /// The discovery goes on when its callers go away. Any client can cause one: if it ended with the client's request, a client
    /// that cancels its requests would keep new keys away for each cooldown.
    pub(super) async fn newer_than(self: &Arc<Self>, stale: &Arc<Ready>) -> Result<Newer, OidcError> {
        let follower = {
            let mut fetches = self.fetches.lock();
            let current = self.ready().ok_or(OidcError::NotReady)?;
            if !Arc::ptr_eq(&current, stale) {
                return Ok(Newer { ready: current, outdated: None });
            }
            let may_begin = || fetches.forced.is_none_or(|last| last.elapsed() >= self.settings.jwks_cooldown);
            let cooldown = || OidcError::Unreachable(Unreachable::Cooldown);
            let Call { follower, leader } = self.rediscovery.join((), may_begin).ok_or_else(cooldown)?;
            if let Some(leader) = leader {
                fetches.forced = Some(Instant::now());
                let source = Arc::clone(self);
                tokio::spawn(async move { leader.finish(source.rediscover(&current.metadata).await) });
            }
            follower
        };
        let failed = || Err(OidcError::Unreachable(Unreachable::Interrupted));
        follower.value().await.unwrap_or_else(failed)
    }

    /// Discovers the provider again. When it gives no metadata, there may still be new keys at the old address.
    async fn rediscover(&self, known: &Metadata) -> Result<Newer, OidcError> {
        let (metadata, outdated) = match self.fetch_metadata().await {
            Ok(metadata) => (metadata, None),
            Err(error) => (known.clone(), Some(error)),
        };
        let found = self.complete(metadata).await;
        self.observer.keys_refreshed(&self.name, KeyRefresh::UnknownKey, found.is_ok());
        match found {
            Ok((asked_at, ready)) => Ok(Newer { ready: self.learn(asked_at, ready), outdated }),
            Err(error) => Err(outdated.unwrap_or(error)),
        }
    }

    fn publish(&self, ready: Ready) -> Arc<Ready> {
        let ready = Arc::new(ready);
        self.ready.store(Some(Arc::clone(&ready)));
        if self.mismatch.load().as_ref().is_some_and(|id_token| ready.issued(&self.settings, id_token)) {
            self.mismatch.store(None);
        }
        ready
    }

    /// Whether metadata and keys do not verify the last ID token that the provider issued.
    pub(super) fn has_mismatch(&self) -> bool {
        self.mismatch.load().is_some()
    }

    /// Remembers an ID token that metadata and keys do not verify; `true` when there was none before.
    pub(super) fn set_mismatch(&self, id_token: &str) -> bool {
        let is_first = self.mismatch.swap(Some(Arc::new(id_token.to_owned()))).is_none();
        if is_first {
            self.mismatches.notify_one();
        }
        is_first
    }

    /// Forgets the mismatch; `true` when there was one.
    pub(super) fn clear_mismatch(&self) -> bool {
        self.has_mismatch() && self.mismatch.swap(None).is_some()
    }

    /// Waits for a mismatch when there was none before.
    pub(super) async fn mismatch_noted(&self) {
        self.mismatches.notified().await;
    }

    async fn fetch_keys(&self, metadata: &Metadata) -> Result<Keys, OidcError> {
        let response = self.fetch(Operation::Jwks, metadata.jwks_uri()).await?;
        Keys::parse(response.body(), response.headers())
    }

    async fn fetch(&self, operation: Operation, address: &str) -> Result<Response<Vec<u8>>, OidcError> {
        let request = Request::get(address)
            .header(header::ACCEPT, "application/json")
            .body(Vec::new())
            .map_err(|_| OidcError::Malformed(format!("the {} address is not a URL", operation.as_str()).into()))?;
        let response = self.send(operation, request).await?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(OidcError::Unreachable(Unreachable::Status { operation, status }))
            }
            status => Err(OidcError::Malformed(format!("{} answered {status}", operation.as_str()).into())),
        }
    }

    pub(super) async fn send(
        &self,
        operation: Operation,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, NoAnswer> {
        let began = Instant::now();
        let result = self.http.send(request).await;
        let answered = result.as_ref().is_ok_and(|response| !response.status().is_server_error());
        self.observer.request(&self.name, operation, answered, began.elapsed());
        result
    }
}
