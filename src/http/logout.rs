//! Sign-out by browsers, and logout by providers.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

use super::outpost::Outpost;
use super::reply::{self, Answer};
use super::request::{Received, Visit};
use super::visited::Visited;
use crate::app::Application;
use crate::login::{ReturnTarget, login_url};
use crate::logout::{self, BackChannelError, FrontChannelError};
use crate::pages::{BadRequest, Page};
use crate::session::StoreError;
use crate::telemetry::{WithCauses, warn_throttled};

/// Twice what any logout token may take, in bytes.
const LARGEST_FORM: usize = 32 << 10;

/// What makes a sign-out one from all applications and browsers.
const EVERYWHERE: &str = "everywhere=true";

impl Outpost {
    /// Answers a browser that wants to sign out.
    ///
    /// Only a POST from our own page signs out everywhere. Other requests get the page that asks, so that an application can have a
    /// link to it.
    pub(super) async fn sign_out(&self, app: &Arc<Application>, visit: &Visit<'_>) -> Visited {
        let offers_everywhere = self.logouts.offers_everywhere();
        let everywhere = offers_everywhere && visit.query.split('&').any(|pair| pair == EVERYWHERE);
        let wanted = match &visit.host {
            Some(host) if everywhere => logout::is_wanted_everywhere(app, host, &visit.method, visit.headers),
            Some(_) | None => !everywhere && logout::is_wanted(app, &visit.method, visit.headers),
        };
        if !wanted {
            let action_url = app.outpost_path("sign_out");
            let everywhere_url = offers_everywhere.then(|| format!("{action_url}?{EVERYWHERE}"));
            let page = Page::ConfirmSignOut {
                application: &app.name,
                action_url: &action_url,
                everywhere_url: everywhere_url.as_deref(),
            };
            let answer = reply::page(StatusCode::OK, &page, visit.html, visit.request_id);
            return Visited::new(answer, "confirm_sign_out");
        }
        let done = match self.logouts.sign_out(app, visit.headers, everywhere, visit.asker()).await {
            Ok(done) => done,
            Err(error) => return self.visited_while_store_is_away(app, &error, visit),
        };
        if done.user.is_some() {
            app.metrics.sign_out();
        }
        if !done.is_complete {
            // The cookie stays, so that the user can sign out again when the browser has fewer.
            return Visited::new(not_signed_out(app, visit), "sign_out_incomplete").by(done.user);
        }
        let (answer, ended_as) = match &done.location {
            _ if everywhere && !done.everywhere => (not_everywhere(app, visit), "sign_out_of_nobody"),
            Some(location) => (reply::redirect(location, visit.is_post(), Vec::new()), "sign_out"),
            None => (signed_out(app, visit), "sign_out"),
        };
        Visited::new(reply::with_cookies(answer, vec![done.cookie]), ended_as).by(done.user)
    }

    /// Answers a provider that sends a logout token. The host of its request does not matter.
    pub(super) async fn back_channel(&self, received: &Received<'_>, body: Option<Incoming>) -> Visited {
        if received.parts.method != Method::POST {
            return Visited::new(reply::wrong_method("POST"), "bad_request");
        }
        let media_type = received.parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let obeyed = match read(body).await {
            Ok(form) => self.logouts.obey(received.catalog, media_type, &form, received.asker()).await,
            Err(why) => Err(BackChannelError::Request(why)),
        };
        match obeyed {
            Ok(obeyed) => {
                let ended_as = if obeyed.first { "logout" } else { "repeated" };
                self.metrics.logout_token(&obeyed.identity_provider, ended_as);
                Visited::new(reply::logged_out(), ended_as)
            }
            Err(error) => {
                let temporary = error.is_temporary();
                let ended_as = if temporary { "unavailable" } else { "refused" };
                self.metrics.logout_token(error.identity_provider().unwrap_or_default(), ended_as);
                warn_throttled!(
                    self.refused_logouts.back_channel,
                    request_id = %received.id,
                    identity_provider = error.identity_provider(),
                    client = received.client().map(tracing::field::display),
                    error = %WithCauses(&error),
                    "logout token refused"
                );
                Visited::new(reply::not_logged_out(temporary, received.id), ended_as)
            }
        }
    }

    /// Answers a browser in whose frame the provider logs the user out; `app` is the application of the host, if there is one.
    pub(super) async fn front_channel(&self, app: Option<&Application>, visit: &Visit<'_>) -> Visited {
        if visit.method != Method::GET {
            return Visited::new(reply::wrong_method("GET"), "bad_request");
        }
        match self.logouts.leave(visit.catalog, app, visit.query, visit.headers, visit.asker()).await {
            Ok(left) => Visited::new(reply::left(left.cookie), "logout").by(left.user),
            Err(error) => {
                warn_throttled!(
                    self.refused_logouts.front_channel,
                    request_id = %visit.request_id,
                    client = visit.client.map(tracing::field::display),
                    %error,
                    "front-channel logout refused"
                );
                let (status, ended_as, reason) = refused(&error);
                Visited::new(reply::page(status, &Page::BadRequest { reason }, visit.html, visit.request_id), ended_as)
            }
        }
    }

    /// Answers a logout token without its body: the proxy asks about the request instead of routing it here.
    pub(super) fn asked_about(&self, visit: &Visit<'_>) -> Visited {
        warn_throttled!(
            self.refused_logouts.asked_about,
            request_id = %visit.request_id,
            "the proxy asks about a logout token: route /outpost.goauthentik.io/ to forepost, so that it comes whole"
        );
        Visited::new(reply::not_logged_out(false, visit.request_id), "refused")
    }
}

fn refused(error: &FrontChannelError) -> (StatusCode, &'static str, BadRequest) {
    match error {
        FrontChannelError::Malformed | FrontChannelError::UnknownIssuer => {
            (StatusCode::BAD_REQUEST, "refused", BadRequest::NotALogout)
        }
        FrontChannelError::TooMany => (StatusCode::TOO_MANY_REQUESTS, "unavailable", BadRequest::TooManyLogouts),
        FrontChannelError::Store(StoreError(_)) => {
            (StatusCode::SERVICE_UNAVAILABLE, "store_away", BadRequest::LogoutStoreAway)
        }
    }
}

pub(super) fn signed_out(app: &Application, visit: &Visit<'_>) -> Answer {
    let home = app.home_url();
    let page = Page::SignedOut { application: &app.name, home_url: &home };
    reply::page(StatusCode::OK, &page, visit.html, visit.request_id)
}

/// The page for a browser with more session cookies than a sign-out looks at.
fn not_signed_out(app: &Application, visit: &Visit<'_>) -> Answer {
    let sign_out_url = app.outpost_path("sign_out");
    let page = Page::NotSignedOut { application: &app.name, sign_out_url: &sign_out_url };
    reply::page(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, &page, visit.html, visit.request_id)
}

/// The page for a browser without a session: forepost does not know whose other sessions to end.
fn not_everywhere(app: &Application, visit: &Visit<'_>) -> Answer {
    let login_url = login_url(app, &ReturnTarget::home(app));
    let page = Page::NotSignedOutEverywhere { application: &app.name, login_url: &login_url };
    reply::page(StatusCode::OK, &page, visit.html, visit.request_id)
}

/// The whole body, if it is not larger than a form with a logout token.
async fn read(body: Option<Incoming>) -> Result<Bytes, &'static str> {
    let Some(body) = body else { return Ok(Bytes::new()) };
    match Limited::new(body, LARGEST_FORM).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err("its body is too long"),
        Err(_) => Err("its body broke off"),
    }
}
