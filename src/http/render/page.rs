//! For proxies that hand our answer to the client as it is: Traefik and Caddy.

use http::StatusCode;

use super::context::Context;
use super::credentials;
use crate::http::failure;
use crate::http::outcome::{Cause, Denial, Forbid, Unavailable};
use crate::http::reply::{self, Answer};
use crate::login::{ReturnTarget, other_login_url};
use crate::pages::{BadRequest, Page};

pub(super) fn deny(denial: Denial<'_>, context: &Context<'_>) -> Answer {
    match denial {
        Denial::ToLogin(login) => reply::redirect(&login.location, login.after_post, login.cookies),
        Denial::Challenge { login_url, origin } => {
            reply::with_cors(reply::challenge(&login_url, context.request_id()), origin)
        }
        Denial::BadCredentials(bad) => credentials::as_json(&bad, context.request_id()),
        Denial::Forbid(denied) => forbid(denied, context),
        Denial::Refuse(reason) => {
            let is_forbidden = reason == BadRequest::UntrustedProxy;
            let status = if is_forbidden { StatusCode::FORBIDDEN } else { StatusCode::BAD_REQUEST };
            reply::page(status, &Page::BadRequest { reason }, context.html(), context.request_id())
        }
        Denial::OwnPath(answer) => answer,
        Denial::OwnPathNotRelayed => reply::empty(StatusCode::FORBIDDEN),
        Denial::Unavailable(why) => unavailable(&why, context),
    }
}

fn forbid(denied: Forbid<'_>, context: &Context<'_>) -> Answer {
    let Forbid { app, original, forbidden, insufficient_scope } = denied;
    let login_url = other_login_url(app, &ReturnTarget::of(app, original), &forbidden.assurance);
    let sign_out_url = app.outpost_path("sign_out");
    let required = forbidden.groups.join(", ");
    let page = Page::Forbidden {
        application: &app.name,
        username: forbidden.session.as_ref().map_or("", |session| session.identity().label()),
        because: forbidden.because,
        required: &required,
        login_url: &login_url,
        sign_out_url: &sign_out_url,
    };
    let answer = reply::page(StatusCode::FORBIDDEN, &page, context.html(), context.request_id());
    credentials::with_insufficient_scope(answer, insufficient_scope)
}

pub(super) fn unavailable(unavailable: &Unavailable<'_>, context: &Context<'_>) -> Answer {
    let (app, html, request_id) = (unavailable.app, context.html(), context.request_id());
    match &unavailable.cause {
        Cause::Store => failure::store(app, html, request_id),
        Cause::Provider => {
            let page = Page::ProviderAway { application: &app.name, retry_url: &app.home_url() };
            reply::page(StatusCode::SERVICE_UNAVAILABLE, &page, html, request_id)
        }
        Cause::Unconfirmed(target) => failure::unconfirmed(app, target, html, request_id),
        Cause::Login(target, error) => failure::start(app, target, error, html, request_id),
    }
}
