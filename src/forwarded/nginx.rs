//! nginx's `auth_request`: <https://nginx.org/en/docs/http/ngx_http_auth_request_module.html>.

use super::{ForwardedError, OriginalRequest, Question, Target, assemble, field, from_forwarded};

const URL: &str = "x-original-url";

/// `X-Original-URL` is what the operator's configuration sets; everything else may be the client's own.
///
/// So the method stays unknown: a client that could choose it would reach rules for other methods. Only where no
/// `X-Original-…` field is there at all (Traefik's ingress-nginx provider) do the `X-Forwarded-…` fields count.
pub(super) fn parse<'r>(question: &Question<'r>) -> Result<OriginalRequest<'r>, ForwardedError> {
    if !question.trusted {
        return Err(ForwardedError::UntrustedPeer);
    }
    let (scheme, websocket, authority, target) = match field::single(question.headers, URL)? {
        Some(url) => split(url)?,
        None if question.headers.contains_key("x-original-uri")
            || !question.headers.contains_key("x-forwarded-uri") =>
        {
            return Err(ForwardedError::Missing(URL));
        }
        None => from_forwarded(question)?,
    };
    Ok(assemble(question, Some(scheme), websocket, authority, target, None))
}

type Parts<'r> = (crate::host::Scheme, bool, crate::host::Authority, Target<'r>);

fn split(url: &str) -> Result<Parts<'_>, ForwardedError> {
    let malformed = ForwardedError::Malformed(URL);
    let (scheme, rest) = url.split_once("://").ok_or(malformed)?;
    let (scheme, websocket) = field::scheme(scheme).map_err(|_| malformed)?;
    let slash = rest.find('/').ok_or(malformed)?;
    let (authority, target) = rest.split_at(slash);
    Ok((scheme, websocket, field::authority(authority, URL)?, Target::parse(target).map_err(|_| malformed)?))
}
