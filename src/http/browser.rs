//! What browsers ask the outpost itself: start, callback, sign-out.

use std::sync::Arc;

use http::StatusCode;

use super::failure;
use super::logout::signed_out;
use super::outpost::{Outpost, store_is_down};
use super::reply;
use super::request::{Received, Visit};
use super::route::BrowserRoute;
use super::visited::Visited;
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
    ) -> Visited {
        let (app, host) = found.unzip();
        let visit = Visit::direct(host, received);
        if route == BrowserRoute::FrontChannelLogout {
            return self.front_channel(app.map(Arc::as_ref), &visit).await;
        }
        if let Some(app) = app {
            return self.browse(route, app, &visit).await;
        }
        let page = Page::BadRequest { reason: BadRequest::UnknownHost };
        Visited::new(reply::page(StatusCode::BAD_REQUEST, &page, visit.html, visit.request_id), "refuse")
    }

    /// Answers a browser, whichever way its request came.
    pub(super) async fn browse(&self, route: BrowserRoute, app: &Arc<Application>, visit: &Visit<'_>) -> Visited {
        match route {
            BrowserRoute::Start => self.start(app, visit),
            BrowserRoute::Callback => self.callback(app, visit).await,
            BrowserRoute::SignOut => self.sign_out(app, visit).await,
            BrowserRoute::SignedOut => {
                self.logouts.came_back(visit.query);
                Visited::new(signed_out(app, visit), "signed_out")
            }
            BrowserRoute::BackChannelLogout => self.asked_about(visit),
            BrowserRoute::FrontChannelLogout => self.front_channel(Some(app), visit).await,
        }
    }

    fn start(&self, app: &Application, visit: &Visit<'_>) -> Visited {
        if !self.store.is_up() {
            return self.visited_while_store_is_away(app, &store_is_down(), visit);
        }
        let target = requested_target(visit.query)
            .and_then(|text| ReturnTarget::parse(app, &text))
            .unwrap_or_else(|| ReturnTarget::home(app));
        match self.logins.begin(app, &target, Wish::requested(app, visit.query), visit.headers) {
            Ok(begun) => Visited::new(reply::redirect(&begun.location, visit.is_post(), begun.cookies), "start_login"),
            Err(error) => {
                let answer = failure::start(app, &target, &error, visit.html, visit.request_id);
                Visited::new(answer, "provider_away")
            }
        }
    }

    async fn callback(&self, app: &Arc<Application>, visit: &Visit<'_>) -> Visited {
        // Before the attempt is used up and the code redeemed: the same address works once the store is back.
        if !self.store.is_up() {
            return self.visited_while_store_is_away(app, &store_is_down(), visit);
        }
        // Nothing is decided by it but where a browser goes on to, and there it is confirmed where that is due.
        let session = match self.unconfirmed_session(app, visit.headers).await {
            Ok(session) => session,
            Err(error) => return self.visited_while_store_is_away(app, &error, visit),
        };
        let visitor = Visitor { headers: visit.headers, session: session.as_ref(), asker: visit.asker() };
        let called_back = self.logins.callback(app, visit.query, &visitor).await;
        let (answer, ended_as) = match called_back.result {
            Ok(Destination::Target(target)) => {
                let ended_as = if called_back.user.is_some() { "login" } else { "already_signed_in" };
                if let Some(opened) = &called_back.opened {
                    opened.line(Event::Login, "callback").asked_by(&visitor.asker).write();
                }
                (reply::redirect(target.as_str(), visit.is_post(), Vec::new()), ended_as)
            }
            Ok(Destination::Provider(location)) => {
                (reply::redirect(&location, visit.is_post(), Vec::new()), "silent_login_refused")
            }
            Ok(Destination::Again { location, error }) => {
                tracing::info!(
                    request_id = %visit.request_id,
                    application = %app.id,
                    identity_provider = app.provider.name(),
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
        self.metrics.login(app.provider.name(), ended_as);
        Visited::new(reply::with_cookies(answer, called_back.cookies), ended_as).by(called_back.user)
    }
}
