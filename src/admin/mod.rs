//! The admin interface of the running daemon on a Unix socket: lists sessions and ends them.
//!
//! | Request | Answer |
//! |---|---|
//! | `GET /sessions?user=&subject=&issuer=&application=&at=` | a part of the sessions, and where the next one begins |
//! | `GET /sessions/ID` | one session |
//! | `DELETE /sessions/ID` | ends it |
//! | `DELETE /sessions?user=[&issuer=]`, `?application=`, `?all=true` | ends those, and logins under way |
//! | `GET /configuration` | what the configuration is made of, and what is wrong in it |
//! | `POST /configuration` | reads it again, and answers the same |
//!
//! The permissions of the socket are the only access control.

mod orders;
mod query;
mod socket;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

pub use self::orders::COUNT_TIMEOUT;
use self::orders::sessions_elsewhere;
use self::query::{BadQuery, List};
pub use self::socket::socket;
use crate::app::OUTPOST_PATH;
use crate::catalog::{CurrentCatalog, ReloadRequest};
use crate::serve::{Body, Connection, Handler, HandlerError, Peer, body};
use crate::session::{SessionKey, SessionStore, StoreError};
use crate::telemetry::audit::{AuditLine, Event};
use crate::telemetry::metrics::Metrics;

/// The reason in the audit log and in metrics.
const REASON: &str = "operator";

type Answer = Response<Body>;

/// Answers operators.
pub struct Admin {
    /// Sessions.
    pub store: Arc<dyn SessionStore>,
    /// Counts orders.
    pub metrics: Arc<Metrics>,
    /// Applications and identity providers.
    pub catalog: Arc<CurrentCatalog>,
    /// Takes requests to read the configuration again.
    pub reloads: mpsc::Sender<Option<ReloadRequest>>,
    /// How long an order waits for the count of its sessions, because ended sessions cannot be counted.
    pub count_timeout: Duration,
}

