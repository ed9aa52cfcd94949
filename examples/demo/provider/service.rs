//! From a request to the endpoint that answers it, or to the fault in its place.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use aws_lc_rs::error::Unspecified;
use bytes::Bytes;
use forepost::world::World;
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::Incoming;
use tokio::sync::watch;

use super::keys::Keyring;
use super::state::State;
use super::web::{self, Answer, HangUp, Parameters};
use super::{Behaviour, Client, Endpoint, Fault, LogoutToken, logout, pages};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The method.
    pub(crate) method: Method,
    /// The query, decoded.
    pub(crate) query: Parameters,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body, decoded as a form.
    pub(crate) form: Parameters,
}

impl Seen {
    /// The parameters of a request that may come either way.
    pub(super) fn parameters(&self) -> &Parameters {
        if self.method == Method::POST { &self.form } else { &self.query }
    }
}

/// What all requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) issuer: String,
    pub(super) world: World,
    pub(super) behaviour: RwLock<Arc<Behaviour>>,
    pub(super) keys: Mutex<Keyring>,
    pub(super) state: Mutex<State>,
    pub(super) counts: watch::Sender<[u64; Endpoint::ALL.len()]>,
    /// Logouts of which clients are to be told.
    pub(super) ended: Mutex<Vec<(Client, LogoutToken)>>,
    pub(super) last: Mutex<[Option<Seen>; Endpoint::ALL.len()]>,
}

impl Shared {
    pub(super) fn behaviour(&self) -> Arc<Behaviour> {
        let behaviour = self.behaviour.read();
        Arc::clone(&behaviour.unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn keys(&self) -> MutexGuard<'_, Keyring> {
        lock(&self.keys)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn now(&self) -> u64 {
        self.world.now().as_secs()
    }

    /// The address of an endpoint.
    pub(super) fn url(&self, endpoint: Endpoint) -> String {
        format!("{}{}", self.issuer.trim_end_matches('/'), endpoint.path())
    }

    /// Which endpoint a path is, seen from the issuer's own path.
    fn endpoint(&self, path: &str) -> Option<Endpoint> {
        let issuer = url::Url::parse(&self.issuer).ok()?;
        let path = path.strip_prefix(issuer.path().trim_end_matches('/'))?;
        Endpoint::ALL.into_iter().find(|endpoint| endpoint.path() == path)
    }
}

/// A poisoned lock means that a test has failed already; the data is whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) async fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Answer, HangUp> {
    let (head, body) = request.into_parts();
    let Some(endpoint) = shared.endpoint(head.uri.path()) else {
        return Ok(pages::not_found());
    };
    let Ok(body) = web::read(body).await else {
        return Ok(web::text(StatusCode::PAYLOAD_TOO_LARGE, "Too large."));
    };
    let raw_query = head.uri.query().unwrap_or_default().to_owned();
    let seen = seen(head, &raw_query, &body);
    lock(&shared.last)[endpoint as usize] = Some(seen.clone());
    shared.counts.send_modify(|counts| counts[endpoint as usize] += 1);

    let behaviour = shared.behaviour();
    let fault = behaviour.faults.get(&endpoint);
    if let Some(fault) = fault {
        fault.before().await?;
    }
    let instead = match fault.and_then(Fault::answer) {
        None if behaviour.down => Some(web::text(StatusCode::SERVICE_UNAVAILABLE, "Down.")),
        instead => instead,
    };
    let asked = Asked {
        shared: &shared,
        behaviour: &behaviour,
        seen: &seen,
        raw: if seen.method == Method::POST { String::from_utf8_lossy(&body).into_owned() } else { raw_query },
    };
    let answer = instead.map_or_else(|| asked.answer(endpoint), Ok);
    if endpoint == Endpoint::EndSession {
        logout::tell(&shared).await;
    }
    let mut answer =
        answer.unwrap_or_else(|Unspecified| web::text(StatusCode::INTERNAL_SERVER_ERROR, "No randomness."));
    if let Some(fault) = fault {
        answer.headers_mut().extend(fault.headers.clone());
    }
    Ok(answer)
}

fn seen(head: Parts, raw_query: &str, body: &Bytes) -> Seen {
    Seen {
        method: head.method,
        query: Parameters::parse(raw_query.as_bytes()),
        headers: head.headers,
        form: Parameters::parse(body),
    }
}

/// A request, with all that is needed to answer it.
pub(super) struct Asked<'a> {
    pub(super) shared: &'a Shared,
    pub(super) behaviour: &'a Behaviour,
    pub(super) seen: &'a Seen,
    /// The parameters, as they came.
    pub(super) raw: String,
}

impl Asked<'_> {
    fn answer(&self, endpoint: Endpoint) -> Result<Answer, Unspecified> {
        let post = self.seen.method == Method::POST;
        let get = matches!(self.seen.method, Method::GET | Method::HEAD);
        match endpoint {
            Endpoint::Discovery if get => self.discovery(),
            Endpoint::Jwks if get => self.jwks(),
            Endpoint::Authorize if get || post => self.authorize(),
            Endpoint::Login if post => self.login(),
            Endpoint::Token if post => self.token(),
            Endpoint::Userinfo if get || post => self.userinfo(),
            Endpoint::EndSession if get || post => Ok(self.end_session()),
            Endpoint::Revocation if post => Ok(self.revocation()),
            Endpoint::Introspection if post => Ok(self.introspection()),
            Endpoint::DeviceAuthorization if post => self.device_authorization(),
            Endpoint::Device if get => Ok(self.device_page("")),
            Endpoint::Device if post => Ok(self.confirm_device()),
            Endpoint::Discovery
            | Endpoint::Jwks
            | Endpoint::Authorize
            | Endpoint::Login
            | Endpoint::Token
            | Endpoint::Userinfo
            | Endpoint::EndSession
            | Endpoint::Revocation
            | Endpoint::Introspection
            | Endpoint::DeviceAuthorization
            | Endpoint::Device => Ok(web::text(StatusCode::METHOD_NOT_ALLOWED, "Not this method.")),
        }
    }
}
