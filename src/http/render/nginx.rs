//! For nginx and HAProxy, which look at the status and some fields: no body, and of the 4xx only 401 and 403, as nginx makes
//! a 500 of any other.

use http::StatusCode;

use super::context::Context;
use super::{credentials, page};
use crate::http::outcome::Denial;
use crate::http::reply::{self, Answer};

pub(super) fn deny(denial: Denial<'_>, context: &Context<'_>) -> Answer {
    match denial {
        Denial::ToLogin(login) => reply::nginx_challenge(&login.location, true),
        Denial::Challenge { login_url, origin } => reply::with_cors(reply::nginx_challenge(&login_url, false), origin),
        Denial::BadCredentials(bad) => credentials::as_status(&bad),
        Denial::Forbid(denied) => {
            credentials::with_insufficient_scope(reply::empty(StatusCode::FORBIDDEN), denied.insufficient_scope)
        }
        // Any other answer to its own path would send the browser round in circles.
        Denial::Refuse(_) | Denial::OwnPath(_) | Denial::OwnPathNotRelayed => reply::empty(StatusCode::FORBIDDEN),
        Denial::Unavailable(why) => page::unavailable(&why, context),
    }
}
