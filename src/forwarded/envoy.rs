//! Envoy's `ext_authz` over HTTP:
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/ext_authz_filter>.

use super::{ForwardedError, OriginalRequest, Question, Target, assemble, field};

/// The prefix before the original path.
pub const PREFIX: &str = "/outpost.goauthentik.io/auth/envoy";

/// Envoy puts the client's own method, path and query behind a prefix and keeps `Host`.
///
/// The scheme is known only if Envoy passes `x-forwarded-proto` on and the peer is trusted.
pub(super) fn parse<'r>(question: &Question<'r>) -> Result<OriginalRequest<'r>, ForwardedError> {
    let authority = field::request_authority(question.uri, question.headers)?;
    let whole = question.uri.path_and_query().map_or("/", |it| it.as_str());
    let behind = whole.strip_prefix(PREFIX).ok_or(ForwardedError::Malformed("path"))?;
    let target = match behind {
        "" => Target::root(),
        _ => Target::parse(behind).map_err(|_| ForwardedError::Malformed("path"))?,
    };
    let (scheme, websocket) = match field::single(question.headers, &field::X_FORWARDED_PROTO)? {
        Some(proto) if question.trusted => {
            let (scheme, websocket) = field::scheme(proto)?;
            (Some(scheme), websocket)
        }
        _ => (None, false),
    };
    let method = Some(question.method.clone());
    Ok(assemble(question, scheme, websocket, authority, target, method))
}
