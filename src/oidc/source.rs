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

/// What is known about a provider, and the way to learn more of it.
///
/// Behind a pointer of its own, so that what is being fetched arrives although nobody waits for it any more.
pub(super) struct Source {
    name: String,
    settings: Arc<IdentityProvider>,
    /// Reads the metadata of `settings.issuer`.
    parse: Parse,
    http: HttpClient,
    observer: Arc<dyn Observer>,
    ready: ArcSwapOption<Ready>,
    fetches: Mutex<Fetches>,
    /// Discovery because a token did not fit.
    rediscovery: SingleFlight<(), Result<Newer, OidcError>>,
    /// An ID token that the provider gave, and that what is known of it does not verify.
    doubt: ArcSwapOption<String>,
    /// Is told of a doubt that was not there before.
    doubts: Notify,
}

/// [`Metadata::parse`], or [`Metadata::parse_issuer`].
pub(super) type Parse = fn(&str, &[u8]) -> Result<Metadata, OidcError>;

/// What is known of the provider after another look.
#[derive(Clone)]
pub(super) struct Newer {
    pub(super) ready: Arc<Ready>,
    /// Why its metadata are those of before, where they could not be had: its keys are new then.
    pub(super) outdated: Option<OidcError>,
}

#[derive(Default)]
struct Fetches {
    /// When the keys that are known were asked for; of two answers the one that was asked for later counts.
    known: Option<Instant>,
    /// When the provider was last asked because a token did not fit, whether it answered or not.
    forced: Option<Instant>,
}

impl Source {
    /// One of which nothing is known yet.
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
            http: HttpClient::new(settings.ca_file.as_deref(), settings.timeout)?,
            settings,
            observer,
            ready: ArcSwapOption::empty(),
            fetches: Mutex::default(),
            rediscovery: SingleFlight::default(),
            doubt: ArcSwapOption::empty(),
            doubts: Notify::new(),
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

    /// Puts what was discovered to use; its keys were asked for at `asked_at`.
    pub(super) fn learn(&self, asked_at: Instant, mut discovered: Ready) -> Arc<Ready> {
        let mut fetches = self.fetches.lock();
        match self.ready() {
            Some(current) if fetches.known > Some(asked_at) => discovered.keys = current.keys.clone(),
            Some(_) | None => fetches.known = Some(asked_at),
        }
        self.put_to_use(discovered)
    }

    /// Metadata and keys, and when those were asked for.
    pub(super) async fn discover(&self) -> Result<(Instant, Ready), OidcError> {
        self.complete(self.fetch_metadata().await?).await
    }

    async fn fetch_metadata(&self) -> Result<Metadata, OidcError> {
        let address = Metadata::address(&self.settings.issuer);
        let response = self.fetch(Operation::Discovery, &address).await?;
        (self.parse)(&self.settings.issuer, response.body())
    }

    /// The keys that belong to `metadata`.
    async fn complete(&self, metadata: Metadata) -> Result<(Instant, Ready), OidcError> {
        let asked_at = Instant::now();
        let keys = self.fetch_keys(&metadata).await?;
        Ok((asked_at, Ready { jwks_header: crate::identity::header_value(metadata.jwks_uri()), metadata, keys }))
    }

    /// What is known of the provider after `stale`: asked for once for all who wait, and at most once per cooldown.
    ///
    /// The look goes on when nobody waits any more. Anybody can cause one: if it ended with the request that it began for,
    /// whoever takes his request back would keep new keys away for each cooldown.
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
                tokio::spawn(async move { leader.finish(source.look_again(&current.metadata).await) });
            }
            follower
        };
        let failed = || Err(OidcError::Unreachable(Unreachable::Interrupted));
        follower.value().await.unwrap_or_else(failed)
    }

    /// Discovers the provider anew; where it gives no metadata, new keys may still be where the last ones were.
    async fn look_again(&self, known: &Metadata) -> Result<Newer, OidcError> {
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

    fn put_to_use(&self, ready: Ready) -> Arc<Ready> {
        let ready = Arc::new(ready);
        self.ready.store(Some(Arc::clone(&ready)));
        if self.doubt.load().as_ref().is_some_and(|id_token| ready.made(&self.settings, id_token)) {
            self.doubt.store(None);
        }
        ready
    }

    /// Whether what is known of the provider did not verify the last ID token that it gave.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubt.load().is_some()
    }

    /// Remembers an ID token that the provider gave, and that what is known of it does not verify; `true` for the first.
    pub(super) fn doubt(&self, id_token: &str) -> bool {
        let is_first = self.doubt.swap(Some(Arc::new(id_token.to_owned()))).is_none();
        if is_first {
            self.doubts.notify_one();
        }
        is_first
    }

    /// Notes that an ID token was verified; `true` where there was a doubt.
    pub(super) fn trust(&self) -> bool {
        self.is_in_doubt() && self.doubt.swap(None).is_some()
    }

    /// Waits for a doubt that was not there before.
    pub(super) async fn doubted(&self) {
        self.doubts.notified().await;
    }

    async fn fetch_keys(&self, metadata: &Metadata) -> Result<Keys, OidcError> {
        let response = self.fetch(Operation::Jwks, metadata.jwks_uri()).await?;
        Keys::parse(response.body(), response.headers())
    }

    async fn fetch(&self, operation: Operation, address: &str) -> Result<Response<Vec<u8>>, OidcError> {
        let request = Request::get(address)
            .header(header::ACCEPT, "application/json")
            .body(Vec::new())
            .map_err(|_| OidcError::Malformed(format!("the {} address is no URL", operation.as_str()).into()))?;
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
