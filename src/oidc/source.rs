use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::{Request, Response, StatusCode, header};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{HttpClient, KeyRefresh, Keys, Metadata, NoAnswer, Observer, OidcError, Operation, Ready};
use crate::settings::IdentityProvider;
use crate::tls::TlsError;

/// What is known about a provider, and the way to learn more of it.
///
/// Behind a pointer of its own, so that keys that are being fetched arrive although nobody waits for them any more.
pub(super) struct Source {
    name: String,
    http: HttpClient,
    observer: Arc<dyn Observer>,
    cooldown: Duration,
    ready: ArcSwapOption<Ready>,
    fetches: Mutex<Fetches>,
}

#[derive(Default)]
struct Fetches {
    /// When the keys that are known were asked for; of two answers the one that was asked for later counts.
    known: Option<Instant>,
    /// When keys were last asked for because of an unknown one, whether they came or not.
    forced: Option<Instant>,
    /// What such a fetch that is under way will bring.
    flight: Option<Flight>,
}

type Flight = watch::Receiver<Option<Result<Arc<Ready>, OidcError>>>;

/// Fails when it ended in a panic.
fn is_under_way(flight: &Flight) -> bool {
    flight.borrow().is_none() && flight.has_changed().is_ok()
}

impl Source {
    /// One of which nothing is known yet.
    ///
    /// # Errors
    ///
    /// When its CA file cannot be used.
    pub(super) fn new(name: &str, settings: &IdentityProvider, observer: Arc<dyn Observer>) -> Result<Self, TlsError> {
        Ok(Self {
            name: name.to_owned(),
            http: HttpClient::new(settings.ca_file.as_deref(), settings.timeout)?,
            observer,
            cooldown: settings.jwks_cooldown,
            ready: ArcSwapOption::empty(),
            fetches: Mutex::default(),
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
        let mut fetches = self.fetches();
        match self.ready() {
            Some(current) if fetches.known > Some(asked_at) => discovered.keys = current.keys.clone(),
            Some(_) | None => fetches.known = Some(asked_at),
        }
        self.put_to_use(discovered)
    }

    /// Keys newer than those of `stale`: fetched once for all who wait, and at most once per cooldown.
    ///
    /// The fetch goes on when nobody waits any more. Anybody can cause one: if it ended with the request that it began for,
    /// whoever takes his request back would keep new keys away for each cooldown.
    pub(super) async fn keys_after(self: &Arc<Self>, stale: &Arc<Ready>) -> Result<Arc<Ready>, OidcError> {
        let mut flight = {
            let mut fetches = self.fetches();
            let current = self.ready().ok_or(OidcError::NotReady)?;
            if !Arc::ptr_eq(&current, stale) {
                return Ok(current);
            }
            if let Some(flight) = fetches.flight.as_ref().filter(|flight| is_under_way(flight)) {
                flight.clone()
            } else if fetches.forced.is_some_and(|last| last.elapsed() < self.cooldown) {
                return Err(OidcError::Unreachable("asked for newer keys a moment ago".into()));
            } else {
                let (pilot, flight) = watch::channel(None);
                fetches.forced = Some(Instant::now());
                fetches.flight = Some(flight.clone());
                let source = Arc::clone(self);
                tokio::spawn(async move {
                    let newer = source.renew_keys(&current.metadata).await;
                    pilot.send_replace(Some(newer));
                });
                flight
            }
        };
        let landed = flight.wait_for(Option::is_some).await.ok().and_then(|newer| newer.clone());
        landed.unwrap_or_else(|| Err(OidcError::Unreachable("newer keys could not be asked for".into())))
    }

    async fn renew_keys(&self, metadata: &Metadata) -> Result<Arc<Ready>, OidcError> {
        let asked_at = Instant::now();
        let keys = self.fetch_keys(metadata).await;
        self.observer.keys_refreshed(&self.name, KeyRefresh::UnknownKey, keys.is_ok());
        let keys = keys?;
        let mut fetches = self.fetches();
        let current = self.ready().ok_or(OidcError::NotReady)?;
        if fetches.known > Some(asked_at) {
            return Ok(current);
        }
        fetches.known = Some(asked_at);
        let (metadata, jwks_header) = (current.metadata.clone(), current.jwks_header.clone());
        Ok(self.put_to_use(Ready { metadata, keys, jwks_header }))
    }

    fn put_to_use(&self, ready: Ready) -> Arc<Ready> {
        let ready = Arc::new(ready);
        self.ready.store(Some(Arc::clone(&ready)));
        ready
    }

    fn fetches(&self) -> MutexGuard<'_, Fetches> {
        self.fetches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn fetch_keys(&self, metadata: &Metadata) -> Result<Keys, OidcError> {
        let response = self.fetch(Operation::Jwks, metadata.jwks_uri()).await?;
        Keys::parse(response.body(), response.headers())
    }

    pub(super) async fn fetch(&self, operation: Operation, address: &str) -> Result<Response<Vec<u8>>, OidcError> {
        let request = Request::get(address)
            .header(header::ACCEPT, "application/json")
            .body(Vec::new())
            .map_err(|_| OidcError::Malformed(format!("the {} address is no URL", operation.as_str())))?;
        let response = self.send(operation, request).await?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(OidcError::Unreachable(format!("{} answered {status}", operation.as_str())))
            }
            status => Err(OidcError::Malformed(format!("{} answered {status}", operation.as_str()))),
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
