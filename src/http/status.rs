//! The operator's listener: metrics, liveness, readiness.

use std::ops::ControlFlow;
use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use super::reply::{self, Answer};
use crate::app::OUTPOST_PATH;
use crate::catalog::CurrentCatalog;
use crate::lifecycle::Shutdown;
use crate::oidc::Provider;
use crate::serve::{Body, Connection, Handler, HandlerError, body};
use crate::session::SessionStore;
use crate::telemetry::metrics::{CONTENT_TYPE as METRICS_TYPE, Metrics};

/// The query of `/ready` that asks about logins.
const LOGINS: &str = "logins";

/// Answers `/metrics`, `/ready` and the contract's `ping`.
pub struct Status {
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// For the number of sessions; ready when it answers.
    pub store: Arc<dyn SessionStore>,
    /// Ready when all of its identity providers are, and the store answers.
    pub catalog: Arc<CurrentCatalog>,
    /// Not ready once it has begun.
    pub shutdown: Shutdown,
}

impl Status {
    /// The answer for a path and its query.
    #[must_use]
    pub fn answer(&self, path: &str, query: &str) -> Response<Body> {
        match path {
            "/metrics" => {
                self.metrics.set_store(self.store.is_up(), self.store.is_durable());
                let mut answer = Response::new(body::full(self.metrics.encode(self.store.count())));
                answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(METRICS_TYPE));
                answer
            }
            "/ready" => self.ready(query == LOGINS),
            _ if path.strip_prefix(OUTPOST_PATH) == Some("/ping") => reply::alive(),
            _ => reply::not_found(),
        }
    }

    /// 200 when requests can be answered and logins begun, else 503; sessions that exist are served either way.
    ///
    /// With `of_logins` only when a login would succeed, too: a provider that refuses our client is known, and of no use. That
    /// is for alerts, and not for taking a process out of service: another process is refused as well.
    fn ready(&self, of_logins: bool) -> Answer {
        let catalog = self.catalog.load();
        let all = |is_ready: fn(&Provider) -> bool| catalog.providers().iter().all(|provider| is_ready(provider));
        let (stopping, store) = (self.shutdown.has_begun(), self.store.is_up());
        let ready = !stopping && store && all(|provider| provider.ready().is_some());
        let logins = ready && all(Provider::is_ready_for_logins);
        let providers: Map<String, Value> = catalog
            .providers()
            .iter()
            .map(|provider| (provider.name().to_owned(), Value::Bool(provider.is_ready_for_logins())))
            .collect();
        let body = json!({
            "ready": ready,
            "logins": logins,
            "stopping": stopping,
            "store": store,
            "identity_providers": providers,
        });
        let ready = if of_logins { logins } else { ready };
        let mut answer = Response::new(body::full(body.to_string()));
        *answer.status_mut() = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        answer
    }
}

impl Handler for Status {
    type State = ();

    fn handle_at_once(&self, _head: &Parts, _connection: &Connection) -> ControlFlow<Answer> {
        ControlFlow::Continue(())
    }

    async fn handle(&self, request: Request<Incoming>, (): (), _connection: &Connection) -> Answer {
        self.answer(request.uri().path(), request.uri().query().unwrap_or_default())
    }

    fn failed(&self, _uri: &Uri, _error: HandlerError) -> Answer {
        reply::empty(StatusCode::SERVICE_UNAVAILABLE)
    }
}
