//! What browsers ask the outpost itself: start, callback, sign-out.

use std::sync::Arc;

use http::StatusCode;

use super::failure;
use super::outpost::{Outcome, Outpost, SessionError, store_is_down};
use super::reply::{self, Answer};
use super::request::{Received, Visit};
use super::route::BrowserRoute;
use crate::app::Application;
use crate::login::{Destination, ReturnTarget, Wish, requested_target};
use crate::logout;
use crate::pages::Page;

impl Outpost {
    /// Answers a browser that was routed here by the proxy.
    pub(super) async fn visit(
        &self,
        route: BrowserRoute,
        app: Option<&Arc<Application>>,
        received: &Received<'_>,
    ) -> (Answer, Outcome) {
        let visit = Visit::direct(received);
        if let Some(app) = app {
            return self.browse(route, app, &visit).await;
        }
        let page = Page::BadRequest { what: "No application is configured for this host." };
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
            BrowserRoute::SignedOut => (signed_out(app, visit), "signed_out".into()),
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
        let session = match self.session(app, visit.headers).await {
            Ok(held) => held.map(|held| held.session),
            // A login makes a session of its own.
            Err(SessionError::Unconfirmed) => None,
            Err(SessionError::Store(error)) => {
                return (self.store_away(app, &error, visit.html, visit.request_id), "store_away".into());
            }
        };
        let outcome = self.logins.callback(app, visit.query, visit.headers, session.as_ref()).await;
        let (answer, name) = match outcome.result {
            Ok(Destination::Target(target)) => {
                let name = if outcome.user.is_some() { "login" } else { "already_signed_in" };
                (reply::redirect(target.as_str(), visit.is_post(), Vec::new()), name)
            }
            Ok(Destination::Provider(location)) => {
                (reply::redirect(&location, visit.is_post(), Vec::new()), "silent_login_refused")
            }
            Err(error) => {
                let answer = failure::callback(app, &error, visit.html, visit.request_id);
                (answer, error.as_str())
            }
        };
        self.metrics.login(&app.identity_provider, name);
        (reply::with_cookies(answer, outcome.cookies), Outcome { name, user: outcome.user })
    }

    async fn sign_out(&self, app: &Application, visit: &Visit<'_>) -> (Answer, Outcome) {
        if !logout::is_wanted(app, &visit.method, visit.headers) {
            let action_url = app.outpost_path("sign_out");
            let page = Page::ConfirmSignOut { application: &app.name, action_url: &action_url };
            return (reply::page(StatusCode::OK, &page, visit.html, visit.request_id), "confirm_sign_out".into());
        }
        let provider = self.logins.provider(app).map(Arc::as_ref);
        let done = match logout::sign_out(app, provider, self.store.as_ref(), visit.headers).await {
            Ok(done) => done,
            Err(error) => return (self.store_away(app, &error, visit.html, visit.request_id), "store_away".into()),
        };
        if done.user.is_some() {
            self.metrics.sign_out(Some(&app.slug));
        }
        let answer = match &done.location {
            Some(location) => reply::redirect(location, visit.is_post(), Vec::new()),
            None => signed_out(app, visit),
        };
        (reply::with_cookies(answer, vec![done.cookie]), Outcome { name: "sign_out", user: done.user })
    }
}

fn signed_out(app: &Application, visit: &Visit<'_>) -> Answer {
    let home = app.external_host.url();
    let page = Page::SignedOut { application: &app.name, home_url: &home };
    reply::page(StatusCode::OK, &page, visit.html, visit.request_id)
}
