//! From a request to the part of the outpost that answers it.

use std::ops::ControlFlow;
use std::sync::Arc;

use arc_swap::Guard;
use http::request::Parts;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::addressed::Addressed;
use super::outpost::Outpost;
use super::render;
use super::reply::{self, Answer};
use super::request::Received;
use super::route::{BrowserRoute, Route};
use super::sessions::Search;
use super::visited::Visited;
use crate::app::Application;
use crate::catalog::Catalog;
use crate::host::Authority;
use crate::serve::{Body, Connection, Handler, HandlerError, Peer};
use crate::telemetry::RequestId;
use crate::telemetry::log::RequestLine;

/// A request as it came in.
pub struct Arrival {
    /// What is configured, from the beginning of the request to its end.
    catalog: Arc<Catalog>,
    id: RequestId,
    at: Instant,
    /// Of a proxy's question, where it waits for a session.
    search: Option<Search>,
}

impl Outpost {
    /// Answers one request of `peer` that has no body.
    pub async fn answer(&self, parts: &Parts, peer: Peer) -> Answer {
        match self.answer_at_once(parts, peer) {
            ControlFlow::Break(answer) => answer,
            ControlFlow::Continue(arrival) => self.answer_in_time(parts, None, peer, arrival).await,
        }
    }

    /// Breaks with the answer of a proxy's question for which nothing has to be waited for.
    fn answer_at_once(&self, parts: &Parts, peer: Peer) -> ControlFlow<Answer, Arrival> {
        let (catalog, id, at) = (self.catalog.load(), self.ids.next(), Instant::now());
        let mut search = None;
        if let Some(Route::Auth(dialect)) = Route::parse(parts.uri.path(), "") {
            let received = Received::new(parts, &catalog, peer, &self.trusted, id);
            search = self.check_at_once(dialect, &received, at)?;
        }
        ControlFlow::Continue(Arrival { catalog: Guard::into_inner(catalog), id, at, search })
    }

    /// Waits for `body` where it counts, and nowhere else.
    async fn answer_in_time(&self, parts: &Parts, body: Option<Incoming>, peer: Peer, arrival: Arrival) -> Answer {
        let Arrival { catalog, id, at: began, search } = arrival;
        let received = &Received::new(parts, &catalog, peer, &self.trusted, id);
        let path = parts.uri.path();
        // A proxy's question names its application by the URL that it asks about, not by the host that it asks.
        let rooted = Route::parse(path, "");
        let (addressed, mistake) = match rooted {
            Some(Route::Ping | Route::Auth(_)) => (Addressed::default(), None),
            Some(Route::Resource | Route::Browser(_)) | None => match Self::addressed(received) {
                Ok(addressed) => (addressed, None),
                Err(mistake) => (Addressed::default(), Some(mistake)),
            },
        };
        let (app, authority) = (addressed.app, addressed.authority.as_ref());
        let base_path = app.map_or("", |app| app.external_host.base_path.as_str());
        let line = |route| Line { route, app, authority, began };
        match rooted.or_else(|| Route::parse(path, base_path)) {
            Some(Route::Ping) => {
                self.metrics.ping(&parts.method, began.elapsed());
                reply::alive()
            }
            Some(Route::Auth(dialect)) => self.check(dialect, received, began, search).await,
            Some(Route::Resource) => {
                let visited = Self::resource(app, addressed.host(), received);
                line("oauth-protected-resource").write(received, visited)
            }
            Some(Route::Browser(route)) => {
                let visited = match (route, &mistake) {
                    // Of no application.
                    (BrowserRoute::BackChannelLogout, _) => self.back_channel(received, body).await,
                    (_, Some(mistake)) => self.refuse_misaddressed(mistake, received),
                    (route, None) => self.visit(route, addressed.found(), received).await,
                };
                line(route.as_str()).write(received, visited)
            }
            None => {
                let answer = reply::with_request_id(reply::not_found(), received.id.to_string());
                line("none").write(received, Visited::new(answer, "not_found"))
            }
        }
    }
}

/// What is known of a request to our own routes before it is answered, for its log line.
struct Line<'r> {
    route: &'static str,
    app: Option<&'r Arc<Application>>,
    authority: Option<&'r Authority<'r>>,
    began: Instant,
}

impl Line<'_> {
    fn write(&self, received: &Received<'_>, visited: Visited) -> Answer {
        let Visited { answer, ended_as, user } = visited;
        RequestLine {
            request_id: &received.id,
            application: self.app.map(|app| app.id.as_str()),
            route: self.route,
            dialect: None,
            outcome: ended_as,
            status: answer.status().as_u16(),
            method: &received.parts.method,
            host: self.authority.map_or("", |it| it.host.as_str()),
            path: received.parts.uri.path(),
            client: received.client(),
            user: user.as_deref(),
            duration: self.began.elapsed(),
        }
        .write();
        answer
    }
}

impl Handler for Outpost {
    type State = Arrival;

    fn handle_at_once(&self, head: &Parts, connection: &Connection) -> ControlFlow<Response<Body>, Arrival> {
        self.answer_at_once(head, connection.peer)
    }

    async fn handle(&self, request: Request<Incoming>, arrival: Arrival, connection: &Connection) -> Response<Body> {
        let (head, body) = request.into_parts();
        self.answer_in_time(&head, Some(body), connection.peer, arrival).await
    }

    fn failed(&self, uri: &Uri, _error: HandlerError) -> Response<Body> {
        render::failed(uri.path())
    }

    fn connection_closed(&self, connection: &Connection) {
        self.metrics.connection_closed(u32::try_from(connection.requests()).unwrap_or(u32::MAX));
    }
}
