//! nginx's `auth_request`: <https://nginx.org/en/docs/http/ngx_http_auth_request_module.html>.

use http::HeaderName;

use super::{ForwardedError, OriginalRequest, Question, Target, assemble, field, from_forwarded, method};
use crate::host::{AbsoluteUrl, Authority, Scheme};

static X_ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");
static X_ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");

/// The operator's configuration sets `X-Original-URL`. All other fields may come from the client.
///
/// nginx builds the URL from several texts that the client chose. With a `Host` like `app.example.com/open?` the URL would have
/// another path; such a configuration usually passes the same `Host` on. So the question's own `Host` must be a host, with or
/// without a port. It can be another host than that of the URL: ingress-nginx sends the host of its `auth-url`. Which hosts are
/// allowed is decided where applications are known.
///
/// The method is not known, because a client that could choose it would choose the rules of another method. HAProxy's script
/// names a method; it only serves to refuse a question with an invalid one. The `X-Forwarded-…` fields count only if there is no
/// `X-Original-…` field (Traefik's ingress-nginx provider).
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

type Parts<'r> = (Scheme, bool, Authority<'r>, Target<'r>);

fn split(url: &str) -> Result<Parts<'_>, ForwardedError> {
    let malformed = ForwardedError::Malformed(X_ORIGINAL_URL.as_str());
    let url = AbsoluteUrl::split(url).ok_or(malformed)?;
    let (scheme, websocket) = field::scheme(url.scheme).map_err(|_| malformed)?;
    Ok((
        scheme,
        websocket,
        field::authority(url.authority, X_ORIGINAL_URL.as_str())?,
        Target::parse(url.rest).map_err(|_| malformed)?,
    ))
}