/// Why a request is refused.
enum Refusal {
    Bad(String),
    /// The path does not exist.
    NotFound(&'static str),
    /// There is no such session or user.
    NoMatch(String),
    Method(&'static str),
    StoreAway(StoreError),
    /// The configuration cannot be read again.
    NoReload,
}

impl From<BadQuery> for Refusal {
    fn from(bad: BadQuery) -> Self {
        Self::Bad(bad.to_string())
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::StoreAway(error)
    }
}

impl Admin {
    /// The answer to a request of the process `peer`.
    pub async fn answer(&self, head: &Parts, peer: Peer) -> Answer {
        let by = match peer {
            Peer::UnixSocket { uid: Some(uid) } => format!("uid {uid}"),
            Peer::UnixSocket { uid: None } => "unix".to_owned(),
            Peer::Ip(_) => return refuse(Refusal::NotFound("this is for the Unix socket alone")),
        };
        let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
        let answer = match (path, path.strip_prefix("/sessions/"), &head.method) {
            ("/sessions", _, &Method::GET) => self.list(query).await,
            ("/sessions", _, &Method::DELETE) => self.follow(query, &by).await,
            (_, Some(id), &Method::GET) => self.show(id).await,
            (_, Some(id), &Method::DELETE) => self.end(id, &by).await,
            ("/sessions", ..) | (_, Some(_), _) => Err(Refusal::Method("GET, DELETE")),
            ("/configuration", _, &Method::GET) => Ok(self.configuration()),
            ("/configuration", _, &Method::POST) => self.reload().await,
            ("/configuration", ..) => Err(Refusal::Method("GET, POST")),
            _ if path.strip_prefix(OUTPOST_PATH) == Some("/ping") => {
                return with_status(Answer::new(body::empty()), StatusCode::NO_CONTENT);
            }
            _ => Err(Refusal::NotFound("there are /sessions, /sessions/ID and /configuration")),
        };
        answer.map_or_else(refuse, |body| json_answer(StatusCode::OK, &body))
    }

    async fn list(&self, query: &str) -> Result<Value, Refusal> {
        let List { filter, at } = List::parse(query)?;
        let catalog = self.catalog.load();
        let app = filter.application.as_ref().and_then(|slug| catalog.application(slug));
        if let Some(app) = app.filter(|app| app.host.is_some()) {
            return Err(Refusal::NoMatch(sessions_elsewhere(app)));
        }
        drop(catalog);
        let page =
            self.store.page(at).await?.ok_or_else(|| Refusal::Bad("at: is not a value that a list gave".to_owned()))?;
        let sessions: Vec<_> = page.sessions.iter().filter(|session| filter.holds_for(session)).collect();
        Ok(json!({"sessions": sessions, "next": page.next}))
    }

    async fn show(&self, id: &str) -> Result<Value, Refusal> {
        let session = self.store.outline(key(id)?).await?.ok_or_else(|| no_session(id))?;
        Ok(json!(session))
    }

    async fn end(&self, id: &str, by: &str) -> Result<Value, Refusal> {
        let ended = self.store.end(key(id)?).await?.ok_or_else(|| no_session(id))?;
        AuditLine {
            application: Some(&ended.application),
            user: Some(&ended.user),
            subject: Some(&ended.subject),
            session: Some(&ended.id),
            ..line(by, self.provider_name(&ended.issuer).as_deref())
        }
        .write();
        self.metrics.revocation(REASON);
        Ok(json!({"ended": 1, "session": ended}))
    }

    async fn reload(&self) -> Result<Value, Refusal> {
        let (asked_by, published) = oneshot::channel();
        self.reloads.send(Some(asked_by)).await.map_err(|_| Refusal::NoReload)?;
        published.await.map_err(|_| Refusal::NoReload)?;
        Ok(self.configuration())
    }

    /// What the catalogue consists of, and what is wrong with what the sources say.
    fn configuration(&self) -> Value {
        let (catalog, mut answer) = (self.catalog.load_full(), json!(*self.catalog.publication()));
        let providers = catalog.providers().iter().chain(catalog.token_issuers()).map(|provider| {
            json!({"name": provider.name(), "issuer": provider.settings().issuer, "ready": provider.ready().is_some()})
        });
        answer["identity_providers"] = providers.collect();
        let applications = catalog.applications().iter().map(|app| {
            let hosts = match &app.cookie_domain {
                Some(domain) => format!("{} and hosts under {domain}", app.origin),
                None => app.origin.clone(),
            };
            json!({"slug": &*app.id, "name": app.name, "hosts": hosts, "origin": catalog.origin(&app.id).map(|origin| &**origin)})
        });
        answer["applications"] = applications.collect();
        answer
    }

    /// The name of the identity provider with this issuer.
    fn provider_name(&self, issuer: &str) -> Option<String> {
        self.catalog.load().provider_of_issuer(issuer).map(|provider| provider.name().to_owned())
    }
}

fn line<'a>(by: &'a str, identity_provider: Option<&'a str>) -> AuditLine<'a> {
    AuditLine { identity_provider, by: Some(by), ..AuditLine::new(Event::Revocation, REASON) }
}

fn key(id: &str) -> Result<SessionKey, Refusal> {
    SessionKey::parse(id)
        .ok_or_else(|| Refusal::Bad(format!("{id}: is not an id of a session: 43 letters, digits, - and _")))
}

fn no_session(id: &str) -> Refusal {
    Refusal::NoMatch(format!("no session has the id {id}"))
}

fn refuse(refusal: Refusal) -> Answer {
    let (status, error, message) = match &refusal {
        Refusal::Bad(message) => (StatusCode::BAD_REQUEST, "bad_request", message.clone()),
        Refusal::NotFound(message) => (StatusCode::NOT_FOUND, "not_found", (*message).to_owned()),
        Refusal::NoMatch(message) => (StatusCode::NOT_FOUND, "no_match", message.clone()),
        Refusal::Method(allowed) => {
            (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("allowed methods: {allowed}"))
        }
        Refusal::NoReload => (
            StatusCode::SERVICE_UNAVAILABLE,
            "no_reload",
            "forepost stops, and does not read its configuration".to_owned(),
        ),
        Refusal::StoreAway(error) => (StatusCode::SERVICE_UNAVAILABLE, "store_away", error.to_string()),
    };
    let mut answer = json_answer(status, &json!({"error": error, "message": message}));
    match refusal {
        Refusal::Method(allowed) => answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed)),
        Refusal::StoreAway(_) => answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5")),
        Refusal::Bad(_) | Refusal::NotFound(_) | Refusal::NoMatch(_) | Refusal::NoReload => None,
    };
    answer
}

fn json_answer(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(body::full(body.to_string()));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    with_status(answer, status)
}

fn with_status(mut answer: Answer, status: StatusCode) -> Answer {
    *answer.status_mut() = status;
    answer
}

impl Handler for Admin {
    type State = ();

    fn handle_at_once(&self, _head: &Parts, _connection: &Connection) -> ControlFlow<Answer> {
        ControlFlow::Continue(())
    }

    async fn handle(&self, request: Request<Incoming>, (): (), connection: &Connection) -> Answer {
        self.answer(&request.into_parts().0, connection.peer).await
    }

    fn failed(&self, _uri: &Uri, _error: HandlerError) -> Answer {
        let body = json!({"error": "failed", "message": "the request was not answered in time, or by a defect"});
        json_answer(StatusCode::SERVICE_UNAVAILABLE, &body)
    }
}
