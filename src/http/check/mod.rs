//! A proxy's question, from its headers to the answer in its dialect.
//!
//! The order of the steps stands in [`ladder`]; here is what gets the things that they wait for.

mod credentials;
mod ladder;
mod request;

use std::ops::ControlFlow;
use std::sync::Arc;

use http::Method;
use tokio::time::Instant;

use self::ladder::{Check, Facts, Wait};
use self::request::{CheckRequest, Checked, User};
use super::outpost::Outpost;
use super::render::{Context, render};
use super::reply::Answer;
use super::request::{Received, Visit};
use super::sessions::Search;
use crate::forwarded::Dialect;
use crate::telemetry::log::RequestLine;

impl Outpost {
    /// Breaks with the answer of a question that nothing has to be waited for: its session is in memory, or it has none. Nearly
    /// all are of that kind.
    ///
    /// Of others it gives the search for the session as far as it has come.
    pub(super) fn check_at_once(
        &self,
        dialect: Dialect,
        received: &Received<'_>,
        began: Instant,
    ) -> ControlFlow<Answer, Option<Search>> {
        let request = CheckRequest::parse(dialect, received);
        let mut check = Check::new(self, &request, Facts::default());
        match check.advance() {
            ControlFlow::Continue(checked) => ControlFlow::Break(self.conclude(&request, checked, began)),
            ControlFlow::Break(_) => ControlFlow::Continue(check.facts.search),
        }
    }

    /// Answers any question; `search` is what [`Outpost::check_at_once`] gave.
    pub(super) async fn check(
        &self,
        dialect: Dialect,
        received: &Received<'_>,
        began: Instant,
        search: Option<Search>,
    ) -> Answer {
        let request = CheckRequest::parse(dialect, received);
        let mut check = Check::new(self, &request, Facts { search, ..Facts::default() });
        loop {
            match check.advance() {
                ControlFlow::Continue(checked) => return self.conclude(&request, checked, began),
                ControlFlow::Break(wait) => self.fetch(&mut check.facts, wait, received).await,
            }
        }
    }

    /// Gets what a check waits for.
    async fn fetch(&self, facts: &mut Facts, wait: Wait<'_>, received: &Received<'_>) {
        match wait {
            Wait::Session { app } => {
                let search = facts.search.get_or_insert_with(|| Search::new(app, &received.parts.headers));
                match self.fetch_session(search, app, received).await {
                    Ok(None) => {}
                    found => facts.session = Some(found),
                }
            }
            Wait::Credential { app, accepted, presented } => {
                facts.credential = Some(self.credentials.verify(app, accepted, presented, received.client()).await);
            }
            Wait::Visit { app, original, route } => {
                facts.visited = Some(self.browse(route, app, &Visit::forwarded(original, received)).await);
            }
        }
    }

    /// Renders, counts and logs the outcome.
    fn conclude(&self, request: &CheckRequest<'_>, checked: Checked<'_>, began: Instant) -> Answer {
        let Checked { outcome, app, user } = checked;
        let original = request.original.as_ref().ok();
        let verdict = outcome.verdict();
        let context = Context { received: request.received, original, app: app.map(Arc::as_ref) };
        let answer = render(request.dialect, outcome, &context);
        let elapsed = began.elapsed();
        let method = original.and_then(|it| it.method.as_ref()).unwrap_or(&Method::GET);
        let metrics = app.map_or(self.metrics.unknown(), |app| &app.metrics);
        metrics.check(request.dialect as usize, verdict as usize, method, elapsed);
        if self.sampler.wants(verdict.is_routine()) {
            RequestLine {
                request_id: &request.received.id,
                application: app.map(|app| app.id.as_str()),
                route: "auth",
                dialect: Some(request.dialect.as_str()),
                outcome: verdict.as_str(),
                status: answer.status().as_u16(),
                method,
                host: original.map_or("", |it| it.authority.host.as_str()),
                path: original.map_or("", |it| it.target.path()),
                client: request.received.client(),
                user: user.as_ref().map(User::label),
                duration: elapsed,
            }
            .write();
        }
        answer
    }
}
