//! nginx's `auth_request`: <https://nginx.org/en/docs/http/ngx_http_auth_request_module.html>.

use http::HeaderName;

use super::{ForwardedError, OriginalRequest, Question, Target, assemble, field, from_forwarded, method};

static X_ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");
static X_ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");

/// `X-Original-URL` is what the operator's configuration sets; everything else may be the client's own.
///
/// The URL is one text out of several that a client chose. Whoever pasted it together from a `Host` like `app.example.com/open?`
/// handed that on beside it, so the question's own `Host` must be a host with perhaps a port. It need not be the same one:
/// ingress-nginx sends that of its `auth-url`. What it may be is decided where applications are known.
///
/// The method stays unknown: a client that could choose it would reach rules for other methods. What HAProxy's script names is
/// read for one thing alone: what is no method is refused. Only where no
/// `X-Original-…` field is there at all (Traefik's ingress-nginx provider) do the `X-Forwarded-…` fields count.
pub(super) fn parse<'r>(question: &Question<'r>) -> Result<OriginalRequest<'r>, ForwardedError> {
    if !question.trusted {
        return Err(ForwardedError::UntrustedPeer);
    }
    method::named(question.headers)?;
    let (scheme, websocket, authority, target) = match field::single(question.headers, &X_ORIGINAL_URL)? {
        Some(url) => split(url)?,
        None if question.headers.contains_key(&X_ORIGINAL_URI)
            || !question.headers.contains_key(&field::X_FORWARDED_URI) =>
        {
            return Err(ForwardedError::Missing(X_ORIGINAL_URL.as_str()));
        }
        None => from_forwarded(question)?,
    };
    let asked_at = field::other_host(question, &authority)?;
    Ok(OriginalRequest { asked_at, ..assemble(question, Some(scheme), websocket, authority, target, None) })
}

type Parts<'r> = (crate::host::Scheme, bool, crate::host::Authority<'r>, Target<'r>);

fn split(url: &str) -> Result<Parts<'_>, ForwardedError> {
    let malformed = ForwardedError::Malformed(X_ORIGINAL_URL.as_str());
    let (scheme, rest) = url.split_once("://").ok_or(malformed)?;
    let (scheme, websocket) = field::scheme(scheme).map_err(|_| malformed)?;
    let slash = rest.find('/').ok_or(malformed)?;
    let (authority, target) = rest.split_at(slash);
    Ok((
        scheme,
        websocket,
        field::authority(authority, X_ORIGINAL_URL.as_str())?,
        Target::parse(target).map_err(|_| malformed)?,
    ))
}
