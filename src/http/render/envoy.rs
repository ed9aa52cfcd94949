//! For Envoy, which takes what Traefik takes but for a 5xx: `failure_mode_allow` would let the request pass.

use http::StatusCode;

use super::context::Context;
use super::page;
use crate::http::outcome::Denial;
use crate::http::reply::Answer;

pub(super) fn deny(denial: Denial<'_>, context: &Context<'_>) -> Answer {
    without_server_error(page::deny(denial, context))
}

/// The same answer with 403 in the place of a 5xx.
pub(super) fn without_server_error(mut answer: Answer) -> Answer {
    if answer.status().is_server_error() {
        *answer.status_mut() = StatusCode::FORBIDDEN;
    }
    answer
}
