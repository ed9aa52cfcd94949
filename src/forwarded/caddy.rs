//! Caddy's `forward_auth`: <https://caddyserver.com/docs/caddyfile/directives/forward_auth>.

use super::{ForwardedError, OriginalRequest, Question, parse_forwarded};

/// Caddy overwrites the same four fields as Traefik. The query of the question is the client's and is ignored.
pub(super) fn parse<'r>(question: &Question<'r>) -> Result<OriginalRequest<'r>, ForwardedError> {
    parse_forwarded(question)
}
