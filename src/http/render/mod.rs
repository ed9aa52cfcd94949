//! From the outcome of a check to an answer: one renderer for each way in which proxies take it.
//!
//! Every renderer allows in the same words, so they only get what is denied, and no status of theirs lets a request pass.

mod context;
mod credentials;
mod envoy;
mod nginx;
mod page;
#[cfg(test)]
mod tests;

use http::Response;

pub(super) use self::context::Context;
use super::outcome::{Grant, Outcome};
use super::reply::{self, Answer};
use super::resource;
use crate::forwarded::{Dialect, ENVOY_PREFIX};
use crate::serve::body;

/// The answer to `dialect`'s question.
pub(super) fn render(dialect: Dialect, outcome: Outcome<'_>, context: &Context<'_>) -> Answer {
    let denial = match outcome {
        Outcome::Allow(grant) | Outcome::Pass(grant) => return allow(grant),
        Outcome::Denied(denial) => denial,
    };
    let answer = match dialect {
        Dialect::Traefik | Dialect::Caddy => page::deny(denial, context),
        Dialect::Nginx => nginx::deny(denial, context),
        Dialect::Envoy => envoy::deny(denial, context),
    };
    let answer = letting_nothing_pass(answer);
    match (context.app, context.original) {
        (Some(app), Some(original)) => resource::name(app, &original.authority.host, answer),
        _ => answer,
    }
}

/// The answer where there is no outcome, as the check took too long or has a defect; `path` is that of the request to us.
pub(super) fn failed(path: &str) -> Answer {
    let answer = reply::unavailable();
    if path.starts_with(ENVOY_PREFIX) { envoy::without_server_error(answer) } else { answer }
}

/// Exactly 200 with an empty body and every identity header.
fn allow(grant: Grant) -> Answer {
    let mut answer = Response::new(body::empty());
    *answer.headers_mut() = grant.into_headers();
    answer
}

/// The same answer, or 401 in the place of any status that a proxy would take for a permit.
fn letting_nothing_pass(mut answer: Answer) -> Answer {
    *answer.status_mut() = reply::refusing(answer.status());
    answer
}
