//! Traefik's `ForwardAuth`: <https://doc.traefik.io/traefik/middlewares/http/forwardauth/>.

use super::{ForwardedError, OriginalRequest, Question, parse_forwarded};

/// Traefik sets `X-Forwarded-Method`, `-Proto`, `-Host` and `-Uri` on every question.
///
/// With `trustForwardHeader` a WebSocket's scheme arrives as `ws` or `wss`.
pub(super) fn parse<'r>(question: &Question<'r>) -> Result<OriginalRequest<'r>, ForwardedError> {
    parse_forwarded(question)
}
