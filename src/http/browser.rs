//! What browsers ask the outpost itself: start, callback, sign-out.

use std::sync::Arc;

use http::StatusCode;

use super::failure;
use super::outpost::{Outcome, Outpost, are_of_one_user, store_is_down};
use super::reply::{self, Answer};
use super::request::{Received, Visit};
use super::route::BrowserRoute;
use crate::app::Application;
use crate::host::Host;
use crate::login::{Destination, ReturnTarget, Visitor, Wish, requested_target};
use crate::pages::{BadRequest, Page};
use crate::telemetry::WithCauses;
use crate::telemetry::audit::Event;

impl Outpost {
    /// Answers a browser that was routed here by the proxy; `found` is the application, with the host that was asked.
    pub(super) async fn visit(
        &self,
        route: BrowserRoute,
        found: Option<(&Arc<Application>, Host<'_>)>,
        received: &Received<'_>,
    ) -> (Answer, Outcome) {
        let (app, host) = found.unzip();
        let visit = Visit::direct(host, received);
        if route == BrowserRoute::FrontChannelLogout {
            return self.front_channel(app.map(Arc::as_ref), &visit).await;
        }
        if let Some(app) = app {
            return self.browse(route, app, &visit).await;
        }
        let page = Page::BadRequest { reason: BadRequest::UnknownHost };
        (reply::page(StatusCode::BAD_REQUEST, &page, visit.html, visit.request_id), "refuse".into())
    }

    /// Answers a browser, whichever way its request came.
    pub(super) async fn browse(
        &self,
        route: BrowserRoute,
        app: &Arc<Application>,
        visit: &Visit<'_>,
    ) -> (Answer, Outcome) {
        match route {
            BrowserRoute::Start => self.start(app, visit),
            BrowserRoute::Callback => self.callback(app, visit).await,
            BrowserRoute::SignOut => self.sign_out(app, visit).await,
            BrowserRoute::SignedOut => {
                self.logouts.came_back(visit.query);
                (signed_out(app, visit), "signed_out".into())
            }
            BrowserRoute::BackChannelLogout => self.asked_about(visit),
            BrowserRoute::FrontChannelLogout => self.front_channel(Some(app), visit).await,
        }
    }

    fn start(&self, app: &Application, visit: &Visit<'_>) -> (Answer, Outcome) {
        if !self.store.is_up() {
            return (self.store_away(app, &store_is_down(), visit.html, visit.request_id), "store_away".into());
        }
        let target = requested_target(visit.query)
            .and_then(|text| ReturnTarget::parse(app, &text))
            .unwrap_or_else(|| ReturnTarget::home(app));
        match self.logins.begin(app, &target, Wish::requested(app, visit.query), visit.headers) {
            Ok(begun) => (reply::redirect(&begun.location, visit.is_post(), begun.cookies), "start_login".into()),
            Err(error) => (failure::start(app, &target, &error, visit.html, visit.request_id), "provider_away".into()),
        }
    }

    async fn callback(&self, app: &Arc<Application>, visit: &Visit<'_>) -> (Answer, Outcome) {
        // Before the attempt is used up and the code redeemed: the same address works once the store is back.
        if !self.store.is_up() {
            return (self.store_away(app, &store_is_down(), visit.html, visit.request_id), "store_away".into());
        }
        // Nothing is decided by it but where a browser goes on to, and there it is confirmed where that is due.
        let session = match self.held(app, visit.headers).await {
            // Sessions of different users say nothing about who is here.
            Ok(held) if !are_of_one_user(&held) => None,
            Ok(mut held) => held.pop(),
            Err(error) => {
                return (self.store_away(app, &error, visit.html, visit.request_id), "store_away".into());
            }
        };
        let session = session.as_ref().map(|held| &held.session);
        let visitor = Visitor { headers: visit.headers, session, asker: visit.asker() };
        let outcome = self.logins.callback(app, visit.query, &visitor).await;
        let (answer, name) = match outcome.result {
            Ok(Destination::Target(target)) => {
                let name = if outcome.user.is_some() { "login" } else { "already_signed_in" };
                if let Some(opened) = &outcome.opened {
                    opened.line(Event::Login, "callback").asked_by(&visitor.asker).write();
                }
                (reply::redirect(target.as_str(), visit.is_post(), Vec::new()), name)
            }
            Ok(Destination::Provider(location)) => {
                (reply::redirect(&location, visit.is_post(), Vec::new()), "silent_login_refused")
            }
            Ok(Destination::Again { location, error }) => {
                tracing::info!(
                    request_id = %visit.request_id,
                    application = %app.slug,
                    identity_provider = %app.identity_provider,
                    error = %WithCauses(&*error),
                    "a login begins again"
                );
                (reply::redirect(&location, visit.is_post(), Vec::new()), "begun_again")
            }
            Err(error) => {
                let answer = failure::callback(app, &error, visit.html, visit.request_id);
                (answer, error.as_str())
            }
        };
        self.metrics.login(&app.identity_provider, name);
        (reply::with_cookies(answer, outcome.cookies), Outcome { name, user: outcome.user })
    }
}

pub(super) fn signed_out(app: &Application, visit: &Visit<'_>) -> Answer {
    let home = app.external_host.url();
    let page = Page::SignedOut { application: &app.name, home_url: &home };
    reply::page(StatusCode::OK, &page, visit.html, visit.request_id)
}
